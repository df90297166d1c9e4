"""Read the list of operators from a float32 .tflite."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.convert.flatbuffer import Model, constant, operators, parse, signature, type_name
from export.graph.operator_list import (
    ELEMENTWISE,
    LSTM,
    OPERATORS,
    REDUCTIONS,
    Attribute,
    Operator,
    OperatorList,
    Tensor,
)
from relple_tf.errors import InputError

ACTIVATIONS = {schema.ActivationFunctionType.RELU: "RELU", schema.ActivationFunctionType.TANH: "TANH"}
"""Code of a fused activation -> the operator that computes it."""

LSTM_INPUTS = (0, *range(1, 9), *range(12, 16))
"""Positions of x and of LSTM_WEIGHTS among the inputs of an LSTM in the file."""
LSTM_STATE = (18, 19)
"""Positions of the state, which is 0 at the start of each scan."""


def read(content: bytes) -> OperatorList:
    """Read a float32 .tflite.

    Raises:
        InputError: an operator is unknown, or has a type or an option that is not supported; names the operator.
    """
    return _Reader(parse(content)).result()


class _Reader:
    """The tensors and operators that were read so far.

    Args:
        model: The parsed file.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graph = model.subgraphs[0]
        self.tensors: list[Tensor] = [self._tensor(details) for details in self.graph.tensors]
        self.operators: list[Operator] = []

    def result(self) -> OperatorList:
        for name, operator in operators(self.model):
            self._add(name, operator)
        inputs, outputs = signature(self.model)
        return OperatorList(tuple(self.tensors), tuple(self.operators), inputs, outputs)

    def _tensor(self, details: Any) -> Tensor:
        shape = () if details.shape is None else tuple(np.asarray(details.shape).tolist())
        data, kind = constant(self.model, details), type_name(details)
        values = None if data is None else np.frombuffer(data.tobytes(), kind).reshape(shape)
        return Tensor(shape, kind == "bool", values)

    def _add(self, name: str, operator: Any) -> None:
        """Append the operators of the list that compute one operator of the file."""
        read_attributes = READERS.get(name)
        if read_attributes is None:
            raise InputError(
                f"operator {name}: expected one of {', '.join(sorted(READERS))}, received {name}; leave out the c99 "
                "recipes, or change the layer"
            )
        try:
            for entry in read_attributes(self, name, operator):
                self._append(entry, getattr(operator.builtinOptions, "fusedActivationFunction", 0))
        except NotSupportedError as error:
            raise InputError(f"operator {name}: {error}; leave out the c99 recipes, or change the layer") from None

    def _append(self, entry: Operator, activation: int) -> None:
        for index in (*entry.inputs, entry.output):
            kind = type_name(self.graph.tensors[index])
            check(kind in ("float32", "bool"), f"expected float32 values, received {kind}")
        if entry.name == LSTM or activation == schema.ActivationFunctionType.NONE:
            self.operators.append(entry)
            return
        check(activation in ACTIVATIONS, f"activation {activation} is not supported")
        # The operator writes to a new tensor, from which the activation computes the output of the file.
        before = len(self.tensors)
        self.tensors.append(Tensor(self.tensors[entry.output].shape))
        self.graph.tensors.append(self.graph.tensors[entry.output])
        self.operators.append(Operator(entry.name, entry.inputs, before, entry.attributes))
        self.operators.append(Operator(ACTIVATIONS[activation], (before,), entry.output))

    def constant(self, index: int) -> npt.NDArray[Any]:
        """Values of a tensor that must be constant."""
        values = self.tensors[index].values
        if values is None:
            raise NotSupportedError("expected a constant where the file has a computed tensor")
        return values

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensors[index].shape


class NotSupportedError(ValueError):
    """An option of an operator that the list does not have."""


def check(condition: bool, message: str) -> None:
    """Raise NotSupportedError with the message, unless the condition is true."""
    if not condition:
        raise NotSupportedError(message)


Entries = Iterator[Operator]


def _given(operator: Any) -> tuple[int, ...]:
    """Inputs of an operator without the optional ones that are missing."""
    return tuple(index for index in operator.inputs.tolist() if index >= 0)


def _entry(name: str, operator: Any, count: int | None = None, **attributes: Attribute) -> Operator:
    """An entry with the first `count` inputs of an operator of the file; None for all."""
    return Operator(name, _given(operator)[:count], int(operator.outputs[0]), attributes)


def _plain(reader: _Reader, name: str, operator: Any) -> Entries:
    yield _entry(name, operator)


def _reshape(reader: _Reader, name: str, operator: Any) -> Entries:
    yield _entry("RESHAPE", operator, 1)


def _fully_connected(reader: _Reader, name: str, operator: Any) -> Entries:
    reader.constant(int(operator.inputs[1]))
    check(operator.builtinOptions.weightsFormat == 0, "weights in another order are not supported")
    yield _entry(name, operator)


def _convolution(reader: _Reader, name: str, operator: Any) -> Entries:
    options = operator.builtinOptions
    kernels = reader.constant(int(operator.inputs[1]))
    (_, height, width, _), (_, taps_high, taps, _) = reader.shape(operator.inputs[0]), kernels.shape
    check(height == taps_high == 1 == options.strideH, "expected a convolution along one axis")
    check(options.dilationWFactor == 1, "dilation is not supported")
    out_width, padding = reader.shape(operator.outputs[0])[2], 0
    if options.padding == schema.Padding.SAME:
        padding = max((out_width - 1) * options.strideW + taps - width, 0) // 2
    yield _entry(name, operator, stride=int(options.strideW), padding=padding)


def _reduction(reader: _Reader, name: str, operator: Any) -> Entries:
    rank = len(reader.shape(operator.inputs[0]))
    axes = sorted({int(axis) % rank for axis in np.atleast_1d(reader.constant(operator.inputs[1]))})
    check(axes == list(range(axes[0], axes[-1] + 1)), "expected adjacent axes")
    yield _entry(name, operator, 1, axes=tuple(axes))


def _softmax(reader: _Reader, name: str, operator: Any) -> Entries:
    check(operator.builtinOptions.beta == 1, "beta other than 1 is not supported")
    yield _entry(name, operator)


def _concatenation(reader: _Reader, name: str, operator: Any) -> Entries:
    """CONCATENATION, and PACK, which joins along a new axis."""
    axis = operator.builtinOptions.axis % len(reader.shape(operator.outputs[0]))
    yield _entry("CONCATENATION", operator, axis=axis)


def _transpose(reader: _Reader, name: str, operator: Any) -> Entries:
    yield _entry(name, operator, 1, permutation=tuple(reader.constant(operator.inputs[1]).tolist()))


def _gather(reader: _Reader, name: str, operator: Any) -> Entries:
    check(operator.builtinOptions.batchDims == 0, "batch axes are not supported")
    axis = operator.builtinOptions.axis % len(reader.shape(operator.inputs[0]))
    indices = reader.constant(operator.inputs[1])
    check(indices.ndim == 1, "expected a row of indices")
    yield _entry(name, operator, 1, axis=axis, indices=tuple(indices.tolist()))


def _pad(reader: _Reader, name: str, operator: Any) -> Entries:
    if name == "PADV2":
        check(reader.constant(operator.inputs[2]).item() == 0, "expected zeros")
    before, after = reader.constant(operator.inputs[1]).T.tolist()
    yield _entry("PAD", operator, 1, before=tuple(before), after=tuple(after))


def _split(reader: _Reader, name: str, operator: Any) -> Entries:
    """A slice for each part."""
    axis_input, source = operator.inputs.tolist()
    rank = len(reader.shape(source))
    axis = reader.constant(axis_input).item() % rank
    first = 0
    for output in operator.outputs.tolist():
        begin = tuple(first if at == axis else 0 for at in range(rank))
        yield Operator("STRIDED_SLICE", (source,), output, {"begin": begin, "step": (1,) * rank})
        first += reader.shape(output)[axis]


def _strided_slice(reader: _Reader, name: str, operator: Any) -> Entries:
    options, shape = operator.builtinOptions, reader.shape(operator.inputs[0])
    check(not (options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask), "masks are not supported")
    begin, steps = (reader.constant(operator.inputs[at]).tolist() for at in (1, 3))
    check(len(begin) == len(shape) and min(steps) > 0, "expected a positive step for each axis")
    from_start = [bool(options.beginMask >> axis & 1) for axis in range(len(shape))]
    firsts = tuple(0 if all_ else at % size for all_, at, size in zip(from_start, begin, shape, strict=True))
    yield _entry(name, operator, 1, begin=firsts, step=tuple(steps))


def _lstm(reader: _Reader, name: str, operator: Any) -> Entries:
    options, inputs = operator.builtinOptions, operator.inputs.tolist()
    check(options.fusedActivationFunction == schema.ActivationFunctionType.TANH, "expected the activation TANH")
    check(not options.timeMajor and options.projClip == 0, "expected (batch, steps, channels) and no projection")
    present = {at for at, index in enumerate(inputs) if index >= 0}
    check(present == {*LSTM_INPUTS, *LSTM_STATE}, "peepholes, projection and normalisation are not supported")
    yield Operator(
        name,
        tuple(inputs[at] for at in LSTM_INPUTS),
        int(operator.outputs[0]),
        {"cell_clip": float(options.cellClip)},
    )


READERS: dict[str, Callable[[_Reader, str, Any], Entries]] = {
    **dict.fromkeys(ELEMENTWISE, _plain),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("RESHAPE", "EXPAND_DIMS", "SQUEEZE"), _reshape),
    **dict.fromkeys(("CONCATENATION", "PACK"), _concatenation),
    **dict.fromkeys(("PAD", "PADV2"), _pad),
    "FULLY_CONNECTED": _fully_connected,
    "CONV_2D": _convolution,
    "SOFTMAX": _softmax,
    "TRANSPOSE": _transpose,
    "GATHER": _gather,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    LSTM: _lstm,
}
"""Operator of the file -> function that reads it."""

assert set(OPERATORS) <= set(READERS)
