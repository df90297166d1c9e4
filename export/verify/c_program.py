"""Generated C source as a runtime: compiled and run by the C compiler of this computer, or its operators by NumPy."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.c.source import fill
from export.graph.interpreter import run_all
from export.graph.operator_list import OperatorList
from export.verify.runtimes import Outputs, Rows, Runtime, RuntimeRefusal
from relple_tf.atomic_files import temporary_folder

FLAGS = ("-std=c99", "-O2")
"""Flags of the compiler; no fast mathematics, which removes tests for NaN."""
LIMIT_S = 600.0
"""Seconds after which the compiler or the program is killed."""


def compiler() -> str | None:
    """Path of the C compiler `cc` or `gcc`; None if there is none."""
    return shutil.which("cc") or shutil.which("gcc")


def version_of(program: str) -> str:
    """First line of what a compiler prints about its version."""
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    return (printed.splitlines() or [Path(program).name])[0]


@dataclass(frozen=True, kw_only=True)
class CProgram(Runtime):
    """A compiled `host_run.c`."""

    program: Path
    outputs: tuple[str, ...]
    """Names of its outputs: targets, T2, Q."""

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        scans = np.ascontiguousarray(rows, "float32")
        begun = time.perf_counter()
        try:
            done = subprocess.run(
                [self.program], input=scans.tobytes(), capture_output=True, check=False, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise RuntimeRefusal(f"no result after {LIMIT_S:g} s") from None
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeRefusal(f"the program ended with exit code {done.returncode}")
        table = np.frombuffer(done.stdout, "float32").reshape(len(scans), -1)
        return dict(zip(self.outputs, table[:, 1:].T, strict=True)), np.full(len(scans), seconds / len(scans))


@dataclass(frozen=True, kw_only=True)
class NumpyOperators(Runtime):
    """The operators of the C source, computed by NumPy with the same constants."""

    model: OperatorList

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        begun = time.perf_counter()
        outputs = run_all(self.model, rows)
        seconds = time.perf_counter() - begun
        return dict(outputs), np.full(len(rows), seconds / len(rows))


@contextmanager
def compiled(files: Mapping[str, str], outputs: tuple[str, ...], cc: str) -> Iterator[CProgram]:
    """Compile soil_model.c and `host_run.c`, and remove the program at the end.

    Args:
        files: soil_model.h and soil_model.c.
        outputs: Targets, in the order of the card, T2 and Q.
        cc: Path of the compiler.

    Raises:
        RuntimeRefusal: the compiler refuses the source.
    """
    with temporary_folder() as folder:
        for name, text in {**files, "host_run.c": fill("host_run.c")}.items():
            (folder / name).write_text(text, encoding="utf-8")
        command = [cc, *FLAGS, "-o", "host_run", "host_run.c", "soil_model.c", "-lm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            raise RuntimeRefusal(f"{Path(cc).name}: {(errors or ['no message'])[0]}")
        yield CProgram(name="C", program=folder / "host_run", outputs=outputs)
