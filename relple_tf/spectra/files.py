"""CSV and Parquet files as cells: band columns as float32, everything else as text."""

import csv
import gzip
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
_BATCH_ROWS = 512
_SNIFFED_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table file is written."""

    path: Path
    header: tuple[str, ...]
    """Column names as written, stripped; unique, apart from empty ones."""
    separator: str = ""
    """Cell separator of a CSV; empty for Parquet."""
    decimal_comma: bool = False


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What a table file holds."""

    bands: npt.NDArray[np.float32]
    """(n, bands), finite, columns in the order asked for."""
    texts: dict[str, list[str]]
    """Column name -> n cells; an empty cell is ''."""


def read_layout(path: Path) -> Layout:
    """Read the header and find out how the file is written.

    Raises:
        InputError: there is no such file, it is neither CSV nor Parquet, or two columns have the
            same name.
    """
    with _readable(path):
        if _magic(path) == _PARQUET:
            names = _parquet(path).schema_arrow.names
            layout = Layout(path=path, header=tuple(name.strip() for name in names))
        else:
            layout = _csv_layout(path)
    counts = Counter(name for name in layout.header if name)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"{path}: column {twice[0]!r} occurs {counts[twice[0]]} times; rename or remove one")
    return layout


def read_cells(layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None = None) -> Cells:
    """Read the columns at these positions.

    Args:
        layout: What `read_layout` found.
        bands: Positions of the columns that must hold a finite number in every row.
        others: Positions of the columns to keep as text.
        id_position: Position of the column that names a row in error messages.

    Raises:
        InputError: a band cell is no finite number, a row has too few or too many cells, or there
            are no rows.
    """
    kept = {*others} if id_position is None else {*others, id_position}
    texts: dict[int, list[str]] = {position: [] for position in sorted(kept)}
    with _readable(layout.path):
        read = _csv_cells if layout.separator else _parquet_cells
        numbers = read(layout, bands, texts, id_position)
    rows = len(next(iter(texts.values()))) if texts else len(numbers) // max(len(bands), 1)
    if not rows:
        raise InputError(f"{layout.path}: a header but no rows; give at least one scan")
    spectra = np.frombuffer(numbers, dtype=np.float32).reshape(rows, len(bands))
    if (bad := np.argwhere(~np.isfinite(spectra))).size:
        row, band = bad[0]
        identity = "" if id_position is None else texts[id_position][row]
        raise _bad_band(layout, row + 1, identity, bands[band], str(spectra[row, band]))
    return Cells(bands=spectra, texts={layout.header[position]: texts[position] for position in others})


def cell_name(path: Path | str, row: int, identity: str, column: str) -> str:
    """Where a cell is, for messages: file, 1-based data row, id and column."""
    return f"{path}: row {row}{f' (id {identity})' if identity else ''}, column {column!r}"


def _bad_band(layout: Layout, row: int, identity: str, position: int, text: str) -> InputError:
    missing = text.strip().lower() in ("", "nan", "na", "n/a", "null", "none")
    what = "is empty" if missing else f"is {text!r}, not a finite number"
    where = cell_name(layout.path, row, identity, layout.header[position])
    return InputError(f"{where} {what}; every band needs a number: correct the cell, or remove the row or the column")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the many ways in which a file can be unreadable into an InputError."""
    try:
        yield
    except csv.Error as error:
        raise InputError(f"{path}: not a table of text ({error}); export it as CSV (UTF-8) or Parquet") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); export the table as CSV (UTF-8) or Parquet") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); compress or download it again") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: {reason}; give the path of a CSV (also .gz) or Parquet table") from None


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".gz" and not start.startswith(_GZIP):
        raise InputError(f"{path}: named .gz but not gzip; rename it to .csv or compress it")
    return start


def _open(path: Path) -> TextIO:
    if _magic(path).startswith(_GZIP):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _records(path: Path, separator: str) -> Iterator[list[str]]:
    """Rows of a CSV, header first, blank rows left out."""
    with _open(path) as file:
        yield from (cells for cells in csv.reader(file, delimiter=separator) if any(cells))


def _csv_layout(path: Path) -> Layout:
    with _open(path) as file:
        first_line = next((line for line in file if line.strip()), "")
    # `max` takes the first on a tie: in `id;1100,5;1101,5` the comma is the decimal one.
    separator = max("\t;,", key=first_line.count)
    header, *rows = islice(_records(path, separator), 1 + _SNIFFED_ROWS) if first_line else [[]]
    if not header:
        raise InputError(f"{path}: the file is empty; give a header and one scan per row")
    comma = separator != "," and any(_COMMA_NUMBER.fullmatch(cell) for row in rows for cell in row)
    names = tuple(name.strip() for name in header)
    return Layout(path=path, header=names, separator=separator, decimal_comma=comma)


def _csv_cells(
    layout: Layout, bands: Sequence[int], texts: dict[int, list[str]], id_position: int | None
) -> "array[float]":
    """Numbers of the bands, row after row; fills `texts`."""
    numbers = array("f")
    for row, cells in enumerate(islice(_records(layout.path, layout.separator), 1, None), start=1):
        if len(cells) != len(layout.header):
            raise InputError(
                f"{layout.path}: row {row} has {len(cells)} cells but the header has "
                f"{len(layout.header)}; give every column a name and every row all cells "
                "(decimal commas need ; or tab between cells)"
            )
        if layout.decimal_comma:
            cells = [_with_point(cell) for cell in cells]
        try:
            numbers.extend(map(float, [cells[position] for position in bands]))
        except ValueError:
            position = next(position for position in bands if not _is_number(cells[position]))
            identity = "" if id_position is None else cells[id_position]
            raise _bad_band(layout, row, identity, position, cells[position]) from None
        for position, column in texts.items():
            column.append(cells[position].strip())
    return numbers


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _COMMA_NUMBER.fullmatch(cell) else cell


def _parquet(path: Path) -> Any:
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'relple-tf[formats]', or give a CSV") from None
    try:
        return parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: damaged Parquet file ({reason}); write it again") from None


def _parquet_cells(
    layout: Layout, bands: Sequence[int], texts: dict[int, list[str]], id_position: int | None
) -> "array[float]":
    """Numbers of the bands, row after row; fills `texts`."""
    numbers, row = array("f"), 0
    for batch in _parquet(layout.path).iter_batches(batch_size=_BATCH_ROWS):
        for position, column in texts.items():
            column.extend(map(_text, batch.column(position).to_pylist()))
        block = np.empty((batch.num_rows, len(bands)), dtype=np.float32)
        for band, position in enumerate(bands):
            values = batch.column(position).to_numpy(zero_copy_only=False)
            try:
                block[:, band] = values
            except (TypeError, ValueError):
                bad = next(index for index, value in enumerate(values) if not _is_number(value))
                identity = "" if id_position is None else texts[id_position][row + bad]
                raise _bad_band(layout, row + bad + 1, identity, position, _text(values[bad])) from None
        numbers.frombytes(block.tobytes())
        row += batch.num_rows
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _text(value: object) -> str:
    """A Parquet value as the text that a CSV would hold; whole floats, often ids, as integers."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
