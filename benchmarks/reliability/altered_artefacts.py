"""Damage files of a run and of its bundle at random, and check how the commands react.

`python -m benchmarks.reliability.altered_artefacts RUN BUNDLE SCANS [--cases N] [--seed N] [--workers N] [--out FILE]`

Half of the cases update the hashes. A command must refuse a damaged file in one line with exit code 2. Otherwise its
output must equal that for the undamaged file; with updated hashes it may differ. Exit code 0 if this holds for all.
"""

import argparse
import contextlib
import hashlib
import io
import logging
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pandas as pd

from benchmarks.reliability.alterations import LISTS, random_alteration

LIMIT_S = 120.0
READ = {
    "predict RUN": ("manifest.json", "card.json", "config.toml", "model.keras"),
    "export.load RUN": ("manifest.json", "card.json", "config.toml", "model.keras", "data.npz"),
    "predict BUNDLE": ("SHA256SUMS", "card.json", "float32.tflite"),
    "soil_scan": ("SHA256SUMS", "card.json", "float32.tflite"),
    "soil_scan --golden": ("SHA256SUMS", "card.json", "golden.json", "float32.tflite"),
}
"""Command -> files that it reads; one of them is damaged. Commands check the hashes of all files of a run."""

RIGHT = ("refused", "same", "other, new hashes")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A damaged file and the command that reads it."""

    number: int
    command: str
    rehash: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    """Reaction of the command in a case."""

    number: int
    command: str
    rehash: bool
    alteration: str
    outcome: str
    """An entry of RIGHT, or `other, old hashes`, `traceback`, `more lines`, `died`, `no end`."""
    output: str
    """Last lines of standard error."""
    seconds: float = 0.0
    most_mib: int = 0
    """Peak memory of the process so far."""


def main() -> None:
    """Run the cases and print a table of outcomes by command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("run", "bundle", "scans"):
        parser.add_argument(name, metavar=name.upper(), type=Path)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="CSV file with one row per case")
    options = parser.parse_args()
    commands = list(READ)
    sources = (options.run.resolve(), options.bundle.resolve(), options.scans.resolve())
    waiting: SimpleQueue[Case] = SimpleQueue()
    for number in range(options.cases):
        command, rehash = commands[number % len(commands)], number // len(commands) % 2 == 0
        waiting.put(Case(number=options.seed + number, command=command, rehash=rehash))
    with ThreadPoolExecutor(options.workers) as pool:
        lanes = [pool.submit(lane, waiting, sources) for _ in range(options.workers)]
        results = [result for future in lanes for result in future.result()]
    table = pd.DataFrame([asdict(result) for result in sorted(results, key=lambda result: result.number)])
    if options.out:
        table.to_csv(options.out, index=False)
    print(pd.crosstab(table["command"], table["outcome"], margins=True).to_string())
    print(f"largest process {table['most_mib'].max()} MiB, longest case {table['seconds'].max():.1f} s")
    wrong = table[~table["outcome"].isin(RIGHT)]
    for row in wrong.to_dict("records"):
        print(f"case {row['number']}, {row['command']}, {row['alteration']}: {row['outcome']}: {row['output']}")
    sys.exit(bool(len(wrong)))


def lane(waiting: "SimpleQueue[Case]", sources: tuple[Path, Path, Path]) -> list[Result]:
    """Run cases in a process, one after the other; replace the process if it dies or does not end."""
    results: list[Result] = []
    context = multiprocessing.get_context("spawn")
    while not waiting.empty():
        pipe, process_pipe = context.Pipe()
        process = context.Process(target=work, args=(process_pipe, sources), daemon=True)
        process.start()
        process_pipe.close()
        alive = True
        while alive and not waiting.empty():
            case = waiting.get()
            pipe.send(case)
            facts: dict[str, Any] = asdict(case) | {"alteration": "", "outcome": "no end", "output": ""}
            try:
                while not isinstance(facts.get("seconds"), float) and pipe.poll(LIMIT_S):
                    facts |= pipe.recv()  # first the alteration, then the outcome
            except EOFError:
                process.join()
                facts |= {"outcome": "died", "output": f"exit code {process.exitcode}"}
            alive = "seconds" in facts
            results.append(Result(**facts))
        process.kill()
    return results


def work(pipe: Connection, sources: tuple[Path, Path, Path]) -> None:
    """Main function of a process: receive cases and send their outcomes until the pipe is closed."""
    from relple_tf.processes import import_tensorflow

    import_tensorflow()
    # TensorFlow warns of retracing after some thirty models in one process; a command loads a single model.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    expected = {command: run_command(command, *sources)[1] for command in READ}
    with contextlib.suppress(EOFError):
        while True:
            run_case(pipe, sources, expected)


def run_case(pipe: Connection, sources: tuple[Path, Path, Path], expected: dict[str, str]) -> None:
    """Damage a copy, run the command on it, and send the outcome."""
    case = pipe.recv()
    with tempfile.TemporaryDirectory() as folder:
        of_run = case.command.endswith("RUN")
        copy = Path(folder) / "copy"
        shutil.copytree(sources[0] if of_run else sources[1], copy)
        rng = random.Random(case.number)
        files = () if of_run and not case.rehash else READ[case.command]
        alteration = random_alteration(copy, rng, rehash=case.rehash, files=files)
        pipe.send({"alteration": alteration})
        began = time.monotonic()
        code, out, error = run_command(case.command, copy, copy, sources[2])
        seconds = time.monotonic() - began
    lines = [line for line in error.splitlines() if not line.startswith("INFO: ")]
    refused = code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    changed = "other, new hashes" if case.rehash or alteration.startswith(LISTS) else "other, old hashes"
    outcome = {0: "same" if out == expected[case.command] else changed, 2: "refused" if refused else "more lines"}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    facts = {"outcome": outcome.get(code, "traceback"), "output": " | ".join(lines[-3:])[-400:]}
    pipe.send(facts | {"seconds": seconds, "most_mib": most})


def run_command(command: str, run: Path, bundle: Path, scans: Path) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, standard output and standard error."""
    from export.bundling.stored_run import load
    from export.runtime import soil_scan
    from relple_tf import predict
    from relple_tf.command_line import run as run_main

    calls: dict[str, Callable[[], Any]] = {
        "predict RUN": lambda: run_main(predict.main, [str(run), str(scans)]),
        "predict BUNDLE": lambda: run_main(predict.main, [str(bundle), str(scans)]),
        "export.load RUN": lambda: run_main(lambda _: print(digest(load(run))), []),
    }
    flags = ["--golden", "--variant", "float32"] if command.endswith("--golden") else [str(scans)]
    call = calls.get(command) or partial(soil_scan.main, [str(bundle), *flags])
    with redirected() as streams:
        try:
            code = call()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
    out, error = (text.getvalue().replace(str(bundle), "BUNDLE").replace(str(run), "RUN") for text in streams)
    return int(code or 0), out, error


def digest(trained: Any) -> str:
    """SHA-256 of the arrays that export reads from a run."""
    arrays = (trained.train_scans, trained.test_scans, *trained.test_outputs.values())
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@contextlib.contextmanager
def redirected() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Capture standard output and error, also of C++ libraries; the texts are complete when the block ends."""
    texts = io.StringIO(), io.StringIO()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1)
        os.dup2(error.fileno(), 2)
        try:
            with (
                open(1, "w", encoding="utf-8", closefd=False) as new_out,
                open(2, "w", encoding="utf-8", closefd=False) as new_error,
                contextlib.redirect_stdout(new_out),
                contextlib.redirect_stderr(new_error),
            ):
                yield texts
        finally:
            for descriptor, before in enumerate(kept, 1):
                os.dup2(before, descriptor)
                os.close(before)
            for file, text in zip((out, error), texts, strict=True):
                file.seek(0)
                text.write(file.read().decode(errors="replace"))


if __name__ == "__main__":
    main()
