"""Predict scans with the graph of a run folder."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config_text import from_toml
from relple_tf.errors import InputError
from relple_tf.models import front_end, lab_units
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.tables import read_scans
from relple_tf.training.runs import CONFIG, RunFolder

LAYERS = (front_end.ToAbsorbance, lab_units.LabUnits)
"""Loading a model needs its registered layers imported."""


def predict_table(folder: RunFolder, scans: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans.

    Returns:
        Columns id and one per target, in laboratory units, a row per scan in the table's order; and
        what was said on the way.

    Raises:
        InputError: the run is damaged, the table is unsound, or its bands do not cover the model's.
    """
    folder.verify()
    card = json.loads((folder.path / "card.json").read_text(encoding="utf-8"))
    id_column = from_toml(folder.path / CONFIG).data.id_column
    library = read_scans(scans, id_column, fallback_quantity=card["input"]["quantity"])
    wavelengths_nm = np.array(card["input"]["wavelengths_nm"])
    ready, notes = to_model_input(library, wavelengths_nm, card["input"]["quantity"])
    model = keras.saving.load_model(folder.path / "model.keras", compile=False, safe_mode=True)
    predicted = model.predict(ready.spectra, batch_size=256, verbose=0)
    columns = {name: np.asarray(predicted[name])[:, 0] for name in card["targets"]}
    if card["simulated"]:
        notes = (
            *notes,
            f"{folder.path}: trained on simulated spectra; these are no laboratory values",
        )
    return pd.DataFrame({"id": library.ids, **columns}), (*library.notes, *notes)


def to_model_input(
    library: SpectralLibrary, wavelengths_nm: npt.NDArray[np.float64], quantity: str
) -> tuple[SpectralLibrary, tuple[str, ...]]:
    """The library in the quantity and on the wavelengths that a model reads, and what was turned.

    Raises:
        InputError: the spectra do not cover the model's wavelengths, or one is constant there.
    """
    spectra, notes = library.spectra, []
    own = library.wavelengths_nm
    if own[0] > wavelengths_nm[0] + 1e-6 or own[-1] < wavelengths_nm[-1] - 1e-6:
        raise InputError(
            f"{library.source}: bands {own[0]:g}..{own[-1]:g} nm do not cover the model's "
            f"{wavelengths_nm[0]:g}..{wavelengths_nm[-1]:g} nm; scan that range, or train on the common one with "
            "--set front_end.start_nm=... and stop_nm=..."
        )
    if library.quantity != quantity:
        spectra = np.log10(1 / np.maximum(spectra, REFLECTANCE_FLOOR)) if quantity == "absorbance" else 10.0**-spectra
        notes.append(f"{library.quantity} turned into {quantity}, which the model reads")
    if len(own) != len(wavelengths_nm) or np.abs(own - wavelengths_nm).max() > 1e-6:
        spectra = np.stack([np.interp(wavelengths_nm, own, spectrum) for spectrum in spectra])
        notes.append(f"interpolated from {len(own)} bands to the model's {len(wavelengths_nm)}")
    ready = replace(library, spectra=spectra.astype("float32"), wavelengths_nm=wavelengths_nm, quantity=quantity)
    return ready.checked(), tuple(notes)
