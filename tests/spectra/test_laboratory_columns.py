"""Laboratory columns: units of LUCAS, columns of one property, and values below the limit of detection."""

import numpy as np
import pytest
from soil_tables import NM, ROWS, columns, reflectance, write

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.laboratory_cells import read_numbers
from relple_tf.spectra.readers.laboratory_names import looks_like_lucas
from relple_tf.spectra.readers.tables import read_table

IDS = np.array([f"s{row}" for row in range(1, ROWS + 1)])
PERCENT = [f"{1 + row / 10 + (row * row % 7) / 50:.2f}" for row in range(ROWS)]
LUCAS = ("pH_H2O", "OC", "N", "CaCO3")


def read(folder, table, **data):
    return read_table(write(folder / "soils.csv", table), DataConfig(**{"minimum_values": 10, **data}))


def notes(library, word):
    return [note for note in library.notes if word in note]


def lucas_table(**changed):
    table = columns(pH=None, OC_g_kg=None)
    table |= {"pH_H2O": columns()["pH"], "OC": PERCENT, "N": [f"{float(cell) / 11:.3f}" for cell in PERCENT]}
    return table | {"CaCO3": [f"{row % 5 + 0.5}" for row in range(ROWS)]} | changed


@pytest.mark.parametrize(
    "name", ["POINTID", "Point_ID", "NUTS_0", "GPS_LAT", "TH_LONG", "LC1", "LU1_Desc", "spc.400.5"]
)
def test_a_column_of_lucas_makes_a_lucas_table(name):
    assert looks_like_lucas([*LUCAS, name])
    assert not looks_like_lucas([*LUCAS, "id", "lat", "1400", "X1400", "field", "lc"])
    assert not looks_like_lucas([*LUCAS[1:], name])


def test_percent_under_the_names_of_lucas_is_asked_for_its_unit(tmp_path):
    with pytest.raises(InputError, match=r"OC has no unit; rename the column OC_g_kg or OC_pct; .*POINTID"):
        read(tmp_path, lucas_table())
    with pytest.raises(InputError, match="OC has no unit"):
        read(tmp_path, lucas_table(), targets=("OC",))
    with_point = read(tmp_path, lucas_table(POINTID=[str(40000 + row) for row in range(ROWS)]))
    np.testing.assert_array_equal(with_point.targets["OC_g_kg"], np.array(PERCENT, float))
    assert notes(with_point, "units of LUCAS")


def test_bands_of_lucas_make_a_lucas_table(tmp_path):
    table = {name: cells for name, cells in lucas_table().items() if not name[0].isdigit()}
    bands = {f"spc.{nm:g}": [str(cell) for cell in cells] for nm, cells in zip(NM, reflectance(NM).T, strict=True)}
    assert notes(read(tmp_path, table | bands, quantity="reflectance"), "units of LUCAS")


def test_columns_of_one_unit_are_merged_row_by_row(tmp_path):
    first, second = [*PERCENT[:12], *[""] * 12], [*[""] * 12, *PERCENT[12:]]
    library = read(tmp_path, columns(OC_g_kg=None, OC_pct=first, SOC_pct=second))
    np.testing.assert_allclose(library.targets["OC_g_kg"], 10 * np.array(PERCENT, float))
    assert notes(library, "OC_g_kg is merged row by row from columns OC_pct (12), SOC_pct (12) times 10")
    assert library.warnings == ()


def test_the_first_measured_value_counts_and_differences_are_named(tmp_path):
    other = [*PERCENT[:-3], "9.9", "9.9", f"{1.009 * float(PERCENT[-1]):.5f}"]
    library = read(tmp_path, columns(OC_g_kg=None, OC_pct=PERCENT, SOC_pct=other))
    np.testing.assert_allclose(library.targets["OC_g_kg"], 10 * np.array(PERCENT, float))
    (warning,) = library.warnings
    assert "columns OC_pct and SOC_pct differ by more than 1 % in 2 of 24 rows" in warning
    assert f"row 22 (s22), {float(PERCENT[-3]):g} and 9.9" in warning


def test_columns_of_different_units_are_compared_and_not_merged(tmp_path):
    """A wrong unit in one of the names would mix values that differ tenfold."""
    g_kg = [*[f"{10 * float(cell):.1f}" for cell in PERCENT[:20]], *[""] * 4]
    library = read(tmp_path, columns(OC_g_kg=g_kg, OC_pct=PERCENT))
    assert np.isnan(library.targets["OC_g_kg"][20:]).all()
    assert notes(library, "OC_g_kg was used, OC_pct left out; 4 rows are measured in another unit only")
    assert library.warnings == ()
    (warning,) = read(tmp_path, columns(OC_g_kg=PERCENT, OC_pct=PERCENT)).warnings[:1]
    assert "columns OC_g_kg and OC_pct differ by more than 1 % in 24 of 24 rows" in warning


def test_a_named_column_is_not_merged(tmp_path):
    second = [*[""] * 12, *PERCENT[12:]]
    library = read(tmp_path, columns(OC_g_kg=None, OC_pct=PERCENT, SOC_pct=second), targets=("SOC_pct",))
    assert np.isnan(library.targets["OC_g_kg"][:12]).all()


LIMITS = {
    "< 0.5": 0.25,
    "<0,5": 0.25,
    "≤ 2": 1.0,
    "<1e-2": 0.005,
    "< LOD": None,
    "BDL": None,
    "nd": None,
    "n.d.": None,
    "< 1,000": None,
}


@pytest.mark.parametrize("cell", LIMITS)
def test_half_of_the_limit_of_detection(cell):
    cells = ["3", cell, "-9999", ""]
    dropped, below = read_numbers("soils", "CaCO3_g_kg", cells, IDS)
    np.testing.assert_array_equal(dropped, [3, np.nan, np.nan, np.nan])
    assert below == 1
    if (half := LIMITS[cell]) is None:
        with pytest.raises(InputError, match=r"row 2 \(id s2\), column 'CaCO3_g_kg' .* without its number"):
            read_numbers("soils", "CaCO3_g_kg", cells, IDS, "half")
    else:
        values, below = read_numbers("soils", "CaCO3_g_kg", cells, IDS, "half")
        np.testing.assert_array_equal(values, [3, half, np.nan, np.nan])
        assert below == 1


@pytest.mark.parametrize(
    ("treatment", "first", "words"), [("drop", np.nan, "below_detection=half"), ("half", 2.5, "half of the limit")]
)
def test_values_below_detection_follow_the_config_and_are_noted(tmp_path, treatment, first, words):
    table = columns(CaCO3_pct=["< 0.5", *PERCENT[1:]])
    library = read(tmp_path, table, below_detection=treatment)
    assert library.targets["CaCO3_g_kg"][0] == pytest.approx(first, nan_ok=True)
    assert notes(library, "CaCO3_g_kg: 1 values below the limit of detection")[0].count(words) == 1


@pytest.mark.parametrize(("treatment", "value"), [("drop", np.nan), ("half", 0.0)])
def test_a_negative_content_near_zero_is_below_the_limit_of_detection(tmp_path, treatment, value):
    """Values of 1 to 24: the SD is 7, so that -.6 is near zero and -.8 an error."""
    contents = [str(row + 1) for row in range(ROWS)]
    near = read(tmp_path, columns(CaCO3_g_kg=["-0.6", *contents[1:]]), below_detection=treatment)
    np.testing.assert_array_equal(near.targets["CaCO3_g_kg"], [value, *range(2, ROWS + 1)])
    assert notes(near, "CaCO3_g_kg: 1 values below the limit of detection, all of them negative")
    for cells in (["-0.8", *contents[1:]], ["-0.6", "-0.5", *contents[2:]], ["-1", *contents[1:-1], "200"]):
        with pytest.raises(InputError, match="CaCO3_g_kg"):
            read(tmp_path, columns(CaCO3_g_kg=cells), below_detection=treatment)
