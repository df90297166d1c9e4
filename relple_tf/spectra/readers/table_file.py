"""Shared by the CSV and Parquet readers: layout, cells, limits, and names of cells in messages."""

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
"""Maximum number of characters of a cell, as in the csv module of Python."""
SMALL_BYTES = 100_000_000
"""Any table may unpack to this many bytes: a short table with few distinct numbers compresses well."""
_QUOTED = 60
"""Maximum number of characters of a cell, an id or a name in a message."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Format of a table file."""

    path: Path
    limits: LimitsConfig
    """Limits on the size of the table."""
    header: tuple[str, ...]
    """Column names, stripped of spaces; unique, apart from empty names."""
    separator: str = ""
    """Cell separator of a CSV; empty for Parquet."""
    decimal_comma: bool = False

    def named(self, texts: Mapping[int, list[str]]) -> dict[str, list[str]]:
        """Convert position -> cells to column name -> cells."""
        return {self.header[position]: cells for position, cells in texts.items()}

    def bad_band(self, row: int, identity: str, position: int, text: str) -> InputError:
        """The error for a band cell that is not a finite number.

        Args:
            row: Row of the table, from 1.
            identity: Id of the row; empty without ids.
            position: Position of the column.
            text: Content of the cell.
        """
        missing = text.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
        received = "is empty" if missing else f"is {quoted(text)}, not a finite number"
        return InputError(
            f"{cell_name(self.path, row, identity, self.header[position])} {received}; every band needs a number: "
            "correct the cell, or remove the row or the column"
        )


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows of a table file."""

    rows: int
    bands: npt.NDArray[np.float32]
    """(n, bands), finite, columns in the requested order."""
    texts: dict[str, list[str]]
    """Column name -> n cells; an empty cell is ''."""


def check_columns(path: Path, count: int, limits: LimitsConfig) -> None:
    """Check the number of columns of a table.

    Raises:
        InputError: the table has more columns than the limit.
    """
    if count > limits.table_columns:
        raise InputError(
            f"{path}: {count:,} columns, more than {limits.table_columns:,}; remove some, or raise limits.table_columns"
        )


def check_unpacked(path: Path, unpacked: int, packed: int, limits: LimitsConfig) -> None:
    """Check the unpacked size of a table.

    Args:
        path: Path of the table.
        unpacked: Lower bound of the unpacked size of `packed` bytes, in bytes.
        packed: Bytes of the file.
        limits: Limits of the config.

    Raises:
        InputError: the unpacked size or the ratio of both sizes exceeds the limit.
    """
    if unpacked > limits.table_gb * 1e9:
        raise InputError(
            f"{path}: unpacks to more than {limits.table_gb:g} GB; divide the table, or raise limits.table_gb"
        )
    if unpacked > SMALL_BYTES and unpacked > limits.table_unpacking * packed:
        raise InputError(
            f"{path}: unpacks to more than {limits.table_unpacking:g} times its size, which is unusual for spectra; "
            "check the origin of the file, or raise limits.table_unpacking"
        )


def float32(value: Any) -> float:
    """A cell as float32; NaN if it is not a number."""
    try:
        return array("f", [float(value)])[0]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def cell_name(path: Path | str, row: int, identity: str, column: str) -> str:
    """Position of a cell for messages: file, data row from 1, id and column."""
    return f"{path}: row {row}{f' (id {shortened(identity)})' if identity else ''}, column {quoted(column)}"


def quoted(text: str) -> str:
    """A cell or a name in quotes, shortened for one-line messages."""
    return repr(_cut(text))


def shortened(text: str) -> str:
    """A name without quotes, shortened for one-line messages."""
    cut = _cut(text)
    return cut if cut.isprintable() else repr(cut)[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
