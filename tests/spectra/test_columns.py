import numpy as np
import pytest

from relple_tf.errors import InputError
from relple_tf.spectra.readers.axis_checks import AMBIGUOUS_ORDER
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS
from relple_tf.spectra.readers.columns import (
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
        "X{}.nm",
        "WL{}",
        "nm{}",
        "{} (nm)",
        "band{}",
        "Band {}",
        "R{}",
        "A{}",
        "reflectance_{}",
        "abs {}",
        "spectra.{}",
        "NIR.{}",
        "scan_visnir.{}_ref",
        "scan_nir.{}_abs",
    ],
)
def test_a_wavelength_is_read_from_every_accepted_name(pattern):
    bands = band_columns("t", ["id", *(pattern.format(nm) for nm in NM), "OC_g_kg"])
    assert bands.positions == tuple(range(1, len(NM) + 1))
    np.testing.assert_array_equal(bands.wavelengths_nm, NM)
    assert bands.notes == ()


@pytest.mark.parametrize(
    "pattern",
    ["wn_{}", "{}cm-1", "{} cm-1", "X{}cm.1", "cm-1_{}", "1/cm {}", "{} 1/cm", "{} cm⁻¹", "X{}.cm.1", "spc.{}", "{}"],
)
def test_wavenumbers_are_converted_to_ascending_nm_with_notes(pattern):
    per_cm = [5000 + 10 * index for index in range(12)]
    bands = band_columns("t", [pattern.format(value) for value in per_cm])
    np.testing.assert_allclose(bands.wavelengths_nm, [1e7 / value for value in reversed(per_cm)])
    assert bands.positions == tuple(reversed(range(12)))
    assert "wavenumbers" in bands.notes[0]
    assert "sorted" in bands.notes[1]


@pytest.mark.parametrize("pattern", ["{}um", "{} µm", "{} (um)", "{:.4f} µm"])
def test_micrometres_with_a_unit_are_converted_with_a_note(pattern):
    bands = band_columns("t", [pattern.format(nm / 1000) for nm in NM])
    np.testing.assert_array_equal(bands.wavelengths_nm, NM)
    assert bands.notes == ("bands in micrometres were converted to nm",)


@pytest.mark.parametrize("name", ["A1", "R2", "A1100", "R900", "B2", "2_3", "NIR", "band", "1100 cm", "x", "1,100.5"])
def test_a_few_columns_that_resemble_bands_are_not_bands(name):
    bands = band_columns("t", [name, *map(str, NM)])
    assert bands.positions == tuple(range(1, len(NM) + 1))
    assert not bands.ignored


@pytest.mark.parametrize(
    ("pattern", "quantity"), [("R{}", ""), ("A{}", ""), ("refl.{}", "reflectance"), ("abs{}", "absorbance")]
)
def test_a_word_before_the_number_declares_the_quantity_and_a_letter_does_not(pattern, quantity):
    assert band_columns("t", [pattern.format(nm) for nm in NM]).quantity == quantity


@pytest.mark.parametrize(
    ("names", "ambiguous"),
    [
        ([str(nm) for nm in NM], False),
        ([str(nm) for nm in reversed(NM)], True),
        ([f"X{nm}" for nm in reversed(NM)], True),
        ([f"spc.{nm}" for nm in range(2700, 600, -40)], True),
        ([f"{nm}nm" for nm in reversed(NM)], False),
        ([f"wl_{nm}" for nm in reversed(NM)], False),
        ([f"wn_{value}" for value in range(7000, 5000, -100)], False),
        ([str(value) for value in range(7000, 5000, -100)], False),
        ([str(nm) for nm in NM[1::2] + NM[::2]], False),
    ],
)
def test_numbers_that_descend_without_a_unit_are_flagged(names, ambiguous):
    assert band_columns("t", ["id", *names, "pH"]).ambiguous_order == ambiguous


def test_the_message_on_an_ambiguous_order_names_both_ends_and_both_remedies():
    message = AMBIGUOUS_ORDER.format(highest=1800.0, lowest=680.5)
    assert all(words in message for words in ("1800 to 680.5", "nm or", "cm-1", "1100nm", "wn_5400"))


@pytest.mark.parametrize("pattern", ["{}", "X{}", "V{}", "band_{}", "spc.{}", "wl{}", "Var{}", "Feature {}", "{}.0"])
@pytest.mark.parametrize("numbers", [range(1, 701), range(256), range(189, 900), range(1, 12)])
def test_band_numbers_are_refused(pattern, numbers):
    header = ["id", *(pattern.format(number) for number in numbers), "pH"]
    with pytest.raises(InputError, match="look like band numbers, not wavelengths in nm") as error:
        band_columns("t", header)
    assert repr(header[1]) in str(error.value)
    assert repr(header[-2]) in str(error.value)


@pytest.mark.parametrize("names", [range(350, 2501), range(190, 1100), range(400, 700)])
def test_wavelengths_in_steps_of_one_are_not_band_numbers(names):
    assert band_columns("t", list(map(str, names))).wavelengths_nm[-1] == names[-1]


def test_a_few_numbered_columns_beside_bands_are_ignored():
    bands = band_columns("t", [*map(str, range(1, 13)), *map(str, NM)])
    np.testing.assert_array_equal(bands.wavelengths_nm, NM)


def fine(step):
    """Bands from 1300 nm with a step that twins of .1 nm must not be mistaken for."""
    return [f"{1300 + step * index:.10g}" for index in range(60)]


BLOCK = [str(nm) for nm in range(1300, 1360, 2)]


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        ([*BLOCK, *(f"{name}.1" for name in BLOCK)], ("'1300'", "'1300.1'")),
        ([*BLOCK, *(f"{name}.1" for name in BLOCK), *(f"{name}.2" for name in BLOCK)], ("'1300'", "'1300.1'")),
        ([*BLOCK, "1300.1"], ("'1300'", "'1300.1'")),
        ([*(f"X{name}" for name in BLOCK), *(f"X{name}.1" for name in BLOCK)], ("'X1300'", "'X1300.1'")),
        ([*(f"{name}nm" for name in BLOCK), *(f"{name}nm.1" for name in BLOCK)], ("'1300nm'", "'1300nm.1'")),
        ([*fine(0.5), *(f"{name}.1" for name in fine(0.5))], ("'1300.5'", "'1300.5.1'")),
        ([*BLOCK, *(f"{float(name) + 0.07}" for name in BLOCK)], ("'1300'", "'1300.07'")),
    ],
)
def test_a_second_block_of_the_same_bands_is_refused(header, pair):
    with pytest.raises(InputError, match="the same band in two blocks") as error:
        band_columns("t", ["id", *header])
    assert all(name in str(error.value) for name in pair)


@pytest.mark.parametrize("step", [0.05, 0.1, 0.11, 0.2, 0.5, 1.1])
def test_a_fine_grid_is_not_a_second_block(step):
    assert len(band_columns("t", fine(step)).positions) == 60


@pytest.mark.parametrize(
    "header", [["2022", "id", *BLOCK], ["id", *BLOCK, "pH", "2022"], ["1301", "id", *BLOCK], ["1313", *BLOCK]]
)
def test_another_column_named_by_a_number_is_refused(header):
    (stray,) = [name for name in header if name in ("2022", "1301", "1313")]
    with pytest.raises(InputError, match=f"column '{stray}' is not a band of the other 30.*add a word"):
        band_columns("t", header)


@pytest.mark.parametrize(
    "header",
    [
        [*BLOCK, "1940"],
        ["680", *BLOCK],
        ["680", "pH", *BLOCK],
        [*BLOCK[:10], *BLOCK[12:]],
        [*BLOCK[::-1], "680"],
        [*BLOCK[15:], *BLOCK[:15]],
        ["1313nm", *BLOCK],
    ],
)
def test_bands_apart_from_the_others_and_missing_bands_are_read(header):
    expected = sorted(float(name.removesuffix("nm")) for name in header if name != "pH")
    assert band_columns("t", header).wavelengths_nm.tolist() == expected


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
        ([f"spc.{value}" for value in range(4000, 600, -10)], ["610 to 4000", "wn_5400"]),
        ([f"{nm / 1000:g}" for nm in NM], ["'1.1'", "look like micrometres", "1.1um"]),
        ([f"wl_{nm / 1000:g}" for nm in NM], ["look like micrometres"]),
        ([f"{nm:,}" for nm in NM], ["'1,100'", "thousands separator"]),
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
