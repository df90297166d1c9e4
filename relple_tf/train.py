"""`python -m relple_tf.train`: from a spectral library to a trained run folder."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from relple_tf.command_line import (
    Parser,
    add_data_and_config,
    config_from,
    run,
    say,
)
from relple_tf.config import Config
from relple_tf.config_text import from_toml
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow


def main(arguments: list[str]) -> None:
    """Parse, train, print the test metrics."""
    parser = Parser(prog="python -m relple_tf.train", description=__doc__)
    add_data_and_config(parser)
    parser.add_argument(
        "--sensor", metavar="PROFILE", help="sensor that the model is for (data.sensor): a name, or a TOML file"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="run folder; default: the next free one below runs/")
    parser.add_argument("--resume", action="store_true", help="take up a run that was cut off")
    options = parser.parse_args(arguments)
    config = config_from(options) if not options.resume else config_to_resume(options)

    if config.training.tensorboard and not find_spec("tensorboard"):
        raise InputError("training.tensorboard needs the extra tensorboard: pip install '.[tensorboard]'")
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
    with resumable(folder, "python -m relple_tf.train", notify=say):
        if folder.is_complete:
            folder.verify()
            say(f"{folder.path}: the run is complete, nothing to resume")
            return
        library = load(config)
        metrics = train_run(library, config, folder, notify=say)
    print(metrics_table(metrics, heading=f"{library.source}: test rows, seed {config.training.seed}"))
    print(f"\nReport: {folder.path / 'report.html'}")


def config_to_resume(options: argparse.Namespace) -> Config:
    """The config of the run in `--out`, unless the command says otherwise."""
    says = any((options.data, options.targets, options.preset, options.config, options.sensor, options.set))
    if options.out is None or says or options.seed is not None:
        return config_from(options)
    if not (options.out / "config.toml").is_file():
        raise InputError(f"{options.out}: holds no run to resume; leave out --resume to start one")
    return from_toml(options.out / "config.toml")


if __name__ == "__main__":
    run(main)
