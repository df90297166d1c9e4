"""Excel workbooks: cells as text without loss, sheets, limits."""

import datetime
import zipfile

import numpy as np
import pytest
from instrument_writers import NM, REFLECTANCE, xlsx

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.cells import read_cells, read_layout
from relple_tf.spectra.readers.excel_file import excel_rows, excel_sheet
from relple_tf.spectra.readers.tables import scan_columns

LIMITS = LimitsConfig()
HEADER = ["sample", "date", *(f"{nm:g}" for nm in NM)]


def test_cells_keep_their_digits(tmp_path):
    numbers = [0.1, 1 / 3, 1e-7, 1.5e300, 123456789.123456, -2.5]
    rows = [["a", "b", "c", "d", "e", "f"], numbers]
    text = excel_rows(xlsx(tmp_path / "a.xlsx", rows), LIMITS)
    assert [float(cell) for cell in text[1]] == numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((7, "7"), (7.0, "7"), ("  007 ", "007"), (True, "TRUE"), (None, ""), ("n.d.", "n.d."), ("", "")),
        *((datetime.date(2024, 3, 1), "2024-03-01"), (datetime.datetime(2024, 3, 1, 13, 5), "2024-03-01 13:05:00")),
        (datetime.time(9, 30), "09:30:00"),
    ],
)
def test_a_cell_as_text(value, text, tmp_path):
    rows = excel_rows(xlsx(tmp_path / "a.xlsx", [["a", "b"], [value, 1]]), LIMITS)
    assert rows == [["a", "b"], [text, "1"]]


def test_blank_rows_and_columns_after_the_table_are_left_out(tmp_path):
    rows = [["a", "b", None], [], [1, 2, ""], [None, None], [3]]
    assert excel_rows(xlsx(tmp_path / "a.xlsx", rows), LIMITS) == [["a", "b"], ["1", "2"], ["3", ""]]


def test_the_first_sheet_with_enough_columns_is_read_and_the_others_are_named(tmp_path):
    before = [("empty", []), ("settings", [["operator", "K"], ["lamp", "on"]])]
    rows = [HEADER, ["a", "", *REFLECTANCE.tolist()]]
    found, notes = excel_sheet(xlsx(tmp_path / "a.xlsx", rows, before), LIMITS)
    assert found[0] == HEADER
    assert notes == (
        "file format: Excel workbook, sheet 'scans'",
        "other sheets were ignored (empty, settings)",
    )


def test_a_workbook_of_laboratory_values_has_no_bands(tmp_path):
    layout = read_layout(xlsx(tmp_path / "lab.xlsx", [["sample", "pH"], ["a", 6.5], ["b", 7]]), LIMITS)
    assert layout.header == ("sample", "pH")
    assert read_cells(layout, (), (0, 1)).texts == {"sample": ["a", "b"], "pH": ["6.5", "7"]}


def test_scans_are_those_of_the_csv(tmp_path):
    values = np.random.default_rng(0).uniform(0.1, 0.6, (3, len(NM)))
    rows = [HEADER, *([f"s{row}", "", *values[row].tolist()] for row in range(3))]
    csv = tmp_path / "a.csv"
    csv.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    cells = []
    for path in (csv, xlsx(tmp_path / "a.xlsx", rows)):
        layout = read_layout(path, LIMITS)
        cells.append(read_cells(layout, scan_columns(layout).bands.positions, ()).bands)
    np.testing.assert_array_equal(*cells)


def refusal(path, limits=LIMITS):
    with pytest.raises(InputError) as raised:
        read_layout(path, limits)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


@pytest.mark.parametrize("cell", ["x", None, "NaN"])
def test_a_band_cell_that_is_no_number_is_named(cell, tmp_path):
    rows = [HEADER, ["a", "", *REFLECTANCE.tolist()], ["b", "", 0.3, cell, *REFLECTANCE[2:].tolist()]]
    layout = read_layout(xlsx(tmp_path / "a.xlsx", rows), LIMITS)
    bands = scan_columns(layout).bands.positions
    cells = read_cells(layout, bands, (), None)
    assert list(cells.bad) == [1]
    assert "row 2, column '1110nm' is empty or no number" in cells.bad[1]
    np.testing.assert_array_equal(cells.bands[0], REFLECTANCE.astype("float32"))


def test_two_columns_of_one_name_are_refused(tmp_path):
    assert "column 'pH' occurs twice" in refusal(xlsx(tmp_path / "a.xlsx", [["id", "pH", "pH"], ["a", 1, 2]]))


def test_a_workbook_without_a_table_is_refused(tmp_path):
    assert "no sheet has at least two rows and two columns (sheets: scans)" in refusal(
        xlsx(tmp_path / "a.xlsx", [["a"]])
    )


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        ({"table_columns": 15}, "limits.table_columns"),
        ({"table_rows": 2}, "limits.table_rows"),
        ({"table_gb": 1e-6}, "limits.table_gb"),
    ],
)
def test_the_limits_of_tables_hold(limits, part, tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [HEADER, *(["a", "", *REFLECTANCE.tolist()] for _ in range(3))])
    assert part in refusal(path, LimitsConfig(**limits))


def changed_sheet(path, change):
    """Replace the text of the first sheet of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = change(parts["xl/worksheets/sheet1.xml"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_a_workbook_that_unpacks_to_much_more_is_refused(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [HEADER, ["a", "", *REFLECTANCE.tolist()]])
    bomb = changed_sheet(path, lambda sheet: sheet + b" " * 120_000_000)
    assert "limits.table_unpacking" in refusal(bomb)


def test_two_cells_in_opposite_corners_need_no_rectangle_of_cells(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [["a", "b"], [1, 2]])
    cell = b'<row r="1000000"><c r="XFD1000000"><v>1</v></c></row></sheetData>'
    far = changed_sheet(path, lambda sheet: sheet.replace(b"</sheetData>", cell))
    # The rows between have 16,384 columns if they are padded: more cells than fit into the memory.
    assert "limits.table_rows" in refusal(far, LimitsConfig(table_rows=1000))


def test_another_archive_is_refused_by_name(tmp_path):
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "id,1100\n")
    assert "got a ZIP archive, not an Excel workbook" in refusal(path)
