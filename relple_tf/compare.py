"""`python -m relple_tf.compare`: repeated comparison of networks and baselines on the same soils."""

import argparse
import dataclasses
from importlib.util import find_spec
from pathlib import Path

from relple_tf.command_line import (
    Parser,
    add_data_and_config,
    config_from,
    notify,
    run,
)
from relple_tf.config import BASELINE_NAMES, Config, replace
from relple_tf.config_text import set_fields
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow
from relple_tf.zoo import PRESETS

CONFIG_MODEL = "config"
"""Name of the model that `--config` describes."""
DEFAULTS = ("rs_ple_base", "plsr", "svr", "gaussian_process", "extra_trees", "cubist")
PACKAGES = {
    "cubist": "pip install 'relple-tf[baselines]', or '.[baselines]' in a clone",
    "tabpfn": "pip install tabpfn, which fetches its weights at the first fit",
    "tabicl": "pip install tabicl, which fetches its weights at the first fit",
}
"""Model that needs the package of its name -> the command that installs the package."""
DEFAULT_REPEATS = 10
WORKERS = "comparison.workers="
"""The only field that may change when a comparison is resumed, because it does not affect the results."""


def main(arguments: list[str]) -> None:
    """Parse the arguments, run the comparison and print the medians."""
    parser = Parser(prog="python -m relple_tf.compare", description=__doc__)
    add_data_and_config(parser, preset=False)
    names = ", ".join((*PRESETS, *BASELINE_NAMES))
    parser.add_argument(
        "--models",
        metavar="NAMES",
        help=f"comma-separated: any of {names}, or {CONFIG_MODEL} for the model of --config; the first model is "
        f"compared with each other model; default: {','.join(DEFAULTS)}",
    )
    parser.add_argument("--repeats", metavar="N", type=int, help=f"number of random splits; default: {DEFAULT_REPEATS}")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder; default: a new folder in runs/")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted comparison")
    options = parser.parse_args(arguments)
    config, models, repeats = parsed_plan(options)

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
    if options.resume and options.out is not None and only_folder_given(options):
        plan = read_plan(options.out)
    folder = open_run(options.out, f"{source_name(plan.config)}-compare", plan.config, resume=options.resume)
    if options.resume:
        check_same_plan(folder.path, plan)
    workers = config.comparison.workers
    flags = f"--set {WORKERS}{workers}" if workers else ""
    with resumable(folder, "python -m relple_tf.compare", flags, notify=notify):
        if folder.is_complete:
            notify(f"{folder.path}: the comparison is complete, nothing to resume")
            return
        library = load(plan.config)
        result = compare(library, plan, folder, workers, notify=notify)
    folds = f" of {plan.config.comparison.folds} folds" if result.repeat_word == "folds" else ""
    heading = f"{library.source}: medians over {plan.repeats} repeats{folds}"
    print(comparison_table(result.figures, result.models, heading))
    print(f"\nPage: {folder.path / PAGE}")


def parsed_plan(options: argparse.Namespace) -> tuple[Config, dict[str, Config], int]:
    """The config of data, split and baselines, the config of every model by name, and the number of repeats.

    Raises:
        InputError: a model, field or value is unknown or invalid.
    """
    repeats = DEFAULT_REPEATS if options.repeats is None else options.repeats
    if repeats < 1:
        raise InputError(f"--repeats: expected at least 1, received {repeats}")
    config = config_from(argparse.Namespace(**vars(options), preset=None))
    config_model = (CONFIG_MODEL,) if options.config else ()
    if options.models is None:
        defaults = [name for name in DEFAULTS if not missing_package(name)]
        for name in set(DEFAULTS) - set(defaults):
            notify(f"{name} is left out because its package is not installed; {missing_package(name)}")
        names = [*config_model, *defaults]
    else:
        names = [name.strip() for name in options.models.split(",")]
    available = (*config_model, *PRESETS, *BASELINE_NAMES)
    for name in names:
        if name not in available:
            raise InputError(
                f"--models: expected names from {', '.join(available)} (config needs --config FILE), received {name!r}"
            )
        if missing_package(name):
            raise InputError(f"--models {name}: expected the package {name} to be installed; {missing_package(name)}")
    if len(set(names)) < len(names):
        raise InputError(f"--models: expected each model once, received a model twice: {options.models}")
    return config, {name: model_config(name, options, config) for name in names}, repeats


def missing_package(model: str) -> str:
    """The command that installs the package of a model; empty if the model needs none or has it."""
    return "" if model not in PACKAGES or find_spec(model) else PACKAGES[model]


def model_config(name: str, options: argparse.Namespace, config: Config) -> Config:
    """The preset with the changes of `--set` and the data, split and seed of `config`; `config` for other models."""
    config = replace(config, comparison__workers=0)
    if name not in PRESETS:
        return config
    network = set_fields(PRESETS[name](), options.set)
    network = replace(network, training__seed=config.training.seed)
    return dataclasses.replace(
        network, data=config.data, simulated=config.simulated, split=config.split, comparison=config.comparison
    )


def only_folder_given(options: argparse.Namespace) -> bool:
    """Whether the only flags are `--out`, `--resume` and the number of workers."""
    names = ("data", "lab", "targets", "config", "seed", "models", "repeats")
    return all(getattr(options, name) is None for name in names) and all(
        field.startswith(WORKERS) for field in options.set
    )


if __name__ == "__main__":
    run(main)
