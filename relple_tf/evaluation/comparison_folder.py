"""The folder of a comparison: its plan, the files of its jobs, and at the end its tables and its page."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relple_tf.config import BASELINE_NAMES, Config
from relple_tf.config_text import from_toml, to_toml
from relple_tf.errors import InputError
from relple_tf.evaluation.comparison_report import comparison_report
from relple_tf.evaluation.draws import Draw
from relple_tf.evaluation.outcome import Outcome
from relple_tf.training.files import sha256, write_table, write_text
from relple_tf.training.runs import CONFIG, MANIFEST, RunFolder, holds_only, write_json

PLAN = "plan.json"
JOBS, CONFIGS = "jobs", "configs"
"""Folders: results of the jobs that are done; the config of each network, for `relple_tf.train --config`."""
BEFORE_PLAN = {CONFIG, JOBS, CONFIGS}
"""What is written before the plan."""
TABLE, PAGE, SPLITS = "compare.csv", "compare.html", "splits.csv"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared, as the command says it."""

    config: Config
    """Data, split, comparison and base seed; also the front end of the baselines."""
    models: dict[str, Config]
    """Name -> config, the first is compared with the others; a baseline has `config`."""
    repeats: int


def fingerprint(library_sha256: str, drawn: list[Draw]) -> str:
    """SHA-256 of the data and of every part of every draw; results of two of these are not to be mixed."""
    digest = hashlib.sha256(library_sha256.encode())
    for draw in drawn:
        digest.update(f"\n{draw.name} {' '.join(draw.parts.tolist())}".encode())
    return digest.hexdigest()


def claim(folder: RunFolder, plan: Plan, mark: str) -> None:
    """Begin a folder with its plan; or check that the one to resume holds the same data and draws.

    Raises:
        InputError: it does not.
    """
    if not folder.resumed:
        folder.begin(plan.config)
    if (folder.path / PLAN).exists():
        if json.loads((folder.path / PLAN).read_text(encoding="utf-8"))["fingerprint"] != mark:
            raise InputError(
                f"{folder.path}: the data or their draws changed since this comparison was cut off; bring the old ones "
                "back, or start a new one with another --out"
            )
        return
    (folder.path / JOBS).mkdir(exist_ok=True)
    (folder.path / CONFIGS).mkdir(exist_ok=True)
    for model, config in plan.models.items():
        if model not in BASELINE_NAMES:
            write_text(folder.path / CONFIGS / f"{model}.toml", to_toml(config))
    write_json(folder.path / PLAN, {"models": list(plan.models), "repeats": plan.repeats, "fingerprint": mark})


def read_plan(folder: Path) -> Plan:
    """The plan of the comparison that lives in `folder`.

    Raises:
        InputError: none does.
    """
    if not (folder / PLAN).is_file():
        if holds_only(folder, BEFORE_PLAN):
            raise InputError(f"{folder}: was interrupted before its plan was written; repeat its command with --resume")
        raise InputError(f"{folder}: holds no comparison to resume; leave out --resume to start one")
    written = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    config = from_toml(folder / CONFIG)
    models = {
        model: config if model in BASELINE_NAMES else from_toml(folder / CONFIGS / f"{model}.toml")
        for model in written["models"]
    }
    return Plan(config=config, models=models, repeats=written["repeats"])


def check_same_plan(folder: Path, plan: Plan) -> None:
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


def write_outcome(outcome: Outcome, drawn: list[Draw], folder: RunFolder) -> None:
    """Write the tables and the page, the manifest last."""
    path = folder.path
    table: dict[str, Any] = {"id": outcome.library.ids, **{draw.name: draw.parts for draw in drawn}}
    write_table(path / SPLITS, pd.DataFrame(table))
    write_table(path / TABLE, outcome.table)
    write_text(path / PAGE, comparison_report(outcome))
    write_json(path / MANIFEST, {name: sha256(path / name) for name in (CONFIG, PLAN, SPLITS, TABLE, PAGE)})
