"""Predict scans with the graph of a run folder."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.errors import InputError
from relple_tf.evaluation.cards import CARD, run_card
from relple_tf.evaluation.model_file import load_model
from relple_tf.models.domain import Limits, status
from relple_tf.models.lab_units import T2, Q
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.tables import read_scans
from relple_tf.training.artefacts import LARGEST_JSON_BYTES, read_bytes
from relple_tf.training.intervals import Interval
from relple_tf.training.runs import CONFIG, WAY_OUT, RunFolder, read_config


def predict_table(folder: RunFolder, scans: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans.

    Returns:
        A row per scan in the table's order: id; per target its value in laboratory units and, where the run has
        intervals, the ends of its interval (`_low`, `_high`); status, one of domain.STATUSES. And what was said on the
        way.

    Raises:
        InputError: the run is damaged, the table is unsound, or its bands do not cover the model's.
    """
    folder.verify()
    card = run_card(read_bytes(folder.path / CARD, WAY_OUT, LARGEST_JSON_BYTES), folder.path / CARD)
    id_column = read_config(folder.path / CONFIG).data.id_column
    library = read_scans(scans, id_column, fallback_quantity=card["input"]["quantity"])
    ready, notes = to_model_input(library, card)
    model = load_model(folder.path / "model.keras", card)
    table, said = as_table(folder.path, card, library, estimates(model, ready.spectra))
    return table, (*library.notes, *notes, *said)


def as_table(
    source: Path, card: Mapping[str, Any], library: SpectralLibrary, outputs: Mapping[str, npt.NDArray[Any]]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """What a model says of scans as `predict_table` returns it, by its card.

    Args:
        source: The run or bundle, for what is said.
        card: Of the model.
        library: The scans.
        outputs: Target, T2 and Q -> (n,).
    """
    found = card["domain"]
    limits = Limits(t2=found["limits"][T2], q=found["limits"][Q], share=found["share_within"])
    states = status({name: outputs[name] for name in card["targets"]}, outputs[T2], outputs[Q], limits)
    columns = {}
    for name, facts in card["targets"].items():
        columns[name] = outputs[name]
        if facts["interval"]:
            interval = Interval(**{field.name: facts["interval"][field.name] for field in fields(Interval)})
            ends = interval.bounds(outputs[name], limits.difficulty(outputs[T2]))
            columns[f"{name}_low"], columns[f"{name}_high"] = (end.astype("float32") for end in ends)
    notes = []
    if outside := int(np.sum(states != "ok")):
        notes.append(f"{outside} of {len(states)} scans are unlike the training soils: do not trust their values")
    if card["simulated"]:
        notes.append(f"{source}: trained on simulated spectra; these are no laboratory values")
    return pd.DataFrame({"id": library.ids, **columns, "status": states}), tuple(notes)


def estimates(model: keras.Model, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Every output of the whole graph, (n,) each."""
    outputs = model.predict(spectra, batch_size=256, verbose=0)
    return {name: np.asarray(values)[:, 0] for name, values in outputs.items()}


def to_model_input(library: SpectralLibrary, card: Mapping[str, Any]) -> tuple[SpectralLibrary, tuple[str, ...]]:
    """The library in the quantity and on the wavelengths that a model reads by its card, and what was turned.

    Raises:
        InputError: the spectra do not cover the model's wavelengths, leave a gap among them, or one is constant there.
    """
    wavelengths_nm, quantity = np.array(card["input"]["wavelengths_nm"]), card["input"]["quantity"]
    spectra, notes = library.spectra, []
    own = library.wavelengths_nm
    if own[0] > wavelengths_nm[0] + 1e-6 or own[-1] < wavelengths_nm[-1] - 1e-6:
        start, stop = math.ceil(max(own[0], wavelengths_nm[0])), math.floor(min(own[-1], wavelengths_nm[-1]))
        common = f"--set front_end.start_nm={start} --set front_end.stop_nm={stop}"
        raise InputError(
            f"{library.source}: bands {own[0]:g}..{own[-1]:g} nm do not cover the model's "
            f"{wavelengths_nm[0]:g}..{wavelengths_nm[-1]:g} nm; scan that range"
            + (f", or train a model of what both have (python -m relple_tf.train {common})" if start < stop else "")
        )
    _check_gaps(library, wavelengths_nm, float(np.diff(card["front_end"]["grid_nm"])[0]))
    if library.quantity != quantity:
        spectra = np.log10(1 / np.maximum(spectra, REFLECTANCE_FLOOR)) if quantity == "absorbance" else 10.0**-spectra
        notes.append(f"{library.quantity} turned into {quantity}, which the model reads")
    if len(own) != len(wavelengths_nm) or np.abs(own - wavelengths_nm).max() > 1e-6:
        spectra = np.stack([np.interp(wavelengths_nm, own, spectrum) for spectrum in spectra])
        notes.append(f"interpolated from {len(own)} bands to the model's {len(wavelengths_nm)}")
    ready = replace(library, spectra=spectra.astype("float32"), wavelengths_nm=wavelengths_nm, quantity=quantity)
    return ready.checked(), tuple(notes)


def _check_gaps(library: SpectralLibrary, wavelengths_nm: npt.NDArray[np.float64], step_nm: float) -> None:
    """Refuse scans with a hole where the model reads.

    A straight line over it looks like a spectrum, and T2 and Q need not notice.

    Args:
        library: The scans.
        wavelengths_nm: That the model reads.
        step_nm: Of the model's own grid: a band so far away still stands for what is there, as does one that is no
            farther than the model's own next band.

    Raises:
        InputError: naming the first wavelength without a band near it.
    """
    own = library.wavelengths_nm
    after = np.clip(np.searchsorted(own, wavelengths_nm), 1, len(own) - 1)
    away = np.minimum(np.abs(wavelengths_nm - own[after - 1]), np.abs(wavelengths_nm - own[after]))
    room = np.maximum(step_nm, np.gradient(wavelengths_nm))
    if (alone := np.flatnonzero(away > room + 1e-6)).size:
        first = alone[0]
        raise InputError(
            f"{library.source}: no band within {room[first]:.3g} nm of {wavelengths_nm[first]:g} nm, which the model "
            f"reads ({alone.size} such wavelengths): complete the scans, or train a model without that range"
        )
