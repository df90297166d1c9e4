"""The folder of a comparison: the plan, a result file per job, and the final tables and page."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relple_tf.artefacts.reading import read_json
from relple_tf.artefacts.schema import NAME, OBJECT, SHA256, TEXT, check, integer, items, number, or_null
from relple_tf.atomic_files import write_table, write_text
from relple_tf.comparison.report import comparison_report
from relple_tf.comparison.resampling import Resample
from relple_tf.comparison.result import ComparisonResult
from relple_tf.config import BASELINE_NAMES, Config
from relple_tf.config_text import to_toml
from relple_tf.errors import InputError
from relple_tf.runs.folder import CONFIG, RunFolder, holds_only, read_config, write_json, write_manifest

PLAN = "plan.json"
JOBS, CONFIGS = "jobs", "configs"
"""Subfolders: results of the finished jobs; the config of each network, for `relple_tf.train --config`."""
BEFORE_PLAN = {CONFIG, JOBS, CONFIGS}
"""Files and folders that are written before the plan."""
TABLE, PAGE, SPLITS = "compare.csv", "compare.html", "splits.csv"

REMEDY = "restore it, or start a new comparison with another --out"
"""How to repair a comparison with a damaged file."""

PLAN_RULES = {
    "": OBJECT,
    "models": items(1, 1000),
    "models.*": NAME,
    "repeats": integer(1, 1_000_000),
    "fingerprint": SHA256,
}
JOB_RULES = {
    "": items(1, 1000),
    "*": OBJECT,
    "*.seed": integer(0, 1 << 62),
    "*.fold": integer(0, 1_000_000),
    "*.soils": integer(0, 1 << 62),
    "*.model": NAME,
    "*.target": NAME,
    "*.n": integer(0, 1 << 62),
    **{
        f"*.{figure}": or_null(number(-1e300, 1e300))
        for figure in ("r2", "rmse", "mae", "bias", "sep", "rpd", "rpiq", "ccc", "coverage", "flagged")
    },
    "*.fit_s": number(0, 1e9),
    "*.settings": TEXT,
}


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is compared: the models, the data and the number of repeats."""

    config: Config
    """Data, split, comparison and base seed; also the front end of the baselines."""
    models: dict[str, Config]
    """Name -> config; the first model is compared with each other model. The config of a baseline is `config`."""
    repeats: int


def fingerprint(library_sha256: str, resamples: list[Resample]) -> str:
    """SHA-256 of the data and of the parts of every resample; only results with the same hash are comparable."""
    digest = hashlib.sha256(library_sha256.encode())
    for resample in resamples:
        digest.update(f"\n{resample.name} {' '.join(resample.parts.tolist())}".encode())
    return digest.hexdigest()


def begin_or_check(folder: RunFolder, plan: ComparisonPlan, sha256: str) -> None:
    """Write the plan into a new folder; in a folder to resume, check that the data and the resamples are unchanged.

    Args:
        folder: The folder, new or to resume.
        plan: Of the comparison.
        sha256: From `fingerprint`.

    Raises:
        InputError: the data or the resamples differ from those of the plan in the folder.
    """
    if not folder.resumed:
        folder.begin(plan.config)
    if (folder.path / PLAN).exists():
        if _read(folder.path)["fingerprint"] != sha256:
            raise InputError(
                f"{folder.path}: the data or their split changed since this comparison was started; restore the old "
                "data, or start a new comparison with another --out"
            )
        return
    (folder.path / JOBS).mkdir(exist_ok=True)
    (folder.path / CONFIGS).mkdir(exist_ok=True)
    for model, config in plan.models.items():
        if model not in BASELINE_NAMES:
            write_text(folder.path / CONFIGS / f"{model}.toml", to_toml(config))
    write_json(folder.path / PLAN, {"models": list(plan.models), "repeats": plan.repeats, "fingerprint": sha256})


def read_plan(folder: Path) -> ComparisonPlan:
    """The plan of the comparison in `folder`.

    Raises:
        InputError: the folder holds no comparison, or a file of it is damaged.
    """
    if not (folder / PLAN).is_file():
        if holds_only(folder, BEFORE_PLAN):
            raise InputError(f"{folder}: was interrupted before its plan was written; repeat its command with --resume")
        raise InputError(f"{folder}: holds no comparison to resume; leave out --resume to start one")
    plan = _read(folder)
    config = read_config(folder / CONFIG)
    models = {
        model: config if model in BASELINE_NAMES else read_config(folder / CONFIGS / f"{model}.toml")
        for model in plan["models"]
    }
    return ComparisonPlan(config=config, models=models, repeats=plan["repeats"])


def _read(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = read_json(folder / PLAN, REMEDY)
    check(plan, PLAN_RULES, folder / PLAN, REMEDY)
    return plan


def read_job(file: Path) -> list[dict[str, Any]]:
    """The rows of a finished job.

    Raises:
        InputError: the file is damaged.
    """
    remedy = "delete it and resume with --resume, which repeats this job"
    rows: list[dict[str, Any]] = read_json(file, remedy)
    check(rows, JOB_RULES, file, remedy)
    return rows


def check_same_plan(folder: Path, plan: ComparisonPlan) -> None:
    """Check that `folder` was started with the same plan; a folder that was interrupted before its plan accepts any.

    Raises:
        InputError: the folder has another plan, or holds something else.
    """
    if not (folder / PLAN).exists() and holds_only(folder, BEFORE_PLAN):
        return
    stored = read_plan(folder)
    if stored != plan or list(stored.models) != list(plan.models):
        raise InputError(
            f"{folder}: was started with other models, settings or repeats; resume it with --out and --resume only"
        )


def write_result(result: ComparisonResult, resamples: list[Resample], folder: RunFolder) -> None:
    """Write the tables and the page, then the manifest."""
    path = folder.path
    names = result.library.name_columns
    table: dict[str, Any] = {**names, **{resample.name: resample.parts for resample in resamples}}
    write_table(path / SPLITS, pd.DataFrame(table))
    write_table(path / TABLE, result.table)
    write_text(path / PAGE, comparison_report(result))
    write_manifest(path, (CONFIG, PLAN, SPLITS, TABLE, PAGE))
