"""The jobs of a comparison: each fits one model on one resample.

A job writes its result file atomically, so an interrupted comparison resumes with the missing jobs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.baselines.grid_search import BASELINES
from relple_tf.comparison.folder import JOBS, ComparisonPlan, begin_or_check, fingerprint, read_job, write_result
from relple_tf.comparison.resampling import UNUSED, Parts, Resample, make_resamples
from relple_tf.comparison.result import ComparisonResult
from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.evaluation.metrics import scores
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import fit_model
from relple_tf.prediction.runs import estimates
from relple_tf.processes import ProcessDiedError, run_all
from relple_tf.progress import tqdm
from relple_tf.runs.folder import RunFolder, data_hash, write_json
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import whole_groups
from relple_tf.training.intervals import achieved_coverage

LONGEST_FIRST = ("tabpfn", "tabicl", "gaussian_process", "cubist", "extra_trees", "svr", "plsr")
"""Order of the baselines, after the networks: a long job that starts last would leave the other processes idle."""

Predictions = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One model on one resample."""

    model: str
    resample: Resample

    @property
    def file(self) -> str:
        """Name of the result file in JOBS."""
        return f"{self.resample.name}-{self.model}.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedData:
    """Data shared by all jobs."""

    library: SpectralLibrary
    models: dict[str, Config]
    jobs: Path


def compare(
    library: SpectralLibrary,
    plan: ComparisonPlan,
    folder: RunFolder,
    workers: int,
    *,
    notify: Callable[[str], None],
) -> ComparisonResult:
    """Run the missing jobs of `plan` and write the results into `folder`.

    Args:
        library: All rows.
        plan: Models, data, split and repeats.
        folder: New or to resume.
        workers: Maximum number of processes; 0 for one per core.
        notify: Receives the notes on the data and the progress messages.

    Raises:
        InputError: the library cannot be split as configured, the folder belongs to other data, or a process died.
    """
    for config in plan.models.values():
        front_end.in_range(library, config.front_end)
    resamples, split_notes = make_resamples(
        front_end.in_range(library, plan.config.front_end), plan.config, plan.repeats
    )
    jobs = [Job(model=model, resample=resample) for resample in resamples for model in plan.models]
    library_sha256 = data_hash(library)
    begin_or_check(folder, plan, fingerprint(library_sha256, resamples))
    notes = (*library.notes, *(f"warning: {doubt}" for doubt in library.doubts), *split_notes)
    for note in notes:
        notify(note)
    notify(f"{library.size} x {len(library.wavelengths_nm)} bands; {len(jobs)} models to fit; {folder.path}")
    shared = SharedData(library=library, models=plan.models, jobs=folder.path / JOBS)
    missing = [job for job in jobs if not (shared.jobs / job.file).exists()]
    missing.sort(key=lambda job: (job.model in BASELINES and 1 + LONGEST_FIRST.index(job.model), -job.resample.soils))
    try:
        with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="fit", desc="compare") as bar:
            run_all(run_job, missing, shared, workers=workers, finished=lambda *_: bar.update())
    except ProcessDiedError:
        raise InputError(
            "a process died, probably because memory ran out; the finished jobs are kept; continue with: python -m "
            f"relple_tf.compare --out {folder.path} --resume --set comparison.workers=1"
        ) from None
    rows = [row for job in jobs for row in read_job(folder.path / JOBS / job.file)]
    result = ComparisonResult(
        config=plan.config,
        models=tuple(plan.models),
        library=library,
        library_sha256=library_sha256,
        table=pd.DataFrame(rows),
        notes=notes,
        repeats=plan.repeats,
    )
    write_result(result, resamples, folder)
    return result


def run_job(shared: SharedData, job: Job) -> None:
    """Fit, predict, compute the metrics, and write a row for each target."""
    keras.backend.clear_session()  # every network of a process starts from the same state
    resample, used = job.resample, job.resample.parts != UNUSED
    library, parts = shared.library.rows(used), resample.parts[used]
    config = replace(shared.models[job.model], training__seed=resample.seed)
    started_s = time.perf_counter()
    settings: dict[str, str] = {}
    reliability: dict[str, dict[str, float | None]] = {}
    if job.model in BASELINES:
        predictions, settings = baseline_predictions(job.model, library, parts, config)
    else:
        predictions, reliability = network_predictions(library, parts, config)
    fit_s = round(time.perf_counter() - started_s, 1)
    test = parts == "test"
    rows = [
        {"seed": resample.seed, "fold": resample.fold, "soils": resample.soils, "model": job.model, "target": target}
        | scores(values[test], predictions[target][test])
        | reliability.get(target, {"coverage": None, "flagged": None})
        | {"fit_s": fit_s, "settings": settings.get(target, "")}
        for target, values in library.targets.items()
    ]
    write_json(shared.jobs / job.file, rows)


def network_predictions(
    library: SpectralLibrary, parts: Parts, config: Config
) -> tuple[Predictions, dict[str, dict[str, float | None]]]:
    """Predictions of a network trained as by `relple_tf.train`.

    Returns:
        Target -> (n,) predictions in laboratory units, and target -> coverage and flagged on the test rows: the
        fraction of the laboratory values inside the interval (None without intervals), and the fraction of the scans
        whose status is not `ok`.
    """
    library = front_end.in_range(library, config.front_end)
    fitted = fit_model(library, parts, replace(config, training__workers=1), show=False)
    outputs = estimates(fitted.model, library.spectra)
    reliability = fitted.reliability
    predictions = {target: outputs[target] for target in library.targets}
    test = parts == "test"
    flagged = float(np.mean(status(predictions, outputs[T2], outputs[Q], reliability.limits)[test] != "ok"))
    difficulty = reliability.limits.difficulty(outputs[T2][test])
    test_reliability: dict[str, dict[str, float | None]] = {}
    for target, values in library.targets.items():
        coverage = None
        if target in reliability.intervals:
            interval = reliability.intervals[target]
            coverage = achieved_coverage(interval, values[test], predictions[target][test], difficulty)["coverage"]
        test_reliability[target] = {"coverage": coverage, "flagged": flagged}
    return predictions, test_reliability


def baseline_predictions(
    name: str, library: SpectralLibrary, parts: Parts, config: Config
) -> tuple[Predictions, dict[str, str]]:
    """Predictions of a baseline fitted on train and validation rows, and target -> selected settings as text."""
    library = front_end.in_range(library, config.front_end)
    stage = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config.front_end)
    return BASELINES[name](
        front_end.apply(stage, library.spectra),
        library.targets,
        parts != "test",
        whole_groups(library, parts, config.split.block_km),
        [TargetScale.fit(target, values[parts == "train"]) for target, values in library.targets.items()],
        window_points=front_end.window_points(config.front_end),
        polynomial=config.front_end.derivative_polynomial,
        seed=config.training.seed,
    )
