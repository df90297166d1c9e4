"""A .tflite as Python objects: parse it, join two models, remove what no runtime reads, write reproducible bytes."""

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
"""Bytes; the schema requires this alignment of weights, and ARM kernels rely on it."""

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
    """Writer that stores equal vectors once and aligns vectors of bytes, which hold the weights."""

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
    """Parse a .tflite into objects."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def packed(model: Model) -> bytes:
    """Serialise a model to the bytes of a .tflite; the same model gives the same bytes."""
    builder = Builder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def operators(model: Model) -> Iterator[tuple[str, Any]]:
    """Name and object of every operator, in the order of execution; a custom operator is named `CUSTOM:name`."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Files in the old format store codes up to 127 in the deprecated field.
            name = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
            yield (f"CUSTOM:{code.customCode.decode()}" if name == "CUSTOM" else name), operator


def type_name(tensor: Any) -> str:
    """NumPy name of a tensor's type."""
    return _TYPES[tensor.type]


def constant(model: Model, tensor: Any) -> npt.NDArray[np.uint8] | None:
    """The bytes of a constant tensor; None for a computed tensor."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def signature(model: Model) -> tuple[dict[str, int], dict[str, int]]:
    """Inputs and outputs of the only signature: name -> index of the tensor."""
    (definition,) = model.signatureDefs
    inputs, outputs = (
        {item.name.decode(): item.tensorIndex for item in items} for items in (definition.inputs, definition.outputs)
    )
    return inputs, outputs


def inserted(shell: Model, core: Model) -> Model:
    """Insert `core` into `shell`, which is changed in place.

    Connects tensors of equal name: outputs of the shell to inputs of the core, and outputs of the core to inputs of the
    shell. Removes the connected inputs and outputs from the signature.

    Raises:
        KeyError: an input or output of the core has no partner in the shell.
    """
    graph, core_graph = shell.subgraphs[0], core.subgraphs[0]
    inputs, outputs = signature(shell)
    core_inputs, core_outputs = signature(core)
    feeds = {index: outputs.pop(name) for name, index in core_inputs.items()}

    first_buffer, first_code, first_tensor = len(shell.buffers), len(shell.operatorCodes), len(graph.tensors)
    shell.buffers += core.buffers
    shell.operatorCodes += core.operatorCodes
    for tensor in core_graph.tensors:
        tensor.buffer += first_buffer
    graph.tensors += core_graph.tensors
    moved = {index: feeds.get(index, first_tensor + index) for index in range(len(core_graph.tensors))} | {-1: -1}
    for operator in core_graph.operators:
        operator.opcodeIndex += first_code
        _renumber(operator, moved)
    fed = {inputs.pop(name): moved[index] for name, index in core_outputs.items()}
    graph.operators = _in_order(graph.operators, core_graph.operators, fed)
    for operator in graph.operators:
        _renumber(operator, fed)
    set_signature(shell, inputs, {name: fed.get(index, index) for name, index in outputs.items()})
    return shell


def _in_order(shell: list[Any], core: list[Any], fed: Mapping[int, int]) -> list[Any]:
    """Order operators: those of the shell that do not depend on the core, those of the core, the rest of the shell."""
    dependent, after = set(fed), []
    before = []
    for operator in shell:
        if dependent & set(operator.inputs.tolist()):
            dependent |= set(operator.outputs.tolist())
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
    """Set inputs and outputs of the graph and its only signature: name -> index of the tensor."""
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = (np.array(list(items.values()), np.int32) for items in (inputs, outputs))
    definition = schema.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = SIGNATURE, 0
    definition.inputs, definition.outputs = _maps(inputs), _maps(outputs)
    model.signatureDefs = [definition]


def _maps(items: Mapping[str, int]) -> list[Any]:
    maps = []
    for name, index in items.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps


def compacted(model: Model) -> Model:
    """Remove what no runtime reads, in place: unused tensors, repeated constants, names, calibration ranges, metadata.

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
    """Make operators read the same tensor for equal constants, in place: TFLM needs 24 bytes of RAM for each tensor."""
    graph = model.subgraphs[0]
    first: dict[tuple[Any, ...], int] = {}
    same = {}
    for index, tensor in enumerate(graph.tensors):
        if (data := constant(model, tensor)) is not None:
            details = tensor.quantization
            quantization = None if details is None else (str(details.scale), str(details.zeroPoint))
            key = (data.tobytes(), tensor.type, tuple(_indices(tensor, "shape")), quantization)
            same[index] = first.setdefault(key, index)
    for operator in graph.operators:
        _renumber(operator, same)


def _indices(holder: Any, field: str) -> list[int]:
    """Non-negative numbers of a field; empty where the field is missing, such as the shape of a scalar."""
    indices = getattr(holder, field)
    return [] if indices is None else [index for index in np.asarray(indices).tolist() if index >= 0]


def _code_key(model: Model, index: int) -> tuple[int, int, bytes]:
    code = model.operatorCodes[index]
    return max(code.builtinCode, code.deprecatedBuiltinCode), code.version, code.customCode or b""
