"""`python -m relple_tf.compare`: networks and baselines on the same soils, many times."""

import argparse
import dataclasses
from pathlib import Path

from relple_tf.command_line import (
    Parser,
    add_data_and_config,
    config_from,
    run,
    say,
)
from relple_tf.config import BASELINE_NAMES, Config, replace
from relple_tf.config_text import set_fields
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow
from relple_tf.zoo import PRESETS

OWN = "config"
"""The model that `--config` describes."""
DEFAULTS = ("rs_ple_base", "plsr", "svr", "extra_trees", "cubist")
DEFAULT_REPEATS = 10
WORKERS = "comparison.workers="
"""The one field that a resumed comparison may change, for it changes no result."""


def main(arguments: list[str]) -> None:
    """Parse, compare, print the medians."""
    parser = Parser(prog="python -m relple_tf.compare", description=__doc__)
    add_data_and_config(parser, preset=False)
    known = ", ".join((*PRESETS, *BASELINE_NAMES))
    parser.add_argument(
        "--models",
        metavar="NAMES",
        help=f"any of {known} and, for that of --config, {OWN}; the first is compared with each other one; "
        f"default: {','.join(DEFAULTS)}",
    )
    parser.add_argument("--repeats", metavar="N", type=int, help=f"splits to draw; default: {DEFAULT_REPEATS}")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder; default: the next free one below runs/")
    parser.add_argument("--resume", action="store_true", help="take up a comparison that was cut off")
    options = parser.parse_args(arguments)
    config, models, repeats = planned(options)

    from relple_tf.artefacts.outputs import check_folder

    if options.out is not None:
        check_folder(options.out)
    import_tensorflow()
    from relple_tf.comparison.folder import PAGE, ComparisonPlan, check_same_plan, read_plan
    from relple_tf.comparison.jobs import compare
    from relple_tf.comparison.statistics import comparison_table
    from relple_tf.evaluation.result import source_name
    from relple_tf.runs.folder import open_run, resumable
    from relple_tf.spectra.sources.named import load

    plan = ComparisonPlan(config=replace(config, comparison__workers=0), models=models, repeats=repeats)
    if options.resume and options.out is not None and says_only_where(options):
        plan = read_plan(options.out)
    folder = open_run(options.out, f"{source_name(plan.config)}-compare", plan.config, resume=options.resume)
    if options.resume:
        check_same_plan(folder.path, plan)
    workers = config.comparison.workers
    flags = f"--set {WORKERS}{workers}" if workers else ""
    with resumable(folder, "python -m relple_tf.compare", flags, notify=say):
        if folder.is_complete:
            say(f"{folder.path}: the comparison is complete, nothing to resume")
            return
        library = load(plan.config)
        result = compare(library, plan, folder, workers, notify=say)
    folds = f" of {plan.config.comparison.folds} folds" if result.repeat_word == "folds" else ""
    heading = f"{library.source}: medians over {plan.repeats} repeats{folds}"
    print(comparison_table(result.figures, result.models, heading))
    print(f"\nPage: {folder.path / PAGE}")


def planned(options: argparse.Namespace) -> tuple[Config, dict[str, Config], int]:
    """What the flags ask for: the config of data, split and baselines; that of every model by name; repeats.

    Raises:
        InputError: a model, field or value is unknown or impossible.
    """
    repeats = DEFAULT_REPEATS if options.repeats is None else options.repeats
    if repeats < 1:
        raise InputError(f"--repeats {repeats}: at least 1 is needed to compare on")
    config = config_from(argparse.Namespace(**vars(options), preset=None))
    own = (OWN,) if options.config else ()
    names = [name.strip() for name in options.models.split(",")] if options.models is not None else [*own, *DEFAULTS]
    known = (*own, *PRESETS, *BASELINE_NAMES)
    for name in names:
        if name not in known:
            raise InputError(f"--models: {name!r} is unknown; there are {', '.join(known)}; config needs --config FILE")
    if len(set(names)) < len(names):
        raise InputError(f"--models {options.models}: names a model twice")
    return config, {name: model_config(name, options, config) for name in names}, repeats


def model_config(name: str, options: argparse.Namespace, config: Config) -> Config:
    """A preset with the changes of `--set`, on the data, split and seed of `config`; any other model has `config`."""
    config = replace(config, comparison__workers=0)
    if name not in PRESETS:
        return config
    network = set_fields(PRESETS[name](), options.set)
    network = replace(network, training__seed=config.training.seed)
    return dataclasses.replace(
        network, data=config.data, simulated=config.simulated, split=config.split, comparison=config.comparison
    )


def says_only_where(options: argparse.Namespace) -> bool:
    """Whether no flag but `--out` and the number of workers says what to resume."""
    says = (options.data, options.targets, options.config, options.seed, options.models, options.repeats)
    return not any(flag is not None for flag in says) and all(flag.startswith(WORKERS) for flag in options.set)


if __name__ == "__main__":
    run(main)
