"""Operators that are not elementwise as C statements: calls of the functions in templates/kernels.c."""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.c.source import literal
from export.graph.operator_list import LSTM, Operator, OperatorList, slice_positions
from relple_tf.errors import InputError

if TYPE_CHECKING:
    from export.c.network import Generator

LSTM_SCRATCH = 5
"""Float values that an LSTM needs for each unit: its cell and four gates."""


def scratch_floats(operator: Operator, model: OperatorList) -> int:
    """Size of the memory that an operator needs for itself."""
    return LSTM_SCRATCH * model.tensors[operator.output].shape[-1] if operator.name == LSTM else 0


def _call(function: str, *arguments: object) -> list[str]:
    return [f"{function}({', '.join(map(str, arguments))});"]


def _shapes(generator: "Generator", operator: Operator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    tensors = generator.model.tensors
    return tensors[operator.inputs[0]].shape, tensors[operator.output].shape


def _weights(generator: "Generator", tensor: int) -> npt.NDArray[np.float32]:
    values = generator.model.tensors[tensor].values
    assert values is not None
    return values


def _dense(generator: "Generator", operator: Operator) -> list[str]:
    weights = _weights(generator, operator.inputs[1])
    matrix = generator.tables.matrix(weights, is_rounded=operator.inputs[1] in generator.rounded)
    m, n = weights.shape
    rows = generator.model.tensors[operator.output].size // m
    x, out = generator.pointer(operator.inputs[0]), generator.pointer(operator.output)
    return _call(f"dense{matrix.suffix}", x, *matrix.names, _bias(generator, operator), out, rows, n, m)


def _bias(generator: "Generator", operator: Operator) -> str:
    """The bias of a matrix operator; a null pointer if it is missing or zero."""
    if len(operator.inputs) < 3:
        return "0"
    values = generator.model.tensors[operator.inputs[2]].values
    return "0" if values is not None and not values.any() else generator.pointer(operator.inputs[2])


def _convolution(generator: "Generator", operator: Operator) -> list[str]:
    kernels = _weights(generator, operator.inputs[1])
    matrix = generator.tables.matrix(kernels, is_rounded=operator.inputs[1] in generator.rounded)
    shape, out_shape = _shapes(generator, operator)
    return _call(
        f"convolve{matrix.suffix}",
        generator.pointer(operator.inputs[0]),
        *matrix.names,
        _bias(generator, operator),
        generator.pointer(operator.output),
        *(shape[2], shape[3], out_shape[2], len(kernels), kernels.shape[2]),
        *(operator.integer("stride"), operator.integer("padding")),
    )


def _lstm(generator: "Generator", operator: Operator) -> list[str]:
    x, *weights = operator.inputs
    kernel, recurrent, bias = (
        np.concatenate([_weights(generator, tensor) for tensor in weights[first : first + 4]]) for first in (0, 4, 8)
    )
    matrices = [generator.tables.matrix(values, is_rounded=True) for values in (kernel, recurrent)]
    steps, channels = generator.model.tensors[x].shape[1:]
    return _call(
        f"lstm{matrices[0].suffix}",
        generator.pointer(x),
        *(name for matrix in matrices for name in matrix.names),
        generator.tables.floats(bias),
        generator.pointer(operator.output),
        generator.scratch(operator),
        *(steps, channels, recurrent.shape[1]),
        literal(float(operator.attributes["cell_clip"])),  # type: ignore[arg-type]
    )


def _reduction(generator: "Generator", operator: Operator) -> list[str]:
    shape, _ = _shapes(generator, operator)
    axes = operator.integers("axes")
    outer, count, inner = prod(shape[: axes[0]]), prod(shape[axes[0] : axes[-1] + 1]), prod(shape[axes[-1] + 1 :])
    function, factor = {
        "SUM": ("sum", 1.0),
        "MEAN": ("sum", 1 / count),
        "REDUCE_MAX": ("extreme", 1.0),
        "REDUCE_MIN": ("extreme", -1.0),
    }[operator.name]
    x, out = generator.pointer(operator.inputs[0]), generator.pointer(operator.output)
    return _call(function, x, out, outer, count, inner, literal(factor))


def _softmax(generator: "Generator", operator: Operator) -> list[str]:
    shape, _ = _shapes(generator, operator)
    x, out = generator.pointer(operator.inputs[0]), generator.pointer(operator.output)
    return _call("softmax", x, out, prod(shape[:-1]), shape[-1])


def _concatenation(generator: "Generator", operator: Operator) -> list[str]:
    _, shape = _shapes(generator, operator)
    rows = prod(shape[: operator.integer("axis")])
    total, first, statements = prod(shape) // rows, 0, []
    out = generator.pointer(operator.output)
    for part in operator.inputs:
        columns = generator.model.tensors[part].size // rows
        to, x = _moved(out, first), generator.pointer(part)
        if rows == 1 or (columns == total):
            statements += _call("memcpy", to, x, f"{rows * columns} * sizeof(float)")
        else:
            statements += _call("copy", x, to, rows, columns, columns, 1, total, 1)
        first += columns
    return statements


def _moved(pointer: str, offset: int) -> str:
    """A pointer of `Generator.pointer`, some values further."""
    memory, _, position = pointer.partition(" + ")
    total = int(position or 0) + offset
    return f"{memory} + {total}" if total else memory


def _taken(generator: "Generator", operator: Operator) -> list[str]:
    """Operators that take values at fixed positions: by equal steps where possible, else by a table."""
    model = generator.model
    source = model.tensors[operator.inputs[0]]
    at = np.arange(source.size).reshape(source.shape)
    if operator.name == "TRANSPOSE":
        positions = at.transpose(operator.integers("permutation")).ravel()
    elif operator.name == "GATHER":
        positions = at.take(operator.integers("indices"), operator.integer("axis")).ravel()
    else:
        positions = slice_positions(operator, model.tensors)
    x, out = generator.pointer(operator.inputs[0]), generator.pointer(operator.output)
    if (grid := equal_steps(positions)) is None:
        return _call("gather", x, generator.tables.whole_numbers(positions), out, len(positions))
    rows, columns, first, row_step, column_step = grid
    return _call("copy", _moved(x, first), out, rows, columns, row_step, column_step, columns, 1)


def equal_steps(positions: npt.NDArray[np.int64]) -> tuple[int, int, int, int, int] | None:
    """Rows, columns, first position, step of rows, step of columns, if positions >= 0 form such a grid."""
    steps = np.diff(positions)
    breaks = np.flatnonzero(steps != steps[:1])
    columns = int(breaks[0]) + 1 if len(breaks) else len(positions)
    if len(positions) % columns:
        return None
    grid = positions.reshape(-1, columns)
    row_step = int(grid[1, 0] - grid[0, 0]) if len(grid) > 1 else 0
    column_step = int(grid[0, 1] - grid[0, 0]) if columns > 1 else 0
    rows, first = len(grid), int(positions[0])
    expected = first + row_step * np.arange(rows)[:, None] + column_step * np.arange(columns)
    return (rows, columns, first, row_step, column_step) if np.array_equal(grid, expected) else None


def _pad(generator: "Generator", operator: Operator) -> list[str]:
    """Set all values to 0, then copy the input."""
    shape, full = _shapes(generator, operator)
    inside = tuple(slice(first, first + size) for first, size in zip(operator.integers("before"), shape, strict=True))
    grid = equal_steps(np.arange(prod(full)).reshape(full)[inside].ravel())
    if grid is None:
        raise InputError("operator PAD: expected at most one padded axis; leave out the c99 recipes")
    rows, columns, first, row_step, column_step = grid
    x, out = generator.pointer(operator.inputs[0]), generator.pointer(operator.output)
    return [
        f"for (i = 0; i < {prod(full)}; ++i) {{",
        f"    {generator.element(operator.output, 'i')} = 0.0f;",
        "}",
        *_call("copy", x, _moved(out, first), rows, columns, columns, 1, row_step, column_step),
    ]


STATEMENTS: dict[str, Callable[["Generator", Operator], list[str]]] = {
    "FULLY_CONNECTED": _dense,
    "CONV_2D": _convolution,
    LSTM: _lstm,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
    "SOFTMAX": _softmax,
    "CONCATENATION": _concatenation,
    **dict.fromkeys(("TRANSPOSE", "GATHER", "STRIDED_SLICE"), _taken),
    "PAD": _pad,
}
"""Operator -> function that writes its statements."""
