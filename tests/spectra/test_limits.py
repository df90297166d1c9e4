"""Endless or extremely compressed input is refused in one line that names the limit."""

import gzip
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from relple_tf.config import Config, DataConfig, LimitsConfig, SimulatedConfig, replace
from relple_tf.config_text import set_fields
from relple_tf.errors import InputError
from relple_tf.spectra.readers import table_file
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import read_parts, read_table
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.spectra.splitting.parts import divide

BANDS = [f"{nm}" for nm in range(1300, 1560, 10)]
HEADER = ",".join(["id", "pH", *BANDS]).encode() + b"\n"
SPECTRA = np.round(0.4 - 0.2 * np.exp(-(((np.arange(1300, 1560, 10) - 1414) / 30) ** 2)), 3)
ROWS = b"".join(
    b",".join([f"s{row}".encode(), f"{5 + row / 10}".encode(), *(f"{value}".encode() for value in SPECTRA)]) + b"\n"
    for row in range(12)
)
VALID = HEADER + ROWS

READERS = {
    "table": lambda path, limits: read_table(path, DataConfig(minimum_values=10), limits),
    "scans": lambda path, limits: open_scans(path, limits=limits),
}


def parquet_of(columns):
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


ENDLESS = b"0" * 50_000
CASES = {
    "a line without end": (VALID + ENDLESS, {"table_row_characters": 1000}, "limits.table_row_characters"),
    "a first line without end": (ENDLESS, {"table_row_characters": 1000}, "limits.table_row_characters"),
    "gzip of zeros": (gzip.compress(ENDLESS), {"table_row_characters": 1000}, "limits.table_row_characters"),
    "gzip of commas": (gzip.compress(b"," * 50_000), {"table_row_characters": 1000}, "limits.table_row_characters"),
    "gzip of newlines": (gzip.compress(b"\n" * 5000), {"table_rows": 100}, "limits.table_rows"),
    "newlines after the rows": (gzip.compress(VALID + b"\n" * 5000), {"table_rows": 100}, "limits.table_rows"),
    "blank rows": (VALID + b"," * (1 + len(BANDS)) + b"\n" * 5000, {"table_rows": 100}, "limits.table_rows"),
    "gzip of one quoted cell": (
        gzip.compress(b'"' + ENDLESS),
        {"table_row_characters": 1000},
        "limits.table_row_characters",
    ),
    "a quoted cell of many lines": (VALID + b'"' + b"123456789\n" * 14_000, {}, "131,072 characters"),
    "a row of many lines": (
        VALID + b'"' + b'x\n","' * 2000,
        {"table_row_characters": 1000},
        "limits.table_row_characters",
    ),
    "NUL": (bytes(100), {}, "NUL"),
    "NUL in a row": (VALID.replace(b"s3", b"s\0"), {}, "line 5 contains NUL"),
    "only commas": (b",,,\n" * 3, {}, "is empty"),
    "columns": (VALID, {"table_columns": 20}, "limits.table_columns"),
    "size": (VALID, {"table_gb": 1e-6}, "limits.table_gb"),
    "size unpacked": (
        gzip.compress(HEADER + ROWS[: ROWS.index(b"\n") + 1] * 40),
        {"table_gb": 1e-6},
        "limits.table_gb",
    ),
    "Parquet of lists": (parquet_of({"id": ["a"], "spectrum": [[0.1, 0.2]]}), {}, "'spectrum' holds list"),
    "Parquet of structures": (parquet_of({"id": ["a"], "1100": [{"ref": 0.1}]}), {}, "'1100' holds struct"),
    "Parquet of wide bytes": (
        parquet_of({"id": pa.array([bytes(1000)], pa.binary(1000)), "1100": [0.1]}),
        {},
        "'id' holds fixed_size_binary",
    ),
    "Parquet columns": (parquet_of({name: [0.1] for name in BANDS}), {"table_columns": 20}, "limits.table_columns"),
    "Parquet rows": (parquet_of({name: [0.1] * 200 for name in BANDS}), {"table_rows": 100}, "limits.table_rows"),
    "Parquet unpacked": (
        parquet_of({name: [0.1] * 9000 for name in BANDS}),
        {"table_gb": 1e-4, "table_rows": 10_000},
        "limits.table_gb",
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", CASES)
def test_a_table_beyond_a_limit_is_refused_in_one_line(tmp_path, case, reader):
    content, limits, words = CASES[case]
    (tmp_path / "soils").write_bytes(content)
    with pytest.raises(InputError) as error:
        READERS[reader](tmp_path / "soils", LimitsConfig(**limits))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'soils'}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("packed", ["gzip", "parquet"])
def test_a_file_that_unpacks_to_many_times_its_size_is_refused_unless_it_is_small(
    tmp_path, monkeypatch, packed, reader
):
    path = tmp_path / "soils"
    if packed == "gzip":
        path.write_bytes(gzip.compress(HEADER + ROWS * 200))
    else:
        spectra = {name: [float(value)] * 9000 for name, value in zip(BANDS, SPECTRA, strict=True)}
        path.write_bytes(parquet_of({"pH": np.linspace(4, 8, 9000), **spectra}))
    assert len(READERS[reader](path, LimitsConfig(table_unpacking=2))) in (2400, 9000)
    monkeypatch.setattr(table_file, "SMALL_BYTES", 1000)
    with pytest.raises(InputError, match=r"more than 2 times its size.* limits\.table_unpacking"):
        READERS[reader](path, LimitsConfig(table_unpacking=2))
    assert len(READERS[reader](path, LimitsConfig(table_unpacking=1000))) in (2400, 9000)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("limits", [LimitsConfig(), LimitsConfig(table_rows=13, table_columns=28, table_gb=5e-6)])
def test_a_table_within_the_limits_is_read(tmp_path, reader, limits):
    (tmp_path / "soils").write_bytes(VALID)
    assert len(READERS[reader](tmp_path / "soils", limits)) == 12


def test_the_limits_of_the_config_apply_to_the_table_and_the_split_file(tmp_path):
    (tmp_path / "soils.csv").write_bytes(VALID)
    source = [f"data.source={tmp_path / 'soils.csv'}", "data.minimum_values=10"]
    assert len(load(set_fields(Config(), source))) == 12
    with pytest.raises(InputError, match=r"limits\.table_rows"):
        load(set_fields(Config(), [*source, "limits.table_rows=5"]))
    library = simulate(SimulatedConfig(soils=30, step_nm=20))
    (tmp_path / "split.csv").write_text("id,split\n" + "".join(f"{identity},test\n" for identity in library.ids))
    with pytest.raises(InputError, match=r"split\.csv: more than 5 lines.* limits\.table_rows"):
        divide(library, replace(Config(), split__file=str(tmp_path / "split.csv"), limits__table_rows=5))


@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_is_not_a_regular_file_is_refused_without_reading(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match=f"{name}: expected a regular file, got a pipe, a device or a socket"):
            READERS[reader](tmp_path / name, LimitsConfig())
    with pytest.raises(InputError, match="link: expected a regular file"):  # a folder of such files
        READERS[reader](tmp_path, LimitsConfig())
    (tmp_path / "soils.csv").write_bytes(VALID)
    (tmp_path / "link.csv").symlink_to(tmp_path / "soils.csv")
    assert len(READERS[reader](tmp_path / "link.csv", LimitsConfig())) == 12


@pytest.mark.parametrize("reader", READERS)
def test_an_id_has_at_most_200_characters(tmp_path, reader):
    """A NumPy array stores every id at the length of the longest."""
    (tmp_path / "soils").write_bytes(VALID.replace(b"s3", b"s" * 200))
    assert len(READERS[reader](tmp_path / "soils", LimitsConfig())) == 12
    (tmp_path / "soils").write_bytes(VALID.replace(b"s3", b"s" * 201))
    with pytest.raises(InputError, match=r"row 4, column 'id' has 201 characters"):
        READERS[reader](tmp_path / "soils", LimitsConfig())


def test_a_group_name_has_at_most_200_characters(tmp_path):
    (tmp_path / "soils").write_bytes(VALID.replace(b"id,pH", b"field,pH").replace(b"s3", b"s" * 201))
    with pytest.raises(InputError, match=r"row 4, column 'field' has 201 characters"):
        READERS["table"](tmp_path / "soils", LimitsConfig())


@pytest.mark.parametrize(("old", "new"), [(b"0.4", b"x"), (b"5.3", b"x"), (b"1300,1310", b"x,x")])
def test_a_long_cell_is_shortened_in_the_message(tmp_path, old, new):
    (tmp_path / "soils").write_bytes(VALID.replace(old, new.replace(b"x", b"x" * 10_000)))
    with pytest.raises(InputError, match=r"'x{60}\.\.\.'") as error:
        READERS["table"](tmp_path / "soils", LimitsConfig())
    assert len(str(error.value)) < 400


def test_a_split_file_may_be_the_table_of_scans(tmp_path):
    """Its bands are ignored; they would be read as text."""
    rows = [line.split(b",") for line in VALID.splitlines()]
    content = b"\n".join(
        b",".join([row[0], b"test" if index else b"split", *row[2:]]) for index, row in enumerate(rows)
    )
    (tmp_path / "soils.csv").write_bytes(content)
    parts, note = read_parts(tmp_path / "soils.csv", np.array(["s1", "s11"]))
    assert parts.tolist() == ["test", "test"]
    assert note == "split file: the ids are column id"
