"""Laws of the work on .tflite objects that no converted file of the other tests shows."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.convert.flatbuffer import merge_constants


def tensor(kind=schema.TensorType.FLOAT32, shape=(2,), buffer=1, scale=None):
    made = schema.TensorT()
    made.type, made.buffer, made.shape = kind, buffer, None if shape is None else np.array(shape, np.int32)
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = np.array([scale], np.float32), np.array([0])
    return made


def read_by(tensors, numbers):
    """What an operator that read all of `tensors` reads after merging; buffers 1 and 2 hold equal numbers."""
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.buffers = [schema.BufferT() for _ in range(4)]
    for buffer, value in zip(model.buffers[1:], (numbers, numbers, numbers + 1), strict=True):
        buffer.data = np.frombuffer(value.astype("float32").tobytes(), np.uint8)
    operator.inputs = np.arange(len(tensors), dtype=np.int32)
    graph.tensors, graph.operators, model.subgraphs = tensors, [operator], [graph]
    merge_constants(model)
    return operator.inputs.tolist()


@pytest.mark.parametrize(("shape", "numbers"), [((2,), np.array([1.0, 2.0])), (None, np.array([3.0]))])
def test_equal_constants_are_read_once_scalars_too(shape, numbers):
    tensors = [tensor(shape=shape, buffer=buffer) for buffer in (1, 2, 3, 0)]
    assert read_by(tensors, numbers) == [0, 0, 2, 3]


@pytest.mark.parametrize(
    "other",
    [tensor(kind=schema.TensorType.INT32), tensor(shape=(1, 2)), tensor(scale=0.5)],
    ids=["type", "shape", "step"],
)
def test_constants_that_differ_in_what_their_bytes_mean_stay_two(other):
    assert read_by([tensor(), other], np.array([1.0, 2.0])) == [0, 1]
