"""A .tflite as objects: read it, join two, drop what no runtime reads, write it the same way every time."""

from collections.abc import Iterator, Mapping
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Model = Any
"""A `schema.ModelT`; the schema has no types."""

IDENTIFIER = b"TFL3"
SIGNATURE = b"serving_default"
ALIGNMENT = 16
"""Bytes; the schema asks it of weights, and ARM kernels read them so."""

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
    schema.TensorType.INT64: "int64",
    schema.TensorType.BOOL: "bool",
}


class Builder(flatbuffers.Builder):
    """Writes equal vectors once, and those of bytes, which are weights, aligned."""

    def __init__(self) -> None:
        super().__init__(1024)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:  # noqa: N802
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            if x.dtype == np.uint8:
                self.Prep(ALIGNMENT, x.nbytes)
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def parse(content: bytes) -> Model:
    """The objects of a .tflite."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def packed(model: Model) -> bytes:
    """The bytes of a .tflite; the same model gives the same bytes."""
    builder = Builder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def operators(model: Model) -> Iterator[tuple[str, Any]]:
    """Name (`CONV_2D`; `CUSTOM:` and its own for others) and object of every operator, in the order of execution."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Old files keep codes up to 127 in the other field.
            name = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
            yield (f"CUSTOM:{code.customCode.decode()}" if name == "CUSTOM" else name), operator


def type_name(tensor: Any) -> str:
    """The type of a tensor, as NumPy calls it."""
    return _TYPES[tensor.type]


def constant(model: Model, tensor: Any) -> npt.NDArray[np.uint8] | None:
    """The bytes of a constant tensor; None for one that is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def signature(model: Model) -> tuple[dict[str, int], dict[str, int]]:
    """Inputs and outputs of the one signature: name -> index of the tensor."""
    (found,) = model.signatureDefs
    return tuple({item.name.decode(): item.tensorIndex for item in items} for items in (found.inputs, found.outputs))  # type: ignore[return-value]


def inserted(shell: Model, core: Model) -> Model:
    """Put `core` into the hole of `shell`, which is changed in place.

    An output of the shell that is named like an input of the core feeds it; an input of the shell that is named like
    an output of the core is fed by it. All four vanish from the signature.

    Raises:
        KeyError: the names do not fit.
    """
    graph, own = shell.subgraphs[0], core.subgraphs[0]
    inputs, outputs = signature(shell)
    core_inputs, core_outputs = signature(core)
    feeds = {index: outputs.pop(name) for name, index in core_inputs.items()}

    first_buffer, first_code, first_tensor = len(shell.buffers), len(shell.operatorCodes), len(graph.tensors)
    shell.buffers += core.buffers
    shell.operatorCodes += core.operatorCodes
    for tensor in own.tensors:
        tensor.buffer += first_buffer
    graph.tensors += own.tensors
    moved = {index: feeds.get(index, first_tensor + index) for index in range(len(own.tensors))} | {-1: -1}
    for operator in own.operators:
        operator.opcodeIndex += first_code
        _renumber(operator, moved)
    fed = {inputs.pop(name): moved[index] for name, index in core_outputs.items()}
    graph.operators = _in_order(graph.operators, own.operators, fed)
    for operator in graph.operators:
        _renumber(operator, fed)
    set_signature(shell, inputs, {name: fed.get(index, index) for name, index in outputs.items()})
    return shell


def _in_order(shell: list[Any], core: list[Any], fed: Mapping[int, int]) -> list[Any]:
    """Operators of the shell that the core does not feed, the core's, then the rest."""
    late, after = set(fed), []
    before = []
    for operator in shell:
        if late & set(operator.inputs.tolist()):
            late |= set(operator.outputs.tolist())
            after.append(operator)
        else:
            before.append(operator)
    return [*before, *core, *after]


def _renumber(operator: Any, moved: Mapping[int, int]) -> None:
    for field in ("inputs", "outputs", "intermediates"):
        indices = getattr(operator, field)
        if indices is not None and len(indices):
            setattr(operator, field, np.array([moved.get(i, i) for i in indices.tolist()], np.int32))


def set_signature(model: Model, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    """Make these the one signature and the borders of the graph: name -> index of the tensor."""
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = (np.array(list(items.values()), np.int32) for items in (inputs, outputs))
    found = schema.SignatureDefT()
    found.signatureKey, found.subgraphIndex = SIGNATURE, 0
    found.inputs, found.outputs = _maps(inputs), _maps(outputs)
    model.signatureDefs = [found]


def _maps(items: Mapping[str, int]) -> list[Any]:
    maps = []
    for name, index in items.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps


def compacted(model: Model) -> Model:
    """Drop what no runtime reads, in place: unused tensors, doubled constants, names, calibration ranges, metadata.

    Inputs and outputs keep their names, in the signature and on their tensors.
    """
    graph = model.subgraphs[0]
    inputs, outputs = signature(model)
    merge_constants(model)
    used = sorted(
        {
            i
            for operator in graph.operators
            for field in ("inputs", "outputs", "intermediates")
            for i in _indices(operator, field)
        }
        | set(inputs.values())
        | set(outputs.values())
    )
    moved = {index: position for position, index in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    for operator in graph.operators:
        _renumber(operator, moved)

    named = {moved[index]: name for items in (inputs, outputs) for name, index in items.items()}
    buffers = [schema.BufferT()]
    kept: dict[bytes, int] = {}
    for index, tensor in enumerate(graph.tensors):
        data = constant(model, tensor)
        if data is not None and data.tobytes() not in kept:
            kept[data.tobytes()] = len(buffers)
            buffers.append(model.buffers[tensor.buffer])
        tensor.buffer = 0 if data is None else kept[data.tobytes()]
        tensor.name = named[index].encode() if index in named else None
        tensor.shapeSignature = None
        if tensor.quantization is not None:
            tensor.quantization.min = tensor.quantization.max = None
            if tensor.quantization.scale is None:
                tensor.quantization = None
    model.buffers, model.metadata, model.metadataBuffer, model.description = buffers, None, None, None
    graph.name = None

    codes = sorted({operator.opcodeIndex for operator in graph.operators}, key=lambda i: _code_key(model, i))
    distinct: dict[tuple[Any, ...], int] = {}
    for index in codes:
        distinct.setdefault(_code_key(model, index), len(distinct))
    first = {key: next(i for i in codes if _code_key(model, i) == key) for key in distinct}
    for operator in graph.operators:
        operator.opcodeIndex = distinct[_code_key(model, operator.opcodeIndex)]
    model.operatorCodes = [model.operatorCodes[first[key]] for key in distinct]
    set_signature(
        model,
        {name: moved[index] for name, index in inputs.items()},
        {name: moved[index] for name, index in outputs.items()},
    )
    return model


def merge_constants(model: Model) -> None:
    """Let operators read one tensor for all constants that are equal, in place: TFLM keeps 24 bytes for each tensor."""
    graph = model.subgraphs[0]
    first: dict[tuple[Any, ...], int] = {}
    same = {}
    for index, tensor in enumerate(graph.tensors):
        if (data := constant(model, tensor)) is not None:
            found = tensor.quantization
            steps = None if found is None else tuple(str(one) for one in (found.scale, found.zeroPoint))
            key = (data.tobytes(), tensor.type, tuple(_indices(tensor, "shape")), steps)
            same[index] = first.setdefault(key, index)
    for operator in graph.operators:
        _renumber(operator, same)


def _indices(holder: Any, field: str) -> list[int]:
    """Whole numbers from 0 on; a field that is left out, such as the shape of a scalar, is empty."""
    indices = getattr(holder, field)
    return [] if indices is None else [index for index in np.asarray(indices).tolist() if index >= 0]


def _code_key(model: Model, index: int) -> tuple[int, int, bytes]:
    code = model.operatorCodes[index]
    return max(code.builtinCode, code.deprecatedBuiltinCode), code.version, code.customCode or b""
