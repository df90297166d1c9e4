"""A .tflite as C++ source for TensorFlow Lite for Microcontrollers (TFLM): model.h and model.cc of a variant."""

from dataclasses import dataclass

import numpy as np

from export.c.source import fill, lines, literal, macro
from export.convert.flatbuffer import operators, parse, signature

BYTES_PER_LINE = 16

ADD = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
"""Operator -> method of TFLM's MicroMutableOpResolver, where the usual rule does not give its name."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a .tflite, by its name in the signature."""

    name: str
    index: int
    """Index among the inputs or outputs of the interpreter."""
    size: int
    """Number of its values, float32."""


def ports(content: bytes) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a .tflite, in the order of the interpreter."""
    model = parse(content)
    graph = model.subgraphs[0]
    both = []
    for tensor_of, order in zip(signature(model), (graph.inputs, graph.outputs), strict=True):
        name_of = {tensor: name for name, tensor in tensor_of.items()}
        both.append(
            tuple(
                Port(name=name_of[at], index=index, size=int(np.prod(graph.tensors[at].shape)))
                for index, at in enumerate(order.tolist())
            )
        )
    return both[0], both[1]


def add_method(operator: str) -> str:
    """Name of the method of MicroMutableOpResolver that adds an operator."""
    words = (word.upper() if word[0].isdigit() else word.capitalize() for word in operator.split("_"))
    return ADD.get(operator, f"Add{''.join(words)}")


def model_source(
    content: bytes,
    *,
    targets: tuple[str, ...],
    arena_bytes: int | None,
    wavelengths_nm: list[float],
) -> dict[str, str]:
    """Write model.h and model.cc.

    Args:
        content: The .tflite without its card, which would only take flash.
        targets: In the order of targets.h.
        arena_bytes: Size of the arena that TFLM needs; None if it was not measured.
        wavelengths_nm: Wavelengths of a scan.
    """
    inputs, outputs = ports(content)
    names = sorted({name for name, _ in operators(parse(content))})
    macros = [
        f"#define {macro('model', kind, port.name, property_name)} {value}"
        for kind, group in (("input", inputs), ("output", outputs))
        for port in group
        for property_name, value in (("index", port.index), ("size", port.size))
    ]
    arena = (
        "/* The arena of TFLM was not measured during this export. */"
        if arena_bytes is None
        else f"#define SOIL_MODEL_ARENA_BYTES {arena_bytes} // the minimum on x86-64; align it to 16 bytes"
    )
    output_of = {port.name: port.index for port in outputs}
    header = fill(
        "model.h",
        outputs_of_targets=", ".join(str(output_of[name]) for name in targets),
        bands=len(wavelengths_nm),
        bytes=len(content),
        arena=arena,
        ports="\n".join(macros),
        operator_count=len(names),
        operators="\n".join(f"    resolver.{add_method(name)}();" for name in names),
    )
    code = fill(
        "model.cc",
        wavelengths_nm=lines([literal(nm) for nm in wavelengths_nm]),
        bytes=lines([f"0x{byte:02x}" for byte in content], BYTES_PER_LINE),
    )
    return {"model.h": header, "model.cc": code}
