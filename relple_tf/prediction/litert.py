"""Run a .tflite on LiteRT's interpreter: one row at a time, each from a fresh state.

The one module outside `export` that imports a device runtime: `predict` runs bundles with it, and `export` compares
files with Keras by it. A device has `export/runtime/soil_scan.py`, which imports nothing of relple_tf.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]


class LiteRtModel:
    """A .tflite with one signature, opened on one thread.

    Args:
        content: Of the file; check it first, for LiteRT crashes on some damaged ones.
        resolver: Name of an `OpResolverType` of LiteRT: which kernels compute.
        keep_tensors: Keep the result of every operator, so that `run` may read it.

    Raises:
        RuntimeError: LiteRT does not take the file.
        ValueError: likewise.
    """

    def __init__(self, content: bytes, *, resolver: str = "AUTO", keep_tensors: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType[resolver],
            experimental_preserve_all_tensors=keep_tensors,
        )
        self._interpreter.allocate_tensors()
        # A signature runner that is still held forbids the interpreter to run.
        runner = self._interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        self.inputs = _indices(inputs)
        """Input -> index of its tensor."""
        self.outputs = _indices(outputs)
        """Output -> index of its tensor."""
        self.ports = {
            name: (tuple(details["shape"].tolist()), np.dtype(details["dtype"]).name)
            for name, details in (inputs | outputs).items()
        }
        """Input or output -> shape and type of its tensor."""

    def run(self, rows: Mapping[str, Rows]) -> tuple[dict[str, Rows], npt.NDArray[np.float64]]:
        """Compute every row by itself.

        Args:
            rows: Input -> (n, ...), as the file stores it.

        Returns:
            Output -> (n, ...), as the file stores it; seconds (n,) that each row took.
        """
        found, seconds = self._run(rows, self.outputs.values())
        return {name: found[index] for name, index in self.outputs.items()}, seconds

    def tensors(self, rows: Mapping[str, Rows], indices: Iterable[int]) -> dict[int, Rows]:
        """What the tensors of these indices hold for every row, joined along their first axis; needs `keep_tensors`."""
        return self._run(rows, indices)[0]

    def _run(self, rows: Mapping[str, Rows], indices: Iterable[int]) -> tuple[dict[int, Rows], npt.NDArray[np.float64]]:
        interpreter, count = self._interpreter, len(next(iter(rows.values())))
        found = {index: _room(interpreter.get_tensor(index), count) for index in indices}
        seconds = np.empty(count)
        for row in range(count):
            # A recurrent operator would go on from the row before.
            interpreter.reset_all_variables()
            for name, index in self.inputs.items():
                interpreter.set_tensor(index, rows[name][row : row + 1])
            begun = time.perf_counter()
            interpreter.invoke()
            seconds[row] = time.perf_counter() - begun
            for index, joined in found.items():
                values = interpreter.get_tensor(index)
                joined[row * len(values) : (row + 1) * len(values)] = values
        return found, seconds


def _indices(details: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {name: int(facts["index"]) for name, facts in details.items()}


def _room(values: Rows, count: int) -> Rows:
    """Space for `count` tensors like this one, joined along the first axis."""
    return np.empty((count * len(values), *values.shape[1:]), values.dtype)
