"""The runtimes on which device files are verified. They compute one scan at a time, each from a fresh state.

`RUNTIMES` lists them. `runtime.available()` is None, or the reason why the runtime cannot be used here.
`runtime.run(content, rows)` takes the bytes of a .tflite and scans (n, bands) float32, and returns {output: (n,)}.
`runtime.timed` also returns the seconds of each call. Both raise `RuntimeRefusal`, with a message of one line, if the
runtime cannot run the file.

CompiledModel and TensorFlow Lite for Microcontrollers (TFLM) run in a child process, because a file may crash them.
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
from relple_tf.atomic_files import temporary_folder
from relple_tf.parent_process import end_with_parent, environment
from relple_tf.prediction.litert import LiteRtModel

Outputs = dict[str, npt.NDArray[Any]]
Rows = npt.NDArray[Any]

FIRST_ARENA_BYTES = 1 << 24
"""Arena for TFLM, more than any file needs."""
ARENA_STEP_BYTES = 256
"""Resolution of the measured arena."""
CHILD_LIMIT_S = 300.0
"""Seconds after which a child is killed."""
REFUSAL_MARK = "refusal: "
"""Prefix of the line in which a child reports its reason: runtimes write more lines, with addresses that vary."""


class RuntimeRefusal(RuntimeError):  # noqa: N818
    """A runtime refuses a file or crashes on it; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Runtime(ABC):
    """A way to run a .tflite."""

    name: str

    def available(self) -> str | None:
        """None, or the reason why this runtime cannot be used here."""
        return None

    def run(self, content: bytes, rows: Rows) -> Outputs:
        """Compute every output of every row, (n,) each.

        Raises:
            RuntimeRefusal: the runtime cannot run the file.
        """
        return self.timed(content, rows)[0]

    @abstractmethod
    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        """Compute the outputs, and the seconds (n,) of each row; errors as for `run`."""


@dataclass(frozen=True, kw_only=True)
class LiteRt(Runtime):
    """LiteRT's interpreter in this process."""

    resolver: str
    """Name of an `OpResolverType`, which selects the kernels."""

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        try:
            model = LiteRtModel(content, resolver=self.resolver)
        except (RuntimeError, ValueError) as error:
            raise RuntimeRefusal(_line(error)) from None
        (source,) = model.inputs
        outputs, seconds = model.run({source: rows})
        return {name: _column(values) for name, values in outputs.items()}, seconds


@dataclass(frozen=True, kw_only=True)
class InChild(Runtime):
    """A runtime that may crash, in a child process."""

    kind: str
    """Key of KINDS."""
    package: str
    """Package that it is imported from."""
    linux_processors: tuple[str, ...] = ()
    """Values of `platform.machine()` for which the package exists, on Linux only; empty if it exists everywhere."""

    def available(self) -> str | None:
        if self.linux_processors and not (sys.platform == "linux" and platform.machine() in self.linux_processors):
            return f"{self.package} exists for Linux on {', '.join(self.linux_processors)} only"
        if find_spec(self.package):
            return None
        return f"{self.package} is not installed (pip install {self.package.replace('_', '-')})"

    def timed(self, content: bytes, rows: Rows) -> tuple[Outputs, npt.NDArray[np.float64]]:
        outputs = run_in_child(self.kind, content, rows, FIRST_ARENA_BYTES)
        seconds = outputs.pop(_SECONDS)
        return outputs, seconds


RUNTIMES: tuple[Runtime, ...] = (
    LiteRt(name="LiteRT", resolver="AUTO"),
    LiteRt(name="LiteRT reference", resolver="BUILTIN_REF"),
    LiteRt(name="LiteRT no delegate", resolver="BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
    InChild(name="CompiledModel", kind="compiled", package="ai_edge_litert"),
    InChild(name="TFLM", kind="tflm", package="tflite_micro", linux_processors=("x86_64",)),
)
"""In the order of the table that the bundle prints."""

_SECONDS = " seconds"
"""Key of the times among the outputs; no output has a name that begins with a blank."""


def run_in_child(kind: str, content: bytes, rows: Rows, arena_bytes: int) -> Outputs:
    """Run a file in a child process.

    Raises:
        RuntimeRefusal: the runtime refused the file, crashed or exceeded CHILD_LIMIT_S.
    """
    with temporary_folder() as folder:
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
            raise RuntimeRefusal(f"crashed with {signal.Signals(-done.returncode).name}")
        if done.returncode or not result.exists():
            lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
            reasons = [line.removeprefix(REFUSAL_MARK) for line in lines if line.startswith(REFUSAL_MARK)]
            raise RuntimeRefusal((reasons or lines or [f"exit code {done.returncode}"])[-1])
        with np.load(io.BytesIO(result.read_bytes())) as arrays:
            return {name: arrays[name] for name in arrays.files}


def child() -> None:
    """Run the file of a job in the child process; the arguments are kind, job, result and arena bytes."""
    end_with_parent()
    kind, job, result, arena_bytes = sys.argv[1:]
    with np.load(job) as arrays:
        content, rows = arrays["content"].tobytes(), arrays["rows"]
    try:
        outputs = KINDS[kind](content, rows, int(arena_bytes))
    except Exception as error:
        print(f"\n{REFUSAL_MARK}{_line(error)}", flush=True)
        sys.exit(1)
    np.savez(result, **outputs)  # type: ignore[arg-type]


def _compiled(content: bytes, rows: Rows, _: int) -> Outputs:
    """Run LiteRT's CompiledModel on the CPU. It keeps no state between calls: it refuses operators with state."""
    from ai_edge_litert.compiled_model import CompiledModel

    model = parse(content)
    tensors = model.subgraphs[0].tensors
    compiled = CompiledModel.from_buffer(content)
    (key,) = compiled.get_signature_list()
    outputs = signature(model)[1]
    (source,) = compiled.create_input_buffers(0)
    results: dict[str, list[Any]] = {name: [] for name in outputs}
    # CompiledModel may order the outputs differently from the file.
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
            results[name].append(buffer.read(int(np.prod(tensor.shape)), type_name(tensor)).reshape(tensor.shape))
    return {**{name: _column(np.concatenate(values)) for name, values in results.items()}, _SECONDS: np.array(seconds)}


def _tflm(content: bytes, rows: Rows, arena_bytes: int) -> Outputs:
    """Run TensorFlow Lite for Microcontrollers."""
    from tflite_micro.python.tflite_micro import runtime

    outputs = signature(parse(content))[1]
    order = parse(content).subgraphs[0].outputs.tolist()
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    results: dict[str, list[Any]] = {name: [] for name in outputs}
    seconds = []
    for row in rows:
        interpreter.reset()
        interpreter.set_input(np.ascontiguousarray(row[None]), 0)
        begun = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - begun)
        for name, index in outputs.items():
            results[name].append(interpreter.get_output(order.index(index)))
    return {**{name: _column(np.concatenate(values)) for name, values in results.items()}, _SECONDS: np.array(seconds)}


KINDS = {"compiled": _compiled, "tflm": _tflm}
"""Kind of child -> function (content, rows, arena bytes) -> outputs."""


def arena_bytes(content: bytes, row: Rows) -> int:
    """Find the smallest arena, to ARENA_STEP_BYTES, in which TFLM computes a row.

    The interpreter records too few bytes (1,504 recorded, 1,939 needed), and a small arena may crash it. Therefore
    each size is tried in a new child process.

    Raises:
        RuntimeRefusal: TFLM cannot run the file with FIRST_ARENA_BYTES.
    """
    expected = run_in_child("tflm", content, row[None], FIRST_ARENA_BYTES)

    def suffices(steps: int) -> bool:
        try:
            outputs = run_in_child("tflm", content, row[None], steps * ARENA_STEP_BYTES)
        except RuntimeRefusal:
            return False
        return all(np.array_equal(outputs[name], values) for name, values in expected.items() if name != _SECONDS)

    low, high = 0, FIRST_ARENA_BYTES // ARENA_STEP_BYTES
    # Most files need some tens of KiB: start with 32 KiB and double, then bisect.
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
    """Reshape (n, 1) to (n,); other shapes are unchanged."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _line(error: BaseException) -> str:
    """First line of an error that is not blank, else the name of its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
