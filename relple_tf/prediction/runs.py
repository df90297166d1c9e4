"""Predict scans with the deployed model of a run folder."""

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
from relple_tf.evaluation.keep_or_send import KEEP, SEND, SUFFIX, half_widths, is_kept
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import Limits, status
from relple_tf.prediction.needs import check_needs
from relple_tf.progress import tqdm
from relple_tf.runs.card_schema import CARD, input_end_tolerance_nm, run_card
from relple_tf.runs.folder import CONFIG, REMEDY, RunFolder, read_config
from relple_tf.runs.model_loading import load_model
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.range_ends import SAME_NM, held_ends, missed_ends, nm_text
from relple_tf.spectra.readers.scans import BAR_DELAY_S, Chunk, Scans, open_scans
from relple_tf.training.intervals import Interval

BATCH_SCANS = 256
"""Scans per batch of the model."""
CHUNK_SCANS = 8 * BATCH_SCANS
"""Scans in memory at a time; a multiple of the batch, because the last digits of a prediction depend on the length of
its batch."""

NO_NEEDS: Mapping[str, float] = {}
"""Predicts without decisions."""

Estimate = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[Any]]]
"""Spectra (n, bands), on the bands and in the quantity of the model -> target, T2 and Q, (n,) each."""


def predict_table(
    folder: RunFolder, scans: Path, needs: Mapping[str, float] = NO_NEEDS
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans with a run; arguments and result as those of `predict_scans`.

    Raises:
        InputError: the run is damaged, the table is invalid, its bands do not cover those of the model, or the run
            cannot decide by the needs.
    """
    card, estimate = open_run_model(folder)
    check_needs(needs, card["targets"], folder.path)
    config = read_config(folder.path / CONFIG)
    table = open_scans(scans, config.data.id_column, card["input"]["quantity"], config.limits, config.data.scale)
    return predict_scans(folder.path, card, table, estimate, needs=needs)


def open_run_model(folder: RunFolder) -> tuple[dict[str, Any], Estimate]:
    """Open a run for predictions.

    Returns:
        The card, and a function from spectra (n, bands) to outputs (n,).

    Raises:
        InputError: the folder is not a finished run, or is damaged.
    """
    card, model = load_run(folder)
    return card, partial(estimates, model)


def load_run(folder: RunFolder) -> tuple[dict[str, Any], keras.Model]:
    """Read and check the card and the deployed model of a run.

    Raises:
        InputError: the folder is not a finished run, or is damaged.
    """
    folder.verify()
    card = run_card(read_bytes(folder.path / CARD, REMEDY, LARGEST_JSON_BYTES), folder.path / CARD)
    return card, load_model(folder.path / "model.keras", card)


def predict_scans(
    source: Path,
    card: Mapping[str, Any],
    scans: Scans,
    estimate: Estimate,
    chunk: int = CHUNK_SCANS,
    *,
    needs: Mapping[str, float] = NO_NEEDS,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans, chunk by chunk.

    Args:
        source: Folder of the run or bundle, for notes.
        card: Card of the run or bundle.
        scans: The table.
        estimate: The deployed model.
        chunk: Scans in memory at a time.
        needs: Target -> largest half width that the user accepts, in the unit of the target; from `check_needs`.

    Returns:
        A row per scan, in the order of the table: id; scan, if the table has names of scans beside those of samples;
        per target its prediction in laboratory units and, if the model
        has intervals, the bounds of its interval (`_low`, `_high`), and, for a target in `needs`, `_decision`: `keep`
        if the status is `ok` and the half width is within the need, else `send`; status, from domain.STATUSES. And
        notes: which conversions were made, how many scans are out of domain, and how many are kept.

    Raises:
        InputError: the bands do not cover those of the model, or a scan is impossible in the quantity of the model.
    """
    tables: list[pd.DataFrame] = []
    conversions: tuple[str, ...] = ()
    with tqdm(total=len(scans), desc="predicting", unit=" scans", delay=BAR_DELAY_S, disable=None) as bar:
        for rows in scans.chunks(chunk):
            if rows.usable.any():
                ready, conversions = to_model_input(rows.library, card)
                outputs = estimate(ready.spectra)
            else:
                outputs = no_estimates(card)
            tables.append(with_invalid(predictions_table(card, rows.library.name_columns, outputs, needs), rows))
            bar.update(len(rows.ids))
    table = pd.concat(tables, ignore_index=True)
    notes = [*scans.notes, *conversions, *(f"warning: {warning}" for warning in scans.warnings)]
    if outside := int((table["status"] != "ok").sum()):
        notes.append(f"{outside} of {len(table)} scans have status outside or invalid: do not use their values")
    for name, need in needs.items():
        kept = int((table[f"{name}{SUFFIX}"] == KEEP).sum())
        notes.append(f"{name}: {kept} of {len(table)} scans kept with a need of {need:g}; send the others")
    if card["simulated"]:
        notes.append(f"{source}: trained on simulated spectra; the values are not valid for real soils")
    return table, tuple(notes)


def predictions_table(
    card: Mapping[str, Any],
    names: Mapping[str, npt.NDArray[np.str_]],
    outputs: Mapping[str, npt.NDArray[Any]],
    needs: Mapping[str, float] = NO_NEEDS,
) -> pd.DataFrame:
    """Table of `predict_scans` for a chunk of scans.

    Args:
        card: Card of the run or bundle.
        names: `id` and, if there is one, `scan` -> (n,).
        outputs: Target, T2 and Q -> (n,).
        needs: As in `predict_scans`; its targets have intervals.
    """
    domain = card["domain"]
    limits = Limits(t2=domain["limits"][T2], q=domain["limits"][Q], share=domain["share_within"])
    states = status({name: outputs[name] for name in card["targets"]}, outputs[T2], outputs[Q], limits)
    columns = {}
    for name, target in card["targets"].items():
        columns[name] = outputs[name]
        if target["interval"]:
            interval = Interval(**{field.name: target["interval"][field.name] for field in fields(Interval)})
            bounds = interval.bounds(outputs[name], limits.difficulty(outputs[T2]))
            columns[f"{name}_low"], columns[f"{name}_high"] = (bound.astype("float32") for bound in bounds)
        if name in needs:
            kept = is_kept(half_widths(outputs[name], *bounds), states, needs[name])
            columns[f"{name}{SUFFIX}"] = np.where(kept, KEEP, SEND)
    return pd.DataFrame({**names, **columns, "status": states})


def no_estimates(card: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs of the model for no scan."""
    return {name: np.empty(0, np.float32) for name in (*card["targets"], T2, Q)}


def with_invalid(table: pd.DataFrame, rows: Chunk) -> pd.DataFrame:
    """Predictions of all rows of a chunk: those of `table`, one per usable scan; the others are invalid.

    An invalid scan has no values, and its decisions are `send`.
    """
    if rows.usable.all():
        return table
    whole = table.set_index(np.flatnonzero(rows.usable)).reindex(range(len(rows.ids)))
    whole["id"] = rows.ids
    if rows.scans is not None:
        whole["scan"] = rows.scans
    decided = [name for name in whole if name.endswith(SUFFIX)]
    return whole.fillna({"status": "invalid", **dict.fromkeys(decided, SEND)})


def estimates(model: keras.Model, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Run the deployed model on spectra (n, bands); output -> (n,)."""
    outputs = model.predict(spectra, batch_size=BATCH_SCANS, verbose=0)
    return {name: np.asarray(values)[:, 0] for name, values in outputs.items()}


def to_model_input(library: SpectralLibrary, card: Mapping[str, Any]) -> tuple[SpectralLibrary, tuple[str, ...]]:
    """Convert a library to the quantity and the wavelengths of a model, which its card states.

    Bands that miss an end of the model's wavelengths by no more than the tolerance in the card are read: their first or
    last value is held.

    Returns:
        The converted library, and a note per conversion.

    Raises:
        InputError: the spectra do not cover the wavelengths of the model, have a gap there, or one is constant there.
    """
    wavelengths_nm, quantity = np.array(card["input"]["wavelengths_nm"]), card["input"]["quantity"]
    spectra, notes = library.spectra, []
    scan_nm = library.wavelengths_nm
    _check_ends(library, wavelengths_nm, input_end_tolerance_nm(card))
    _check_gaps(library, wavelengths_nm, float(np.diff(card["front_end"]["grid_nm"])[0]))
    if library.quantity != quantity:
        spectra = np.log10(1 / np.maximum(spectra, REFLECTANCE_FLOOR)) if quantity == "absorbance" else 10.0**-spectra
        notes.append(f"{library.quantity} converted to {quantity}, which the model reads")
    if len(scan_nm) != len(wavelengths_nm) or np.abs(scan_nm - wavelengths_nm).max() > 1e-6:
        # np.interp holds the first and the last value beyond the ends.
        spectra = np.stack([np.interp(wavelengths_nm, scan_nm, spectrum) for spectrum in spectra])
        notes += held_ends(scan_nm, wavelengths_nm, "the model")
        notes.append(f"interpolated from {len(scan_nm)} bands to the model's {len(wavelengths_nm)}")
    ready = replace(library, spectra=spectra.astype("float32"), wavelengths_nm=wavelengths_nm, quantity=quantity)
    return ready.checked(), tuple(notes)


def _check_ends(
    library: SpectralLibrary, wavelengths_nm: npt.NDArray[np.float64], tolerance_nm: tuple[float, float]
) -> None:
    """Refuse scans that miss an end of the model's wavelengths by more than the tolerance.

    Raises:
        InputError: names the end and the distance.
    """
    scan_nm = library.wavelengths_nm
    if not (missed := missed_ends(scan_nm, wavelengths_nm, tolerance_nm)):
        return
    start = math.ceil(max(scan_nm[0], wavelengths_nm[0]))
    stop = math.floor(min(scan_nm[-1], wavelengths_nm[-1]))
    common = f"--set front_end.start_nm={start} --set front_end.stop_nm={stop}"
    raise InputError(
        f"{library.source}: bands {nm_text(scan_nm[0])}..{nm_text(scan_nm[-1])} nm do not cover the model's "
        f"{nm_text(wavelengths_nm[0])}..{nm_text(wavelengths_nm[-1])} nm: they miss {missed}; scan that range"
        + (f", or train a model for the common range (python -m relple_tf.train {common})" if start < stop else "")
    )


def _check_gaps(library: SpectralLibrary, wavelengths_nm: npt.NDArray[np.float64], step_nm: float) -> None:
    """Refuse scans with a gap at wavelengths of the model that lie between their first and last band.

    Linear interpolation over a gap gives a smooth spectrum, which T2 and Q may not detect. `_check_ends` decides on
    wavelengths beyond the first and last band.

    Args:
        library: The scans.
        wavelengths_nm: (bands,) wavelengths of the model.
        step_nm: Step of the front end's grid. The largest allowed distance to the nearest band is this step, or the
            local spacing of the model's wavelengths if that is larger.

    Raises:
        InputError: names the first wavelength without a band near it.
    """
    scan_nm = library.wavelengths_nm
    after = np.clip(np.searchsorted(scan_nm, wavelengths_nm), 1, len(scan_nm) - 1)
    distance = np.minimum(np.abs(wavelengths_nm - scan_nm[after - 1]), np.abs(wavelengths_nm - scan_nm[after]))
    allowed = np.maximum(step_nm, np.gradient(wavelengths_nm))
    inside = (wavelengths_nm >= scan_nm[0]) & (wavelengths_nm <= scan_nm[-1])
    if (gaps := np.flatnonzero(inside & (distance > allowed + SAME_NM))).size:
        first = gaps[0]
        raise InputError(
            f"{library.source}: no band within {allowed[first]:.3g} nm of {nm_text(wavelengths_nm[first])} nm, which "
            f"the model reads ({gaps.size} such wavelengths): complete the scans, or train a model without that range"
        )
