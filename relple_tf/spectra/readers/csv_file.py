"""Read CSV files, plain or gzip, within the limits of the config."""

import csv
import gzip
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.table_file import LONGEST_CELL, Cells, Layout, check_columns, check_unpacked, float32

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_SNIFFED_ROWS = 20


def csv_layout(path: Path, limits: LimitsConfig) -> Layout:
    """Detect the separator and the columns of a file.

    Raises:
        InputError: the file is empty, or larger than the limits.
    """
    # `max` returns the first separator on a tie: in `id;1100,5;1101,5` the comma is a decimal comma.
    separator = max("\t;,", key=_first_line(path, limits).count)
    rows = _rows(path, separator, limits)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path}: the file is empty; expected a header and one scan per row")
    check_columns(path, len(header), limits)
    sniffed = islice(rows, _SNIFFED_ROWS)
    comma = separator != "," and any(_COMMA_NUMBER.fullmatch(cell) for row in sniffed for cell in row)
    names = tuple(name.strip() for name in header)
    return Layout(path=path, limits=limits, header=names, separator=separator, decimal_comma=comma)


def csv_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None, rows: int
) -> Iterator[Cells]:
    """Read the rows of a CSV file; see `relple_tf.spectra.readers.cells.read_blocks`."""
    numbered = enumerate(islice(_rows(layout.path, layout.separator, layout.limits), 1, None), start=1)
    while True:
        numbers, count = array("f"), 0
        texts: dict[int, list[str]] = {position: [] for position in others}
        bad: dict[int, str] = {}
        for row, cells in islice(numbered, rows):
            if len(cells) != len(layout.header):
                raise InputError(
                    f"{layout.path}: row {row} has {len(cells)} cells, but the header has "
                    f"{len(layout.header)}; give every column a name and every row all cells "
                    "(decimal commas need ; or tab between cells)"
                )
            spectrum, problem = _spectrum(layout, row, cells, bands, id_position)
            numbers += spectrum
            if problem:
                bad[count] = problem
            for position, column in texts.items():
                column.append(_with_point(layout, cells[position]).strip())
            count += 1
        if not count:
            return
        spectra = np.frombuffer(numbers, dtype=np.float32).reshape(count, len(bands))
        yield Cells(rows=count, bands=spectra, texts=layout.named(texts), bad=bad)


def _spectrum(
    layout: Layout, row: int, cells: Sequence[str], bands: Sequence[int], id_position: int | None
) -> tuple["array[float]", str]:
    """Band cells of a row as float32, and a message on the first that is not a finite number; empty if all are."""
    texts = [cells[position] for position in bands]
    if layout.decimal_comma:
        texts = [_with_point(layout, text) for text in texts]
    try:
        spectrum = array("f", map(float, texts))
    except ValueError:
        spectrum = array("f", map(float32, texts))
    if (bad := np.flatnonzero(~np.isfinite(np.frombuffer(spectrum, dtype=np.float32)))).size:
        identity = "" if id_position is None else cells[id_position].strip()
        return spectrum, layout.bad_band(row, identity, bands[bad[0]], texts[bad[0]])
    return spectrum, ""


def _with_point(layout: Layout, cell: str) -> str:
    return cell.replace(",", ".") if layout.decimal_comma and _COMMA_NUMBER.fullmatch(cell) else cell


def _rows(path: Path, separator: str, limits: LimitsConfig) -> Iterator[list[str]]:
    """Cells of each row, header first, without blank rows."""
    with _opened(path, limits) as file:
        lines = _Lines(file, path, limits)
        try:
            for cells in csv.reader(lines, delimiter=separator):
                lines.end_row()
                if any(cells):
                    yield cells
        except csv.Error as error:
            if "field larger" not in str(error):
                raise
            raise InputError(
                f"{path}: a cell in the row at line {lines.count} has more than {LONGEST_CELL:,} characters; close its "
                "quotation mark, or shorten it"
            ) from None


def _first_line(path: Path, limits: LimitsConfig) -> str:
    """The first line that is not blank; empty if there is none."""
    with _opened(path, limits) as file:
        lines = _Lines(file, path, limits)
        for line in lines:
            lines.end_row()
            if line.strip():
                return line
    return ""


@contextmanager
def _opened(path: Path, limits: LimitsConfig) -> Iterator[TextIO]:
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        source = io.BufferedReader(_Unpacked(file, path, limits), 1 << 16) if packed else file
        yield io.TextIOWrapper(source, encoding="utf-8-sig", newline="")


class _Unpacked(io.RawIOBase):
    """Unpacked bytes of a gzip file; raises InputError above the limits."""

    def __init__(self, file: BinaryIO, path: Path, limits: LimitsConfig) -> None:
        self.file, self.path, self.limits = file, path, limits
        self.unpacked, self.count = gzip.GzipFile(fileobj=file), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        read = self.unpacked.readinto(buffer)
        self.count += read
        check_unpacked(self.path, self.count, self.file.tell(), self.limits)
        return read


class _Lines:
    """Lines for `csv.reader`, limited in length, because the reader has no limit for a line or a quoted cell."""

    def __init__(self, file: TextIO, path: Path, limits: LimitsConfig) -> None:
        self.file, self.path, self.limits = file, path, limits
        self.count = 0
        """Number of lines read."""
        self.characters = 0
        """Number of characters read of the current row."""

    def end_row(self) -> None:
        """Start a new row at the next line."""
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        longest = self.limits.table_row_characters
        line = self.file.readline(longest + 1)
        if not line:
            raise StopIteration
        self.count += 1
        self.characters += len(line)
        if "\0" in line:
            raise InputError(
                f"{self.path}: line {self.count} contains NUL characters, so the file is not text; export the table as "
                "CSV (UTF-8) or Parquet"
            )
        if self.characters > longest:
            raise InputError(
                f"{self.path}: the row at line {self.count} has more than {longest:,} characters; end its lines and "
                "close its quotation marks, or raise limits.table_row_characters"
            )
        if self.count > self.limits.table_rows:
            raise InputError(
                f"{self.path}: more than {self.limits.table_rows:,} lines; divide the table, or raise limits.table_rows"
            )
        return line
