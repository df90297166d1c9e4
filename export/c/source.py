"""Parts of C source text: constants, tables, macro names, templates; and the inverse target scaling as C99.

`export.c.front_end` and `export.c.domain` write the other float parts, for a device whose network reads int8 features.
The C code allocates nothing, has no global state and includes only math.h, string.h and stdint.h. It computes as the
layers in `relple_tf.models` do; its tables are float32, as the constants of the layers are.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PER_LINE = 8
BYTES = {"float": 4, "unsigned short": 2, "unsigned char": 1}
"""C type of the elements of a table -> bytes of an element."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A constant array of a C source."""

    kind: str
    """C type of its elements; a key of BYTES."""
    name: str
    shape: str
    """The dimensions as C declares them, in macros: `[SOIL_GRID][NEIGHBOURS]`."""
    values: npt.NDArray[Any]
    """Of one or two dimensions."""

    @property
    def bytes(self) -> int:
        """Size in flash."""
        return BYTES[self.kind] * self.values.size

    def text(self) -> str:
        """Its definition without the last line break; a brace per row of two dimensions, for -Wmissing-braces."""
        words = [literal(value) if self.kind == "float" else str(int(value)) for value in self.values.ravel()]
        if self.values.ndim == 1:
            body = lines(words)
        else:
            width = self.values.shape[1]
            rows = (words[first : first + width] for first in range(0, len(words), width))
            body = ",\n".join("  {\n" + lines(row) + "\n  }" for row in rows)
        return f"static const {self.kind} {self.name}{self.shape} = {{\n{body}\n}};"


def fill(template: str, **values: object) -> str:
    """Fill the placeholders of a file in `templates/`; each placeholder needs a value."""
    text = resources.files("export.c").joinpath("templates", template).read_text("utf-8")
    return Template(text).substitute(values)


def target_scaling(scales: Sequence[Mapping[str, Any]], card: Mapping[str, Any]) -> dict[str, str]:
    """Write target_scaling.h and target_scaling.c: standard deviations to laboratory units, and intervals.

    Args:
        scales: For each target, in the order of the network's outputs: the fields of
            `relple_tf.models.target_scaling.TargetScale`.
        card: Card of the run, which holds the intervals.
    """
    indices = [f"#define {macro('TARGET', scale['name'])} {index}" for index, scale in enumerate(scales)]
    rows = []
    for scale in scales:
        facts = card["targets"][scale["name"]]
        interval = facts["interval"] or {}
        half_width = interval.get("half_width")
        # In Python the interval has a field `root` too; it always equals the scale's.
        columns = [
            text_literal(scale["name"]),
            text_literal(facts["unit"]),
            *(str(int(scale[name])) for name in ("root", "non_negative")),
            *(literal(scale[name]) for name in ("mean", "sd", "low", "high")),
            literal(-1.0 if half_width is None else half_width),
            literal(interval.get("growth", 0.0)),
        ]
        rows.append("    {" + ", ".join(columns) + "}")
    return {
        "target_scaling.h": fill("target_scaling.h", count=len(scales), indices="\n".join(indices)),
        "target_scaling.c": fill("target_scaling.c", rows=",\n".join(rows)),
    }


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
