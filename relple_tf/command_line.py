"""Common parts of all commands: one-line errors, signals, exit codes, and the flags that select data and config.

Imports no Keras, NumPy or pandas, so that `--help` is fast.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from relple_tf.config import Config, replace
from relple_tf.config_text import from_toml, set_fields
from relple_tf.errors import InputError
from relple_tf.zoo import PRESETS

END_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command: from Ctrl-C, the end of a job or container, the end of a terminal."""
CLEAN_UP_S = 10.0
"""Seconds after the first signal in which further signals are ignored: a terminal and `timeout` send two at once."""


class Interrupted(KeyboardInterrupt):
    """One of END_SIGNALS was received; raised in the main thread."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line that lists the flags."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        flags = [flag for action in self._actions for flag in action.option_strings if flag[1] == "-"]
        self.exit(2, f"error: {message}; flags are {', '.join(flags)}\n")


def run(main: Callable[[list[str]], None], arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit.

    Exit codes: 0 done; 2 the input or the command is wrong, with one line on stderr; 130 Ctrl-C, 143 SIGTERM,
    129 SIGHUP. Any other exception is a defect of the program, which keeps its traceback and exits with 1.
    """
    with _signals_raised() as received:
        try:
            main(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
        except BaseException as error:
            sys.exit(_exit_code(error, received))
    sys.exit(0)


def _exit_code(error: BaseException, received: list[Interrupted]) -> int:
    """Print why a command ended, and return its exit code; after a signal, errors of the clean-up are not printed."""
    if received or isinstance(error, KeyboardInterrupt):
        notify("stopped")
        return received[0].exit_code if received else 130
    if isinstance(error, InputError):
        return _print_error(str(error))
    if isinstance(error, OSError):
        _discard_output()
        file, reason = error.filename or "standard output", error.strerror or error
        return _print_error(f"{file}: {reason}; correct that, or give another --out")
    raise error


@contextmanager
def _signals_raised() -> Iterator[list[Interrupted]]:
    """Raise `Interrupted` at the first of END_SIGNALS; signals that were ignored before stay ignored, as under nohup.

    During the next CLEAN_UP_S seconds, in which child processes are ended, further signals are ignored. A later signal
    ends the process at once; its children end with it (`relple_tf.parent_process`).

    Yields:
        A list to which the raised exception is added.
    """
    received: list[Interrupted] = []
    first_s = 0.0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal first_s
        if not received:
            first_s = time.monotonic()
            received.append(Interrupted(number))
            raise received[0]
        if time.monotonic() - first_s > CLEAN_UP_S:
            os._exit(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # only the main thread may set handlers
        for name in END_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        # After a signal the process ends; a second signal must not change its exit code.
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if received else handler)


def _discard_output() -> None:
    """Discard output that cannot be written; else Python tries to write it again when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError), open(os.devnull, "w") as null:  # noqa: PTH123
            os.dup2(null.fileno(), sys.stdout.fileno())


def _print_error(message: str) -> int:
    notify(f"error: {' '.join(message.split())}")
    return 2


def notify(message: str) -> None:
    """Print a line about the progress to stderr; results go to stdout."""
    with suppress(OSError):  # a closed terminal or a full disk of a log must not end the command
        print(message, file=sys.stderr, flush=True)


def add_data_and_config(parser: argparse.ArgumentParser, *, preset: bool = True, positional: bool = False) -> None:
    """Add the flags that select a library and a config.

    Args:
        parser: Parser of the command.
        preset: `False` is for commands that take several presets.
        positional: Whether the source is a required argument instead of the flag `--data`.
    """
    sources = "simulated, a table (CSV, Parquet, Excel), an instrument file, or a folder of scans"
    if positional:
        parser.add_argument("data", metavar="SOURCE", help=f"limesoda, {sources}")
    else:
        parser.add_argument("--data", metavar="SOURCE", help=f"limesoda (default), {sources}")
    parser.add_argument(
        "--lab", metavar="FILE", help="table of laboratory values (data.lab), joined to the scans by sample name"
    )
    parser.add_argument(
        "--targets",
        metavar="A,B",
        help="targets with units, such as OC_g_kg,pH; default: all known targets in the data",
    )
    start = parser.add_mutually_exclusive_group()
    if preset:
        start.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    start.add_argument("--config", metavar="FILE", type=Path, help="config.toml of a run or a search")
    parser.add_argument(
        "--set",
        metavar="S.F=V",
        action="append",
        default=[],
        help="change one config field, such as model.levels=1; repeatable",
    )
    parser.add_argument("--seed", metavar="N", type=int, help="seed of all random numbers")


def config_from(options: argparse.Namespace) -> Config:
    """Build the config from the flags of `add_data_and_config`.

    Raises:
        InputError: the preset, file, section, field or value is unknown or invalid.
    """
    if options.config:
        config = from_toml(options.config)
    elif options.preset is None or options.preset in PRESETS:
        config = PRESETS[options.preset or "rs_ple_base"]()
    else:
        raise InputError(f"--preset: expected one of {', '.join(PRESETS)}; received {options.preset!r}")
    if options.data is not None:
        config = replace(config, data__source=options.data)
    if options.lab is not None:
        config = replace(config, data__lab=options.lab)
    if options.targets is not None:
        names = tuple(name.strip() for name in options.targets.split(",") if name.strip())
        config = replace(config, data__targets=names)
    if getattr(options, "sensor", None) is not None:  # a flag of train only; else --set data.sensor=...
        config = replace(config, data__sensor=options.sensor)
    if options.seed is not None:
        config = replace(config, training__seed=options.seed)
    return set_fields(config, options.set)
