"""What the readers of CSV and Parquet files share: layout, cells, limits, and how messages name a cell."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError

LONGEST_CELL = 131_072
"""Characters of a cell, as in Python's csv."""
SMALL_BYTES = 100_000_000
"""Bytes that any table may unpack to: a short one of a few different numbers packs well."""
_QUOTED = 60
"""Characters of a cell, an id or a name that a message repeats, at most."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table file is written."""

    path: Path
    limits: LimitsConfig
    """Of what is read of it."""
    header: tuple[str, ...]
    """Column names as written, stripped; unique, apart from empty ones."""
    separator: str = ""
    """Cell separator of a CSV; empty for Parquet."""
    decimal_comma: bool = False

    def named(self, texts: Mapping[int, list[str]]) -> dict[str, list[str]]:
        """Position -> cells as column name -> cells."""
        return {self.header[position]: cells for position, cells in texts.items()}

    def bad_band(self, row: int, identity: str, position: int, text: str) -> InputError:
        """The refusal of a band cell that is no finite number.

        Args:
            row: Of the table, from 1.
            identity: Of the row; empty without ids.
            position: Of the column.
            text: The cell.
        """
        missing = text.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
        what = "is empty" if missing else f"is {quoted(text)}, not a finite number"
        return InputError(
            f"{cell_name(self.path, row, identity, self.header[position])} {what}; every band needs a number: correct "
            "the cell, or remove the row or the column"
        )


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows of a table file."""

    rows: int
    bands: npt.NDArray[np.float32]
    """(n, bands), finite, columns in the order asked for."""
    texts: dict[str, list[str]]
    """Column name -> n cells; an empty cell is ''."""


def check_columns(path: Path, count: int, limits: LimitsConfig) -> None:
    """Refuse a table that is too wide.

    Raises:
        InputError: it has more columns than the limits.
    """
    if count > limits.table_columns:
        raise InputError(
            f"{path}: {count:,} columns, more than {limits.table_columns:,}; remove some, or raise limits.table_columns"
        )


def check_unpacked(path: Path, unpacked: int, packed: int, limits: LimitsConfig) -> None:
    """Refuse a table that is too large once it is unpacked.

    Args:
        path: Of the table.
        unpacked: Bytes that `packed` bytes of the file unpack to, at least.
        packed: Bytes of the file.
        limits: Of the config.

    Raises:
        InputError: these are more bytes, or times more, than the limits.
    """
    if unpacked > limits.table_gb * 1e9:
        raise InputError(
            f"{path}: unpacks to more than {limits.table_gb:g} GB; divide the table, or raise limits.table_gb"
        )
    if unpacked > SMALL_BYTES and unpacked > limits.table_unpacking * packed:
        raise InputError(
            f"{path}: unpacks to more than {limits.table_unpacking:g} times its size, which spectra hardly do; check "
            "where it comes from, or raise limits.table_unpacking"
        )


def float32(value: Any) -> float:
    """A cell as float32 holds it; NaN where it is no number."""
    try:
        return array("f", [float(value)])[0]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def cell_name(path: Path | str, row: int, identity: str, column: str) -> str:
    """Where a cell is, for messages: file, 1-based data row, id and column."""
    return f"{path}: row {row}{f' (id {shortened(identity)})' if identity else ''}, column {quoted(column)}"


def quoted(text: str) -> str:
    """A cell or a name in quotes, for messages of one line."""
    return repr(_cut(text))


def shortened(text: str) -> str:
    """A name without quotes, for messages of one line."""
    cut = _cut(text)
    return cut if cut.isprintable() else repr(cut)[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
