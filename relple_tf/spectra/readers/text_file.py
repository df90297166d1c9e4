"""Read text files as rows of cells: plain or gzip, in the encodings that spreadsheets write, within the limits."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.table_file import LONGEST_CELL, check_unpacked

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""
UTF_8, UTF_16, WINDOWS = "utf-8-sig", "utf-16", "cp1252"
COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_CHECKED_BYTES = 64_000_000
"""The encoding is detected in this many bytes; UTF-8 that is invalid after them is refused."""
_CHUNK_BYTES = 1 << 20
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f"))
"""Characters that no text table contains, but most binary files do."""
_PREVIEW_LINES = 120
_PREVIEW_CHARACTERS = 4_000_000


def text_encoding(path: Path, limits: LimitsConfig) -> str:
    """UTF-16 after its byte-order mark, Windows-1252 where UTF-8 is invalid, else UTF-8.

    All separators, numbers and units are ASCII, the same in UTF-8 and in all Windows code pages, so a wrong code page
    changes single letters of names and nothing else.

    Raises:
        InputError: the file unpacks to more than the limits.
    """
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", WINDOWS)}
    with _opened_bytes(path, limits) as file:
        for start in range(0, _CHECKED_BYTES, _CHUNK_BYTES):
            chunk = file.read(_CHUNK_BYTES)
            if not start and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return UTF_16
            pending = "utf-8" in decoders and decoders["utf-8"].getstate()[0]
            if chunk and chunk.isascii() and not pending:
                continue
            for name, decoder in list(decoders.items()):
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError:
                    del decoders[name]
            if len(chunk.translate(None, _CONTROLS)) < len(chunk):
                decoders.pop(WINDOWS, None)
            if not chunk:
                break
    return WINDOWS if list(decoders) == [WINDOWS] else UTF_8


def first_lines(path: Path, encoding: str, limits: LimitsConfig) -> list[str]:
    """The first lines that are not blank: at most 120 lines, or about 4 million characters."""
    found: list[str] = []
    characters = 0
    with opened(path, encoding, limits) as file:
        lines = _Lines(file, path, limits)
        for line in lines:
            lines.end_row()
            characters += len(line)
            if line.strip():
                found.append(line)
            if len(found) >= _PREVIEW_LINES or characters >= _PREVIEW_CHARACTERS:
                break
    return found


def rows_of(path: Path, encoding: str, separator: str, limits: LimitsConfig) -> Iterator[list[str]]:
    """Cells of each row, without blank rows."""
    with opened(path, encoding, limits) as file:
        lines = _Lines(file, path, limits)
        try:
            for cells in csv.reader(lines, delimiter=separator):
                lines.end_row()
                if any(map(str.strip, cells)):
                    yield cells
        except csv.Error as error:
            if "field larger" not in str(error):
                raise
            raise InputError(
                f"{path}: a cell in the row at line {lines.count} has more than {LONGEST_CELL:,} characters; close its "
                "quotation mark, or shorten it"
            ) from None


def fit(path: Path, number: int, cells: list[str], header: Sequence[str]) -> list[str]:
    """A row with as many cells as the header: only empty cells are cut, and only nameless columns are added.

    Args:
        path: Path of the file, for messages.
        number: Row under the header, from 1.
        cells: Cells of the row.
        header: Column names.

    Raises:
        InputError: the row has more or fewer cells.
    """
    missing = len(header) - len(cells)
    if not missing:
        return cells
    if missing < 0 and not any(map(str.strip, cells[missing:])):
        return cells[:missing]
    if missing > 0 and not any(header[len(cells) :]):
        return [*cells, *[""] * missing]
    raise InputError(
        f"{path}: row {number} has {len(cells)} cells, but the header has {len(header)}; give every column a name and "
        "every row all cells (decimal commas need ; or tab between cells)"
    )


def with_point(cell: str) -> str:
    """A number with a decimal comma, written with a point; other cells are unchanged."""
    return cell.replace(",", ".") if COMMA_NUMBER.fullmatch(cell) else cell


@contextmanager
def opened(path: Path, encoding: str, limits: LimitsConfig) -> Iterator[TextIO]:
    """The unpacked text of a file."""
    with _opened_bytes(path, limits) as source:
        yield io.TextIOWrapper(source, encoding=encoding, newline="")


@contextmanager
def _opened_bytes(path: Path, limits: LimitsConfig) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        yield io.BufferedReader(_Unpacked(file, path, limits), 1 << 16) if packed else file


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
