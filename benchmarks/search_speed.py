"""Trials per hour with one worker, two workers and Ray on two cores, and the overhead of a trial.

    python -m benchmarks.search_speed [--trials 6] [--epochs 20]

All run the same random draws on simulated soils of the size of NIRsoil, one thread per trial. Prints seconds between
the first and the last end of a trial, so that the start of processes is not included; their ratios; and the overhead,
the time per trial that a single worker does not spend in trials. Needs the extra `cluster` and two idle cores.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relple_tf.command_line import notify
from relple_tf.config import Config, replace
from relple_tf.processes import WorkerPool, import_tensorflow
from relple_tf.runs.folder import RunFolder
from relple_tf.zoo import rs_ple_base
from tuning.executors import Executor, RayTasks, connect_to_ray
from tuning.folder import SearchPlan
from tuning.result import SearchResult
from tuning.run_search import run_search
from tuning.space import space_of

SPACE = """
[trial]
folds = 2
"""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    import_tensorflow()
    config = replace(rs_ple_base(), data__source="simulated", simulated__soils=770, training__max_epochs=options.epochs)

    from tuning.objective import score

    def local(workers: int) -> Callable[[Any, float], Executor]:
        return lambda shared, limit_s: WorkerPool(score, shared, workers=workers, limit_s=limit_s)

    def on_ray(shared: Any, limit_s: float) -> Executor:
        return RayTasks(score, shared, ray=connect_to_ray("auto"), limit_s=limit_s)

    seconds = {}
    for name, executor in {"1 worker": local(1), "2 workers": local(2), "Ray": on_ray}.items():
        result = search(config, options.trials, executor)
        ends = sorted(trial.ended_s for trial in result.trials)
        # Time counts from the trial at whose end every worker has ended its first trial.
        first = 2 if name != "1 worker" else 1
        seconds[name] = (ends[-1] - ends[first - 1]) / (len(ends) - first)
        print(f"{name}: {seconds[name]:.1f} s per trial, {3600 / seconds[name]:.0f} trials per hour")
        if name == "1 worker":
            in_trials = sum(trial.seconds for trial in result.trials if trial.ended_s > ends[0]) / (len(ends) - 1)
            print(f"overhead per trial after the first: {seconds[name] - in_trials:.2f} s")
    print(f"2 workers / 1 worker: {seconds['1 worker'] / seconds['2 workers']:.2f} (at least 1.7)")
    print(f"Ray / 2 workers: {seconds['2 workers'] / seconds['Ray']:.2f} (at least 0.9)")


def search(config: Config, trials: int, executor: Callable[[Any, float], Executor]) -> SearchResult:
    """Run a random search in a temporary folder."""
    with tempfile.TemporaryDirectory() as parent:
        file = Path(parent) / "space.toml"
        file.write_text(SPACE, encoding="utf-8")
        plan = SearchPlan(
            base=config,
            space=space_of(config, file),
            file=file,
            algorithm="random",
            trials=trials,
            max_flash=None,
            max_arena=None,
        )
        return run_search(plan, RunFolder(path=Path(parent) / "search"), executor, notify=notify)


if __name__ == "__main__":
    main()
