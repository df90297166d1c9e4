"""Run a .tflite with the LiteRT interpreter: one row at a time, each from the initial state.

This is the only module outside `export` that imports a device runtime: `predict` runs bundles with it, and `export`
compares .tflite files with Keras. On a device, `export/runtime/soil_scan.py` runs the model without relple_tf.
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
        content: Content of the file; check its hash first, because LiteRT crashes on some damaged files.
        resolver: Name of an `OpResolverType` of LiteRT, which selects the kernels.
        keep_tensors: Keep the result of every operator, which `tensors` needs.

    Raises:
        RuntimeError: LiteRT refuses the file.
        ValueError: LiteRT refuses the file.
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
        # The interpreter cannot run while a signature runner is referenced, so it is local to this method.
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
        """Input or output -> shape and dtype of its tensor."""

    def run(self, rows: Mapping[str, Rows]) -> tuple[dict[str, Rows], npt.NDArray[np.float64]]:
        """Run the model on every row separately.

        Args:
            rows: Input -> (n, ...), in the dtype of the file.

        Returns:
            Output -> (n, ...), in the dtype of the file; and the time of each row in seconds, (n,).
        """
        tensors, seconds = self._run(rows, self.outputs.values())
        return {name: tensors[index] for name, index in self.outputs.items()}, seconds

    def tensors(self, rows: Mapping[str, Rows], indices: Iterable[int]) -> dict[int, Rows]:
        """Values of the tensors with these indices, all rows joined along the first axis; needs `keep_tensors`."""
        return self._run(rows, indices)[0]

    def _run(self, rows: Mapping[str, Rows], indices: Iterable[int]) -> tuple[dict[int, Rows], npt.NDArray[np.float64]]:
        interpreter, count = self._interpreter, len(next(iter(rows.values())))
        results = {index: _empty(interpreter.get_tensor(index), count) for index in indices}
        seconds = np.empty(count)
        for row in range(count):
            # Else a recurrent operator continues from the state of the previous row.
            interpreter.reset_all_variables()
            for name, index in self.inputs.items():
                interpreter.set_tensor(index, rows[name][row : row + 1])
            started_s = time.perf_counter()
            interpreter.invoke()
            seconds[row] = time.perf_counter() - started_s
            for index, joined in results.items():
                values = interpreter.get_tensor(index)
                joined[row * len(values) : (row + 1) * len(values)] = values
        return results, seconds


def _indices(details: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {name: int(tensor["index"]) for name, tensor in details.items()}


def _empty(values: Rows, count: int) -> Rows:
    """Empty array for `count` tensors of the shape and dtype of `values`, joined along the first axis."""
    return np.empty((count * len(values), *values.shape[1:]), values.dtype)
