"""A .tflite as C++ source for TensorFlow Lite for Microcontrollers: model.h and model.cc of one variant."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from export.c.source import NOTICE, lines, literal, macro
from export.convert.flatbuffer import operators, parse, signature, type_name

PER_LINE = 16

ADD = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
"""Methods of TFLM's MicroMutableOpResolver whose names do not follow from the operator's."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a file, by its name in the signature."""

    name: str
    index: int
    """Among the inputs or outputs of the interpreter."""
    shape: tuple[int, ...]
    dtype: str
    """As NumPy names it."""
    scale: float
    """real = scale * (stored - zero_point); 0 where the numbers are real ones."""
    zero_point: int


def ports(content: bytes) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a file, in the interpreter's order."""
    model = parse(content)
    graph = model.subgraphs[0]
    found = []
    for named, order in zip(signature(model), (graph.inputs, graph.outputs), strict=True):
        names = {tensor: name for name, tensor in named.items()}
        found.append(tuple(_port(names[at], place, graph.tensors[at]) for place, at in enumerate(order.tolist())))
    return found[0], found[1]


def _port(name: str, index: int, tensor: Any) -> Port:
    stored = tensor.quantization if tensor.quantization is not None and tensor.quantization.scale is not None else None
    return Port(
        name=name,
        index=index,
        shape=tuple(int(size) for size in tensor.shape),
        dtype=type_name(tensor),
        scale=float(stored.scale[0]) if stored else 0.0,
        zero_point=int(stored.zeroPoint[0]) if stored else 0,
    )


def add_method(operator: str) -> str:
    """The method of MicroMutableOpResolver that adds an operator."""
    words = (word.upper() if word[0].isdigit() else word.capitalize() for word in operator.split("_"))
    return ADD.get(operator, f"Add{''.join(words)}")


def model_source(
    content: bytes,
    *,
    reads: str,
    targets: tuple[str, ...],
    arena_bytes: int | None,
    wavelengths_nm: list[float],
) -> dict[str, str]:
    """model.h and model.cc.

    Args:
        content: Of the .tflite without its card, which would only cost flash.
        reads: `scan`, or `features_int8` where it is a core between front end and unit conversion.
        targets: In the order of target_scaling.h.
        arena_bytes: That TFLM needs; None where it was not measured.
        wavelengths_nm: Of a scan.
    """
    inputs, outputs = ports(content)
    used = sorted({name for name, _ in operators(parse(content))})
    numbers = [
        f"#define {macro('model', kind, port.name, what)} {value}\n"
        for kind, group in (("input", inputs), ("output", outputs))
        for port in group
        for what, value in (
            ("index", str(port.index)),
            ("size", str(int(np.prod(port.shape)))),
            *((("scale", literal(port.scale)), ("zero_point", f"({port.zero_point})")) if port.scale else ()),
        )
    ]
    arena = (
        "/* TFLM's arena was not measured where this file was made. */\n"
        if arena_bytes is None
        else f"#define SOIL_MODEL_ARENA_BYTES {arena_bytes} // the least on x86-64; align it to 16 bytes\n"
    )
    places = {port.name: port.index for port in outputs}
    header = MODEL_H.format(
        one_scan=ONE_SCAN[reads],
        places=", ".join(str(places[name]) for name in targets),
        bands=len(wavelengths_nm),
        gives=int(reads == "scan"),
        bytes=len(content),
        arena=arena,
        numbers="".join(numbers),
        count=len(used),
        operators="".join(f"    resolver.{add_method(name)}();\n" for name in used),
    )
    code = (
        '#include "model.h"\n\n'
        f"const float soil_model_wavelengths_nm[SOIL_MODEL_BANDS] = {{\n"
        f"{lines([literal(nm) for nm in wavelengths_nm])}\n}};\n\n"
        "// TFLM maps the model where it lies.\n"
        "alignas(16) const unsigned char soil_model[SOIL_MODEL_BYTES] = {\n"
        f"{lines([f'0x{byte:02x}' for byte in content], PER_LINE)}\n}};\n"
    )
    return {"model.h": NOTICE + header, "model.cc": NOTICE + code}


ONE_SCAN = {
    "scan": """\
//  1. soil_check(scan) of scan.h: stop where it is not SOIL_OK. The model gives NaN for such a scan, but not the cause,
//     and no NaN where TFLM is compiled with -ffast-math.
//  2. interpreter.Reset(), for a recurrent operator keeps its state from scan to scan; copy the scan to the input;
//     Invoke().
//  3. The outputs are target values in laboratory units, T2 and Q.
//  4. soil_trust(t2, q): no value is shown where it is SOIL_NOT_FINITE, nor one that is not finite; SOIL_OUTSIDE goes
//     with the values.
//  5. soil_interval(target, value, soil_difficulty(t2), &low, &high) of target_scaling.h.
// What soil_front_end, soil_distances and soil_to_lab do is in the model already: neither front_end.c nor domain.c is
// needed.""",
    "features_int8": """\
//  1. soil_front_end(scan, work, features) of front_end.h: stop where it is not SOIL_OK.
//  2. soil_distances(features, work, &t2, &q) of domain.h, soil_trust(t2, q) of scan.h: stop at SOIL_NOT_FINITE;
//     SOIL_OUTSIDE goes with the values.
//  3. input = feature / scale + zero point, to the nearest integer (halves to the even one), -128 at least and 127 at
//     most.
//  4. interpreter.Reset(), for a recurrent operator keeps its state from scan to scan; Invoke().
//  5. soil_to_lab(target, (output - zero point) * scale) of target_scaling.h.
//  6. soil_interval(target, value, soil_difficulty(t2), &low, &high).""",
}
"""What a model reads -> how a firmware runs it."""

MODEL_H = """\
#ifndef SOIL_MODEL_H
#define SOIL_MODEL_H

#define SOIL_MODEL_BANDS {bands}
#define SOIL_MODEL_BYTES {bytes}
#define SOIL_MODEL_GIVES_LAB_UNITS {gives}
{arena}
// One scan:
{one_scan}

// The output of each target, in the order of target_scaling.h: int at[] = SOIL_MODEL_OUTPUT_OF_TARGET;
#define SOIL_MODEL_OUTPUT_OF_TARGET {{{places}}}

// Inputs and outputs of the interpreter. Where there is a scale: real = scale * (stored - zero point), and what leaves
// the range of the stored type is clipped to it.
{numbers}
extern const float soil_model_wavelengths_nm[SOIL_MODEL_BANDS];
extern const unsigned char soil_model[SOIL_MODEL_BYTES];

// For tflite::MicroMutableOpResolver<SOIL_MODEL_OPERATORS>.
#define SOIL_MODEL_OPERATORS {count}
#ifdef __cplusplus
template <typename Resolver>
void soil_model_add_operators(Resolver& resolver) {{
{operators}}}
#endif

#endif
"""
