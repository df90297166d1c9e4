"""Audit of a .tflite: its operators, weights and multiply-accumulates, and the operators that each runtime lacks."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from export.convert.flatbuffer import Model, constant, operators, parse, type_name
from relple_tf.errors import InputError

FORBIDDEN = {
    "BATCH_MATMUL": "8-bit products of two activations are wrong on some runtimes",
}
"""Builtin operator -> why no exported file may hold it."""

LACKS = {
    "CompiledModel": {"UNIDIRECTIONAL_SEQUENCE_LSTM": "variable tensors"},
    "LiteRT.js": {"UNIDIRECTIONAL_SEQUENCE_LSTM": "variable tensors"},
}
"""Runtime -> operator that it cannot run -> the unsupported feature."""

_TFLM = """ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV
    ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL
    HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOG_SOFTMAX LOGICAL_AND LOGICAL_NOT
    LOGICAL_OR LOGISTIC MAX_POOL_2D MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE
    READ_VARIABLE REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT
    SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE
    SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE
    WHILE ZEROS_LIKE"""
TFLM_OPERATORS = frozenset(_TFLM.split())
"""Operators of TensorFlow Lite for Microcontrollers: python_ops_resolver.cc of tflite-micro, commit 03e16b2, and
REDUCE_MIN, which tflite-micro 0.dev20261023182759 runs (tested)."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Operators, size and work of a file."""

    operators: dict[str, int]
    """Name -> count."""
    weights_bytes: int
    """Bytes of all constants."""
    macs: int
    """Multiply-accumulates of convolutions, dense layers and LSTMs, per scan."""
    lacks: dict[str, tuple[str, ...]]
    """Runtime -> operators of this file that it lacks, at all or with these types."""


def audit(content: bytes) -> Audit:
    """Count operators, weights and multiply-accumulates of a .tflite, and refuse what devices compute wrongly.

    Raises:
        InputError: the file holds a Flex operator, a custom operator or an operator of FORBIDDEN.
    """
    model = parse(content)
    counts = Counter(name for name, _ in operators(model))
    for name in counts:
        if name.startswith("CUSTOM:"):
            kind = "needs TensorFlow's kernels, which no device has" if "Flex" in name else "is not a builtin operator"
            raise InputError(f"operator {name.removeprefix('CUSTOM:')} {kind}; change the layer")
        if name in FORBIDDEN:
            raise InputError(f"operator {name}: {FORBIDDEN[name]}; multiply and sum instead")
    weights = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    return Audit(
        operators=dict(sorted(counts.items())),
        weights_bytes=weights,
        macs=macs(model),
        lacks={
            **{runtime: tuple(sorted(set(missing) & set(counts))) for runtime, missing in LACKS.items()},
            "TFLM": tuple(sorted((set(counts) - TFLM_OPERATORS) | set(unusual_types(model)))),
        },
    )


def unusual_types(model: Model) -> list[str]:
    """Operators with types that TFLM has no kernel for: half precision, float32 with 8-bit weights, integer EXP."""
    tensors = model.subgraphs[0].tensors
    descriptions = set()
    for name, operator in operators(model):
        input_types = {type_name(tensors[i]) for i in operator.inputs.tolist() if i >= 0}
        output_types = {type_name(tensors[i]) for i in operator.outputs.tolist()}
        if "float16" in input_types | output_types:
            descriptions.add(f"{name} (float16)")
        if name not in ("DEQUANTIZE", "QUANTIZE") and "float32" in output_types and "int8" in input_types:
            descriptions.add(f"{name} (float32 with 8-bit weights)")
        if name == "EXP" and output_types != {"float32"}:
            descriptions.add("EXP (8 or 16 bit)")
    return sorted(descriptions)


def macs(model: Model) -> int:
    """Multiply-accumulates per scan of convolutions, dense layers and LSTMs; element-wise operators are not counted."""
    tensors = model.subgraphs[0].tensors
    total = 0
    for name, operator in operators(model):
        if name in ("FULLY_CONNECTED", "CONV_2D"):
            weights = tensors[operator.inputs[1]].shape
            positions = int(np.prod(tensors[operator.outputs[0]].shape)) // int(weights[0])
            total += positions * int(np.prod(weights))
        elif name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            steps = int(tensors[operator.inputs[0]].shape[1])
            kernels = [tensors[i] for i in operator.inputs[1:9].tolist() if i >= 0]
            total += steps * sum(
                int(np.prod(kernel.shape)) for kernel in kernels if constant(model, kernel) is not None
            )
    return total
