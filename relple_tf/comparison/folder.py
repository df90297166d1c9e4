"""The folder of a comparison: its plan, the files of its jobs, and at the end its tables and its page."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relple_tf.artefacts.reading import read_json
from relple_tf.artefacts.schema import NAME, OBJECT, SHA256, TEXT, check, items, number, or_null, whole
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
"""Folders: results of the jobs that are done; the config of each network, for `relple_tf.train --config`."""
BEFORE_PLAN = {CONFIG, JOBS, CONFIGS}
"""What is written before the plan."""
TABLE, PAGE, SPLITS = "compare.csv", "compare.html", "splits.csv"

WAY_OUT = "restore it, or start a new comparison with another --out"
"""What to do about a damaged file of a comparison."""

PLAN_RULES = {
    "": OBJECT,
    "models": items(1, 1000),
    "models.*": NAME,
    "repeats": whole(1, 1_000_000),
    "fingerprint": SHA256,
}
JOB_RULES = {
    "": items(1, 1000),
    "*": OBJECT,
    "*.seed": whole(0, 1 << 62),
    "*.fold": whole(0, 1_000_000),
    "*.soils": whole(0, 1 << 62),
    "*.model": NAME,
    "*.target": NAME,
    "*.n": whole(0, 1 << 62),
    **{
        f"*.{figure}": or_null(number(-1e300, 1e300))
        for figure in ("r2", "rmse", "mae", "bias", "sep", "rpd", "rpiq", "ccc", "coverage", "flagged")
    },
    "*.fit_s": number(0, 1e9),
    "*.settings": TEXT,
}


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is compared, as the command says it."""

    config: Config
    """Data, split, comparison and base seed; also the front end of the baselines."""
    models: dict[str, Config]
    """Name -> config, the first is compared with the others; a baseline has `config`."""
    repeats: int


def fingerprint(library_sha256: str, drawn: list[Resample]) -> str:
    """SHA-256 of the data and of every part of every draw; results of two of these are not to be mixed."""
    digest = hashlib.sha256(library_sha256.encode())
    for draw in drawn:
        digest.update(f"\n{draw.name} {' '.join(draw.parts.tolist())}".encode())
    return digest.hexdigest()


def claim(folder: RunFolder, plan: ComparisonPlan, mark: str) -> None:
    """Begin a folder with its plan; or check that the one to resume holds the same data and draws.

    Raises:
        InputError: it does not.
    """
    if not folder.resumed:
        folder.begin(plan.config)
    if (folder.path / PLAN).exists():
        if _read(folder.path)["fingerprint"] != mark:
            raise InputError(
                f"{folder.path}: the data or their draws changed since this comparison began; restore the old ones "
                "back, or start a new one with another --out"
            )
        return
    (folder.path / JOBS).mkdir(exist_ok=True)
    (folder.path / CONFIGS).mkdir(exist_ok=True)
    for model, config in plan.models.items():
        if model not in BASELINE_NAMES:
            write_text(folder.path / CONFIGS / f"{model}.toml", to_toml(config))
    write_json(folder.path / PLAN, {"models": list(plan.models), "repeats": plan.repeats, "fingerprint": mark})


def read_plan(folder: Path) -> ComparisonPlan:
    """The plan of the comparison that lives in `folder`.

    Raises:
        InputError: none does, or a file of it is damaged.
    """
    if not (folder / PLAN).is_file():
        if holds_only(folder, BEFORE_PLAN):
            raise InputError(f"{folder}: was interrupted before its plan was written; repeat its command with --resume")
        raise InputError(f"{folder}: holds no comparison to resume; leave out --resume to start one")
    written = _read(folder)
    config = read_config(folder / CONFIG)
    models = {
        model: config if model in BASELINE_NAMES else read_config(folder / CONFIGS / f"{model}.toml")
        for model in written["models"]
    }
    return ComparisonPlan(config=config, models=models, repeats=written["repeats"])


def _read(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = read_json(folder / PLAN, WAY_OUT)
    check(plan, PLAN_RULES, folder / PLAN, WAY_OUT)
    return plan


def read_job(file: Path) -> list[dict[str, Any]]:
    """The rows that a job left.

    Raises:
        InputError: they are damaged.
    """
    way_out = "delete it, and --resume does this job again"
    rows: list[dict[str, Any]] = read_json(file, way_out)
    check(rows, JOB_RULES, file, way_out)
    return rows


def check_same_plan(folder: Path, plan: ComparisonPlan) -> None:
    """Refuse to resume `folder` with another plan than its own; any plan suits where a kill came before the plan.

    Raises:
        InputError: it has another one, or holds something else.
    """
    if not (folder / PLAN).exists() and holds_only(folder, BEFORE_PLAN):
        return
    own = read_plan(folder)
    if own != plan or list(own.models) != list(plan.models):
        raise InputError(
            f"{folder}: its models, their settings or its repeats are not this command's; resume it with --out and "
            "--resume alone"
        )


def write_result(result: ComparisonResult, drawn: list[Resample], folder: RunFolder) -> None:
    """Write the tables and the page, the manifest last."""
    path = folder.path
    table: dict[str, Any] = {"id": result.library.ids, **{draw.name: draw.parts for draw in drawn}}
    write_table(path / SPLITS, pd.DataFrame(table))
    write_table(path / TABLE, result.table)
    write_text(path / PAGE, comparison_report(result))
    write_manifest(path, (CONFIG, PLAN, SPLITS, TABLE, PAGE))
