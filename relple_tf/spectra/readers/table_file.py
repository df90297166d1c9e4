"""Shared by the CSV and Parquet readers: layout, cells, limits, and names of cells in messages."""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanTable:
    """Scans in memory: from an instrument file, a folder of scans, or a table that is not one scan per row."""

    texts: Mapping[str, Sequence[str]]
    """Name of a column that is not a band (`sample`, `pH`) -> n cells, '' where empty."""
    axis: npt.NDArray[np.float64]
    """(bands,) in the unit of `axis_unit`, in the order of the columns of `spectra`."""
    axis_unit: str
    """`nm` or `cm-1`; empty if the file does not state it: `band_columns` then reads and checks bare numbers."""
    spectra: npt.NDArray[np.float32]
    """(n, bands)."""
    quantity: str = ""
    """`reflectance` (0..1) or `absorbance` if the file states it, else empty: `spectra` are then as written."""
    notes: tuple[str, ...] = ()
    """Format of the file, and conversions, one sentence each."""

    @property
    def header(self) -> tuple[str, ...]:
        """Names of all columns: those of `texts`, then the bands (`1100.5nm`, `wn_5397.9`), exact to the last digit."""
        form = {"cm-1": "wn_{}", "nm": "{}nm", "": "{}"}[self.axis_unit]
        return (
            *self.texts,
            *(form.format(np.format_float_positional(value, trim="-")) for value in self.axis.tolist()),
        )


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
    encoding: str = "utf-8-sig"
    """Encoding of a CSV."""
    first_row: int = 1
    """Row of the first scan of a CSV, from 0; blank rows are not counted."""
    scale: float = 1.0
    """Divisor of the bands of a CSV, if the file states it: 100 for percent. `read_blocks` divides."""
    quantity: str = ""
    """`reflectance` or `absorbance` if the file states it apart from the names of the bands."""
    notes: tuple[str, ...] = ()
    """Format of the file, and conversions, one sentence each."""
    hint: str = ""
    """What the table looks like, for the message if no bands are found."""
    table: ScanTable | None = None
    """The scans, if they are in memory already."""

    def named(self, texts: Mapping[int, list[str]]) -> dict[str, list[str]]:
        """Convert position -> cells to column name -> cells."""
        return {self.header[position]: cells for position, cells in texts.items()}

    def bad_band(self, row: int, identity: str, position: int, text: str) -> str:
        """The message on a band cell that is not a finite number.

        Args:
            row: Row of the table, from 1.
            identity: Id of the row; empty without ids.
            position: Position of the column.
            text: Content of the cell.
        """
        missing = text.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
        received = "is empty" if missing else f"is {quoted(text)}, not a finite number"
        if self.table:  # which keeps numbers only
            received = "is empty or no number"
        return (
            f"{cell_name(self.path, row, identity, self.header[position])} {received}; every band needs a number: "
            "correct the cell, or remove the row or the column"
        )


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows of a table file."""

    rows: int
    bands: npt.NDArray[np.float32]
    """(n, bands), columns in the requested order; NaN where a cell is not a finite number."""
    texts: dict[str, list[str]]
    """Column name -> n cells; an empty cell is ''."""
    bad: dict[int, str] = field(default_factory=dict)
    """Row, from 0 -> message on its first band cell that is not a finite number."""


def memory_layout(path: Path, table: ScanTable, limits: LimitsConfig) -> Layout:
    """The layout of scans in memory.

    Raises:
        InputError: the table is larger than the limits.
    """
    check_columns(path, len(table.header), limits)
    header, quantity, notes = table.header, table.quantity, table.notes
    return Layout(path=path, limits=limits, header=header, table=table, quantity=quantity, notes=notes)


def memory_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None, rows: int
) -> Iterator[Cells]:
    """Rows of scans in memory; see `relple_tf.spectra.readers.cells.read_blocks`."""
    table = layout.table
    assert table is not None
    first_band = len(table.texts)
    spectra = table.spectra[:, [position - first_band for position in bands]]
    texts = {position: list(table.texts[layout.header[position]]) for position in others}
    for start in range(0, len(spectra), rows):
        block = spectra[start : start + rows].astype(np.float32)
        bad = {}
        for row, band in first_not_finite(block):
            identity = "" if id_position is None else table.texts[layout.header[id_position]][start + row]
            bad[row] = layout.bad_band(start + row + 1, identity, bands[band], str(spectra[start + row, band]))
        cells = {position: column[start : start + rows] for position, column in texts.items()}
        yield Cells(rows=len(block), bands=block, texts=layout.named(cells), bad=bad)


def first_not_finite(spectra: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Row and first band of each scan with a value that is not finite."""
    missing = ~np.isfinite(spectra)
    return [(int(row), int(np.argmax(missing[row]))) for row in np.flatnonzero(missing.any(axis=1))]


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
