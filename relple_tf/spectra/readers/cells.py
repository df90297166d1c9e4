"""CSV and Parquet files as cells: band columns as float32, everything else as text."""

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
from relple_tf.spectra.readers.csv_file import GZIP, csv_blocks, csv_layout
from relple_tf.spectra.readers.parquet_file import PARQUET, parquet_blocks, parquet_layout
from relple_tf.spectra.readers.table_file import Cells, Layout, quoted

BLOCK_ROWS = 512
"""Rows that are turned into numbers at a time."""


def read_layout(path: Path, limits: LimitsConfig) -> Layout:
    """Read the header and find out how the file is written.

    Raises:
        InputError: there is no such file, it is no regular file, neither CSV nor Parquet, or larger than the limits, or
            two columns have the same name.
    """
    with _readable(path):
        _check_file(path, limits)
        layout = (parquet_layout if _magic(path) == PARQUET else csv_layout)(path, limits)
    counts = Counter(name for name in layout.header if name)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"{path}: column {quoted(twice[0])} occurs {counts[twice[0]]} times; rename or remove one")
    return layout


def read_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None = None, rows: int = BLOCK_ROWS
) -> Iterator[Cells]:
    """Read the columns at these positions, some rows at a time.

    Args:
        layout: From `read_layout`.
        bands: Positions of the columns that must hold a finite number in every row.
        others: Positions of the columns to keep as text.
        id_position: Position of the column that names a row in error messages.
        rows: Rows of a block; the last one may be shorter.

    Raises:
        InputError: a band cell is no finite number, a row has too few or too many cells, the file is larger than the
            limits, or there are no rows.
    """
    blocks = csv_blocks if layout.separator else parquet_blocks
    empty = True
    with _readable(layout.path):
        for block in blocks(layout, bands, others, id_position, rows):
            empty = False
            yield block
    if empty:
        raise InputError(f"{layout.path}: a header but no rows; give at least one scan")


def read_cells(layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None = None) -> Cells:
    """Read the columns at these positions, all rows; arguments and errors are those of `read_blocks`."""
    # Grows in place: a list of blocks would be in memory twice when it is joined.
    numbers, rows = array("f"), 0
    texts: dict[int, list[str]] = {position: [] for position in others}
    for block in read_blocks(layout, bands, others, id_position):
        numbers.frombytes(block.bands.tobytes())
        rows += block.rows
        for position, column in texts.items():
            column += block.texts[layout.header[position]]
    spectra = np.frombuffer(numbers, dtype=np.float32).reshape(rows, len(bands))
    return Cells(rows=rows, bands=spectra, texts=layout.named(texts))


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


def _check_file(path: Path, limits: LimitsConfig) -> None:
    """Refuse what has no end, or cannot be read twice."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory; give the path of a CSV (also .gz) or Parquet table")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe, a device or a socket; save the table as a file and give its path")
    if not status.st_size:  # as have the files of /proc, some of which have no end
        raise InputError(f"{path}: the file is empty; give a header and one scan per row")
    if status.st_size > limits.table_gb * 1e9:
        raise InputError(
            f"{path}: {status.st_size:,} bytes, more than {limits.table_gb:g} GB; divide the table, or raise "
            "limits.table_gb"
        )


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".gz" and not start.startswith(GZIP):
        raise InputError(f"{path}: named .gz but not gzip; rename it to .csv or compress it")
    return start
