"""A table of any bytes is read as a valid library or refused in one line."""

import gzip
import os
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soil_tables import as_parquet, columns, write

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import read_table

FACTOR = int(os.environ.get("RELPLE_TF_TABLE_FACTOR", "1"))
"""Multiplies the number of tables; `benchmarks/reliability/tables.py` sets it."""


def tries(count):
    """Hypothesis settings: the same tables in every test run, random tables in the benchmark."""
    return settings(deadline=None, max_examples=FACTOR * count, derandomize=FACTOR == 1, database=None)


LIMITS = LimitsConfig(table_rows=200, table_columns=60, table_row_characters=5000, table_gb=1e-3)
READERS = {
    "table": lambda path: [read_table(path, DataConfig(minimum_values=10), LIMITS)],
    "scans": lambda path: [chunk.library for chunk in open_scans(path, limits=LIMITS).chunks(7) if chunk.usable.any()],
}
ODD = (
    *(
        "",
        " ",
        '"',
        '""',
        "'",
        ",",
        ";",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\0",
        "\x1a",
        "\x85",
        "\u2028",
        "\ufeff",
        "é",
        "\uff11",
    ),
    *("nan", "inf", "-inf", "1e39", "1e999", "-0", "1_0", "0x1", "1,5", "<0.1", "NA", "-9999", "9" * 400, "=1+1"),
    *("id", "pH", "field", "split", "train", "lon", "lat", "1100", "1100.0", "1100_ref", "1200_abs", "wn_5000", "5000"),
    *("scan_mir.600_abs", "spc.1300", "OC", "CEC", "X1", "0", "1e5", "x" * 300),
)
"""Cells, names and separators that caused errors in readers."""

piece = st.one_of(st.sampled_from([word.encode() for word in ODD]), st.binary(max_size=5))
edit = st.tuples(st.integers(0, 999_999), st.integers(0, 30), piece)
"""Start of an edit in millionths of the content, number of bytes removed, bytes inserted.

The start is not a float: Hypothesis refuses floats in a process where a runtime rounds subnormal numbers to zero.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@cache
def valid_table(file_format):
    """A valid table as bytes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "table"
        as_parquet(path) if file_format == "parquet" else write(path, columns())
        return path.read_bytes()


def error_message(read, path):
    """The error message if a table is refused; None if its libraries are valid."""
    try:
        libraries = read(path)
    except InputError as error:
        return str(error)
    assert all(len(library.checked()) for library in libraries)
    return None


def assert_valid_or_refused(path, content):
    path.write_bytes(content)
    for read in READERS.values():
        message = error_message(read, path)
        assert message is None or (message.isprintable() and len(message) < 2500)


def edited(content, edits):
    for position, removed, inserted in edits:
        start = position * len(content) // 1_000_000
        content = content[:start] + inserted + content[start + removed :]
    return content


@pytest.mark.parametrize("packed", [False, True])
@tries(60)
@given(content=st.binary(max_size=300))
def test_any_bytes(folder, packed, content):
    assert_valid_or_refused(folder / "any", gzip.compress(content) if packed else content)


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
@tries(100)
@given(edits=st.lists(edit, min_size=1, max_size=4))
def test_a_valid_table_with_edits(folder, file_format, edits):
    assert_valid_or_refused(folder / "any", edited(valid_table(file_format), edits))


@tries(60)
@given(edits=st.lists(edit, min_size=1, max_size=2))
def test_a_gzip_file_with_edits(folder, edits):
    assert_valid_or_refused(folder / "any", edited(gzip.compress(valid_table("csv")), edits))


@tries(100)
@given(
    separator=st.sampled_from(",;\t"),
    names=st.lists(st.sampled_from(ODD), max_size=6),
    rows=st.lists(st.lists(st.sampled_from([*ODD, "0.3", "0.5"]), min_size=16, max_size=22), max_size=4),
)
def test_a_table_of_odd_names_and_cells(folder, separator, names, rows):
    header = [*names, *(f"{nm}" for nm in range(1300, 1460, 10))]
    lines = [header, *(row[: len(header)] + ["0.4"] * (len(header) - len(row)) for row in rows)]
    assert_valid_or_refused(folder / "any", "\n".join(separator.join(line) for line in lines).encode())
