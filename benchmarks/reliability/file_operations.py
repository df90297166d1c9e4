"""Copy a run folder before every file operation of a training run, and continue from every copy.

    python -m benchmarks.reliability.file_operations

A copy is the state of the folder after a crash between two file operations. From every different copy
`relple_tf.predict` must refuse in one line or predict as the finished run does, and `relple_tf.train --resume` (or a
new run, where the folder holds no config yet) must end with equal files, byte by byte. Exit code 0 if all holds.
"""

import argparse
import contextlib
import hashlib
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.reliability.kills import TINY, VARYING, differing
from relple_tf import predict, train
from relple_tf.command_line import run
from relple_tf.config import SimulatedConfig
from relple_tf.processes import import_tensorflow

COMMAND = [*TINY, "--set=training.workers=1"]
"""Arguments of `relple_tf.train`."""
EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate")
"""Audit events of Python; `os.replace` raises the event `os.rename`."""


class Copies:
    """Copies a folder before each file operation inside it, once per different content."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder, self.target = folder, target
        self.seen: set[str] = set()
        self.operations = 0
        self.active = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Audit hook; Python calls it before the operation."""
        if not self.active or event not in EVENTS:
            return
        if event == "open" and isinstance(arguments[1], str) and not set("wax+") & set(arguments[1]):
            return
        paths = [str(argument) for argument in arguments if isinstance(argument, str | Path)]
        if not any(path.startswith(str(self.folder)) for path in paths):
            return
        self.active = False  # file operations of the copy do not count
        self.operations += 1
        state = content_hash(self.folder)
        if state not in self.seen:
            self.seen.add(state)
            if self.folder.exists():
                shutil.copytree(self.folder, self.target / f"copy{len(self.seen)}")
        self.active = True


def table_of_scans(path: Path) -> Path:
    """Write twelve simulated scans on the grid of COMMAND."""
    from relple_tf.spectra.sources.simulated import simulate

    library = simulate(SimulatedConfig(soils=12, step_nm=20.0))
    header = ",".join(f"{nm:g}" for nm in library.wavelengths_nm)
    rows = [",".join(f"{value:.5f}" for value in scan) for scan in library.spectra]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def content_hash(folder: Path) -> str:
    """SHA-256 of names and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        digest.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Train, copy, continue, compare, print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    import_tensorflow()
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        scans = table_of_scans(parent / "scans.csv")
        copies = Copies(parent / "run", parent / "copies")
        copies.target.mkdir()
        sys.addaudithook(copies.hook)
        copies.active = True
        code, _, text = call(train.main, *COMMAND, "--out", str(copies.folder))
        copies.active = False
        assert code == 0, text
        _, expected, _ = call(predict.main, str(copies.folder), str(scans))
        folders = sorted(copies.target.iterdir())
        wrong = [line for copy in folders for line in faults(copy, copies.folder, COMMAND, scans, expected)]
        print("\n".join(wrong))
        print(f"{copies.operations} file operations, {len(folders)} different states, {len(wrong)} faults")
        print(f"not compared: {', '.join(sorted(VARYING))}")
    sys.exit(bool(wrong))


def faults(copy: Path, finished: Path, command: list[str], scans: Path, expected: str) -> list[str]:
    """Faults of a copy, one line each: a traceback, other predictions, or other files at the end.

    Args:
        copy: Copy of the run folder before a file operation; the run is continued in it.
        finished: The finished run.
        command: Arguments of training without `--out`.
        scans: A table to predict.
        expected: Predictions of the finished run.
    """
    wrong = []
    code, predictions, error = call(predict.main, str(copy), str(scans))
    if (code, predictions) != (0, expected) and not (code == 2 and len(error.strip().splitlines()) == 1):
        wrong.append(f"{copy.name}: predict: {code} {error.strip().splitlines()[-1:]}")
    resume = ["--resume"] if (copy / "config.toml").exists() else []
    code, _, error = call(train.main, *command, "--out", str(copy), *resume)
    left = [path.name for path in copy.rglob("*") if path.name.startswith(".unfinished-")]
    different = differing("train", copy, finished)
    if code or left or different:
        wrong.append(f"{copy.name}: resume: {code} {error.strip().splitlines()[-1:]} {left} {different}")
    return wrong


def call(command: Any, *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, standard output and standard error."""
    import keras

    keras.backend.clear_session()  # Keras numbers unnamed layers per process
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(command, list(arguments))
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("expected SystemExit from the command")


if __name__ == "__main__":
    main()
