"""The list of operators of a model: typed, in the order of execution, with all constants as NumPy arrays.

`reading.read` makes it from a float32 .tflite, `interpreter.run` computes it with NumPy. Generators of other languages
read the same list. Each operator has one output. An activation that the file fuses into an operator, such as RELU, is
an operator of its own here. SPLIT is a STRIDED_SLICE for each part, and PACK is a CONCATENATION.

| operator | inputs | attributes |
|---|---|---|
| UNARY | x | |
| BINARY, COMPARISONS | x, y: broadcast as in NumPy | |
| SELECT_V2 | condition, x, y: broadcast as in NumPy | |
| FULLY_CONNECTED | x (..., n), weights (m, n), optional bias (m,) | |
| CONV_2D | x (1, 1, width, channels), kernels (m, 1, taps, channels), optional bias (m,) | `stride`, `padding` |
| REDUCTIONS | x | `axes`: ascending and adjacent |
| SOFTMAX | x: over the last axis | |
| CONCATENATION | parts, in order | `axis` of the output |
| TRANSPOSE | x | `permutation` of the axes |
| GATHER | x | `axis`, `indices` |
| PAD | x | `before`, `after`: zeros per axis |
| STRIDED_SLICE | x | `begin`, `step` per axis; the shape of the output ends it |
| RESHAPE | x: the same values in the same order | |
| UNIDIRECTIONAL_SEQUENCE_LSTM | x (1, steps, channels), then LSTM_WEIGHTS | `cell_clip` |

`padding` is the number of zeros before the first value; there may be zeros after the last. `cell_clip` is the largest
size of a cell; 0 is no limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

UNARY = ("ABS", "EXP", "LOG", "LOGISTIC", "NEG", "RELU", "RSQRT", "SQRT", "SQUARE", "TANH")
BINARY = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB")
COMPARISONS = ("GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND")
"""Binary operators with a result that is true or false."""
ELEMENTWISE = (*UNARY, *BINARY, *COMPARISONS, "SELECT_V2")
REDUCTIONS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
OPERATORS = (
    *(*ELEMENTWISE, *REDUCTIONS, LSTM),
    *("CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "GATHER", "PAD", "RESHAPE", "SOFTMAX", "STRIDED_SLICE"),
    "TRANSPOSE",
)
"""Every operator that a list may hold."""

GATES = ("input", "forget", "cell", "output")
LSTM_WEIGHTS = tuple(f"{gate} {kind}" for kind in ("kernel", "recurrent kernel", "bias") for gate in GATES)
"""Inputs of an LSTM after x: kernels (units, channels), recurrent kernels (units, units), biases (units,)."""

Attribute = int | float | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of one scan."""

    shape: tuple[int, ...]
    """The batch axis, if there is one, is 1."""
    is_bool: bool = False
    """Whether its values are true or false; all others are float32."""
    values: npt.NDArray[Any] | None = None
    """The values of a constant; None for a computed tensor."""

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """A step of the computation."""

    name: str
    """One of OPERATORS."""
    inputs: tuple[int, ...]
    """Indices of tensors."""
    output: int
    """Index of the tensor."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def integer(self, name: str) -> int:
        """An attribute that is a whole number."""
        value = self.attributes[name]
        assert isinstance(value, int)
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """An attribute that is a tuple."""
        value = self.attributes[name]
        assert isinstance(value, tuple)
        return value


@dataclass(frozen=True)
class OperatorList:
    """A model. Computed tensors are written by exactly one operator, before any operator reads them."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: dict[str, int]
    """Name in the signature -> index of the tensor."""
    outputs: dict[str, int]

    @cached_property
    def aliases(self) -> dict[int, tuple[int, int]]:
        """Tensor -> the tensor whose memory holds its values, and the position of the first.

        These are the outputs of RESHAPE, and of STRIDED_SLICE if it takes adjacent values: a generator writes no code
        for them.
        """
        found: dict[int, tuple[int, int]] = {}
        for operator in self.operators:
            if (first := self._first_of_adjacent(operator)) is None:
                continue
            root, offset = found.get(operator.inputs[0], (operator.inputs[0], 0))
            found[operator.output] = root, offset + first
        return found

    def _first_of_adjacent(self, operator: Operator) -> int | None:
        """Position of the first value that the operator takes, if it only takes adjacent values; else None."""
        if operator.name == "RESHAPE":
            return 0
        if operator.name != "STRIDED_SLICE":
            return None
        positions = slice_positions(operator, self.tensors)
        return int(positions[0]) if (np.diff(positions) == 1).all() else None


def slice_positions(operator: Operator, tensors: tuple[Tensor, ...]) -> npt.NDArray[np.int64]:
    """Positions (size of the output,) of the values that a STRIDED_SLICE takes, in its input as one row."""
    source, output = tensors[operator.inputs[0]], tensors[operator.output]
    taken = np.arange(source.size).reshape(source.shape)
    for axis, (begin, step) in enumerate(zip(operator.integers("begin"), operator.integers("step"), strict=True)):
        count = output.shape[axis]
        taken = taken.take(range(begin, begin + step * count, step), axis)
    return taken.ravel()
