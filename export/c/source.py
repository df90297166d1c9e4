"""What C99 sources are written with: constants, tables, names; and laboratory units as C.

`export.c.front_end` and `export.c.domain` are the other float parts, for a device whose network reads int8 features.
No allocation, no global state, only math.h and string.h. The arithmetic is the layers' own (`relple_tf.models`);
tables are float32, as the layers' constants are.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NOTICE = "/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */\n"
PER_LINE = 8
BYTES = {"float": 4, "unsigned short": 2, "unsigned char": 1}
"""Of the elements of a table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A constant array of a C source."""

    kind: str
    """Of its elements; one of BYTES."""
    name: str
    shape: str
    """As C declares it, in macros: `[SOIL_GRID][NEIGHBOURS]`."""
    values: npt.NDArray[Any]
    """Of one or two dimensions."""

    @property
    def bytes(self) -> int:
        """What it takes in flash."""
        return BYTES[self.kind] * self.values.size

    def text(self) -> str:
        """Its definition; of two dimensions with a brace per row, which -Wmissing-braces asks for."""
        words = [literal(value) if self.kind == "float" else str(int(value)) for value in self.values.ravel()]
        if self.values.ndim == 1:
            body = lines(words)
        else:
            width = self.values.shape[1]
            rows = (words[first : first + width] for first in range(0, len(words), width))
            body = ",\n".join("  {\n" + lines(row) + "\n  }" for row in rows)
        return f"static const {self.kind} {self.name}{self.shape} = {{\n{body}\n}};\n"


def target_scaling(scales: Sequence[Mapping[str, Any]], card: Mapping[str, Any]) -> dict[str, str]:
    """target_scaling.h and target_scaling.c: standard deviations to laboratory units, and intervals.

    Args:
        scales: Of each target, in the network's order: the fields of `relple_tf.models.target_scaling.TargetScale`.
        card: Of the run; has the intervals.
    """
    numbers = "".join(f"#define {macro('TARGET', scale['name'])} {index}\n" for index, scale in enumerate(scales))
    rows = []
    for scale in scales:
        facts = card["targets"][scale["name"]]
        interval = facts["interval"] or {}
        half_width = interval.get("half_width")
        # The interval has a root of its own in Python, and it is the scale's.
        columns = [
            text_literal(scale["name"]),
            text_literal(facts["unit"]),
            *(str(int(scale[name])) for name in ("root", "non_negative")),
            *(literal(scale[name]) for name in ("mean", "sd", "low", "high")),
            literal(-1.0 if half_width is None else half_width),
            literal(interval.get("growth", 0.0)),
        ]
        rows.append("    {" + ", ".join(columns) + "}")
    header = TARGET_SCALING_H.format(count=len(scales), numbers=numbers)
    return {
        "target_scaling.h": NOTICE + header,
        "target_scaling.c": NOTICE + TARGET_SCALING_C.replace("ROWS", ",\n".join(rows)),
    }


def literal(value: float) -> str:
    """A float32 constant that reads back to the same bits.

    Raises:
        ValueError: C has no constant for this number.
    """
    if not np.isfinite(np.float32(value)):
        raise ValueError(f"{value} is no C constant")
    return f"{np.float32(value)!s}f"


def text_literal(text: str) -> str:
    """A string constant of C99, which knows JSON's escapes."""
    return json.dumps(text)


def macro(*words: str) -> str:
    """SOIL_ and the words as a macro's name."""
    return re.sub(r"[^A-Z0-9]", "_", "_".join(("soil", *words)).upper())


def lines(words: Sequence[str], per_line: int = PER_LINE) -> str:
    """Words separated by commas, some per line."""
    parts: Iterable[Sequence[str]] = (words[first : first + per_line] for first in range(0, len(words), per_line))
    return ",\n".join("    " + ", ".join(part) for part in parts)


TARGET_SCALING_H = """\
#ifndef SOIL_TARGET_SCALING_H
#define SOIL_TARGET_SCALING_H

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_TARGETS {count}
{numbers}
/* Names carry their unit, which is there alone, too; pH and names without one have an empty one. */
const char *soil_target_name(int target);
const char *soil_target_unit(int target);

/* From standard deviations to laboratory units; only where model.h says SOIL_MODEL_GIVES_LAB_UNITS 0, for else the
 * model has done it. */
float soil_to_lab(int target, float modelled);

/* The range that holds the laboratory value in as many soils as card.json says; `difficulty` is soil_difficulty's.
 * Returns 0 where there is none: then nothing is written, and a value must be shown as one without a range. */
int soil_interval(int target, float value, float difficulty, float *low, float *high);

#ifdef __cplusplus
}}
#endif

#endif
"""

TARGET_SCALING_C = """\
#include "target_scaling.h"

#include <math.h>

static const struct {
    const char *name;
    const char *unit;
    int root;
    int non_negative;
    float mean;
    float sd;
    float low;
    float high;
    float half_width; /* below 0: there is none */
    float growth;
} targets[SOIL_TARGETS] = {
ROWS
};

const char *soil_target_name(int target)
{
    return targets[target].name;
}

const char *soil_target_unit(int target)
{
    return targets[target].unit;
}

static float from_modelled(int target, float value)
{
    if (targets[target].root) {
        return value < 0.0f ? 0.0f : value * value;
    }
    return targets[target].non_negative && value < 0.0f ? 0.0f : value;
}

float soil_to_lab(int target, float modelled)
{
    /* No estimate leaves the range of the training soils by much. */
    if (modelled < targets[target].low) {
        modelled = targets[target].low;
    }
    if (modelled > targets[target].high) {
        modelled = targets[target].high;
    }
    return from_modelled(target, modelled * targets[target].sd + targets[target].mean);
}

int soil_interval(int target, float value, float difficulty, float *low, float *high)
{
    const float centre = targets[target].root ? sqrtf(value) : value;
    const float reach = targets[target].half_width * (1.0f + targets[target].growth * difficulty);
    if (targets[target].half_width < 0.0f) {
        return 0;
    }
    *low = from_modelled(target, centre - reach);
    *high = from_modelled(target, centre + reach);
    return 1;
}
"""
