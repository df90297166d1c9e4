"""Merging of equal constants in a .tflite, for cases that no converted file of the other tests contains."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.convert.flatbuffer import merge_constants


def tensor(kind=schema.TensorType.FLOAT32, shape=(2,), buffer=1, scale=None):
    result = schema.TensorT()
    result.type, result.buffer, result.shape = kind, buffer, None if shape is None else np.array(shape, np.int32)
    if scale is not None:
        result.quantization = schema.QuantizationParametersT()
        result.quantization.scale, result.quantization.zeroPoint = np.array([scale], np.float32), np.array([0])
    return result


def inputs_after_merging(tensors, numbers):
    """Inputs, after merging, of an operator that reads all `tensors`; buffers 1 and 2 hold equal numbers."""
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.buffers = [schema.BufferT() for _ in range(4)]
    for buffer, value in zip(model.buffers[1:], (numbers, numbers, numbers + 1), strict=True):
        buffer.data = np.frombuffer(value.astype("float32").tobytes(), np.uint8)
    operator.inputs = np.arange(len(tensors), dtype=np.int32)
    graph.tensors, graph.operators, model.subgraphs = tensors, [operator], [graph]
    merge_constants(model)
    return operator.inputs.tolist()


@pytest.mark.parametrize(("shape", "numbers"), [((2,), np.array([1.0, 2.0])), (None, np.array([3.0]))])
def test_equal_constants_become_one_tensor_also_scalars(shape, numbers):
    tensors = [tensor(shape=shape, buffer=buffer) for buffer in (1, 2, 3, 0)]
    assert inputs_after_merging(tensors, numbers) == [0, 0, 2, 3]


@pytest.mark.parametrize(
    "other",
    [tensor(kind=schema.TensorType.INT32), tensor(shape=(1, 2)), tensor(scale=0.5)],
    ids=["type", "shape", "scale"],
)
def test_constants_with_equal_bytes_but_another_type_shape_or_scale_are_not_merged(other):
    assert inputs_after_merging([tensor(), other], np.array([1.0, 2.0])) == [0, 1]
