"""Reading a table in chunks gives the same scans and the same errors as reading it at once."""

import re
from dataclasses import replace

import numpy as np
import pytest
from soil_tables import FORMS, NM, ROWS, changed_cell, columns, reflectance, write

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import read_table


def joined(chunks):
    """The chunks joined to a library, and the number of rows of each."""
    chunks = [chunk.library for chunk in chunks]
    spectra = np.concatenate([chunk.spectra for chunk in chunks])
    whole = replace(chunks[0], spectra=spectra, ids=np.concatenate([chunk.ids for chunk in chunks]))
    return whole.checked(), [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("rows", [1, 7, ROWS, 1000])
@pytest.mark.parametrize("name", FORMS)
def test_chunks_of_any_length_join_to_the_table(tmp_path, name, rows):
    FORMS[name](tmp_path / name)
    library = read_table(tmp_path / name, DataConfig(minimum_values=10))
    scans = open_scans(tmp_path / name)
    whole, lengths = joined(scans.chunks(rows))
    assert lengths == [min(rows, ROWS - first) for first in range(0, ROWS, rows)]
    assert len(scans) == ROWS
    np.testing.assert_array_equal(whole.spectra, library.spectra)
    np.testing.assert_array_equal(whole.wavelengths_nm, library.wavelengths_nm)
    assert whole.ids.tolist() == library.ids.tolist()
    assert (whole.quantity, whole.targets) == (library.quantity, {})
    assert scans.notes == library.notes[: len(scans.notes)]


@pytest.mark.parametrize(
    ("changed", "ids", "notes"),
    [
        ({"id": None}, [f"row{row}" for row in range(1, ROWS + 1)], ["rows are named row1 to row24"]),
        ({"id": ["a", "b", ""] * 8}, None, ["8 rows without an id", "14 rows repeat an id"]),
    ],
)
def test_rows_are_numbered_and_replicates_are_counted_over_all_chunks(tmp_path, changed, ids, notes):
    write(tmp_path / "soils.csv", columns(**changed))
    scans = open_scans(tmp_path / "soils.csv")
    expected = ids or [("a", "b", f"row{row}")[(row - 1) % 3] for row in range(1, ROWS + 1)]
    assert joined(scans.chunks(5))[0].ids.tolist() == expected
    assert [word for word in notes if not any(word in note for note in scans.notes)] == []


BAD_SCANS = {
    "text": (changed_cell("1850", ROWS - 1, "saturated"), r"row 24 \(id s24\), column '1850' is 'saturated'"),
    "empty": (changed_cell("1850", ROWS - 1, "nan"), r"row 24 \(id s24\), column '1850' is empty"),
    "too large for float32": (changed_cell("1850", ROWS - 1, "1e39"), r"row 24 \(id s24\), column '1850' is '1e39'"),
    "impossible": (changed_cell("1850", ROWS - 1, "1.6"), r"row 24.* is 1.6 at a band"),
    "flat": (
        {f"{nm:g}": [*columns()[f"{nm:g}"][:-1], "0.5"] for nm in NM},
        r"row 24.* is constant",
    ),
}


@pytest.mark.parametrize("case", BAD_SCANS)
def test_a_bad_scan_keeps_its_row_without_spectrum(tmp_path, case):
    changed, words = BAD_SCANS[case]
    path = write(tmp_path / "soils.csv", columns(**changed))
    with pytest.raises(InputError, match=words):
        read_table(path, DataConfig(minimum_values=10, bad_scans="refuse"))
    scans = open_scans(path)
    assert len(scans) == ROWS
    assert list(scans.bad) == [ROWS - 1]
    assert re.search(words, scans.warnings[0])
    (chunk,) = scans.chunks(ROWS)
    assert chunk.ids.tolist() == columns()["id"]
    assert np.flatnonzero(~chunk.usable).tolist() == [ROWS - 1]
    np.testing.assert_allclose(chunk.library.spectra, reflectance(NM)[:-1], rtol=1e-6)


def test_a_table_without_any_usable_scan_is_refused(tmp_path):
    path = write(tmp_path / "soils.csv", columns(**{"1850": ["nan"] * ROWS}))
    with pytest.raises(InputError, match=r"row 1 \(id s1\), column '1850' is empty"):
        open_scans(path)


def test_a_table_that_changes_during_reading_is_refused(tmp_path):
    path = write(tmp_path / "soils.csv", columns())
    scans = open_scans(path)
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines()[-1])
    with pytest.raises(InputError, match="the file changed while it was read"):
        list(scans.chunks(7))


def test_scans_to_predict_ignore_laboratory_values_and_parts(tmp_path):
    table = columns(pH=["-7"] * ROWS, OC_g_kg=["text"] * ROWS, split=["unknown"] * ROWS)
    (chunk,) = open_scans(write(tmp_path / "soils.csv", table)).chunks(ROWS)
    scans = chunk.library
    assert (scans.targets, scans.groups, scans.parts) == ({}, None, None)
    assert scans.ids.tolist() == columns()["id"]
    np.testing.assert_allclose(scans.spectra, reflectance(NM), rtol=1e-6)


def test_scans_that_no_rule_decides_have_the_quantity_of_the_training_spectra(tmp_path):
    nm = np.arange(850.0, 1100, 10)
    table = {f"{at:g}": map(repr, values.tolist()) for at, values in zip(nm, reflectance(nm).T, strict=True)}
    path = write(tmp_path / "soils.csv", table)
    assert next(open_scans(path, fallback_quantity="absorbance").chunks(5)).library.quantity == "absorbance"
    with pytest.raises(InputError, match="cannot infer reflectance or absorbance"):
        open_scans(path)
