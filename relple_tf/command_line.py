"""What every command shares: one-line errors, exit codes, and the flags that choose data and config.

Imports no Keras, NumPy or pandas, so that `--help` answers at once.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from relple_tf.config import Config, replace
from relple_tf.config_text import from_toml, set_fields
from relple_tf.errors import InputError
from relple_tf.zoo import PRESETS


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line that names the known flags."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        flags = [flag for action in self._actions for flag in action.option_strings if flag[1] == "-"]
        self.exit(2, f"error: {message}; flags are {', '.join(flags)}\n")


def run(main: Callable[[list[str]], None], arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done; 2 the input or the command is wrong, in one line; 130 Ctrl-C.

    Any other exception is a defect of ours and keeps its traceback (exit 1).
    """
    try:
        main(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        sys.exit(_refuse(str(error)))
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
    except OSError as error:
        place, reason = error.filename or "output", error.strerror or error
        sys.exit(_refuse(f"{place}: {reason}; mend that or choose another --out"))
    sys.exit(0)


def _refuse(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def say(message: str) -> None:
    """Tell the user what is going on, on stderr; results go to stdout."""
    print(message, file=sys.stderr, flush=True)


def add_data_and_config(parser: argparse.ArgumentParser, *, preset: bool = True) -> None:
    """The flags that choose a library and a config; without `preset`, for commands that know several by name."""
    parser.add_argument("--data", metavar="SOURCE", help="limesoda (default), simulated, or a CSV or Parquet table")
    parser.add_argument(
        "--targets",
        metavar="A,B",
        help="targets with units, such as OC_g_kg,pH; default: all known ones",
    )
    start = parser.add_mutually_exclusive_group()
    if preset:
        start.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    start.add_argument("--config", metavar="FILE", type=Path, help="a config.toml of a run or a search")
    parser.add_argument(
        "--set",
        metavar="S.F=V",
        action="append",
        default=[],
        help="change one config field, such as model.levels=1; repeatable",
    )
    parser.add_argument("--seed", metavar="N", type=int, help="seed of everything random")


def config_from(options: argparse.Namespace) -> Config:
    """The config that the flags of `add_data_and_config` ask for.

    Raises:
        InputError: the preset, file, section, field or value is unknown or impossible.
    """
    if options.config:
        config = from_toml(options.config)
    elif options.preset is None or options.preset in PRESETS:
        config = PRESETS[options.preset or "rs_ple_base"]()
    else:
        raise InputError(f"--preset {options.preset}: unknown; there are {', '.join(PRESETS)}")
    if options.data is not None:
        config = replace(config, data__source=options.data)
    if options.targets is not None:
        names = tuple(name.strip() for name in options.targets.split(",") if name.strip())
        config = replace(config, data__targets=names)
    if getattr(options, "sensor", None) is not None:  # a flag of training alone; elsewhere --set data.sensor=...
        config = replace(config, data__sensor=options.sensor)
    if options.seed is not None:
        config = replace(config, training__seed=options.seed)
    return set_fields(config, options.set)
