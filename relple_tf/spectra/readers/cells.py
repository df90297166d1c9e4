"""Read CSV, Parquet and instrument files as cells: band columns as float32, all other columns as text."""

import csv
import gzip
import stat
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.csv_file import csv_blocks, csv_layout
from relple_tf.spectra.readers.instruments.registry import read_instrument
from relple_tf.spectra.readers.parquet_file import PARQUET, parquet_blocks, parquet_layout
from relple_tf.spectra.readers.table_file import Cells, Layout, memory_blocks, memory_layout, quoted
from relple_tf.spectra.readers.text_file import GZIP

BLOCK_ROWS = 512
"""Rows converted to numbers at a time."""


def read_layout(path: Path, limits: LimitsConfig) -> Layout:
    """Read the header and detect the format of the file.

    Raises:
        InputError: the file does not exist, is not a regular file, is of no known format, is larger than the limits, or
            two columns have the same name.
    """
    with _readable(path):
        _check_file(path, limits)
        start = _magic(path)
        if (table := read_instrument(path, limits)) is not None:
            layout = memory_layout(path, table, limits)
        else:
            layout = (parquet_layout if start == PARQUET else csv_layout)(path, limits)
    counts = Counter(name for name in layout.header if name)
    if repeated := [name for name, count in counts.items() if count > 1]:
        name = repeated[0]
        raise InputError(f"{path}: column {quoted(name)} occurs {counts[name]} times; rename or remove the duplicates")
    return layout


def read_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None = None, rows: int = BLOCK_ROWS
) -> Iterator[Cells]:
    """Read the columns at these positions, block by block.

    Args:
        layout: From `read_layout`.
        bands: Positions of the columns that contain a number in every row; others are NaN and `Cells.bad`.
        others: Positions of the columns to keep as text.
        id_position: Position of the id column, for error messages.
        rows: Rows per block; the last block may be shorter.

    Raises:
        InputError: a row has too few or too many cells, the file is larger than
            the limits, or there are no rows.
    """
    blocks = memory_blocks if layout.table else csv_blocks if layout.separator else parquet_blocks
    empty = True
    with _readable(layout.path):
        for block in blocks(layout, bands, others, id_position, rows):
            empty = False
            yield block
    if empty:
        raise InputError(f"{layout.path}: a header but no rows; add at least one scan")


def read_cells(layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None = None) -> Cells:
    """Read all rows of the columns at these positions; arguments and errors as in `read_blocks`."""
    # The array grows in place: joining a list of blocks would need twice the memory.
    numbers, rows = array("f"), 0
    texts: dict[int, list[str]] = {position: [] for position in others}
    bad: dict[int, str] = {}
    for block in read_blocks(layout, bands, others, id_position):
        numbers.frombytes(block.bands.tobytes())
        bad |= {rows + row: message for row, message in block.bad.items()}
        rows += block.rows
        for position, column in texts.items():
            column += block.texts[layout.header[position]]
    spectra = np.frombuffer(numbers, dtype=np.float32).reshape(rows, len(bands))
    return Cells(rows=rows, bands=spectra, texts=layout.named(texts), bad=bad)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert all errors of an unreadable file to InputError."""
    try:
        yield
    except csv.Error as error:
        raise InputError(f"{path}: not a text table ({error}); export it as CSV (UTF-8) or Parquet") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); export the table as CSV (UTF-8) or Parquet") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); compress or download it again") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: {reason}; give the path of a CSV (also .gz) or Parquet table") from None


def _check_file(path: Path, limits: LimitsConfig) -> None:
    """Raise InputError for a path that may have no end, or cannot be read twice."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(
            f"{path}: expected a file, got a directory; give the path of a CSV (also .gz) or Parquet table"
        )
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{path}: expected a regular file, got a pipe, a device or a socket; save the table as a file and give its "
            "path"
        )
    if not status.st_size:  # also the size of the files in /proc, some of which have no end
        raise InputError(f"{path}: the file is empty; expected a header and one scan per row")
    if status.st_size > limits.table_gb * 1e9:
        raise InputError(
            f"{path}: {status.st_size:,} bytes, more than {limits.table_gb:g} GB; divide the table, or raise "
            "limits.table_gb"
        )


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".gz" and not start.startswith(GZIP):
        raise InputError(f"{path}: the name ends in .gz, but the file is not gzip; rename it to .csv or compress it")
    return start
