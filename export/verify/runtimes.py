"""The runtimes that a device file is verified on: one scan at a time, each from a fresh state.

`RUNTIMES` holds them. `runtime.available()` is None, or why it cannot be used here. `runtime.run(content, scans)` takes
the bytes of a .tflite and rows (n, bands) float32, or (n, bands, channels) int8 for a file that reads features, and
returns {output: (n,)} as the file gives them. `runtime.timed` also gives the seconds of each call. Both raise
`RuntimeRefusal`, one line, where the runtime does not take the file.

CompiledModel and TensorFlow Lite for Microcontrollers (TFLM) run in a child process, for both may crash on a file.
"""

import io
import platform
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.convert.flatbuffer import parse, signature, type_name
from relple_tf.atomic_files import scratch
from relple_tf.parent_process import end_with_parent, environment
from relple_tf.prediction.litert import LiteRtModel

Outputs = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[Any]

FIRST_ARENA_BYTES = 1 << 24
"""What TFLM is given when its need is not the question."""
ARENA_STEP_BYTES = 256
"""The arena is found to this much."""
CHILD_LIMIT_S = 300.0
TOLD = "refusal: "
"""Before the line of a child that says why: runtimes write more after it, with addresses that differ every time."""


class RuntimeRefusal(RuntimeError):  # noqa: N818
    """A runtime does not take a file, or dies of it; one line says why."""


@dataclass(frozen=True, kw_only=True)
class Runtime(ABC):
    """One way to run a .tflite."""

    name: str

    def available(self) -> str | None:
        """None, or why this runtime cannot be used here."""
        return None

    def run(self, content: bytes, rows: Rows) -> Outputs:
        """Every output of every row, (n,) each.

        Raises:
            RuntimeRefusal: the runtime does not take the file.
        """
        return self.timed(content, rows)[0]

    @abstractmethod
    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        """The outputs, and the seconds (n,) that computing each row took; errors as of `run`."""


@dataclass(frozen=True, kw_only=True)
class LiteRt(Runtime):
    """LiteRT's interpreter, in this process."""

    resolver: str
    """Name of an `OpResolverType`: which kernels it takes."""

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        try:
            model = LiteRtModel(content, resolver=self.resolver)
        except (RuntimeError, ValueError) as error:
            raise RuntimeRefusal(_line(error)) from None
        (source,) = model.inputs
        found, seconds = model.run({source: rows})
        return {name: _column(values) for name, values in found.items()}, seconds


@dataclass(frozen=True, kw_only=True)
class InChild(Runtime):
    """A runtime that may crash, in a process of its own."""

    kind: str
    """Of KINDS."""
    package: str
    """What it is imported from."""
    kernel_regression: tuple[str, ...] = ()
    """Of `platform.machine()` under Linux where it exists; empty is everywhere."""

    def available(self) -> str | None:
        if self.kernel_regression and not (sys.platform == "linux" and platform.machine() in self.kernel_regression):
            return f"{self.package} exists for Linux on {', '.join(self.kernel_regression)} only"
        if find_spec(self.package):
            return None
        return f"{self.package} is not installed (pip install {self.package.replace('_', '-')})"

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        found = in_child(self.kind, content, rows, FIRST_ARENA_BYTES)
        seconds = found.pop(_SECONDS)
        return found, seconds


RUNTIMES: tuple[Runtime, ...] = (
    LiteRt(name="LiteRT", resolver="AUTO"),
    LiteRt(name="LiteRT reference", resolver="BUILTIN_REF"),
    LiteRt(name="LiteRT no delegate", resolver="BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
    InChild(name="CompiledModel", kind="compiled", package="ai_edge_litert"),
    InChild(name="TFLM", kind="tflm", package="tflite_micro", kernel_regression=("x86_64",)),
)
"""In the order of the table that the bundle prints."""

_SECONDS = " seconds"
"""No output has a name that begins with a blank."""


def in_child(kind: str, content: bytes, rows: Rows, arena_bytes: int) -> Outputs:
    """Run a file in a child process.

    Raises:
        RuntimeRefusal: the runtime refused the file, crashed or took too long.
    """
    with scratch() as folder:
        job, result = folder / "job.npz", folder / "result.npz"
        np.savez(job, content=np.frombuffer(content, np.uint8), rows=rows)
        root = str(Path(__file__).parents[2])
        code = f"import sys; sys.path.insert(0, {root!r}); from export.verify.runtimes import child; child()"
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, kind, str(job), str(result), str(arena_bytes)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(),
                timeout=CHILD_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeRefusal(f"no result after {CHILD_LIMIT_S:g} s") from None
        if done.returncode < 0:
            raise RuntimeRefusal(f"died of {signal.Signals(-done.returncode).name}")
        if done.returncode or not result.exists():
            lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
            told = [line.removeprefix(TOLD) for line in lines if line.startswith(TOLD)]
            raise RuntimeRefusal((told or lines or [f"exit code {done.returncode}"])[-1])
        with np.load(io.BytesIO(result.read_bytes())) as found:
            return {name: found[name] for name in found.files}


def child() -> None:
    """What the child process does: arguments are kind, job, result, arena bytes."""
    end_with_parent()
    kind, job, result, arena_bytes = sys.argv[1:]
    with np.load(job) as found:
        content, rows = found["content"].tobytes(), found["rows"]
    try:
        outputs = KINDS[kind](content, rows, int(arena_bytes))
    except Exception as error:
        print(f"\n{TOLD}{_line(error)}", flush=True)
        sys.exit(1)
    np.savez(result, **outputs)  # type: ignore[arg-type]


def _compiled(content: bytes, rows: Rows, _: int) -> Outputs:
    """LiteRT's CompiledModel on the CPU; keeps no state between calls, as it refuses what has one."""
    from ai_edge_litert.compiled_model import CompiledModel

    model = parse(content)
    tensors = model.subgraphs[0].tensors
    compiled = CompiledModel.from_buffer(content)
    (key,) = compiled.get_signature_list()
    outputs = signature(model)[1]
    (source,) = compiled.create_input_buffers(0)
    found: dict[str, list[Any]] = {name: [] for name in outputs}
    # In the order of CompiledModel itself, which need not be the file's.
    order = compiled.get_signature_list()[key]["outputs"]
    targets = compiled.create_output_buffers(0)
    seconds = []
    for row in rows:
        source.write(np.ascontiguousarray(row[None]))
        begun = time.perf_counter()
        compiled.run_by_index(0, [source], targets)
        seconds.append(time.perf_counter() - begun)
        for name, buffer in zip(order, targets, strict=True):
            tensor = tensors[outputs[name]]
            found[name].append(buffer.read(int(np.prod(tensor.shape)), type_name(tensor)).reshape(tensor.shape))
    return {**{name: _column(np.concatenate(values)) for name, values in found.items()}, _SECONDS: np.array(seconds)}


def _tflm(content: bytes, rows: Rows, arena_bytes: int) -> Outputs:
    """TensorFlow Lite for Microcontrollers."""
    from tflite_micro.python.tflite_micro import runtime

    outputs = signature(parse(content))[1]
    order = parse(content).subgraphs[0].outputs.tolist()
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    found: dict[str, list[Any]] = {name: [] for name in outputs}
    seconds = []
    for row in rows:
        interpreter.reset()
        interpreter.set_input(np.ascontiguousarray(row[None]), 0)
        begun = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - begun)
        for name, index in outputs.items():
            found[name].append(interpreter.get_output(order.index(index)))
    return {**{name: _column(np.concatenate(values)) for name, values in found.items()}, _SECONDS: np.array(seconds)}


KINDS = {"compiled": _compiled, "tflm": _tflm}


def arena_bytes(content: bytes, row: Rows) -> int:
    """The smallest arena, to ARENA_STEP_BYTES, in which TFLM runs a file on one row.

    What the interpreter records is too little (1,504 recorded, 1,939 needed), and a small arena may crash it: so every
    size is tried in a process of its own.

    Raises:
        RuntimeRefusal: TFLM does not take the file at any size.
    """
    expected = in_child("tflm", content, row[None], FIRST_ARENA_BYTES)

    def suffices(steps: int) -> bool:
        try:
            found = in_child("tflm", content, row[None], steps * ARENA_STEP_BYTES)
        except RuntimeRefusal:
            return False
        return all(np.array_equal(found[name], values) for name, values in expected.items() if name != _SECONDS)

    low, high = 0, FIRST_ARENA_BYTES // ARENA_STEP_BYTES
    # Most need some tens of KiB: double from there, then halve the gap.
    guess = (1 << 15) // ARENA_STEP_BYTES
    while guess < high:
        if suffices(guess):
            high = guess
        else:
            low, guess = guess, 2 * guess
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high * ARENA_STEP_BYTES


def _column(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n, 1) as (n,); other shapes as they are."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
