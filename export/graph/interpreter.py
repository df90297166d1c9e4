"""Compute a list of operators with NumPy, in float32: the reference for every generated language."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from export.graph.operator_list import LSTM, Operator, OperatorList, Tensor, slice_positions

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


def run(model: OperatorList, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Compute the outputs of one scan.

    Args:
        model: The list of operators.
        inputs: Name in the signature -> values, as many as the tensor has.

    Returns:
        Name in the signature -> values, in the shape of the tensor.
    """
    values = {index: tensor.values for index, tensor in enumerate(model.tensors) if tensor.values is not None}
    for name, index in model.inputs.items():
        values[index] = np.asarray(inputs[name], np.float32).reshape(model.tensors[index].shape)
    # NaN and infinite values are results like others: the model gives NaN for an impossible scan.
    with np.errstate(all="ignore"):
        for operator in model.operators:
            received = [values[index] for index in operator.inputs]
            output = model.tensors[operator.output]
            result = FUNCTIONS[operator.name](operator, model.tensors, *received)
            values[operator.output] = np.asarray(result, bool if output.is_bool else np.float32).reshape(output.shape)
    return {name: values[index] for name, index in model.outputs.items()}


def run_all(model: OperatorList, scans: Array) -> dict[str, Floats]:
    """Compute the outputs of scans (n, bands) for a model with one input; output -> (n,)."""
    (name,) = model.inputs
    rows = [run(model, {name: scan}) for scan in scans]
    return {output: np.array([row[output].item() for row in rows], np.float32) for output in model.outputs}


def _sigmoid(x: Array) -> Array:
    one = np.float32(1)
    sigmoid: Array = one / (one + np.exp(-x))
    return sigmoid


def _elementwise(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda operator, tensors, *values: function(*values)


def _reduction(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda operator, tensors, x: function(x, axis=operator.integers("axes"))


def _fully_connected(operator: Operator, tensors: tuple[Tensor, ...], x: Array, weights: Array, *bias: Array) -> Array:
    product: Array = x.reshape(-1, weights.shape[1]) @ weights.T
    return product + bias[0] if bias else product


def _convolution(operator: Operator, tensors: tuple[Tensor, ...], x: Array, kernels: Array, *bias: Array) -> Array:
    stride, padding = operator.integer("stride"), operator.integer("padding")
    rows, (count, _, taps, channels) = x.reshape(x.shape[2:]), kernels.shape
    out_width = tensors[operator.output].shape[2]
    after = max((out_width - 1) * stride + taps - padding - len(rows), 0)
    padded = np.pad(rows, ((padding, after), (0, 0)))
    first = stride * np.arange(out_width)
    windows = padded[first[:, None] + np.arange(taps)].reshape(out_width, taps * channels)
    product: Array = windows @ kernels.reshape(count, taps * channels).T
    return product + bias[0] if bias else product


def _softmax(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _concatenation(operator: Operator, tensors: tuple[Tensor, ...], *parts: Array) -> Array:
    axis, shape = operator.integer("axis"), tensors[operator.output].shape
    # Parts that are joined along a new axis lack it.
    return np.concatenate([part.reshape(*shape[:axis], -1, *shape[axis + 1 :]) for part in parts], axis)


def _transpose(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    return x.transpose(operator.integers("permutation"))


def _gather(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    return x.take(operator.integers("indices"), operator.integer("axis"))


def _pad(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    return np.pad(x, list(zip(operator.integers("before"), operator.integers("after"), strict=True)))


def _strided_slice(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    return x.ravel()[slice_positions(operator, tensors)]


def _reshape(operator: Operator, tensors: tuple[Tensor, ...], x: Array) -> Array:
    return x


def _lstm(operator: Operator, tensors: tuple[Tensor, ...], x: Array, *weights: Array) -> Array:
    """Hochreiter & Schmidhuber (1997), Neural Computation 9(8), 1735-1780, with a forget gate."""
    # (4 units, ...): the gates in the order of GATES, one below the other.
    kernel, recurrent, bias = (np.concatenate(weights[first : first + 4]) for first in (0, 4, 8))
    clip = float(operator.attributes["cell_clip"])  # type: ignore[arg-type]
    hidden = cell = np.zeros(len(bias) // 4, np.float32)
    states = []
    for row in x.reshape(x.shape[1:]):
        entered, forgotten, candidate, shown = np.split(kernel @ row + recurrent @ hidden + bias, 4)
        cell = _sigmoid(forgotten) * cell + _sigmoid(entered) * np.tanh(candidate)
        if clip > 0:
            cell = np.clip(cell, -clip, clip)
        hidden = _sigmoid(shown) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states)


ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "ABS": np.abs,
    "EXP": np.exp,
    "LOG": np.log,
    "LOGISTIC": _sigmoid,
    "NEG": np.negative,
    "RELU": lambda x: np.maximum(x, 0),
    "RSQRT": lambda x: np.float32(1) / np.sqrt(x),
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "TANH": np.tanh,
    "ADD": np.add,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SQUARED_DIFFERENCE": lambda x, y: np.square(x - y),
    "SUB": np.subtract,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOGICAL_AND": np.logical_and,
    "SELECT_V2": np.where,
}
REDUCTIONS: dict[str, Callable[..., Array]] = {
    "MEAN": np.mean,
    "SUM": np.sum,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
}
FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{name: _elementwise(function) for name, function in ELEMENTWISE.items()},
    **{name: _reduction(function) for name, function in REDUCTIONS.items()},
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    LSTM: _lstm,
}
"""Operator -> function (operator, tensors, values of its inputs) -> values of its output."""
