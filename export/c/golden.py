"""golden.h: scans with the results of the trained model, for selftest.c."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.c.source import HEAD, fill, lines, literal, text_literal

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class GoldenScan:
    """A scan and its result in Keras."""

    name: str
    scan: Floats
    """(bands,)"""
    status: str
    """`ok`, `outside` or `invalid`."""
    is_near_limit: bool
    """Whether rounding may change the status."""
    values: tuple[float, ...]
    """In the order of the targets; zeros for an invalid scan."""


def golden_header(scans: Sequence[GoldenScan], tolerances: Mapping[int, Sequence[float]], margin: float) -> str:
    """Write golden.h.

    Args:
        scans: The scans.
        tolerances: Bits of the tables (16 or 32) -> tolerance of each target, in its unit.
        margin: Largest distance of T2 or Q from its limit, as a fraction of the limit, of a scan near a limit.
    """
    text = fill(
        "golden.h",
        count=len(scans),
        margin=f"{margin:.0%}",
        tolerance_16=", ".join(map(literal, tolerances[16])),
        tolerance_32=", ".join(map(literal, tolerances[32])),
        scans=",\n".join(map(_entry, scans)),
    )
    return f"{HEAD}\n{text}"


def _entry(golden: GoldenScan) -> str:
    flags = (golden.status == "invalid", golden.status == "outside", golden.is_near_limit)
    head = ", ".join([text_literal(golden.name), *(str(int(flag)) for flag in flags)])
    values = ", ".join(map(literal, golden.values))
    return f"    {{{head}, {{{values}}},\n    {{\n{lines([_number(value) for value in golden.scan])}}}}}"


def _number(value: np.float32) -> str:
    if np.isnan(value):
        return "NAN"
    return ("INFINITY" if value > 0 else "-INFINITY") if np.isinf(value) else literal(float(value))
