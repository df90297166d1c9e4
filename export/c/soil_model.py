"""The C99 sources of a model: soil_model.h and soil_model.c, from the list of its operators and its card."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from export.c.network import Generator, Network
from export.c.scan import scan
from export.c.source import code_file, fill, header_file, lines, literal, text_literal
from export.c.targets import targets
from export.graph.reading import read
from export.runtime.soil_scan import NEED_TOLERANCE, SAME_NM

MATRIX_FORMS = {
    "": {"type": "float", "weight": "w[i]", "scales": "", "u_scales": "", "scaled": "", "u_scaled": ""},
    "_16": {
        "type": "int16_t",
        "weight": "(float)w[i]",
        "scales": " const float *scales,",
        "u_scales": " const float *u_scales,",
        "scaled": " * scales[i]",
        "u_scaled": " * u_scales[i]",
    },
}
"""Suffix of a function of templates/matrix_kernels.c -> its placeholders."""


@dataclass(frozen=True, kw_only=True)
class SoilModel:
    """Generated sources."""

    files: dict[str, str]
    """Name -> text."""
    table_bytes: int
    """Size of the constants."""
    work_floats: int
    """Size of the work buffer."""
    parts: dict[str, str]
    """Part -> the statement that computes it, in order."""


def soil_model(content: bytes, card: Mapping[str, Any], *, int16: bool) -> SoilModel:
    """Write the sources of a model.

    Args:
        content: Its float32 .tflite without a card.
        card: Card of the bundle, with or without variants.
        int16: Whether matrices are stored in 16 bits.

    Raises:
        InputError: the file holds an operator that has no C code; names it.
    """
    network = Generator(read(content), int16=int16).network()
    limits, facts = card["domain"]["limits"], card["input"]
    nm = facts["wavelengths_nm"]
    scan_h, scan_c = scan(facts["quantity"], len(nm), (limits["T2"], limits["Q"]))
    targets_h, targets_c = targets(card["targets"])
    low_nm, high_nm = facts["end_tolerance_nm"]
    model_h = fill(
        "soil_model.h",
        model_id=text_literal(f"{card['model']['preset']} {hashlib.sha256(content).hexdigest()}"),
        recipe=text_literal("c99_int16" if int16 else "c99"),
        table_bits=16 if int16 else 32,
        data_sha256=text_literal(card["data_sha256"]),
        version=text_literal(card["versions"]["training"]["relple_tf"]),
        work_floats=network.work_floats,
        work_bytes=f"{4 * network.work_floats:,}",
        low_tolerance=f"{low_nm:g}",
        high_tolerance=f"{high_nm:g}",
        first_nm=f"{nm[0]:g}",
        last_nm=f"{nm[-1]:g}",
    )
    model_c = fill(
        "soil_model.c",
        tables=network.tables,
        kernels=kernels(network.functions),
        functions=network.functions,
        calls="\n".join(f"    {call}" for call in network.parts.values()),
        places=", ".join(_place(network, target) for target in card["targets"]),
        t2=network.outputs["T2"],
        q=network.outputs["Q"],
        same_nm=literal(SAME_NM),
        grid_step=literal(card["front_end"]["grid_nm"][1] - card["front_end"]["grid_nm"][0]),
        need_tolerance=literal(NEED_TOLERANCE),
        low_tolerance_f=literal(low_nm),
        high_tolerance_f=literal(high_nm),
        wavelength=_wavelength(nm),
    )
    files = {
        "soil_model.h": header_file("soil_model.h", scan_h, targets_h, model_h),
        "soil_model.c": code_file("soil_model.h", scan_c, targets_c, model_c),
    }
    return SoilModel(
        files=files,
        table_bytes=network.table_bytes,
        work_floats=network.work_floats,
        parts=network.parts,
    )


def _place(network: Network, target: str) -> str:
    """Position of a target's value in the work buffer."""
    match = re.fullmatch(r"work\[(\d+)\]", network.outputs[target])
    assert match is not None
    return match[1]


def _wavelength(nm: list[float]) -> str:
    """Body of the function that gives a wavelength: a formula for an even grid, else a table."""
    step = (nm[-1] - nm[0]) / (len(nm) - 1)
    even = np.float32(nm[0]) + np.float32(step) * np.arange(len(nm), dtype="float32")
    if np.abs(even - nm).max() < SAME_NM / 2:
        return f"    return {literal(nm[0])} + {literal(step)} * (float)band;"
    values = lines([literal(value) for value in nm])
    return f"    static const float nm[SOIL_BANDS] = {{\n{values}}};\n    return nm[band];"


def kernels(code: str) -> str:
    """The functions of templates/kernels.c and templates/matrix_kernels.c that a code calls, in their order."""
    folder = resources.files("export.c").joinpath("templates")
    sources = [folder.joinpath("kernels.c").read_text("utf-8")]
    matrix_kernels = Template(folder.joinpath("matrix_kernels.c").read_text("utf-8"))
    sources += [matrix_kernels.substitute(form, suffix=suffix) for suffix, form in MATRIX_FORMS.items()]
    definition_of: dict[str, str] = {}
    for definition in "\n".join(sources).split("\n\n"):
        name = re.search(r"^static \w+ (\w+)\(", definition, re.MULTILINE)
        assert name is not None
        definition_of[name[1]] = definition.strip()
    used: set[str] = set()
    texts = [code]
    while texts:
        text = texts.pop()
        called = {name for name in definition_of if re.search(rf"\b{name}\(", text)} - used
        used |= called
        texts += [definition_of[name] for name in called]
    return "\n\n".join(definition for name, definition in definition_of.items() if name in used)
