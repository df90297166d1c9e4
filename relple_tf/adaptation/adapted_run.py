"""Adapt a run: read its folder and the local soils, adapt each target, and write an ordinary run folder."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.adaptation.combination import COMBINED, FEWEST_SAMPLES, LocalSoils, combine
from relple_tf.adaptation.corrections import widened_scale
from relple_tf.adaptation.reliability import LocalErrors, widened_limits
from relple_tf.adaptation.result import Adaptation, TargetAdaptation
from relple_tf.adaptation.stored_run import StoredRun, read_run, refuse_known_scans
from relple_tf.adaptation.writing import write_adapted
from relple_tf.errors import InputError
from relple_tf.models.deployed import (
    KERNEL_REGRESSION,
    LOCAL_REGRESSION,
    LOCAL_SLOPE,
    T2,
    KernelPart,
    LocalPart,
    Q,
    deployed_model,
)
from relple_tf.models.domain import Limits, status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.models.views import view_name
from relple_tf.pipeline import scaled
from relple_tf.prediction.runs import estimates, to_model_input
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import group_labels

Floats = npt.NDArray[np.float64]


def adapt_run(
    run_folder: Path, local: SpectralLibrary, folder: RunFolder, *, notify: Callable[[str], None]
) -> Adaptation:
    """Adapt a run to local soils, and write the adapted run.

    Args:
        run_folder: Folder of the run; not changed.
        local: Local soils with laboratory values, on any wavelengths that cover those of the run.
        folder: Of the adapted run, locked.
        notify: Prints a line to the user.

    Raises:
        InputError: the run is damaged or has no stored data; the local soils have no target of the run, too few
            laboratory values, or scans of the library; or their wavelengths do not cover those of the model.
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
    result = adaptation(run, converted, (*local.notes, *notes))
    for note in (*result.notes, *(f"warning: {doubt}" for doubt in local.doubts)):
        notify(note)
    write_adapted(run, result, folder)
    return result


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
    model = _rebuilt(run, scales, part)
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


def _rebuilt(run: StoredRun, scales: list[TargetScale], local: LocalPart) -> keras.Model:
    """The deployed model with other scales of the targets, and a further adaptation."""
    full = run.model.get_layer(run.config.model.architecture)
    return deployed_model(
        run.model.get_layer("absorbance_stage"),
        run.model.get_layer("channel_stage"),
        keras.Model(full.input, full.output[0], name=full.name),
        scales,
        run.model.get_layer("domain_statistics"),
        KernelPart.of(run.model),
        (*LocalPart.all_of(run.model), local),
    )
