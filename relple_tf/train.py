"""`python -m relple_tf.train`: train a model on a spectral library and write the run folder."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from relple_tf.command_line import (
    Parser,
    add_data_and_config,
    config_from,
    notify,
    run,
)
from relple_tf.config import Config
from relple_tf.config_text import from_toml
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow


def main(arguments: list[str]) -> None:
    """Parse the arguments, train, print the test metrics."""
    parser = Parser(prog="python -m relple_tf.train", description=__doc__)
    add_data_and_config(parser)
    parser.add_argument(
        "--sensor", metavar="PROFILE", help="sensor of the model (data.sensor): name of a profile, or a TOML file"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="run folder; default: the next free folder in runs/")
    parser.add_argument("--resume", action="store_true", help="resume an interrupted run")
    options = parser.parse_args(arguments)
    config = config_from(options) if not options.resume else config_to_resume(options)

    if config.training.tensorboard and not find_spec("tensorboard"):
        raise InputError("training.tensorboard: the package tensorboard is missing; pip install '.[tensorboard]'")
    from relple_tf.artefacts.outputs import check_folder

    if options.out is not None:
        check_folder(options.out)
    import_tensorflow()
    from relple_tf.evaluation.metrics_table import metrics_table
    from relple_tf.evaluation.result import source_name
    from relple_tf.runs.folder import open_run, resumable
    from relple_tf.spectra.sources.named import load
    from relple_tf.training_run import train_run

    name = f"{source_name(config)}-{config.preset}"
    folder = open_run(options.out, name, config, resume=options.resume)
    with resumable(folder, "python -m relple_tf.train", notify=notify):
        if folder.is_complete:
            folder.verify()
            notify(f"{folder.path}: the run is complete, nothing to resume")
            return
        library = load(config)
        metrics = train_run(library, config, folder, notify=notify)
    print(metrics_table(metrics, heading=f"{library.source}: test rows, seed {config.training.seed}"))
    print(f"\nReport: {folder.path / 'report.html'}")


def config_to_resume(options: argparse.Namespace) -> Config:
    """Read the config of the run in `--out`; if flags select a config, build it from the flags instead."""
    flags = (options.data, options.lab, options.targets, options.preset, options.config, options.sensor)
    selected = any((*flags, options.set))
    if options.out is None or selected or options.seed is not None:
        return config_from(options)
    if not (options.out / "config.toml").is_file():
        raise InputError(f"{options.out}: contains no run to resume; leave out --resume to start a run")
    return from_toml(options.out / "config.toml")


if __name__ == "__main__":
    run(main)
