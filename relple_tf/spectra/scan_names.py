"""Names that contain the number of a scan (`S1_1`, `S1 rep2`, `02_S1`): which rows are scans of one sample."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NUMBERED = (
    re.compile(r"(?P<stem>.*[^\s_.#-])[\s_.#-]*(?:replicate|repl?|scan)[\s_.#-]*(?P<number>\d{1,3})", re.IGNORECASE),
    re.compile(r"(?P<stem>.*\S)\s*\((?P<number>\d{1,3})\)"),
    re.compile(r"(?P<stem>.*[^\s_.#-])[\s_.#-]+r?(?P<number>\d{1,3})", re.IGNORECASE),
    re.compile(r"(?P<number>\d{1,3})[\s_.#-]+(?P<stem>.*[^\s_.#-].*)"),
)
"""Forms of a name: `S1 rep3`, `S1_scan2`; `S1 (2)`; `S1_1`, `S1-2`, `S1.001`, `S1_r2`; `02_S1` (NeoSpectra)."""
MOST_SCANS = 100
"""Higher numbers are years, depths or positions."""


def link_by_name(
    ids: Sequence[str], names: Iterable[Sequence[str]], values: Floats
) -> tuple[list[tuple[int, int]], str]:
    """Link rows whose names differ only in the number of the scan, or that have equal names in another column.

    Such names prove nothing alone: `P1_1` and `P1_2` may be two scans of soil P1, or two soils of plot P1. A form of
    names numbers scans if its numbers begin at 0 or 1, and the laboratory values agree in more than half of the
    stems with at least two measured rows. In a stem whose values do not agree, only the rows with equal values are
    linked.

    Args:
        ids: n ids.
        names: Other columns that may name the samples, n cells each.
        values: (n, properties) laboratory values, NaN where not measured.

    Returns:
        Pairs of rows that are scans of one sample, each row with the next one; and why most ids with a number were not
        linked, empty otherwise.
    """
    samples: list[list[int]] = []
    doubt = ""
    for stems in (*(_numbered(ids, form) for form in NUMBERED), *map(_equal, names)):
        informative = [rows for rows in stems.values() if np.isfinite(values[rows]).any(axis=1).sum() > 1]
        agreeing = [rows for rows in informative if _agree(values[rows])]
        if 2 * len(agreeing) > len(informative):
            for rows in stems.values():
                samples += [rows] if _compatible(values[rows]) else _equal_rows(rows, values)
        elif not doubt and len(informative) > 1 and 2 * sum(map(len, stems.values())) > len(ids):
            first = informative[0]
            doubt = (
                f"ids such as {ids[first[0]]} and {ids[first[1]]} count as different soils, because their laboratory "
                f"values differ in {len(informative) - len(agreeing)} of {len(informative)} such stems"
            )
    return [pair for rows in samples for pair in pairwise(rows)], doubt


def numbered_stems(ids: Sequence[str]) -> list[list[list[int]]]:
    """For each form of NUMBERED, the rows of each stem: names that differ only in the number, two or more each."""
    return [list(_numbered(ids, form).values()) for form in NUMBERED]


def _numbered(ids: Sequence[str], form: re.Pattern[str]) -> dict[str, list[int]]:
    """Stem -> its rows, for stems of at least two names with different numbers; empty if no stem begins at 0 or 1."""
    stems: dict[str, list[int]] = defaultdict(list)
    numbers: dict[str, set[int]] = defaultdict(set)
    for row, name in enumerate(ids):
        match = form.fullmatch(name)
        if match and int(match["number"]) < MOST_SCANS:
            stems[match["stem"]].append(row)
            numbers[match["stem"]].add(int(match["number"]))
    for row, name in enumerate(ids):
        if name in stems:  # `S1` beside `S1 (2)`
            stems[name].append(row)
            numbers[name].add(0)
    stems = {stem: sorted(rows) for stem, rows in stems.items() if len(numbers[stem]) > 1}
    return stems if any(min(numbers[stem]) <= 1 for stem in stems) else {}


def _equal(names: Sequence[str]) -> dict[str, list[int]]:
    """Name -> its rows, for names that occur at least twice."""
    stems: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name:
            stems[name].append(row)
    return {name: rows for name, rows in stems.items() if len(rows) > 1}


def _compatible(values: Floats) -> bool:
    """Whether no property has two different values."""
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    return bool(np.all(high.max(axis=0) <= low.min(axis=0)))


def _agree(values: Floats) -> bool:
    """Whether no property has two different values, and at least one is measured twice."""
    return _compatible(values) and bool((np.isfinite(values).sum(axis=0) > 1).any())


def _equal_rows(rows: list[int], values: Floats) -> list[list[int]]:
    """Rows with the same values, at least one measured; two rows or more each."""
    by_values: dict[bytes, list[int]] = defaultdict(list)
    for row in rows:
        if np.isfinite(values[row]).any():
            by_values[values[row].tobytes()].append(row)
    return [equal for equal in by_values.values() if len(equal) > 1]
