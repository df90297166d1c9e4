"""`python -m tuning.search`: hyperparameter search on a spectral library, on this computer or a Ray cluster."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relple_tf.command_line import Parser, add_data_and_config, config_from, notify, run
from relple_tf.config_text import from_toml
from relple_tf.errors import InputError
from relple_tf.processes import WorkerPool, import_tensorflow
from tuning.executors import Executor, InThisProcess, RayTasks, connect_to_ray
from tuning.space import space_of

if TYPE_CHECKING:
    from tuning.folder import SearchPlan

ALGORITHMS = ("bayesian", "random", "hyperband", "grid")
DEFAULT_TRIALS = 30


def main(arguments: list[str]) -> None:
    """Parse, search, print the best trials."""
    parser = Parser(prog="python -m tuning.search", description=__doc__)
    add_data_and_config(parser)
    parser.add_argument("--trials", metavar="N", type=int, help=f"total number of trials; default: {DEFAULT_TRIALS}")
    parser.add_argument("--algorithm", metavar="NAME", help=f"one of {', '.join(ALGORITHMS)}; default: {ALGORITHMS[0]}")
    parser.add_argument("--space", metavar="FILE", type=Path, help="TOML file that narrows the space or fixes fields")
    parser.add_argument("--max-flash", metavar="SIZE", help="limit of the estimated model file, in bytes or as 256KiB")
    parser.add_argument("--max-arena", metavar="SIZE", help="limit of the estimated working memory, likewise")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        metavar="N",
        type=int,
        help="worker processes; default: one per core; 0 runs the trials in this process",
    )
    where.add_argument("--ray", metavar="ADDRESS", help="run the trials on a Ray cluster: auto, or host:port")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder of the search; default: the next free name in runs/"
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted search")
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 0:
        raise InputError(
            f"--workers {options.workers}: expected 0 (trials run in this process) or a number of worker processes"
        )
    from relple_tf.artefacts.outputs import check_folder

    if options.out is not None:
        check_folder(options.out)
    plan = plan_from(options)
    ray = connect_to_ray(options.ray) if options.ray is not None else None

    import_tensorflow()
    from relple_tf.evaluation.result import source_name
    from relple_tf.runs.folder import open_run, resumable
    from tuning.folder import BEST, PAGE, check_same_plan
    from tuning.run_search import best_trials_text, run_search

    folder = open_run(options.out, f"{source_name(plan.base)}-search", plan.base, resume=options.resume)
    if options.resume:
        check_same_plan(folder.path, plan)
    with resumable(folder, "python -m tuning.search", notify=notify):
        if folder.is_complete:
            notify(f"{folder.path}: the search is complete, nothing to resume")
            return
        result = run_search(plan, folder, executor_from(options, ray), notify=notify)
    print(best_trials_text(result))
    print(f"\nPage: {folder.path / PAGE}")
    print(f"Train the best: python -m relple_tf.train --config {folder.path / BEST}")


def plan_from(options: argparse.Namespace) -> "SearchPlan":
    """The plan of the flags, or of the folder to resume.

    Raises:
        InputError: an algorithm, number, config field or space is unknown or invalid.
    """
    from tuning.folder import SPACE, SearchPlan, read_plan

    if options.resume and options.out is not None and gives_only_the_folder(options):
        stored = read_plan(options.out)
        file = options.out / SPACE
        base = from_toml(options.out / "config.toml")
        settings = {name: stored[name] for name in ("algorithm", "trials", "max_flash", "max_arena")}
        narrowed = file if file.exists() else None
        return SearchPlan(base=base, space=space_of(base, narrowed), file=narrowed, **settings)
    algorithm = options.algorithm or ALGORITHMS[0]
    if algorithm not in ALGORITHMS:
        raise InputError(f"--algorithm {algorithm}: expected one of {', '.join(ALGORITHMS)}")
    trials = DEFAULT_TRIALS if options.trials is None else options.trials
    if trials < 2:
        raise InputError(f"--trials {trials}: expected at least 2, because trial 0 is the preset itself")
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


def gives_only_the_folder(options: argparse.Namespace) -> bool:
    """Whether the flags name the folder to resume and nothing else of the plan."""
    plan = ("trials", "algorithm", "space", "max_flash", "max_arena")
    names = ("data", "lab", "targets", "preset", "config", "seed", *plan)
    return not options.set and all(getattr(options, name) is None for name in names)


def in_bytes(flag: str, text: str | None) -> int | None:
    """Number of bytes of a text such as `65536`, `64KiB` or `1MiB`.

    Raises:
        InputError: the text has another form, or is 0.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)\s*(KiB|MiB)?", text.strip())
    if match is None or int(match[1]) == 0:
        raise InputError(f"{flag} {text}: expected a number of bytes above 0, such as 262144, 256KiB or 1MiB")
    return int(match[1]) * {None: 1, "KiB": 2**10, "MiB": 2**20}[match[2]]


def executor_from(options: argparse.Namespace, ray: Any) -> Callable[[Any, float], Executor]:
    """(data of all trials, limit of a trial in seconds) -> executor."""
    from tuning.objective import score

    if ray is not None:
        return lambda shared, limit_s: RayTasks(score, shared, ray=ray, limit_s=limit_s)
    if options.workers == 0:
        return lambda shared, limit_s: InThisProcess(score, shared)
    workers = options.workers or os.cpu_count() or 1
    return lambda shared, limit_s: WorkerPool(score, shared, workers=workers, limit_s=limit_s)


if __name__ == "__main__":
    run(main)
