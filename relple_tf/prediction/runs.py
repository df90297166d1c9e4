"""Predict scans with the graph of a run folder."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.artefacts.reading import LARGEST_JSON_BYTES, read_bytes
from relple_tf.errors import InputError
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import Limits, status
from relple_tf.progress import tqdm
from relple_tf.runs.card_schema import CARD, run_card
from relple_tf.runs.folder import CONFIG, WAY_OUT, RunFolder, read_config
from relple_tf.runs.model_loading import load_model
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.readers.scans import BAR_DELAY_S, Scans, open_scans
from relple_tf.training.intervals import Interval

BATCH_SCANS = 256
"""Scans that go through the network together."""
CHUNK_SCANS = 8 * BATCH_SCANS
"""Scans in memory at a time: whole batches, for the last digits of an estimate depend on the length of its batch."""

Estimate = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[Any]]]
"""Spectra as the model reads them, (n, bands) -> target, T2 and Q, (n,) each."""


def predict_table(folder: RunFolder, scans: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans with a run; as `predict_scans`.

    Raises:
        InputError: the run is damaged, the table is unsound, or its bands do not cover the model's.
    """
    folder.verify()
    card = run_card(read_bytes(folder.path / CARD, WAY_OUT, LARGEST_JSON_BYTES), folder.path / CARD)
    config = read_config(folder.path / CONFIG)
    table = open_scans(scans, config.data.id_column, card["input"]["quantity"], config.limits)
    model = load_model(folder.path / "model.keras", card)
    return predict_scans(folder.path, card, table, partial(estimates, model))


def predict_scans(
    source: Path, card: Mapping[str, Any], scans: Scans, estimate: Estimate, chunk: int = CHUNK_SCANS
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans, chunk by chunk.

    Args:
        source: The run or bundle, for notes.
        card: Of its model.
        scans: The table.
        estimate: The model.
        chunk: Scans in memory at a time.

    Returns:
        A row per scan in the table's order: id; per target its value in laboratory units and, where the model has
        intervals, the ends of its interval (`_low`, `_high`); status, one of domain.STATUSES. And notes on what was
        turned, and how many scans not to trust.

    Raises:
        InputError: the bands do not cover the model's, or a scan is impossible in the quantity that the model reads.
    """
    tables: list[pd.DataFrame] = []
    turned: tuple[str, ...] = ()
    with tqdm(total=len(scans), desc="predicting", unit=" scans", delay=BAR_DELAY_S, disable=None) as bar:
        for library in scans.chunks(chunk):
            ready, turned = to_model_input(library, card)
            tables.append(_table(card, library.ids, estimate(ready.spectra)))
            bar.update(len(library))
    table = pd.concat(tables, ignore_index=True)
    notes = [*scans.notes, *turned]
    if outside := int((table["status"] != "ok").sum()):
        notes.append(f"{outside} of {len(table)} scans are unlike the training soils: do not trust their values")
    if card["simulated"]:
        notes.append(f"{source}: trained on simulated spectra; these are no laboratory values")
    return table, tuple(notes)


def _table(card: Mapping[str, Any], ids: npt.NDArray[np.str_], outputs: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    """Rows of `predict_scans`.

    Args:
        card: Of the model.
        ids: (n,) of the scans.
        outputs: Target, T2 and Q -> (n,).
    """
    fitted = card["domain"]
    limits = Limits(t2=fitted["limits"][T2], q=fitted["limits"][Q], share=fitted["share_within"])
    states = status({name: outputs[name] for name in card["targets"]}, outputs[T2], outputs[Q], limits)
    columns = {}
    for name, facts in card["targets"].items():
        columns[name] = outputs[name]
        if facts["interval"]:
            interval = Interval(**{field.name: facts["interval"][field.name] for field in fields(Interval)})
            ends = interval.bounds(outputs[name], limits.difficulty(outputs[T2]))
            columns[f"{name}_low"], columns[f"{name}_high"] = (end.astype("float32") for end in ends)
    return pd.DataFrame({"id": ids, **columns, "status": states})


def estimates(model: keras.Model, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Every output of the whole graph, (n,) each."""
    outputs = model.predict(spectra, batch_size=BATCH_SCANS, verbose=0)
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
