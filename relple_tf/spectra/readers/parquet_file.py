"""Read Parquet files within the limits of the config."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.table_file import (
    LONGEST_CELL,
    Cells,
    Layout,
    check_columns,
    check_unpacked,
    first_not_finite,
    float32,
    quoted,
    shortened,
)

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""
_COLUMNS = 8
"""Columns read together; a page of each is in memory, 1 MB if written by pyarrow."""
_BATCH_ROWS = 1 << 14
_WIDEST_BYTES = 256
"""Limit for a value of a fixed-width column; repeated values are in memory repeatedly."""
_MEMORY_BYTES = 1 << 24
"""Larger tables are written to a temporary file."""


def parquet_layout(path: Path, limits: LimitsConfig) -> Layout:
    """Read the columns of a file.

    Raises:
        InputError: the file is damaged or larger than the limits, or a column holds lists or structures.
    """
    with _opened(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        unpacked_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    check_columns(path, len(schema), limits)
    if metadata.num_rows > limits.table_rows:
        raise InputError(
            f"{path}: {metadata.num_rows:,} rows, more than {limits.table_rows:,}; divide the table, or raise "
            "limits.table_rows"
        )
    # A column with a single repeated number is a few bytes long, independent of the number of rows.
    check_unpacked(path, max(unpacked_bytes, 4 * metadata.num_rows * len(schema)), path.stat().st_size, limits)
    for column in schema:
        kind = getattr(column.type, "storage_type", column.type)
        if kind.num_fields or (str(kind).startswith("fixed_size_binary") and kind.byte_width > _WIDEST_BYTES):
            raise InputError(
                f"{path}: column {quoted(column.name)} holds {shortened(str(kind))} in each row; store each band in a "
                "column of numbers, named by its wavelength"
            )
    return Layout(path=path, limits=limits, header=tuple(name.strip() for name in schema.names))


def parquet_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None, rows: int
) -> Iterator[Cells]:
    """Read the rows of a Parquet file; see `relple_tf.spectra.readers.cells.read_blocks`.

    A row group stores its columns one after the other. So the columns are read first (for large tables into a
    temporary file) and the rows are assembled from them.
    """
    with _opened(layout.path) as file, tempfile.SpooledTemporaryFile(_MEMORY_BYTES) as numbers:
        count = file.metadata.num_rows
        texts = {position: _texts(layout, file, position) for position in others}
        for band, first_row, values in _column_batches(file, bands):
            numbers.seek(4 * (band * count + first_row))
            try:
                numbers.write(_numbers(values).tobytes())
            except OSError as error:
                raise InputError(
                    f"{tempfile.gettempdir()}: {error.strerror}; give TMPDIR a folder with {4 * count * len(bands):,} "
                    "bytes of space"
                ) from None
        columns: dict[int, npt.NDArray[Any]] = {}
        ids: list[str] = []
        for start in range(0, count, rows):
            length = min(rows, count - start)
            spectra = np.empty((length, len(bands)), dtype=np.float32)
            for band in range(len(bands)):
                numbers.seek(4 * (band * count + start))
                spectra[:, band] = np.frombuffer(numbers.read(4 * length), dtype=np.float32)
            bad = {}
            for row, band in first_not_finite(spectra):
                if band not in columns:  # the numbers in the temporary file do not show what the cell contains
                    batches = [_values(values) for _, _, values in _column_batches(file, [bands[band]])]
                    columns[band] = np.concatenate(batches)
                if id_position is not None and not ids:
                    ids = _texts(layout, file, id_position)
                identity = ids[start + row] if ids else ""
                bad[row] = layout.bad_band(start + row + 1, identity, bands[band], str(columns[band][start + row]))
            block = {position: cells[start : start + length] for position, cells in texts.items()}
            yield Cells(rows=length, bands=spectra, texts=layout.named(block), bad=bad)


def _column_batches(file: Any, positions: Sequence[int]) -> Iterator[tuple[int, int, Any]]:
    """Columns in batches of rows: index of the column in `positions`, first row and values of the batch."""
    names = file.schema_arrow.names
    for start in range(0, len(positions), _COLUMNS):
        columns = [names[position] for position in positions[start : start + _COLUMNS]]
        first_row = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            for number, name in enumerate(columns, start=start):
                yield number, first_row, batch.column(name)
            first_row += batch.num_rows


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the file with text columns as dictionaries, so that a repeated text is in memory once."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'relple-tf[formats]', or give a CSV") from None
    try:
        with parquet.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
        texts = [field.name for field in schema if str(field.type).removeprefix("large_") in ("string", "binary")]
        # With pre_buffer, pyarrow would read all columns of a row group ahead.
        with parquet.ParquetFile(path, metadata=metadata, read_dictionary=texts, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError, IndexError) as error:  # IndexError: indices beyond a dictionary
        if getattr(error, "errno", None):  # an error of the operating system
            raise
        raise InputError(f"{path}: damaged Parquet file ({shortened(str(error))}); write it again") from None


def _numbers(column: Any) -> npt.NDArray[np.float32]:
    """(n,) numbers of a column; NaN where a value is not a number."""
    values = _values(column)
    try:
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return np.array([float32(value) for value in values], dtype=np.float32)


def _values(column: Any) -> npt.NDArray[Any]:
    """(n,) values of a column."""
    if not hasattr(column, "dictionary"):
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values
    words: npt.NDArray[Any] = np.array([*column.dictionary.to_pylist(), None], dtype=object)
    indices: npt.NDArray[np.int_] = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return words[indices]


def _texts(layout: Layout, file: Any, position: int) -> list[str]:
    """Cells of a column as text, as in a CSV."""
    name, texts = quoted(layout.header[position]), list[str]()
    for _, _, values in _column_batches(file, [position]):
        try:
            cells = _values(values) if hasattr(values, "dictionary") else values.to_pylist()
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{layout.path}: column {name} cannot be read ({shortened(str(error))}); write it as text"
            ) from None
        texts += map(_text, cells)
        if max(map(len, texts[-len(cells) :]), default=0) > LONGEST_CELL:
            raise InputError(
                f"{layout.path}: a cell of column {name} has more than {LONGEST_CELL:,} characters; shorten it"
            )
    return texts


def _text(value: object) -> str:
    """A value as text, as in a CSV; whole floats, often ids, as integers."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
