"""Text with two columns and no header, such as the `.dpt` export of OPUS: axis and value, one spectrum per file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM
from relple_tf.spectra.readers.instruments.spectrum import damaged, scan_table
from relple_tf.spectra.readers.instruments.text import decoded, text_lines
from relple_tf.spectra.readers.table_file import ScanTable, check_columns, quoted

FORM = "two-column text"
_LONGEST_NM = 3500.0
"""An axis that exceeds this number is in cm-1: no near-infrared instrument measures longer wavelengths."""


def is_two_columns(head: bytes, suffix: str) -> bool:
    """Whether the first lines are a steady axis and a value each; in a `.dpt` file two numbers are enough."""
    lines = [line for line in decoded(head).splitlines() if line.strip()]
    pairs = [_pair(line) for line in (lines[:-1] if len(lines) > 1 else lines)]
    numbers = [pair[0] for pair in pairs if pair]
    if not numbers or len(numbers) < len(pairs):
        return False
    steps = np.diff(numbers)
    steady = bool((steps > 0).all() or (steps < 0).all())
    return suffix == ".dpt" or (steady and len(numbers) >= MINIMUM_BANDS - 1)


def read_two_columns(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read one spectrum; columns separated by comma, semicolon, tab or blanks; decimal point or comma.

    The file states neither the unit of its axis nor the quantity. Ascending numbers within RANGE_NM are nm; numbers
    above RANGE_NM are cm-1.

    Raises:
        InputError: a line is not two numbers, or the numbers may be both nm and cm-1.
    """
    lines = text_lines(path, FORM)
    check_columns(path, len(lines), limits)
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if (pair := _pair(line)) is None:
            raise damaged(path, FORM, f"line {number} is {quoted(line)}, not two numbers")
        rows.append(pair)
    axis, values = np.array(rows).reshape(-1, 2).T
    unit = _unit(path, axis)
    note = f"the axis {axis[0]:.6g}..{axis[-1]:.6g} was read as {unit}, because of its range; the file states no unit"
    return scan_table(path, FORM, axis, unit, values, "", notes=[note])


def _pair(line: str) -> tuple[float, float] | None:
    """The two numbers of a line; None if it has others."""
    cells = line.replace(";", " ").split()
    if len(cells) == 1:
        cells = line.split(",")
    cells = [cell.strip().removesuffix(",").replace(",", ".") for cell in cells]
    try:
        first, second = map(float, cells)
    except ValueError:
        return None
    return first, second


def _unit(path: Path, axis: npt.NDArray[np.float64]) -> str:
    """`nm` or `cm-1`, if the numbers cannot be the other."""
    if not axis.size or not np.isfinite(axis).all():
        raise damaged(path, FORM, "no axis of finite numbers")
    low, high = axis.min(), axis.max()
    if high > _LONGEST_NM or low > RANGE_NM[1]:
        return "cm-1"
    if RANGE_NM[0] <= low and high <= RANGE_NM[1] and axis[0] < axis[-1]:
        return "nm"
    raise InputError(
        f"{path}: the first column runs from {axis[0]:.6g} to {axis[-1]:.6g}, which may be nm or cm-1; export the "
        "spectrum as a table with one column per band, named by its unit (1850nm, wn_5400)"
    )
