"""`python -m tuning.search`: the sizes that suit a library, by many trials, on this machine or on a Ray cluster."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relple_tf.command_line import Parser, add_data_and_config, config_from, run, say
from relple_tf.config_text import from_toml
from relple_tf.errors import InputError
from relple_tf.processes import Processes, import_tensorflow
from tuning.executors import Executor, InThisProcess, RayTasks, connected
from tuning.space import space_of

if TYPE_CHECKING:
    from tuning.folder import SearchPlan

ALGORITHMS = ("bayesian", "random", "hyperband", "grid")
DEFAULT_TRIALS = 30


def main(arguments: list[str]) -> None:
    """Parse, search, print the best."""
    parser = Parser(prog="python -m tuning.search", description=__doc__)
    add_data_and_config(parser)
    parser.add_argument("--trials", metavar="N", type=int, help=f"trials to make in all; default: {DEFAULT_TRIALS}")
    parser.add_argument("--algorithm", metavar="NAME", help=f"one of {', '.join(ALGORITHMS)}; default: {ALGORITHMS[0]}")
    parser.add_argument("--space", metavar="FILE", type=Path, help="TOML that narrows or fixes what is searched")
    parser.add_argument("--max-flash", metavar="SIZE", help="largest model file, by estimate; bytes, or such as 256KiB")
    parser.add_argument("--max-arena", metavar="SIZE", help="most working memory, likewise")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", metavar="N", type=int, help="processes; default: one per core; 0 runs the trials in this one"
    )
    where.add_argument("--ray", metavar="ADDRESS", help="run the trials on a Ray cluster: auto, or host:port")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder; default: the next free one below runs/")
    parser.add_argument("--resume", action="store_true", help="take up a search that was cut off")
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 0:
        raise InputError(f"--workers {options.workers}: 0 runs trials in this process, 1 or more in others")
    from relple_tf.artefacts.outputs import check_folder

    if options.out is not None:
        check_folder(options.out)
    plan = planned(options)
    ray = connected(options.ray) if options.ray is not None else None

    import_tensorflow()
    from relple_tf.evaluation.result import source_name
    from relple_tf.runs.folder import open_run, resumable
    from tuning.folder import BEST, PAGE, check_same_plan
    from tuning.run_search import run_search, trials_table

    folder = open_run(options.out, f"{source_name(plan.base)}-search", plan.base, resume=options.resume)
    if options.resume:
        check_same_plan(folder.path, plan)
    with resumable(folder, "python -m tuning.search", notify=say):
        if folder.is_complete:
            say(f"{folder.path}: the search is complete, nothing to resume")
            return
        result = run_search(plan, folder, executor_of(options, ray), notify=say)
    print(trials_table(result))
    print(f"\nPage: {folder.path / PAGE}")
    print(f"Train the best: python -m relple_tf.train --config {folder.path / BEST}")


def planned(options: argparse.Namespace) -> "SearchPlan":
    """What the flags ask for, or what the folder to resume began with.

    Raises:
        InputError: an algorithm, a number, a config field or the space is unknown or impossible.
    """
    from tuning.folder import SPACE, SearchPlan, read_plan

    if options.resume and options.out is not None and says_only_where(options):
        written = read_plan(options.out)
        file = options.out / SPACE
        base = from_toml(options.out / "config.toml")
        kept = {name: written[name] for name in ("algorithm", "trials", "max_flash", "max_arena")}
        narrowed = file if file.exists() else None
        return SearchPlan(base=base, space=space_of(base, narrowed), file=narrowed, **kept)
    algorithm = options.algorithm or ALGORITHMS[0]
    if algorithm not in ALGORITHMS:
        raise InputError(f"--algorithm {algorithm}: unknown; there are {', '.join(ALGORITHMS)}")
    trials = DEFAULT_TRIALS if options.trials is None else options.trials
    if trials < 2:
        raise InputError(f"--trials {trials}: at least 2 are needed, for trial 0 is the preset itself")
    base = config_from(options)
    return SearchPlan(
        base=base,
        space=space_of(base, options.space),
        file=options.space,
        algorithm=algorithm,
        trials=trials,
        max_flash=in_bytes("--max-flash", options.max_flash),
        max_arena=in_bytes("--max-arena", options.max_arena),
    )


def says_only_where(options: argparse.Namespace) -> bool:
    """Whether no flag but where says what to resume."""
    names = ("data", "targets", "preset", "config", "seed", "trials", "algorithm", "space", "max_flash", "max_arena")
    return not options.set and all(getattr(options, name) is None for name in names)


def in_bytes(flag: str, text: str | None) -> int | None:
    """`65536`, `64KiB` or `1MiB` as bytes.

    Raises:
        InputError: it is none of these.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)\s*(KiB|MiB)?", text.strip())
    if found is None or int(found[1]) == 0:
        raise InputError(f"{flag} {text}: expected a number of bytes above 0, or such as 256KiB or 1MiB")
    return int(found[1]) * {None: 1, "KiB": 2**10, "MiB": 2**20}[found[2]]


def executor_of(options: argparse.Namespace, ray: Any) -> Callable[[Any, float], Executor]:
    """(what trials share, their limit in seconds) -> what runs them."""
    from tuning.objective import score

    if ray is not None:
        return lambda shared, limit_s: RayTasks(score, shared, ray=ray, limit_s=limit_s)
    if options.workers == 0:
        return lambda shared, limit_s: InThisProcess(score, shared)
    workers = options.workers or os.cpu_count() or 1
    return lambda shared, limit_s: Processes(score, shared, workers=workers, limit_s=limit_s)


if __name__ == "__main__":
    run(main)
