"""Adapt a run: read its folder and the local soils, adapt each target, and write an ordinary run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.adaptation.combination import COMBINED, FEWEST_SAMPLES, LocalSoils, combine
from relple_tf.adaptation.corrections import widened_scale
from relple_tf.adaptation.instrument import InstrumentCorrection
from relple_tf.adaptation.instrument_run import corrected_run
from relple_tf.adaptation.reliability import LocalErrors, widened_limits
from relple_tf.adaptation.result import Adaptation, TargetAdaptation
from relple_tf.adaptation.stored_run import StoredRun, read_run, rebuilt, refuse_known_scans
from relple_tf.adaptation.writing import write_adapted
from relple_tf.errors import InputError
from relple_tf.models.deployed import (
    KERNEL_REGRESSION,
    LOCAL_REGRESSION,
    LOCAL_SLOPE,
    T2,
    LocalPart,
    Q,
)
from relple_tf.models.domain import Limits, status
from relple_tf.models.views import view_name
from relple_tf.pipeline import scaled
from relple_tf.prediction.runs import estimates, to_model_input
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import group_labels

Floats = npt.NDArray[np.float64]


def adapt_run(
    run_folder: Path,
    local: SpectralLibrary,
    folder: RunFolder,
    *,
    notify: Callable[[str], None],
    correct: Callable[[StoredRun], InstrumentCorrection] | None = None,
) -> Adaptation:
    """Adapt a run to local soils, and write the adapted run.

    Args:
        run_folder: Folder of the run; not changed.
        local: Local soils with laboratory values, on any wavelengths that cover those of the run.
        folder: Of the adapted run, locked.
        notify: Prints a line to the user.
        correct: Fits the correction of the instrument of the local soils; None: the run reads that instrument.

    Raises:
        InputError: the run is damaged or has no stored data; the local soils have no target of the run, too few
            laboratory values, or scans of the library; their wavelengths do not cover those of the model; or a target
            is not adapted although the instrument changes.
    """
    run = read_run(run_folder)
    common = [name for name in run.card["targets"] if name in local.targets]
    if not common:
        raise InputError(
            f"{local.source}: expected laboratory values of a target of {run_folder}, which are "
            f"{', '.join(run.card['targets'])}; received {', '.join(local.targets)}"
        )
    converted, notes = to_model_input(local, run.card)
    refuse_known_scans(run, converted)
    notes = (*local.notes, *notes)
    if correct is None:
        result = adaptation(run, converted, notes)
    else:
        _refuse_unmeasured(run, converted)
        correction = correct(run)
        if shared := len(correction.samples & set(local.sample_labels.tolist())):
            doubt = "their errors and the intervals are too small where the library holds these samples"
            notes = (*notes, f"warning: {shared} local samples are also samples of --paired; {doubt}")
        result = adaptation(corrected_run(run, correction), converted, (*notes, *correction.notes))
        result = replace(result, instrument=correction)
    for note in (*result.notes, *(f"warning: {doubt}" for doubt in local.doubts)):
        notify(note)
    write_adapted(run, result, folder)
    return result


def _refuse_unmeasured(run: StoredRun, local: SpectralLibrary) -> None:
    """The test soils of the run were not scanned on the new instrument: a target without local values has no test."""
    samples, missing = group_labels(local, keep_groups=False), np.full(len(local), np.nan)
    unmeasured = [name for name in run.card["targets"] if _reason_against(local.targets.get(name, missing), samples)]
    if unmeasured:
        raise InputError(
            f"{local.source}: expected different laboratory values of at least {FEWEST_SAMPLES} local samples for "
            f"every target, because the instrument changes and no other scan tests the model; received too few of "
            f"{', '.join(unmeasured)}; measure them, or train a run without them (--targets)"
        )


def adaptation(run: StoredRun, local: SpectralLibrary, notes: tuple[str, ...] = ()) -> Adaptation:
    """Adapt all targets, intervals and limits, and build the adapted model.

    Args:
        run: From `read_run`.
        local: Local soils on the wavelengths of the model, in its quantity.
        notes: To repeat in the report.

    Raises:
        InputError: no target has enough laboratory values.
    """
    samples = group_labels(local, keep_groups=False)
    before = estimates(run.model, local.spectra)
    scales, measured, reasons = [], {}, {}
    for scale in run.scales:
        values = local.targets.get(scale.name, np.full(len(local), np.nan))
        if reason := _reason_against(values, samples):
            reasons[scale.name] = reason
            scales.append(scale)
        else:
            measured[scale.name] = scale.to_model(values)
            scales.append(widened_scale(scale, values))
    if not measured:
        given = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if name in local.targets)
        raise InputError(f"{local.source}: {given}; nothing can be adapted; measure more local soils")
    unchanged = (f"warning: {name}: {reason}; its estimates are unchanged" for name, reason in reasons.items())
    notes = (*notes, *unchanged)
    soils = local_soils(run, local.spectra, measured, samples)
    number = len(LocalPart.all_of(run.model)) + 1
    combinations, regression = combine(
        soils, run.config.model.landmarks, run.config.training.seed, LOCAL_REGRESSION.format(number)
    )
    slopes = [combinations[name].slope if name in combinations else 1.0 for name in soils.estimated]
    part = LocalPart(slope=scaled(np.array(slopes), LOCAL_SLOPE.format(number)), regression=regression)
    model = rebuilt(run, scales=scales, local=[part])
    domain = run.card["domain"]
    limits = Limits(t2=domain["limits"][T2], q=domain["limits"][Q], share=domain["share_within"])
    wide = widened_limits(
        limits,
        before,
        lambda spectra: estimates(model, spectra),
        local.wavelengths_nm,
        local.quantity,
        tuple(run.card["targets"]),
    )
    after = estimates(model, local.spectra)
    targets = {}
    missing = np.full(len(local), np.nan)
    for scale in run.scales:
        name, combination = scale.name, combinations.get(scale.name)
        errors = LocalErrors(
            widening=(wide.t2 / limits.t2) ** 0.5,
            scale=scale,
            measured=measured.get(name, missing),
            held_out=missing if combination is None else combination.held_out[COMBINED],
            difficulty=wide.difficulty(after[T2]),
            samples=samples,
        )
        stored = run.interval(name)
        targets[name] = TargetAdaptation(
            scale=scale,
            combination=combination,
            interval=None if stored is None else errors(stored),
            local_errors=errors,
        )
    return Adaptation(
        source=str(run.folder),
        local=local,
        targets=targets,
        model=model,
        before=before,
        after=after,
        limits_before=limits,
        limits=wide,
        status_before=status({name: before[name] for name in targets}, before[T2], before[Q], limits),
        status=status({name: after[name] for name in targets}, after[T2], after[Q], wide),
        notes=notes,
    )


def _reason_against(values: Floats, samples: npt.NDArray[np.intp]) -> str:
    """Why a target cannot be adapted with these laboratory values (n,); empty if it can."""
    known = np.isfinite(values)
    if (count := len(np.unique(samples[known]))) < FEWEST_SAMPLES:
        return f"expected at least {FEWEST_SAMPLES} samples with a laboratory value, received {count}"
    if np.ptp(values[known]) == 0:
        return f"expected laboratory values that differ, received {count} times {values[known][0]:g}"
    return ""


def local_soils(
    run: StoredRun,
    spectra: npt.NDArray[np.float32],
    measured: dict[str, Floats],
    samples: npt.NDArray[np.intp],
) -> LocalSoils:
    """Estimates and scores of local scans (n, bands); `measured` and `samples` as in `LocalSoils`."""
    model, regression = run.model, run.model.get_layer(KERNEL_REGRESSION)
    inside = keras.Model(model.input, [model.get_layer("target_scaling").input, *keras.tree.flatten(regression.input)])
    estimated, *scores = inside.predict(spectra, verbose=0)
    network = model.get_layer(run.config.model.architecture)
    columns = estimated.astype("float64").T
    return LocalSoils(
        estimated={scale.name: column for scale, column in zip(run.scales, columns, strict=True)},
        measured=measured,
        scores=tuple(scores),
        kernels=tuple(np.asarray(network.get_layer(view_name(number)).kernel) for number in range(len(scores))),
        samples=samples,
    )
