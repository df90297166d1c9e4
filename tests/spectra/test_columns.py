import numpy as np
import pytest

from relple_tf.errors import InputError
from relple_tf.spectra.readers.columns import (
    MINIMUM_BANDS,
    band_columns,
    find_column,
    find_coordinates,
    names_coordinate,
)
from relple_tf.spectra.readers.laboratory_names import meaning

NM = [1100 + 2 * index for index in range(12)]


@pytest.mark.parametrize(
    "pattern",
    [
        "{}",
        "{}.0",
        "{},0",
        "X{}",
        "wl_{}",
        "nm_{}",
        "{}nm",
        "{} nm",
        "spc.{}",
        "scan_visnir.{}_ref",
        "scan_nir.{}_abs",
    ],
)
def test_a_wavelength_is_read_from_every_accepted_name(pattern):
    bands = band_columns("t", ["id", *(pattern.format(nm) for nm in NM), "OC_g_kg"])
    assert bands.positions == tuple(range(1, len(NM) + 1))
    np.testing.assert_array_equal(bands.wavelengths_nm, NM)
    assert bands.notes == ()


@pytest.mark.parametrize("pattern", ["wn_{}", "{}cm-1", "{} cm-1", "X{}cm.1", "cm-1_{}", "{}"])
def test_wavenumbers_are_converted_to_ascending_nm_with_notes(pattern):
    per_cm = [5000 + 10 * index for index in range(12)]
    bands = band_columns("t", [pattern.format(value) for value in per_cm])
    np.testing.assert_allclose(bands.wavelengths_nm, [1e7 / value for value in reversed(per_cm)])
    assert bands.positions == tuple(reversed(range(12)))
    assert "wavenumbers" in bands.notes[0]
    assert "sorted" in bands.notes[1]


@pytest.mark.parametrize(("suffix", "quantity"), [("_ref", "reflectance"), ("_abs", "absorbance"), ("", "")])
def test_the_suffix_declares_the_quantity(suffix, quantity):
    assert band_columns("t", [f"scan_nir.{nm}{suffix}" for nm in NM]).quantity == quantity


def test_bands_outside_the_range_and_mid_infrared_are_ignored_with_notes():
    header = ["X340", *map(str, NM), "2700", "scan_mir.1300_abs", "scan_mir.600_abs"]
    bands = band_columns("t", header)
    np.testing.assert_array_equal(bands.wavelengths_nm, NM)
    assert bands.ignored == {0, 13, 14, 15}
    assert "2 bands outside 350..2600 nm" in bands.notes[0]
    assert "2 mid-infrared" in bands.notes[1]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (["id", "OC_g_kg"], ["got 0", "1100nm", "id, OC_g_kg"]),
        ([str(nm) for nm in NM[: MINIMUM_BANDS - 1]], ["got 9", "at least 10"]),
        ([*map(str, NM), "1104.0"], ["'1104'", "'1104.0'", "1104 nm", "remove either"]),
        ([*(f"{nm}_ref" for nm in NM), "1300_abs"], ["in _ref and others in _abs", "keep only one"]),
        ([str(value) for value in range(600, 4000, 10)], ["600 to 3990", "wn_5400"]),
    ],
)
def test_invalid_headers_are_refused(header, words):
    with pytest.raises(InputError) as error:
        band_columns("soils.csv", header)
    assert all(word in str(error.value) for word in ["soils.csv", *words])


@pytest.mark.parametrize(
    ("header", "kind", "expected"),
    [
        (["POINT_ID", "sample.ID"], "id", "sample.ID"),
        (["x", "ID"], "id", "ID"),
        (["id.layer_uuid_txt"], "id", "id.layer_uuid_txt"),
        (["fieldwork"], "group", ""),
        (["Site_ID"], "group", "Site_ID"),
        (["is_train"], "train", "is_train"),
    ],
)
def test_known_columns_are_found_by_their_whole_name(header, kind, expected):
    assert find_column("t", header, kind) == expected


@pytest.mark.parametrize(
    "pair",
    [
        ("longitude.point_wgs84_dd", "latitude.point_wgs84_dd"),
        ("GPS_LONG", "GPS_LAT"),
        ("TH_LONG", "TH_LAT"),
        ("Longitude", "Latitude"),
        ("LON", "lat"),
        ("long", "Lat"),
    ],
)
def test_coordinates_are_found_in_any_case_and_order_and_are_neither_bands_nor_targets(pair):
    header = ["id", *pair[::-1], "latitude.county_wgs84_dd", *map(str, NM), "pH"]
    assert find_coordinates(header) == pair
    assert band_columns("t", header).positions == tuple(range(4, 4 + len(NM)))
    assert all(names_coordinate(name) and meaning(name, lucas=True) is None for name in pair)
    assert not any(find_column("t", pair, kind) for kind in ("id", "group", "part", "train"))


@pytest.mark.parametrize("header", [["lon"], ["lat", "x"], ["GPS_LONG", "TH_LAT"], ["plateau", "longest"]])
def test_coordinates_need_both_columns_of_a_pair(header):
    assert find_coordinates(header) is None


def test_the_position_of_the_surveyor_precedes_the_grid_point_of_lucas():
    assert find_coordinates(["TH_LAT", "TH_LONG", "GPS_LAT", "GPS_LONG"]) == ("GPS_LONG", "GPS_LAT")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("N_g_kg", ("N_g_kg", 1, 1)),
        ("N_pct", ("N_g_kg", 10, 1)),
        ("OC (g/kg)", ("OC_g_kg", 1, 1)),
        ("SOC [%]", ("OC_g_kg", 10, 1)),
        ("TC_pct", ("TC_g_kg", 10, 1)),
        ("CaCO3_pct", ("CaCO3_g_kg", 10, 1)),
        ("clay_g_kg", ("clay_pct", 1, 10)),
        ("CEC_mmolc_kg", ("CEC_cmolc_kg", 1, 10)),
        ("CEC (cmol(+)/kg)", ("CEC_cmolc_kg", 1, 1)),
        ("pH.in.H2O", ("pH", 1, 1)),
        ("pH(H2O)", ("pH", 1, 1)),
        ("pH(CaCl2)", ("pH_CaCl2", 1, 1)),
        ("n.tot_usda.a623_w.pct", ("N_g_kg", 10, 1)),
        ("oc_usda.c729_w.pct", ("OC_g_kg", 10, 1)),
        ("oc_usda.c1059_w.pct", ("OC_g_kg", 10, 1)),
        ("caco3_usda.a54_w.pct", ("CaCO3_g_kg", 10, 1)),
        ("cec_usda.a723_cmolc.kg", ("CEC_cmolc_kg", 1, 1)),
        ("ph.h2o_usda.a268_index", ("pH", 1, 1)),
        ("ph.cacl2_usda.a481_index", ("pH_CaCl2", 1, 1)),
        ("clay.tot_usda.a334_w.pct", ("clay_pct", 1, 1)),
    ],
)
def test_a_column_name_gives_target_and_unit_conversion(column, expected):
    known = meaning(column)
    assert known is not None
    assert (known.target, known.times, known.over) == expected


@pytest.mark.parametrize("column", ["OC", "N", "CEC", "clay", "silt", "OM_g_kg", "pH_KCl", "ON_pct"])
def test_unknown_column_names_have_no_meaning(column):
    assert meaning(column) is None
