"""Constants of a model as C arrays: float, or matrices in 16 bits with a scale for each row."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.source import lines, literal
from export.graph.operator_list import ELEMENTWISE, LSTM, OperatorList

Array = npt.NDArray[Any]

LARGEST_INT16 = 32767
FEWEST_ROUNDED = 128
"""Smaller matrices stay float: they take little flash. The kernels of the derivatives are among them; their rounding
errors would add a multiple of the absorbance to its small differences."""
FEWEST_ROUNDED_ROWS = 8
"""Matrices with fewer rows stay float: the weights of a kernel regression, with a row per target, are up to a thousand
times as large as the predictions, in which they cancel; their rounding errors do not."""
LARGEST_CHANGE = 1e-3
"""Largest change of a value of a vector by rounding, as a fraction of the value or of the mean size of its channel."""


MOST_FACTORS = 8
"""A constant that is 1 but for this number of values needs no table in a multiplication in place: the weights of the
resampled bands are 1 except at the ends."""


def has_few_factors(values: Array) -> bool:
    """Whether few values of a constant differ from 1."""
    return bool(np.count_nonzero(values != 1) <= MOST_FACTORS < values.size)


def rounded(matrix: Array) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Round a matrix to 16 bits.

    Args:
        matrix: (rows, ...).

    Returns:
        Whole numbers (rows, columns) and the scale of each row (rows,): their products are near the matrix.
    """
    rows = matrix.reshape(len(matrix), -1)
    scales = (np.abs(rows).max(axis=1) / LARGEST_INT16).astype("float32")
    scales[scales == 0] = 1
    return np.round(rows / scales[:, None]).astype("int16"), scales


def rounded_constants(model: OperatorList) -> set[int]:
    """Tensors that the recipe c99_int16 stores in 16 bits: matrices row by row, vectors of elementwise operators whole.

    Vectors are rounded only if the change is small; the channels of a vector may differ much in size.
    """
    found = set()
    for operator in model.operators:
        if operator.name == LSTM:
            found |= set(operator.inputs[1:9])
        elif operator.name in ("FULLY_CONNECTED", "CONV_2D"):
            matrix = model.tensors[operator.inputs[1]]
            if matrix.size >= FEWEST_ROUNDED and matrix.shape[0] >= FEWEST_ROUNDED_ROWS:
                found.add(operator.inputs[1])
        elif operator.name in ("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE"):
            for index in operator.inputs:
                values = model.tensors[index].values
                if values is not None and values.size >= FEWEST_ROUNDED and _changes_little(values, operator.name):
                    found.add(index)
    return found


def _changes_little(values: Array, operator: str) -> bool:
    """Whether rounding changes no factor by more than LARGEST_CHANGE, no other value by more than that of its channel.

    False for a constant that needs no table.

    Args:
        values: (n,) or (n, channels).
        operator: Operator that reads it; MUL reads factors.
    """
    if not np.isfinite(values).all() or (operator == "MUL" and has_few_factors(values)):
        return False
    columns = np.abs(values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(-1, 1))
    change = np.abs(dequantised(values.reshape(1, -1)).reshape(columns.shape) - values.reshape(columns.shape))
    size = columns if operator == "MUL" else columns.mean(axis=0)
    return bool((change <= LARGEST_CHANGE * size).all())


def dequantised(matrix: Array) -> Array:
    """The matrix after rounding to 16 bits, in its shape."""
    whole, scales = rounded(matrix)
    return (whole * scales[:, None]).astype("float32").reshape(matrix.shape)


def with_rounded_constants(model: OperatorList) -> OperatorList:
    """The model that C computes with tables in 16 bits, as a list for the interpreter."""
    rows_of = {index for operator in model.operators if operator.name not in ELEMENTWISE for index in operator.inputs}
    tensors = list(model.tensors)
    for index in rounded_constants(model):
        values = tensors[index].values
        assert values is not None
        rows = values if index in rows_of else values.reshape(1, -1)
        tensors[index] = replace(tensors[index], values=dequantised(rows).reshape(values.shape))
    return replace(model, tensors=tuple(tensors))


@dataclass(frozen=True)
class Matrix:
    """A matrix in C."""

    suffix: str
    """Suffix of the functions that read it: empty for float, `_16` for 16 bits."""
    names: tuple[str, ...]
    """Arguments that pass it to a function: the table, and for 16 bits the scales."""


@dataclass
class Tables:
    """The constants that the generated code refers to; equal ones are stored once."""

    int16: bool
    """Whether matrices are rounded."""
    definitions: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes of all tables."""
    _names: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def floats(self, values: Array) -> str:
        """Name of a table of float values."""
        return self._table("float", np.asarray(values, "float32"), [_float(value) for value in values.ravel()])

    def vector(self, values: Array) -> tuple[str, float]:
        """Name of a table of whole numbers, and the scale of all."""
        whole, scales = rounded(values.reshape(1, -1))
        return self._table("int16_t", whole, [str(value) for value in whole.ravel().tolist()]), float(scales[0])

    def whole_numbers(self, values: Array) -> str:
        """Name of a table of numbers from 0 to 65,535."""
        return self._table("uint16_t", np.asarray(values, "uint16"), [str(value) for value in values.ravel().tolist()])

    def matrix(self, values: Array, *, is_rounded: bool) -> Matrix:
        """A matrix (rows, ...); `is_rounded` has no effect in the recipe c99."""
        if not (self.int16 and is_rounded):
            return Matrix("", (self.floats(values),))
        whole, scales = rounded(values)
        name = self._table("int16_t", whole, [str(value) for value in whole.ravel().tolist()])
        return Matrix("_16", (name, self.floats(scales)))

    def _table(self, kind: str, values: Array, words: list[str]) -> str:
        key = (kind, values.tobytes())
        if key not in self._names:
            self._names[key] = f"table_{len(self._names)}"
            self.definitions.append(f"static const {kind} {self._names[key]}[{len(words)}] = {{\n{lines(words)}}};")
            self.size += values.nbytes
        return self._names[key]


def _float(value: float) -> str:
    return "NAN" if np.isnan(value) else literal(value)
