"""The folder of a search: plan and journal; at the end also the table of trials and the page."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from relple_tf.artefacts.reading import read_json
from relple_tf.artefacts.schema import (
    OBJECT,
    SHA256,
    TEXT,
    check,
    integer,
    items,
    number,
    one_of,
    or_missing,
    or_null,
)
from relple_tf.atomic_files import write_text
from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.runs.folder import CONFIG, RunFolder, holds_only, read_config, write_json
from tuning.space import Space

PLAN, JOURNAL, SPACE = "plan.json", "journal.json", "space.toml"
BEFORE_PLAN = {CONFIG, JOURNAL, SPACE}
"""Files written before the plan."""
BEST, TABLE, PAGE = "best.toml", "trials.csv", "search.html"

REMEDY = "restore it, or start a new search with another --out"
"""Ends the error message about a damaged file."""

MAX_TRIALS = 1_000_000
PLAN_RULES = {
    "": OBJECT,
    "algorithm": one_of("bayesian", "random", "hyperband", "grid"),
    "trials": integer(2, MAX_TRIALS),
    "max_flash": or_null(integer(1, 1 << 62)),
    "max_arena": or_null(integer(1, 1 << 62)),
    "data_sha256": SHA256,
}
JOURNAL_RULES = {"": items(0, 2 * MAX_TRIALS), "*": OBJECT}
DRAW_RULES = {
    "draw": integer(0, MAX_TRIALS),
    "values": OBJECT,
    "seed_state": integer(0, 1 << 62),
    "size": OBJECT,
    "size.flash_bytes": integer(0, 1 << 62),
    "size.arena_bytes": integer(0, 1 << 62),
    "size.weights": integer(0, 1 << 62),
    "rejected": integer(0, 1 << 62),
}
END_RULES = {
    "end": integer(0, MAX_TRIALS),
    "seconds": number(0, 1e9),
    "ended_s": number(0, 1e9),
    "score": or_missing(number(-1e300, 1e300)),
    "r2": or_missing(OBJECT),
    "r2.*": number(-1e300, 1e300),
    "message": or_missing(TEXT),
}


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """The search that the command line asks for."""

    base: Config
    """Config of the flags; trial 0 before `space_of` moved it into the space."""
    space: Space
    file: Path | None
    """TOML file that narrowed the space."""
    algorithm: str
    trials: int
    max_flash: int | None
    """Largest model file in bytes; None: no limit."""
    max_arena: int | None
    """Largest working memory in bytes; None: no limit."""

    def allows(self, size: dict[str, int]) -> bool:
        """Whether the estimates of a `Size` keep within the limits."""
        limits = {"flash_bytes": self.max_flash, "arena_bytes": self.max_arena}
        return all(limit is None or size[name] <= limit for name, limit in limits.items())

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON values, for comparison with the plan of the folder to resume."""
        plan = {
            "algorithm": self.algorithm,
            "trials": self.trials,
            "max_flash": self.max_flash,
            "max_arena": self.max_arena,
            "rules": asdict(self.space.rules),
            "parameters": [asdict(parameter) for parameter in self.space.parameters],
            "start": asdict(self.space.start),
        }
        values: dict[str, Any] = json.loads(json.dumps(plan))
        return values


def claim(folder: RunFolder, plan: SearchPlan, data_sha256: str) -> list[dict[str, Any]]:
    """Write the plan of a new search, or check that the search to resume has the same plan and data.

    Returns:
        The journal so far.

    Raises:
        InputError: the folder holds a search with another plan or other data.
    """
    versions = {name: version(name) for name in ("keras-tuner", "keras", "tensorflow", "scikit-learn")}
    if not (folder.path / PLAN).exists():
        write_json(folder.path / JOURNAL, [])
        if plan.file is not None:
            write_text(folder.path / SPACE, plan.file.read_text(encoding="utf-8"))
        write_json(folder.path / PLAN, plan.as_json() | {"data_sha256": data_sha256, "versions": versions})
        return []
    check_same_plan(folder.path, plan)
    if read_plan(folder.path)["data_sha256"] != data_sha256:
        raise InputError(
            f"{folder.path}: the data differ from those that this search began with; restore them, or start a new "
            "search with another --out"
        )
    return read_journal(folder.path)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the journal.

    Raises:
        InputError: the journal is damaged.
    """
    journal: list[dict[str, Any]] = read_json(path / JOURNAL, REMEDY)
    check(journal, JOURNAL_RULES, path / JOURNAL, REMEDY)
    for event in journal:
        check(event, DRAW_RULES if "draw" in event else END_RULES, path / JOURNAL, REMEDY)
    return journal


def read_plan(path: Path) -> dict[str, Any]:
    """Read the plan.

    Raises:
        InputError: the folder holds no search, or its plan is damaged.
    """
    if not (path / PLAN).is_file() or not (path / CONFIG).is_file():
        if holds_only(path, BEFORE_PLAN):
            raise InputError(
                f"{path}: the search was interrupted before its plan was written; repeat its command with --resume"
            )
        raise InputError(f"{path}: holds no search to resume; leave out --resume to start a search")
    plan: dict[str, Any] = read_json(path / PLAN, REMEDY)
    check(plan, PLAN_RULES, path / PLAN, REMEDY)
    return plan


def check_same_plan(path: Path, plan: SearchPlan) -> None:
    """Refuse to resume a search with another plan; any plan is accepted where no plan was written yet.

    Raises:
        InputError: the folder holds a search with another plan, or no search.
    """
    if not (path / PLAN).exists() and holds_only(path, BEFORE_PLAN):
        return
    stored, asked = read_plan(path), plan.as_json()
    different = [name for name in asked if asked[name] != stored.get(name)]
    if different or read_config(path / CONFIG) != plan.base:
        names = ", ".join(different) or CONFIG
        raise InputError(
            f"{path}: holds a search with another plan ({names} differ); continue it with --out {path} --resume alone, "
            "or start a new search with another --out"
        )
