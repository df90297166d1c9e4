"""The same scans in every form of a text table give the same spectra, wavelengths and laboratory values."""

import gzip

import numpy as np
import pytest
from soil_tables import NM, ROWS, columns, write

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.cells import read_cells, read_layout
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.table_file import memory_layout
from relple_tf.spectra.readers.table_forms import table_from_rows
from relple_tf.spectra.readers.tables import read_table, scan_columns

BANDS = [f"{nm:g}" for nm in NM]
OTHERS = [name for name in columns() if name not in BANDS]


def plain_rows(**changed):
    table = columns(**changed)
    return [list(table), *map(list, zip(*table.values(), strict=True))]


def text(rows, separator=","):
    return "".join(separator.join(row) + "\r\n" for row in rows)


def comma(rows):
    return [[cell.replace(".", ",") for cell in row] for row in rows]


def turned(corner="wavelength_nm", lab_last=False, unit=""):
    """Bands in rows; the laboratory values above or below them."""
    table = columns()
    lab = [[name, *table[name]] for name in ("OC_g_kg", "pH")]
    bands = [[f"{band}{unit}", *table[band]] for band in BANDS]
    header = [corner, *table["id"]]
    return [header, *bands, *lab] if lab_last else [header, *lab, *bands]


def with_units(rows, band="%", **units):
    """A row of units under the header."""
    under = [units.get(name, band if name in BANDS else "") for name in rows[0]]
    return [rows[0], under, *rows[1:]]


def percent():
    table = columns()
    return {band: [repr(float(cell) * 100) for cell in table[band]] for band in BANDS}


def renamed(rows, names):
    return [[names.get(name, name) for name in rows[0]], *rows[1:]]


TITLE = "Soils of 2024, measured by the laboratory\r\n"
COMMENTS = "# Instrument: X; serial 12\r\n# operator, a, b\r\n"
FORMS = {
    "sep line": "sep=;\r\n" + text(comma(plain_rows()), ";"),
    "quoted sep line": '"sep=,"\r\n' + text(plain_rows()),
    "sep line with tab": "sep=\t\r\n" + text(plain_rows(), "\t"),
    "title": TITLE + text(plain_rows()),
    "title with separators": "Soils of 2024" + "," * (len(columns()) - 1) + "\r\n\r\n" + text(plain_rows()),
    "comments": COMMENTS + text(plain_rows()),
    "comments, semicolons": COMMENTS + text(comma(plain_rows()), ";"),
    "trailing separators": text([[*row, ""] for row in plain_rows()]),
    "trailing separators of rows": text([[*row, "", ""] if index else row for index, row in enumerate(plain_rows())]),
    "trailing separator of the header": text(
        [[*row, ""] if not index else row for index, row in enumerate(plain_rows())]
    ),
    "trailing lines": text(plain_rows()) + "\r\n \r\n" + ", ,\r\n" + "\r\n" * 50,
    "units": text(with_units(renamed(plain_rows(**percent()), {"OC_g_kg": "OC"}), OC="g/kg", pH="-")),
    "units of absorbance names": text(
        with_units(renamed(plain_rows(), {"OC_g_kg": "OC"}), "reflectance", OC="[g kg-1]")
    ),
    "units above the header": text(
        [[*with_units(plain_rows(**percent()), OC_g_kg="g/kg")[1]], *plain_rows(**percent())]
    ),
    "two rows of names": text([["soil", "lab", "lab", *["spectra"] * len(BANDS)], *plain_rows()]),
    "vertical bars": text(plain_rows(), "|"),
    "units of the axis": text(with_units(renamed(plain_rows(), {"OC_g_kg": "OC"}), "nm", OC="g.kg-1", id="unit")),
    "bands in rows": text(turned()),
    "bands in rows, laboratory values last": text(turned(lab_last=True)),
    "bands in rows, semicolons": text(comma(turned("Wavelength (nm)")), ";"),
    "bands in rows, without a name": text(turned("")),
    "bands in rows, names with a unit": text(turned("Wavelength", unit=" nm")),
    "bands in rows, descending": text([turned()[0], *turned()[:0:-1]]),
    "bands in rows, row numbers": text([[str(index) if index else "", *row] for index, row in enumerate(turned())]),
    "bands in rows, title": TITLE + text(turned()),
    "bands in rows, trailing separators": text([[*row, ""] for row in turned()]),
    "bands in rows, as pandas writes the transposed table": text(
        [["", *map(str, range(ROWS))], ["id", *columns()["id"]], *turned()[1:]]
    ),
    "bands in rows, µm": text(
        [row if i < 3 else [f"{float(row[0]) / 1000:g}", *row[1:]] for i, row in enumerate(turned("Wavelength (µm)"))]
    ),
    "bands in rows, wavenumbers": text(
        [
            row if i < 3 else [f"{1e7 / float(row[0]):.14g}", *row[1:]]
            for i, row in enumerate(turned("Wavenumber (1/cm)"))
        ]
    ),
}


@pytest.fixture
def file(tmp_path):
    def save(content, encoding="utf-8", name="soils.csv"):
        path = tmp_path / name
        data = content.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return save


def read(path):
    return read_table(path, DataConfig(minimum_values=10))


def assert_same(library, expected):
    np.testing.assert_allclose(library.wavelengths_nm, expected.wavelengths_nm, rtol=1e-13)
    np.testing.assert_allclose(library.spectra, expected.spectra, rtol=2e-7)
    assert library.ids.tolist() == expected.ids.tolist()
    assert library.quantity == expected.quantity
    assert list(library.targets) == list(expected.targets)
    for name, values in expected.targets.items():
        np.testing.assert_array_equal(library.targets[name], values)


@pytest.fixture
def expected(tmp_path):
    return read(write(tmp_path / "plain.csv", columns()))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_library(file, expected, form):
    assert_same(read(file(FORMS[form])), expected)


@pytest.mark.parametrize("form", ["sep line", "comments", "units", "bands in rows"])
@pytest.mark.parametrize(("encoding", "name"), [("utf-16", "u.csv"), ("utf-8-sig", "b.csv"), ("utf-8", "g.csv.gz")])
def test_every_form_may_be_compressed_or_unicode_of_excel(file, expected, form, encoding, name):
    assert_same(read(file(FORMS[form], encoding, name)), expected)


@pytest.mark.parametrize("form", FORMS)
def test_scans_to_predict_are_read_like_a_library(file, expected, form):
    (chunk,) = (chunk.library for chunk in open_scans(file(FORMS[form])).chunks(ROWS))
    np.testing.assert_allclose(chunk.spectra, expected.spectra, rtol=2e-7)
    assert chunk.ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize("rows", [plain_rows(), turned(), with_units(plain_rows(**percent()), OC_g_kg="g/kg")])
def test_rows_of_cells_give_the_scans_of_the_file(file, rows):
    path = file(text(rows))
    layouts = [
        memory_layout(path, table_from_rows(path, rows, LimitsConfig()), LimitsConfig()),
        read_layout(path, LimitsConfig()),
    ]
    (first, _), (second, _) = scans = [cells_of(layout) for layout in layouts]
    np.testing.assert_array_equal(first.bands, second.bands)
    assert first.texts == second.texts
    assert scans[0][1].quantity == scans[1][1].quantity


def cells_of(layout):
    found = scan_columns(layout)
    others = [layout.header.index(name) for name in OTHERS]
    return read_cells(layout, found.bands.positions, others), found


def test_ambiguous_order_is_kept_by_rows_of_cells(file):
    rows = [row[::-1] for row in plain_rows()]
    path = file(text(rows))
    table = table_from_rows(path, rows, LimitsConfig())
    assert scan_columns(memory_layout(path, table, LimitsConfig())).bands.ambiguous_order
    assert scan_columns(read_layout(path, LimitsConfig())).bands.ambiguous_order


def test_bands_in_rows_that_descend_without_a_unit_are_ambiguous(file):
    rows = turned("")
    descending = [*rows[:3], *rows[:2:-1]]
    assert scan_columns(read_layout(file(text(descending)), LimitsConfig())).bands.ambiguous_order
    assert not scan_columns(read_layout(file(text(turned(""))), LimitsConfig())).bands.ambiguous_order


REFLECTANCE = columns()
SIGNALS = [[band, str(float(REFLECTANCE[band][0]) * 800), "800"] for band in BANDS]
SCAN = [REFLECTANCE[band][0] for band in BANDS]
METADATA = (
    "***Scan Config Information***,,,,,,,***Reference Scan Information***,,,,,,,,\n"
    "Scan Config Name:,Hadamard 1,,,,,,Scan Config Name:,Factory,,,,,,\n"
    "Serial Number:,12,Lamp:,3,Gain:,16,Time:,2,3,4,5,6\n***Scan Data***,,,\n"
)


def one_scan(names, cells):
    return "Wavelength (nm)," + names + "\n" + "".join(f"{nm},{row}\n" for nm, row in zip(BANDS, cells, strict=True))


SIGNAL_CELLS = [f"{sample},{reference}" for _, sample, reference in SIGNALS]
AVANTES = "Averages: 5\n\nWave ;Dark ;Reference;Sample ;Reflectance\n[nm] ;[counts] ;[counts];[counts];[%]\n\n"
SCANS = {
    "units under the quantities": (
        AVANTES
        + "".join(
            f"{nm};1,0;99,5;7,5;{100 * float(cell):.3f}\n".replace(".", ",")
            for nm, cell in zip(BANDS, SCAN, strict=True)
        ),
        "reflectance",
    ),
    "dark signal": (
        one_scan("Dark,Sample,Reference", [f"5,{float(cell) * 800 + 5},805" for cell in SCAN]),
        "reflectance",
    ),
    "two columns": (one_scan("reflectance", SCAN), "reflectance"),
    "percent": (one_scan("Reflectance (%)", [repr(float(cell) * 100) for cell in SCAN]), "reflectance"),
    "metadata": (METADATA + one_scan("Absorbance (AU)", SCAN), "absorbance"),
    "signals": (
        METADATA + one_scan("Sample Signal (unitless),Reference Signal (unitless)", SIGNAL_CELLS),
        "reflectance",
    ),
    "absorbance and signals": (
        METADATA
        + one_scan(
            "Absorbance (AU),Sample Signal (unitless),Reference Signal (unitless)",
            [f"{a},{b}" for a, b in zip(SCAN, SIGNAL_CELLS, strict=True)],
        )
        + "***End of Scan Data***\n\nLampInScanAverage:,,\n1,2,3,4,5,6\n",
        "absorbance",
    ),
}


@pytest.mark.parametrize("form", SCANS)
def test_a_file_of_one_scan_is_named_by_the_file(file, form):
    content, quantity = SCANS[form]
    layout = read_layout(file(content, name="plot 7.csv"), LimitsConfig())
    found = scan_columns(layout)
    cells = read_cells(layout, found.bands.positions, [0])
    np.testing.assert_allclose(cells.bands, [np.float32(SCAN)], rtol=2e-7)
    np.testing.assert_array_equal(found.bands.wavelengths_nm, NM)
    assert found.quantity == quantity
    assert cells.texts == {"id": ["plot 7"]}


def test_two_columns_named_by_a_sample_and_a_laboratory_value_are_a_scan(file):
    content = one_scan("S7", SCAN) + "OC_g_kg,12.5\n"
    layout = read_layout(file(content), LimitsConfig())
    assert read_cells(layout, (), [0, 1]).texts == {"id": ["S7"], "OC_g_kg": ["12.5"]}


def test_windows_text_is_read_with_a_note(file):
    rows = plain_rows(id=[f"Müller {row}" for row in range(ROWS)])
    library = read(file(text(rows), "cp1252"))
    assert library.ids[3] == "Müller 3"
    assert any("Windows-1252" in note for note in library.notes)
    assert not any("Windows" in note for note in read(file(text(rows))).notes)


def test_skipped_lines_and_units_are_noted(file):
    notes = " ".join(read(file(COMMENTS + FORMS["units"])).notes)
    assert all(words in notes for words in ("2 lines before the header not read", "OC is OC_g_kg", "divided by 100"))


LAB = [["id", "OC", "N", "CEC", "pH"], ["a", "12", "1", "20", "6"], ["b", "13", "2", "21", "7"]]
UNITS = ["", "g/kg", "%", "cmol(+)/kg", "H2O"]


@pytest.mark.parametrize("rows", [[LAB[0], UNITS, *LAB[1:]], [["Results"], LAB[0], UNITS, *LAB[1:]]])
def test_a_laboratory_table_without_bands_may_have_a_title_and_units(file, rows):
    layout = read_layout(file(text(rows)), LimitsConfig())
    assert layout.header == ("id", "OC_g_kg", "N_pct", "CEC_cmolc_kg", "pH_h2o")
    assert read_cells(layout, (), range(5)).texts["OC_g_kg"] == ["12", "13"]


def test_units_do_not_rename_ids_and_coordinates(file):
    header, units = ["id", "lon", "lat", "OC_g_kg"], ["text", "deg", "deg", "g/kg"]
    layout = read_layout(file(text([header, units, ["a", "1", "2", "3"]])), LimitsConfig())
    assert layout.header == tuple(header)


def test_numeric_ids_that_ascend_are_not_wavelengths(file):
    rows = plain_rows(id=[str(1000 + 2 * row) for row in range(ROWS)])
    assert read(file(text(rows))).ids[1] == "1002"
    lab = [["", "OC_g_kg", "pH"], *([str(1000 + row), "1", "6"] for row in range(30))]
    layout = read_layout(file(text(lab)), LimitsConfig())
    assert layout.header == ("", "OC_g_kg", "pH")


NAMELESS = [["", *BANDS], *([str(1000 + row), *SCAN] for row in range(12))]
THOUSANDS = {band: [f"{1000 + row:,}" for row in range(ROWS)] for band in BANDS}
REFUSED = {
    "separator": ("sep=!\n" + text(plain_rows()), ["'!'", "save the table with"]),
    "both axes": (text(NAMELESS), ["first row and the first column", "name the first column id", "S1100"]),
    "samples named by wavelengths": (
        text([["wavelength", *map(str, range(1000, 1000 + ROWS))], *turned()[1:]]),
        ["first row and the first column"],
    ),
    "year among the wavelengths": (text([*turned(), ["1850", *columns()["pH"]]]), ["1850 follows 2090", "add a word"]),
    "two rows of one name": (text([*turned(), turned()[1]]), ["'OC_g_kg' occurs twice"]),
    "values without a name": (
        text([turned()[0], *([*row, "1"] for row in turned()[1:])]),
        ["cells, but the header has"],
    ),
    "samples and quantities": (one_scan("s1,Reflectance", SIGNAL_CELLS), ["neither all samples nor all quantities"]),
    "raw signal": (one_scan("Intensity", SCAN), ["'Intensity'", "without reference"]),
    "thousands in commas": (text(plain_rows(**THOUSANDS), ";"), ["row 1, column '1800' is '1,000'", "thousands"]),
    "thousands in points": (
        text([[*row, f"1.{index:03}"] for index, row in enumerate(comma(plain_rows()))], ";"),
        ["row 1, column '1.000' is '1.001'", "thousands"],
    ),
    "percent of fractions": (text(with_units(plain_rows(), OC_g_kg="g/kg")), ["states percent", "do not exceed"]),
    "two units": (text(with_units(plain_rows(**percent()), OC_g_kg="%")), ["'OC_g_kg'", "states '%'"]),
    "spaces": (text(plain_rows(), " "), ["separated by spaces"]),
    "unnamed column of wavelengths": (text(turned("soil")), ["first column looks like wavelengths", "wavelength_nm"]),
    "long": (
        text([["id", "wavelength", "reflectance"], *([f"s{i}", band, "0.3"] for band in BANDS for i in (1, 2))]),
        ["looks long"],
    ),
    "no header": (text(plain_rows()[1:]), ["first line looks like a scan"]),
    "quoted decimal commas": (
        text(
            [
                plain_rows()[0],
                *(
                    [*row[:3], *(f'"{cell}"' for cell in row[3:])]
                    for row in comma(plain_rows(OC_g_kg=["1"] * ROWS, pH=["7"] * ROWS))[1:]
                ),
            ]
        ),
        ["not a finite number"],
    ),
    "band numbers in rows": (
        text([["band", *columns()["id"]], *([str(i), *row[1:]] for i, row in enumerate(turned()[3:], start=1))]),
        ["look like band numbers"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_ambiguous_form_is_refused_with_a_remedy(file, case):
    content, words = REFUSED[case]
    with pytest.raises(InputError) as error:
        read(file(content))
    message = str(error.value)
    assert "soils.csv" in message
    assert message.isprintable()
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("limits", [LimitsConfig(table_rows=ROWS - 1), LimitsConfig(table_columns=len(BANDS))])
def test_a_turned_table_is_within_the_limits(file, limits):
    with pytest.raises(InputError, match="limits"):
        read_layout(file(text(turned())), limits)
