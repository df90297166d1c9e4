"""Read scans of two instruments as a run reads scans, and put a correction of the new instrument into its model."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.adaptation.instrument import Estimate, InstrumentCorrection, paired_correction, reference_correction
from relple_tf.adaptation.stored_run import StoredRun, rebuilt
from relple_tf.errors import InputError
from relple_tf.models import front_end
from relple_tf.models.instrument import grid_stage, transfers_of, with_transfers, without_transfers
from relple_tf.prediction.runs import to_model_input
from relple_tf.spectra.checks.quantity import Declared
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_scans
from relple_tf.spectra.replicates import average_replicates

Floats = npt.NDArray[np.float64]
Files = tuple[Path, Path]
"""Scans on the instrument that the run reads, and on the new one."""

FEWEST_PAIRS = 5
NAMED = 5
"""Dropped samples that a note names."""


def correction(
    paired: Sequence[Path] | None, reference: Sequence[Path] | None
) -> Callable[[StoredRun], InstrumentCorrection] | None:
    """How to correct the instrument with the options `--paired` or `--reference`, two files each; None without.

    Raises:
        InputError: both files are the same.
    """
    if (given := paired or reference) is None:
        return None
    files = (given[0], given[1])
    if files[0].resolve() == files[1].resolve():
        raise InputError(f"expected scans of two instruments; received {files[0]} twice")
    return partial(correction_from_pairs if paired else correction_from_reference, files=files)


def correction_from_pairs(run: StoredRun, files: Files) -> InstrumentCorrection:
    """Choose and fit a correction from scans of the same samples, matched by name; scans of a sample are averaged.

    Raises:
        InputError: a file is invalid or does not cover the wavelengths of the model, both are the same, or fewer than
            FEWEST_PAIRS samples are in both.
    """
    (first, first_notes), (second, second_notes) = read_scans_of_both(run, files)
    labels = [name for name in first.ids.tolist() if name in set(second.ids.tolist())]
    if len(labels) < FEWEST_PAIRS:
        raise InputError(
            f"--paired: expected at least {FEWEST_PAIRS} samples with the same name in {files[0]} and {files[1]}; "
            f"received {len(labels)} (names such as {first.ids[0]} and {second.ids[0]})"
        )
    notes = [*first_notes, *second_notes]
    for file, library in zip(files, (first, second), strict=True):
        if dropped := [name for name in library.ids.tolist() if name not in set(labels)]:
            more = f" and {len(dropped) - NAMED} more" if len(dropped) > NAMED else ""
            notes.append(f"{file}: samples without a scan on the other instrument: {', '.join(dropped[:NAMED])}{more}")
    on_first, on_second = (on_grid(run, library.rows(_positions(library.ids, labels))) for library in (first, second))
    sources = (str(files[0]), str(files[1]))
    fitted = paired_correction(on_first, on_second, estimator(run), sources=sources, samples=labels)
    return dataclasses.replace(fitted, notes=tuple(notes))


def correction_from_reference(run: StoredRun, files: Files) -> InstrumentCorrection:
    """Fit a factor of the reflectance per band from scans of one material on both instruments.

    Raises:
        InputError: a file is invalid or does not cover the wavelengths of the model, or both are the same.
    """
    (first, first_notes), (second, second_notes) = read_scans_of_both(run, files)
    fitted = reference_correction(on_grid(run, first), on_grid(run, second), sources=(str(files[0]), str(files[1])))
    return dataclasses.replace(fitted, notes=(*first_notes, *second_notes))


def read_scans_of_both(run: StoredRun, files: Files) -> list[tuple[SpectralLibrary, tuple[str, ...]]]:
    """Read the scans of both instruments, a row per sample, on the wavelengths and in the quantity of the model.

    Returns:
        For each file the scans, and notes on how they were read and converted.

    Raises:
        InputError: a file is invalid, does not cover the wavelengths of the model, or holds the scans of the other.
    """
    config, scans = run.config, []
    declared = Declared(fallback=run.card["input"]["quantity"], model_scale=config.data.scale)
    data = dataclasses.replace(config.data, lab="", targets=(), group_column="", sensor="", replicates="keep")
    for file in files:
        if not file.exists():
            raise InputError(f"no file '{file}'; expected a table, an instrument file or a folder of scans")
        library = read_scans(file, data, config.limits, declared)
        averaged = average_replicates(library) if len(np.unique(library.sample_labels)) < len(library) else library
        ready, notes = to_model_input(dataclasses.replace(averaged, ids=averaged.sample_labels), run.card)
        doubts = (f"warning: {doubt}" for doubt in library.doubts)
        scans.append((ready, tuple(f"{file}: {note}" for note in (*averaged.notes, *notes, *doubts))))
    (first, _), (second, _) = scans
    if first.spectra.shape == second.spectra.shape and np.array_equal(first.spectra, second.spectra):
        raise InputError(f"expected scans of two instruments; {files[0]} and {files[1]} hold the same scans")
    return scans


def _positions(ids: npt.NDArray[np.str_], labels: list[str]) -> npt.NDArray[np.intp]:
    """(len(labels),) rows of these names, which are unique."""
    position = {name: row for row, name in enumerate(ids.tolist())}
    return np.array([position[name] for name in labels], np.intp)


def on_grid(run: StoredRun, library: SpectralLibrary) -> Floats:
    """Absorbance (n, grid) of scans on the wavelengths and in the quantity of the model, before every correction.

    Raises:
        InputError: a scan is constant there.
    """
    stage = without_transfers(run.model.get_layer("absorbance_stage"))
    absorbance = front_end.apply(stage, library.spectra).astype("float64")
    if (bad := np.flatnonzero(np.isnan(absorbance).any(axis=1))).size:
        raise InputError(f"{library.source}: {library.row_name(bad[0])} is constant; remove the scan")
    return absorbance


def estimator(run: StoredRun) -> Estimate:
    """Estimates in SDs on the modelled scale from absorbance of the instrument that the run reads."""
    stage = run.model.get_layer("absorbance_stage")
    model = rebuilt(run, absorbance=grid_stage(stage.output.shape[1], transfers_of(stage)))
    inside = keras.Model(model.input, model.get_layer("target_scaling").input)

    def estimate(absorbance: Floats) -> Floats:
        return np.asarray(inside.predict(absorbance.astype("float32"), verbose=0), np.float64)

    return estimate


def corrected_run(run: StoredRun, correction: InstrumentCorrection) -> StoredRun:
    """The run with a model that reads scans of the new instrument; its library stays as it is."""
    stage = run.model.get_layer("absorbance_stage")
    transfers = transfers_of(stage)
    if (layer := correction.layer(len(transfers) + 1)) is None:
        return run
    model = rebuilt(run, absorbance=with_transfers(stage, (layer, *transfers)))
    # A copy: `input` of a layer that two models share is that of the first.
    separate = keras.models.clone_model(model)
    separate.set_weights(model.get_weights())
    return dataclasses.replace(run, model=separate)
