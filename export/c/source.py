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
