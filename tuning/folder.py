"""The folder of a search: its plan and journal, and at the end its tables and its page."""

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
    items,
    number,
    one_of,
    or_missing,
    or_null,
    whole,
)
from relple_tf.atomic_files import write_text
from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.runs.folder import CONFIG, RunFolder, holds_only, read_config, write_json
from tuning.space import Space

PLAN, JOURNAL, SPACE = "plan.json", "journal.json", "space.toml"
BEFORE_PLAN = {CONFIG, JOURNAL, SPACE}
"""What is written before the plan."""
BEST, TABLE, PAGE = "best.toml", "trials.csv", "search.html"

WAY_OUT = "restore it, or start a new search with another --out"
"""What to do about a damaged file of a search."""

MOST_TRIALS = 1_000_000
PLAN_RULES = {
    "": OBJECT,
    "algorithm": one_of("bayesian", "random", "hyperband", "grid"),
    "trials": whole(2, MOST_TRIALS),
    "max_flash": or_null(whole(1, 1 << 62)),
    "max_arena": or_null(whole(1, 1 << 62)),
    "data_sha256": SHA256,
}
JOURNAL_RULES = {"": items(0, 2 * MOST_TRIALS), "*": OBJECT}
DRAW_RULES = {
    "draw": whole(0, MOST_TRIALS),
    "values": OBJECT,
    "seed_state": whole(0, 1 << 62),
    "size": OBJECT,
    "size.flash_bytes": whole(0, 1 << 62),
    "size.arena_bytes": whole(0, 1 << 62),
    "size.weights": whole(0, 1 << 62),
    "rejected": whole(0, 1 << 62),
}
END_RULES = {
    "end": whole(0, MOST_TRIALS),
    "seconds": number(0, 1e9),
    "ended_s": number(0, 1e9),
    "score": or_missing(number(-1e300, 1e300)),
    "r2": or_missing(OBJECT),
    "r2.*": number(-1e300, 1e300),
    "message": or_missing(TEXT),
}


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What is searched, as the command says it."""

    base: Config
    """Of the flags; trial 0 before the space moved it."""
    space: Space
    file: Path | None
    """What narrowed the space."""
    algorithm: str
    trials: int
    max_flash: int | None
    """Bytes, or no limit."""
    max_arena: int | None
    """Likewise."""

    def allows(self, size: dict[str, int]) -> bool:
        """Whether estimates keep within the limits."""
        limits = {"flash_bytes": self.max_flash, "arena_bytes": self.max_arena}
        return all(limit is None or size[name] <= limit for name, limit in limits.items())

    def written(self) -> dict[str, Any]:
        """As JSON, for comparison with what is resumed."""
        plan = {
            "algorithm": self.algorithm,
            "trials": self.trials,
            "max_flash": self.max_flash,
            "max_arena": self.max_arena,
            "rules": asdict(self.space.rules),
            "parameters": [asdict(parameter) for parameter in self.space.parameters],
            "start": asdict(self.space.start),
        }
        found: dict[str, Any] = json.loads(json.dumps(plan))
        return found


def claim(folder: RunFolder, plan: SearchPlan, data_sha256: str) -> list[dict[str, Any]]:
    """Write the plan of a new search; or check that the one to resume is the same, on the same data.

    Returns:
        The journal so far.

    Raises:
        InputError: it is another search.
    """
    versions = {name: version(name) for name in ("keras-tuner", "keras", "tensorflow", "scikit-learn")}
    if not (folder.path / PLAN).exists():
        write_json(folder.path / JOURNAL, [])
        if plan.file is not None:
            write_text(folder.path / SPACE, plan.file.read_text(encoding="utf-8"))
        write_json(folder.path / PLAN, plan.written() | {"data_sha256": data_sha256, "versions": versions})
        return []
    check_same_plan(folder.path, plan)
    if read_plan(folder.path)["data_sha256"] != data_sha256:
        raise InputError(
            f"{folder.path}: the data changed since this search began; bring the old ones back, or start anew"
        )
    return read_journal(folder.path)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The journal as written.

    Raises:
        InputError: it is damaged.
    """
    journal: list[dict[str, Any]] = read_json(path / JOURNAL, WAY_OUT)
    check(journal, JOURNAL_RULES, path / JOURNAL, WAY_OUT)
    for event in journal:
        check(event, DRAW_RULES if "draw" in event else END_RULES, path / JOURNAL, WAY_OUT)
    return journal


def read_plan(path: Path) -> dict[str, Any]:
    """The plan as written.

    Raises:
        InputError: the folder holds no search, or a damaged one.
    """
    if not (path / PLAN).is_file() or not (path / CONFIG).is_file():
        if holds_only(path, BEFORE_PLAN):
            raise InputError(f"{path}: was interrupted before its plan was written; repeat its command with --resume")
        raise InputError(f"{path}: holds no search to resume; leave out --resume to start one")
    plan: dict[str, Any] = read_json(path / PLAN, WAY_OUT)
    check(plan, PLAN_RULES, path / PLAN, WAY_OUT)
    return plan


def check_same_plan(path: Path, plan: SearchPlan) -> None:
    """Refuse to resume another search; any plan suits where a kill came before the plan.

    Raises:
        InputError: the folder holds another search, or something else.
    """
    if not (path / PLAN).exists() and holds_only(path, BEFORE_PLAN):
        return
    known, own = read_plan(path), plan.written()
    different = [name for name in own if own[name] != known.get(name)]
    if different or read_config(path / CONFIG) != plan.base:
        what = ", ".join(different) or CONFIG
        raise InputError(
            f"{path}: holds a search that began otherwise ({what} differ); --out {path} --resume alone goes on with "
            "it, another --out starts a new one"
        )
