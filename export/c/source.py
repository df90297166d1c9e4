"""Parts of C source text: constants, macro names, templates.

The C code allocates nothing, has no global state and includes only math.h, string.h and stdint.h.
"""

import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template

import numpy as np

PER_LINE = 8


def fill(template: str, **values: object) -> str:
    """Fill the placeholders of a file in `templates/`; each placeholder needs a value."""
    text = resources.files("export.c").joinpath("templates", template).read_text("utf-8")
    return Template(text).substitute(values)


HEAD = "/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */"
"""First line of every generated file."""


def header_file(name: str, *declarations: str) -> str:
    """A header with an include guard, for C and C++.

    Args:
        name: Name of the file, such as `scan.h`.
        declarations: Its text.
    """
    guard = macro(name, "included")
    begin = [HEAD, f"#ifndef {guard}", f"#define {guard}", "", "#ifdef __cplusplus", 'extern "C" {', "#endif"]
    end = ["#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
    return "\n".join([*begin, "", *(f"{text.strip()}\n" for text in declarations), *end])


def code_file(header: str, *definitions: str) -> str:
    """A C file that includes its header and the standard headers of the generated code."""
    includes = [f'#include "{header}"', "", *(f"#include <{name}.h>" for name in ("math", "stdint", "string"))]
    return "\n".join([HEAD, *includes, *(f"\n{text.strip()}" for text in definitions), ""])


def with_prefix(text: str, prefix: str) -> str:
    """Text with another prefix than `soil` in the names of functions, types, macros and files."""
    return re.sub(r"\bSOIL_", f"{prefix.upper()}_", re.sub(r"\bsoil_", f"{prefix}_", text))


def literal(value: float) -> str:
    """A float32 constant that reads back to the same bits.

    Raises:
        ValueError: the number is NaN, or infinite as float32: C has no constant for it.
    """
    if not np.isfinite(np.float32(value)):
        raise ValueError(f"expected a finite float32, received {value}: it is no C constant")
    return f"{np.float32(value)!s}f"


def text_literal(text: str) -> str:
    """A string constant of C99; the escapes of JSON are escapes of C99 too."""
    return json.dumps(text)


def macro(*words: str) -> str:
    """Name of a macro: SOIL_ and the words in capitals, other characters as underscores."""
    return re.sub(r"[^A-Z0-9]", "_", "_".join(("soil", *words)).upper())


def lines(words: Sequence[str], per_line: int = PER_LINE) -> str:
    """Words separated by commas, `per_line` on each line."""
    parts: Iterable[Sequence[str]] = (words[first : first + per_line] for first in range(0, len(words), per_line))
    return ",\n".join("    " + ", ".join(part) for part in parts)
