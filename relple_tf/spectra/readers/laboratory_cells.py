"""Cells of laboratory columns: numbers, missing values, and values below the limit of detection."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.checks.laboratory_single import CODES, UNIT_FACTORS
from relple_tf.spectra.library import HIGHEST
from relple_tf.spectra.readers.table_file import cell_name, quoted

_SENTINEL = -9999.0
"""Code for a missing value, in any notation of the number."""
_NO_VALUE = {"", "na", "n/a", "nan", "null", "none"}
_BELOW_LIMIT = re.compile(r"[<≤].*|b\.?d\.?(?:l\.?)?|lod|loq|n\.?d\.?", re.IGNORECASE)
"""`< 0.5`, `< LOD`, `BDL`, `nd`: measured, and too low for the method."""
_LIMIT = re.compile(r"[<≤]\s*=?\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?|\d+,(?!\d{3}$)\d+)", re.IGNORECASE)
"""`< 0.5` or `< 0,5`; `< 1,000` may be 1 or 1000, so it is not a limit."""


LARGEST_NEGATIVE_SD = 0.1
"""Negative contents down to this fraction of the SD are results near zero: OC as the difference of total and inorganic
carbon, CaCO3 after the correction for the blank. Of 2,106 soils of OSSL, 2 of OC reach .01 SD and 20 of CaCO3 .06."""
LARGEST_NEGATIVE_SHARE = 0.05
"""Largest share of such values; 2.9 % of the CaCO3 values of OSSL."""


def read_numbers(
    source: str, column: str, cells: Sequence[str], ids: npt.NDArray[np.str_], below_detection: str = "drop"
) -> tuple[npt.NDArray[np.float64], int]:
    """Read a column of numbers.

    Args:
        source: Name of the table, for messages.
        column: Name of the column, for messages.
        cells: n cells.
        ids: (n,), for messages.
        below_detection: `drop` counts a value below the limit of detection as not measured, `half` takes half of the
            limit.

    Returns:
        (n,) values, NaN where not measured; and the number of values below the limit of detection.

    Raises:
        InputError: a cell is not a number, or its limit of detection is needed and not given.
    """
    values, below = np.full(len(cells), np.nan), 0
    for row, cell in enumerate(cells):
        if cell.lower() in _NO_VALUE:
            continue
        if _BELOW_LIMIT.fullmatch(cell):
            below += 1
            if below_detection == "half":
                values[row] = _half(cell, cell_name(source, row + 1, str(ids[row]), column))
            continue
        try:
            # Python accepts 1_000 as a number; in a table it is an error.
            values[row] = float(cell.replace("_", "?"))
        except ValueError:
            where = cell_name(source, row + 1, str(ids[row]), column)
            raise InputError(
                f"{where} is {quoted(cell)}, not a number; correct it, or leave the cell empty where nothing was "
                "measured"
            ) from None
    values[values == _SENTINEL] = np.nan
    return values, below


def count_codes(cells: Sequence[str]) -> int:
    """Number of cells with the code -9999, which counts as not measured."""
    return sum(_is_code(cell) for cell in cells)


def _is_code(cell: str) -> bool:
    try:
        return float(cell) == _SENTINEL
    except ValueError:
        return False


def _half(cell: str, where: str) -> float:
    """Half of the limit in a cell such as `< 0.5`."""
    if limit := _LIMIT.fullmatch(cell):
        return float(limit[1].replace(",", ".")) / 2
    raise InputError(
        f"{where} is {quoted(cell)}, below a limit of detection without its number; write '< 0.5' with the limit of "
        "the method, or use --set data.below_detection=drop"
    )


def near_zero(target: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which values of a target are negative results near zero, and so below the limit of detection.

    Args:
        target: Name with its unit. pH and targets of unknown unit have no such values.
        values: (n,), NaN where not measured.

    Returns:
        (n,). None if they are more than LARGEST_NEGATIVE_SHARE of the values, or if one is more negative than
        LARGEST_NEGATIVE_SD standard deviations of the values from 0 on: such values are errors. Codes for missing
        values, such as -1, are never near zero.
    """
    negative, positive = values < 0, values[values >= 0]
    unit = next((unit for unit in HIGHEST if unit != "pH" and target.endswith(f"_{unit}")), None)
    if unit is None or not negative.any() or not len(positive):
        return np.zeros(len(values), bool)
    codes = [round(code * factor, 6) for code in CODES for factor in (1.0, UNIT_FACTORS.get(unit, 1.0))]
    small = values >= -LARGEST_NEGATIVE_SD * positive.std()
    few = negative.sum() <= LARGEST_NEGATIVE_SHARE * (negative.sum() + len(positive))
    possible = few and small[negative].all() and not np.isin(np.round(values[negative], 6), codes).any()
    return negative & possible


def has_numbers(cells: Sequence[str]) -> bool:
    """Whether the column has measured values, and all of them are numbers or below the limit of detection."""
    measured = [cell for cell in cells if cell.lower() not in _NO_VALUE and not _BELOW_LIMIT.fullmatch(cell)]
    try:
        return any(_SENTINEL != number < np.inf for number in map(float, measured))
    except ValueError:
        return False
