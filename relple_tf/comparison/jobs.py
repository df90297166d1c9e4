"""Networks and baselines on the same soils, many times: the jobs of a comparison.

A job is one model on one draw. It leaves one file, whole or not at all, so a comparison that was cut off goes on with
the jobs that are missing.
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
from relple_tf.comparison.folder import JOBS, ComparisonPlan, claim, fingerprint, read_job, write_result
from relple_tf.comparison.resampling import UNUSED, Parts, Resample, resamples
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

LONGEST_FIRST = ("cubist", "extra_trees", "svr", "plsr")
"""After the networks; a long job that starts last would keep all other processes waiting."""

Predictions = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One model on one draw."""

    model: str
    draw: Resample

    @property
    def file(self) -> str:
        """Where its result stands below JOBS."""
        return f"{self.draw.name}-{self.model}.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedData:
    """What all jobs share."""

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
    """Run what is missing of `plan` and fill `folder`.

    Args:
        workers: Processes at most; 0 is one per core.
        notify: Told what was decided about the data, and what is being done.

    Raises:
        InputError: the library cannot be divided as asked, the folder belongs to other data, or a process died.
    """
    for config in plan.models.values():
        front_end.in_range(library, config.front_end)
    drawn, notes = resamples(front_end.in_range(library, plan.config.front_end), plan.config, plan.repeats)
    jobs = [Job(model=model, draw=draw) for draw in drawn for model in plan.models]
    library_sha256 = data_hash(library)
    claim(folder, plan, fingerprint(library_sha256, drawn))
    notes = (*library.notes, *notes)
    for note in notes:
        notify(note)
    notify(f"{len(library)} soils x {len(library.wavelengths_nm)} bands; {len(jobs)} models to fit; {folder.path}")
    shared = SharedData(library=library, models=plan.models, jobs=folder.path / JOBS)
    missing = [job for job in jobs if not (shared.jobs / job.file).exists()]
    missing.sort(key=lambda job: (job.model in BASELINES and 1 + LONGEST_FIRST.index(job.model), -job.draw.soils))
    try:
        with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="fit", desc="compare") as bar:
            run_all(run_job, missing, shared, workers=workers, finished=lambda *_: bar.update())
    except ProcessDiedError:
        raise InputError(
            "a process died, for lack of memory mostly; what is done is kept; continue with: python -m "
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
    write_result(result, drawn, folder)
    return result


def run_job(shared: SharedData, job: Job) -> None:
    """Fit, predict, score, and write one row for each target."""
    keras.backend.clear_session()  # the hundredth network of a process is to find what the first one found
    draw, kept = job.draw, job.draw.parts != UNUSED
    library, parts = shared.library.rows(kept), draw.parts[kept]
    config = replace(shared.models[job.model], training__seed=draw.seed)
    started_s = time.perf_counter()
    settings: dict[str, str] = {}
    trusted: dict[str, dict[str, float | None]] = {}
    if job.model in BASELINES:
        predictions, settings = baseline_predictions(job.model, library, parts, config)
    else:
        predictions, trusted = network_predictions(library, parts, config)
    fit_s = round(time.perf_counter() - started_s, 1)
    test = parts == "test"
    rows = [
        {"seed": draw.seed, "fold": draw.fold, "soils": draw.soils, "model": job.model, "target": target}
        | scores(values[test], predictions[target][test])
        | trusted.get(target, {"coverage": None, "flagged": None})
        | {"fit_s": fit_s, "settings": settings.get(target, "")}
        for target, values in library.targets.items()
    ]
    write_json(shared.jobs / job.file, rows)


def network_predictions(
    library: SpectralLibrary, parts: Parts, config: Config
) -> tuple[Predictions, dict[str, dict[str, float | None]]]:
    """Target -> (n,) in laboratory units, by a network trained as `relple_tf.train` does.

    Returns:
        Also target -> what its intervals and the domain do on the test rows: the share of the laboratory values within
        the interval (None without intervals), and that of the scans that are flagged.
    """
    library = front_end.in_range(library, config.front_end)
    fitted = fit_model(library, parts, replace(config, training__workers=1), show=False)
    outputs = estimates(fitted.model, library.spectra)
    reliability = fitted.reliability
    predictions = {target: outputs[target] for target in library.targets}
    test = parts == "test"
    flagged = float(np.mean(status(predictions, outputs[T2], outputs[Q], reliability.limits)[test] != "ok"))
    difficulty = reliability.limits.difficulty(outputs[T2][test])
    trusted: dict[str, dict[str, float | None]] = {}
    for target, values in library.targets.items():
        coverage = None
        if target in reliability.intervals:
            interval = reliability.intervals[target]
            coverage = achieved_coverage(interval, values[test], predictions[target][test], difficulty)["coverage"]
        trusted[target] = {"coverage": coverage, "flagged": flagged}
    return predictions, trusted


def baseline_predictions(
    name: str, library: SpectralLibrary, parts: Parts, config: Config
) -> tuple[Predictions, dict[str, str]]:
    """Likewise by a baseline that is fitted on train and validation, and its settings in words."""
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
