"""A folder of scans reads as the table of its scans, or is refused by the name of a file."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from soil_tables import NM, ROWS, as_decimal_comma, as_parquet, columns, reflectance, write

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers import folders
from relple_tf.spectra.readers.folder_files import scan_name
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.table_file import ScanTable, memory_layout
from relple_tf.spectra.readers.tables import read_table

DATA = DataConfig(minimum_values=10)
NAMES = [f"s{row:02d}" for row in range(1, ROWS + 1)]


def row_of(row, **changed):
    """One row of the valid table, without its id."""
    return {name: [list(cells)[row]] for name, cells in columns(id=None, **changed).items()}


def write_folder(path, **changed):
    """A folder of one-scan tables."""
    path.mkdir()
    for row, name in enumerate(NAMES):
        write(path / f"{name}.csv", row_of(row, **changed))
    return path


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "scans")


def scans_of(path):
    """Names and spectra that `predict` reads."""
    chunks = list(open_scans(path).chunks(7))
    names = [name for chunk in chunks for name in chunk.ids.tolist()]
    return names, np.concatenate([chunk.library.spectra for chunk in chunks])


def has_note(notes, *words):
    return any(all(word in note for word in words) for note in notes)


def test_a_folder_of_single_scans_is_the_table_of_these_scans(folder, tmp_path):
    table = read_table(write(tmp_path / "soils.csv", columns(id=NAMES)), DATA)
    library = read_table(folder, DATA)
    np.testing.assert_array_equal(library.spectra, table.spectra)
    np.testing.assert_array_equal(library.wavelengths_nm, table.wavelengths_nm)
    assert library.ids.tolist() == table.ids.tolist() == NAMES
    assert (library.quantity, list(library.targets)) == (table.quantity, list(table.targets))
    for name, values in table.targets.items():
        np.testing.assert_array_equal(library.targets[name], values)
    names, spectra = scans_of(folder)
    assert names == NAMES
    np.testing.assert_array_equal(spectra, library.spectra)


def test_the_formats_of_a_folder_may_differ(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    as_parquet(folder / "a.parquet")
    as_decimal_comma(folder / "b.csv")
    (folder / "c.csv.gz").write_bytes(gzip.compress(write(tmp_path / "c", row_of(3)).read_bytes()))
    wavenumbers = {(f"wn_{1e7 / float(name):.12g}" if name[0].isdigit() else name): c for name, c in row_of(4).items()}
    write(folder / "d.csv", dict(reversed(wavenumbers.items())))
    names, spectra = scans_of(folder)
    table = columns()["id"]
    assert names == [*table, *table, "c", "d"]
    expected = reflectance(NM)
    np.testing.assert_allclose(spectra, [*expected, *expected, expected[3], expected[4]], rtol=1e-6)
    assert has_note(open_scans(folder).notes, "wavenumbers", "d.csv")


def test_files_without_spectra_are_named_and_hidden_files_are_not_read(folder):
    (folder / "README.txt").write_text("Scans of field 1, dried at 40 degrees")
    (folder / "report.pdf").write_bytes(b"%PDF\0\xff" * 9)
    write(folder / "lab.csv", {"sample": NAMES, "pH_H2O": ["7"] * ROWS})
    (folder / ".DS_Store").write_bytes(b"\0\xff")
    (folder / "~$lab.xlsx").write_bytes(b"\0\xff")
    (folder / "repeats").mkdir()
    scans = open_scans(folder)
    assert len(scans) == ROWS
    assert "not read, because they contain no spectra: README.txt, lab.csv, report.pdf" in scans.notes
    assert "subfolders are not read: repeats" in scans.notes
    assert not has_note(scans.notes, "DS_Store")


DAMAGED = {
    "empty": (b"", "is empty"),
    "cut in the header": (b"pH," + ",".join(f"{nm:g}" for nm in NM).encode(), "no rows"),
    "cut in the row": (write, "row 1 has"),
    "binary": (b"\xff\x00" * 99, "UTF-8"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_scan_refuses_the_folder_by_its_name(folder, case):
    content, words = DAMAGED[case]
    file = folder / "s07.csv"
    file.write_bytes(file.read_bytes()[:-60] if content is write else content)
    for read in (open_scans, lambda path: read_table(path, DATA)):
        with pytest.raises(InputError, match=words) as error:
            read(folder)
        assert "s07.csv" in str(error.value)


def test_a_damaged_text_is_a_document_only_beside_scans_of_other_formats(folder):
    (folder / "readme.txt").write_bytes(b"\xff\xfe\xff")
    assert has_note(open_scans(folder).notes, "no spectra", "readme.txt")
    write(folder / "s99.txt", row_of(0))
    with pytest.raises(InputError, match=r"readme\.txt: "):
        open_scans(folder)


def moved(row, shift):
    """A scan whose bands are moved by `shift` nm, with the reflectance of the soil there."""
    cells = reflectance(NM + shift)[row]
    bands = {f"{nm:.10g}": [repr(float(cell))] for nm, cell in zip(NM + shift, cells, strict=True)}
    return {"pH": ["5"]} | bands


def test_bands_within_half_a_step_are_interpolated_to_the_first_file(folder):
    write(folder / "s05.csv", moved(4, 4.5))
    scans = open_scans(folder)
    assert has_note(scans.notes, "s05.csv", "up to 4.5 nm", "s01.csv", "interpolated")
    _, spectra = scans_of(folder)
    np.testing.assert_array_equal(spectra[5], reflectance(NM)[5].astype("float32"))
    expected = np.interp(NM, NM + 4.5, reflectance(NM + 4.5)[4])
    np.testing.assert_allclose(spectra[4], expected, rtol=1e-6)


@pytest.mark.parametrize("scan", [moved(4, 5.5), {k: v for k, v in row_of(4).items() if k != "1850"}])
def test_other_bands_are_refused_with_both_files(folder, scan):
    write(folder / "s05.csv", scan)
    with pytest.raises(InputError, match=r"s05\.csv: expected the bands of s01\.csv .* received (30|29) bands"):
        open_scans(folder)


def stated(monkeypatch, quantities):
    """Files state these quantities, as instrument files do."""

    def layout(path, limits):
        table = ScanTable(
            texts={},
            axis=NM,
            axis_unit="nm",
            spectra=reflectance(NM)[NAMES.index(path.stem)][None].astype("float32"),
            quantity=quantities.get(path.stem, ""),
            notes=("read as OPUS",),
        )
        return memory_layout(path, table, limits)

    monkeypatch.setattr(folders, "read_layout", layout)


def test_a_note_on_all_files_is_given_once(folder, monkeypatch):
    stated(monkeypatch, dict.fromkeys(NAMES, "reflectance"))
    scans = open_scans(folder)
    assert [note for note in scans.notes if "OPUS" in note] == ["read as OPUS"]
    assert scans.quantity.name == "reflectance"
    assert scans.columns.quantity == "reflectance"


def test_stated_quantities_may_not_differ(folder, monkeypatch):
    stated(monkeypatch, dict.fromkeys(NAMES, "reflectance") | {"s03": "absorbance"})
    with pytest.raises(
        InputError, match=r"reflectance in s01\.csv, s02\.csv, s04\.csv and 20 more and absorbance in s03"
    ):
        open_scans(folder)


def test_a_quantity_that_some_files_state_does_not_hold_for_the_others(folder, monkeypatch):
    stated(monkeypatch, {"s03": "absorbance"})
    scans = open_scans(folder)
    assert scans.columns.quantity == ""
    assert has_note(scans.notes, "s03.csv state absorbance", "s01.csv")


def test_names_of_scans_are_those_of_the_file_else_the_file_name(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    pair = {name: list(cells)[:2] for name, cells in columns(id=None).items()}
    write(folder / "a.csv", pair)
    write(folder / "b.csv", {"sample": ["S7", ""]} | pair)
    write(folder / "c.csv", row_of(2))
    assert scans_of(folder)[0] == ["a:row1", "a:row2", "S7", "b:row2", "c"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("S1.asd", "S1"),
        ("S1.0", "S1"),
        ("S1.csv.gz", "S1"),
        ("S1", "S1"),
        ("2024.05.01-S1", "2024.05.01-S1"),
        ("a b.CSV", "a b"),
        (".csv", ".csv"),
    ],
)
def test_scan_name(file, name):
    assert scan_name(file) == name


def test_columns_of_one_file_are_empty_in_the_others(folder):
    write(folder / "s09.csv", row_of(8) | {"field": ["north"]})
    library = read_table(folder, DATA)
    assert library.groups is not None
    assert set(library.groups) == {"north", *(f"alone:{name}" for name in NAMES if name != "s09")}


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS", "config.toml"])
def test_a_run_or_bundle_is_not_a_folder_of_scans(folder, name):
    (folder / name).write_text("x")
    with pytest.raises(InputError, match="received the folder of a run or bundle"):
        open_scans(folder)


def test_a_folder_without_spectra_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one file with spectra, received none"):
        open_scans(tmp_path)
    (tmp_path / "README.txt").write_text("nothing here")
    (tmp_path / "day1").mkdir()
    with pytest.raises(InputError, match=r"README\.txt without; subfolders are not read: day1"):
        open_scans(tmp_path)


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"table_rows": ROWS - 1}, "24 files, more than 23"), ({"table_gb": 1e-6 * 4}, "more than 4e-06 GB")],
)
def test_the_limits_hold_for_the_folder(folder, limits, words):
    with pytest.raises(InputError, match=words):
        open_scans(folder, limits=LimitsConfig(**limits))


def test_the_limit_of_rows_holds_for_all_files_together(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        write(folder / name, columns())
    assert len(open_scans(folder, limits=LimitsConfig(table_rows=2 * ROWS))) == 2 * ROWS
    with pytest.raises(InputError, match="more than 47 scans"):
        open_scans(folder, limits=LimitsConfig(table_rows=2 * ROWS - 1))


def test_a_link_to_nothing_is_refused_by_name(folder):
    (folder / "s30.csv").symlink_to(Path("missing.csv"))
    with pytest.raises(InputError, match=r"s30\.csv: No such file"):
        open_scans(folder)
