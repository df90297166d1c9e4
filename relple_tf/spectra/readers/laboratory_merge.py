"""Merge the laboratory columns of one property."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.readers.laboratory_names import Meaning, meaning
from relple_tf.spectra.readers.table_file import shortened

Values = npt.NDArray[np.float64]

DIFFERENT = 0.01
"""Two columns of one property disagree in a row if their values differ by more than this fraction of the larger: more
than the rounding of values in percent to two digits, less than the error of a laboratory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MergedColumn:
    """Values of a target from its columns."""

    values: Values
    notes: list[str]
    warnings: list[str]


def merge_columns(target: str, columns: Mapping[str, Values], ids: npt.NDArray[np.str_], lucas: bool) -> MergedColumn:
    """Merge the columns of a target that have one unit; choose between units.

    Args:
        target: Name of the target.
        columns: Column name -> (n,) cell values.
        ids: (n,), for messages.
        lucas: The table is a LUCAS table.
    """
    units: dict[tuple[int, int], list[str]] = {}
    for name in columns:
        known = meaning(name, lucas=lucas) or Meaning(target)
        units.setdefault((known.times, known.over), []).append(name)
    merged = {unit: _first_measured([columns[name] for name in names]) for unit, names in units.items()}
    measured = {unit: int(np.isfinite(values).sum()) for unit, (values, _) in merged.items()}
    best = next((unit for unit, names in units.items() if target in names), max(measured, key=measured.__getitem__))
    times, over = best
    cells, sources = merged[best]
    values = cells * times / over
    names = units[best]
    counts = np.bincount(sources[np.isfinite(values)], minlength=len(names)).tolist()
    used = [name for name, count in zip(names, counts, strict=True) if count] or names[:1]
    others = [name for name in columns if name not in used]
    conversion = (f" times {times}" if times > 1 else "") + (f" divided by {over}" if over > 1 else "")
    notes = []
    if len(used) > 1:
        shares = ", ".join(f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count)
        notes.append(
            f"{target} is merged row by row from columns {shares}{conversion}; the first measured value counts"
        )
    elif used != [target]:
        notes.append(f"{target} is column {used[0]}{conversion}")
    if others:
        only = int((np.isnan(values) & np.any([np.isfinite(column) for column, _ in merged.values()], axis=0)).sum())
        rows = f"; {only} rows are measured in another unit only and count as not measured" if only else ""
        notes.append(f"{target}: column {', '.join(used)} was used, {', '.join(others)} left out{rows}")
    converted = {name: columns[name] * unit[0] / unit[1] for unit, group in units.items() for name in group}
    warnings = []
    for first, second in itertools.combinations(converted, 2):
        both = np.isfinite(converted[first]) & np.isfinite(converted[second])
        pair = np.stack([converted[first], converted[second]])[:, both]
        apart = np.abs(pair[0] - pair[1]) > DIFFERENT * np.abs(pair).max(axis=0)
        if (rows := np.flatnonzero(both)[apart]).size:
            row = rows[0]
            warnings.append(
                f"{target}: columns {first} and {second} differ by more than 1 % in {len(rows)} of {both.sum()} rows; "
                f"the first is row {row + 1} ({shortened(str(ids[row]))}), {columns[first][row]:g} and "
                f"{columns[second][row]:g}; check the units, or remove either column"
            )
    return MergedColumn(values=values, notes=notes, warnings=warnings)


def _first_measured(columns: Sequence[Values]) -> tuple[Values, npt.NDArray[np.intp]]:
    """(n,) first value of each row that is not NaN, and the position of its column."""
    stacked = np.stack(columns)
    source = (~np.isnan(stacked)).argmax(axis=0)
    return stacked[source, np.arange(stacked.shape[1])], source
