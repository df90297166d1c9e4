import gzip

import numpy as np
import pandas as pd
import pytest
from soil_tables import FORMS, NM, ROWS, changed_cell, columns, reflectance, write

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.checks.quantity import Declared
from relple_tf.spectra.checks.scans import assess
from relple_tf.spectra.checks.summary import ScanSummary
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import read_parts, read_table


def read(tmp_path, table, **data):
    data = {"minimum_values": 10} | data
    return read_table(write(tmp_path / "soils.csv", table), DataConfig(**data))


def has_note(library, *words):
    """Whether one note of the library contains all words."""
    return any(all(word in note for word in words) for note in library.notes)


@pytest.mark.parametrize("name", FORMS)
def test_a_table_reads_the_same_from_every_file_format(tmp_path, name):
    FORMS[name](tmp_path / name)
    library = read_table(tmp_path / name, DataConfig(minimum_values=10))
    np.testing.assert_allclose(library.wavelengths_nm, NM, rtol=1e-11)
    np.testing.assert_allclose(library.spectra, reflectance(NM), rtol=1e-6)
    assert library.spectra.dtype == np.float32
    assert library.quantity == "reflectance"
    assert library.ids.tolist() == columns()["id"]
    assert "the ids are column id" in library.notes
    assert list(library.targets) == ["OC_g_kg", "pH"]
    odd = np.arange(ROWS) % 2 == 1
    np.testing.assert_array_equal(library.targets["OC_g_kg"], np.where(odd, np.nan, 1.5 + np.arange(ROWS)))
    assert has_note(library, "divided by 100") == (name == "percent.csv")
    assert has_note(library, "sorted") == (name == "descending.csv")
    assert has_note(library, "wavenumbers") == (name == "wavenumbers.csv")


REFUSED_TABLES = {
    "empty band": (changed_cell("1850", 2, ""), {"bad_scans": "refuse"}, ["row 3 (id s3)", "'1850'", "is empty"]),
    "nan band": (changed_cell("1850", 2, "NaN"), {"bad_scans": "refuse"}, ["row 3 (id s3)", "'1850'", "remove"]),
    "infinite band": (changed_cell("1850", 2, "inf"), {"bad_scans": "refuse"}, ["row 3 (id s3)", "'1850'", "inf"]),
    "text band": (changed_cell("1850", 2, "saturated"), {"bad_scans": "refuse"}, ["row 3 (id s3)", "'saturated'"]),
    "text lab value": (changed_cell("pH", 4, "acid"), {}, ["row 5 (id s5)", "'pH'", "'acid'"]),
    "negative": (changed_cell("OC_g_kg", 6, "-3"), {}, ["OC_g_kg", "s7", "-3"]),
    "pH 15": (changed_cell("pH", 6, "15"), {}, ["pH", "s7", "15"]),
    "1001 g/kg": (changed_cell("OC_g_kg", 6, "1001"), {}, ["OC_g_kg", "s7", "1001"]),
    "too few": ({}, {"targets": ("OC_g_kg",), "minimum_values": 13}, ["OC_g_kg", "has 12", "13"]),
    "all too few": ({}, {"minimum_values": 99}, ["OC_g_kg has 12", "pH has 24", "minimum_values"]),
    "constant": ({"pH": ["7"] * ROWS}, {"targets": ("pH",)}, ["pH", "7 in all 24 rows"]),
    "no target": ({"pH": None, "OC_g_kg": None, "OM": ["1"] * ROWS}, {}, ["N_g_kg", "id, OM"]),
    "no unit": ({"pH": None, "OC_g_kg": None, "OC": ["1"] * ROWS}, {}, ["OC has no unit"]),
    "not lucas": (
        {"OC_g_kg": None, "pH": None, "OC": ["1"] * ROWS, "N": ["1"] * ROWS, "CaCO3": ["1"] * ROWS},
        {},
        ["OC has no unit; rename the column OC_g_kg or OC_pct"],
    ),
    "target without unit": ({"OC": ["1"] * ROWS}, {"targets": ("OC",)}, ["OC_g_kg or OC_pct"]),
    "unknown target": ({}, {"targets": ("P_mg_kg",)}, ["'P_mg_kg'", "N_g_kg", "id, OC_g_kg, pH"]),
    "twice": ({}, {"targets": ("OC_g_kg", "OC_pct")}, ["OC_g_kg twice"]),
    "unknown id": ({}, {"id_column": "lab"}, ["'lab'", "data.id_column", "id, OC_g_kg, pH"]),
    "unknown group": ({}, {"group_column": "lab"}, ["'lab'", "data.group_column"]),
    "unknown part": ({"split": ["train", "B"] * 12}, {}, ["row 2 (id s2)", "'split'", "'B'"]),
    "unknown train": ({"train": ["1", "2"] * 12}, {}, ["row 2 (id s2)", "'train'", "'2'"]),
    "flat": ({f"{nm:g}": ["0.5"] * ROWS for nm in NM}, {"quantity": "reflectance"}, ["constant (0.5", "24 of 24"]),
    "above 1.5": ({"1850": ["1.6"] * ROWS}, {}, ["row 1 (s1)", "1.6", "outside 0..1.5", "24 of 24"]),
    "below 0": ({"1850": ["-0.01"] * ROWS}, {}, ["row 1 (s1)", "-0.01", "24 of 24"]),
    "one code": ({"1850": ["-999"] * ROWS}, {}, ["1 bands", "1850 nm with -999"]),
    "zeros": ({"1850": ["0"] * ROWS}, {}, ["1850 nm with 0"]),
    "dropping refused": (
        changed_cell("1850", 2, "1.6"),
        {"bad_scans": "refuse"},
        ["row 3 (s3)", "1.6", "remove the scan"],
    ),
}


@pytest.mark.parametrize("case", REFUSED_TABLES)
def test_the_error_for_an_invalid_table_names_file_row_and_column(tmp_path, case):
    changed, data, words = REFUSED_TABLES[case]
    with pytest.raises(InputError) as error:
        read(tmp_path, columns(**changed), **data)
    message = str(error.value)
    assert [word for word in ["soils.csv", *words] if word not in message] == []
    assert "\n" not in message


def header_of(table):
    return ",".join(table).encode() + b"\n"


HEADER = header_of(columns())
REFUSED_FILES = {
    "nothing.csv": (b"", "is empty"),
    "no_rows.csv": (HEADER, "at least one scan"),
    "garbage.csv": (bytes(range(256)) * 40, "UTF-8"),
    "plain.csv.gz": (HEADER, "not gzip"),
    "cut.csv.gz": (gzip.compress(HEADER * 99)[:-20], "damaged gzip"),
    "broken.parquet": (b"PAR1" + bytes(50), "damaged Parquet"),
    "short_row.csv": (HEADER + b"s1,2,7,0.5\n", "row 1 has 4 cells"),
    "duplicate.csv": (HEADER.replace(b"1850", b"1840"), "'1840' occurs 2 times"),
    "duplicate_lab.csv": (HEADER.replace(b"OC_g_kg", b"pH"), "'pH' occurs 2 times"),
    "no_bands.csv": (b"id,pH\ns1,7\n", "1100nm"),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
@pytest.mark.parametrize("reader", [lambda path: read_table(path, DataConfig()), open_scans])
def test_the_error_for_an_unreadable_file_names_the_file(tmp_path, name, reader):
    content, words = REFUSED_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        reader(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize(("name", "words"), [("missing.csv", "No such file"), (".", "at least one file with spectra")])
def test_a_path_without_spectra_is_refused(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / name, DataConfig())


def test_the_error_for_a_parquet_cell_names_row_and_column(tmp_path):
    table = {name: list(cells) for name, cells in columns().items()}
    table["1850"][2] = "saturated"
    pd.DataFrame(table).to_parquet(tmp_path / "soils.parquet")
    with pytest.raises(InputError, match=r"soils.parquet: row 3 \(id s3\), column '1850'"):
        read_table(tmp_path / "soils.parquet", DataConfig(minimum_values=10, bad_scans="refuse"))


@pytest.mark.parametrize("cell", ["", "NaN", "inf", "saturated", "1.6", "-999"])
def test_a_single_bad_scan_is_dropped_by_name(tmp_path, cell):
    """The other rows, their values and their numbers are those of the sound table."""
    sound, table = read(tmp_path, columns()), columns(**changed_cell("1850", 2, cell))
    library = read(tmp_path, table)
    others = np.arange(ROWS) != 2
    np.testing.assert_array_equal(library.spectra, sound.spectra[others])
    np.testing.assert_array_equal(library.targets["pH"], sound.targets["pH"][others])
    assert library.ids.tolist() == sound.ids[others].tolist()
    assert library.row_numbers.tolist() == (np.flatnonzero(others) + 1).tolist()
    ((name, part, reason),) = library.dropped
    assert (name, part) == ("s3", "")
    assert "row 3" in reason
    assert library.doubts[0].startswith("1 scan was dropped;")


def test_two_bad_scans_of_24_are_refused(tmp_path):
    table = columns(**changed_cell("1850", 2, "1.6"))
    table["1860"] = changed_cell("1860", 9, "nan")["1860"]
    with pytest.raises(InputError, match=r"row 3 \(s3\).*2 of 24 scans cannot be soils; at most 5%"):
        read(tmp_path, table)


def quantity_of(spectra, nm, configured="auto", declared="", block=10**6):
    summary = ScanSummary(nm)
    for start in range(0, len(spectra), block):
        summary.add(spectra[start : start + block].astype(np.float32))
    return assess("t", summary, Declared(quantity=configured, stated=declared)).quantity


@pytest.mark.parametrize("nm", [NM, np.arange(1300.0, 1700, 5), np.arange(400.0, 1000, 10)])
@pytest.mark.parametrize("quantity", ["reflectance", "absorbance"])
def test_reflectance_and_absorbance_are_inferred(nm, quantity):
    signal = reflectance(nm)
    inferred = quantity_of(signal if quantity == "reflectance" else -np.log10(signal), nm)
    assert inferred.name == quantity
    assert inferred.scale == 1
    assert inferred.notes[0].startswith(f"the spectra are {quantity}, because")


def test_a_quantity_that_cannot_be_inferred_must_be_declared():
    nm = np.arange(850.0, 1100, 10)
    spectra = reflectance(nm)
    with pytest.raises(InputError, match=r"--set data\.quantity=reflectance"):
        quantity_of(spectra, nm)
    assert quantity_of(spectra, nm, declared="absorbance").name == "absorbance"
    assert quantity_of(spectra, nm, configured="reflectance", declared="absorbance").name == "reflectance"


def test_a_slope_does_not_hide_the_water_band():
    sloping = reflectance(NM) + 0.002 * (NM - NM[0])
    assert quantity_of(sloping, NM).name == "reflectance"
    assert quantity_of(1.5 - sloping, NM).name == "absorbance"


def test_percent_without_a_water_band_needs_a_quantity():
    """Absorbance times 100 has the same numbers."""
    nm = np.arange(850.0, 1100, 10)
    percent = 100 * reflectance(nm)
    with pytest.raises(InputError, match="cannot infer"):
        quantity_of(percent, nm)
    stated = quantity_of(percent, nm, configured="reflectance")
    assert (stated.name, stated.scale) == ("reflectance", 100)
    assert "divided by 100" in stated.notes[1]


@pytest.mark.parametrize("other", ["fraction", "absorbance"])
@pytest.mark.parametrize("proportion", [0.05, 0.5])
def test_a_table_only_partly_in_percent_is_refused(other, proportion):
    fraction = reflectance(NM)
    not_percent = np.arange(len(fraction)) >= (1 - proportion) * len(fraction)
    assert not_percent.any()
    mixed = np.where(not_percent[:, None], fraction if other == "fraction" else -np.log10(fraction), 100 * fraction)
    first = int(np.flatnonzero(not_percent)[0]) + 1
    for block in (1, 7, len(mixed)):
        with pytest.raises(
            InputError, match=rf"one (unit|quantity); {not_percent.sum()} of {len(fraction)} .*row {first}\b"
        ):
            quantity_of(mixed, NM, block=block)


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("nm", [NM, np.arange(400.0, 1000, 10)])
def test_the_inferred_quantity_does_not_depend_on_the_block_size(nm, scale):
    signal = scale * reflectance(nm)
    whole = quantity_of(signal, nm)
    assert [quantity_of(signal, nm, block=block) for block in (1, 7)] == [whole] * 2


def test_units_are_converted_exactly_with_notes(tmp_path):
    values = [str(row) for row in range(1, ROWS + 1)]
    table = columns(pH=None, OC_g_kg=None, SOC_pct=values, clay_g_kg=values, CEC_mmolc_kg=values)
    library = read(tmp_path, table)
    number = np.arange(1, ROWS + 1)
    assert list(library.targets) == ["OC_g_kg", "CEC_cmolc_kg", "clay_pct"]
    np.testing.assert_array_equal(library.targets["OC_g_kg"], number * 10)
    np.testing.assert_array_equal(library.targets["clay_pct"], number / 10)
    np.testing.assert_array_equal(library.targets["CEC_cmolc_kg"], number / 10)
    assert has_note(library, "OC_g_kg is column SOC_pct times 10")
    assert has_note(library, "clay_pct is column clay_g_kg divided by 10")


def test_notes_list_the_columns_that_are_not_modelled_and_how_to_rename_them(tmp_path):
    """Columns without a unit or with unknown names are listed; texts, ids and empty columns are not."""
    numbers = [str(row) for row in range(1, ROWS + 1)]
    table = columns(Corg=numbers, CEC=numbers, sand=numbers, TC_pct=numbers)
    table |= {"note": ["dry"] * ROWS, "P": ["", "n/a"] * (ROWS // 2), "Zn": ["-9999.00", ""] * (ROWS // 2)}
    library = read(tmp_path, table | {"scan_id": numbers, "field": numbers})
    assert list(library.targets) == ["OC_g_kg", "pH"]
    (left_out,) = [text for text in library.warnings if text.startswith("left out")]
    assert "Corg has no unit; rename the column Corg_g_kg" in left_out
    assert "CEC has no unit; rename the column CEC_cmolc_kg" in left_out
    assert "sand has no unit; rename the column sand_g_kg or sand_pct" in left_out
    assert "not modelled unless data.targets names them: TC_pct" in library.notes
    assert not has_note(read(tmp_path, table, targets=("pH",)), "sand")


@pytest.mark.parametrize(
    ("column", "target"), [("Corg (%)", "OC_g_kg"), ("C org [g/kg]", "OC_g_kg"), ("Nt_pct", "N_g_kg")]
)
def test_common_synonyms_of_target_names_are_understood(tmp_path, column, target):
    library = read(tmp_path, columns(OC_g_kg=None) | {column: lab(1)})
    times = 1 if "g/kg" in column else 10
    np.testing.assert_allclose(library.targets[target], times * np.arange(1.0, ROWS + 1))


def test_a_column_with_the_exact_target_name_is_preferred(tmp_path):
    library = read(tmp_path, columns(OC_pct=["9"] * ROWS))
    assert library.targets["OC_g_kg"][0] == 1.5
    assert has_note(library, "OC_g_kg was used, OC_pct left out")


def test_targets_are_selected_by_target_or_column_name_in_the_given_order(tmp_path):
    table = columns(N_pct=[str(row / 100) for row in range(ROWS)], Fe_x=columns()["pH"])
    library = read(tmp_path, table, targets=("pH", "N_pct", "Fe_x"))
    assert list(library.targets) == ["pH", "N_g_kg", "Fe_x"]
    assert has_note(library, "N_pct is modelled as N_g_kg")


@pytest.mark.parametrize("name", ["Q", "t2", "Status", "ID", "spectrum", "Features", "pH_low", "pH_high"])
def test_reserved_output_names_are_refused_as_targets(tmp_path, name):
    with pytest.raises(InputError, match=f"target '{name}' is a reserved name"):
        read(tmp_path, columns(**{name: columns()["pH"]}, id=None, sample_id=columns()["id"]), targets=("pH", name))


def test_targets_that_differ_only_in_case_are_refused(tmp_path):
    with pytest.raises(InputError, match="'Fe_mg_kg' and 'fe_mg_kg' differ in case only"):
        read(tmp_path, columns(Fe_mg_kg=lab(1), fe_mg_kg=lab(2)), targets=("Fe_mg_kg", "fe_mg_kg"))


@pytest.mark.parametrize("sentinel", ["-9999", "-9999.0", "-9999.00", "-9.999e3"])
def test_the_sentinel_for_missing_values_is_recognised_in_any_notation(tmp_path, sentinel):
    library = read(tmp_path, columns(Fe_ppm=[sentinel, *lab(1)[1:]]), targets=("Fe_ppm",))
    assert has_note(library, "Fe_ppm: 1 cells with the code -9999 count as not measured")
    values = library.targets["Fe_ppm"]
    assert np.isnan(values[0])
    assert np.isfinite(values[1:]).all()


@pytest.mark.parametrize(("cell", "message"), [("1_000", "'1_000', not a number"), ("-3", "-3, an impossible value")])
def test_an_impossible_laboratory_value_is_refused(tmp_path, cell, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, columns(Fe_mg_kg=[cell, *lab(1)[1:]]), targets=("Fe_mg_kg",))


def test_a_target_with_exactly_minimum_values_is_modelled(tmp_path):
    assert list(read(tmp_path, columns(), minimum_values=12).targets) == ["OC_g_kg", "pH"]


def test_rare_and_constant_targets_are_left_out_with_a_note(tmp_path):
    library = read(tmp_path, columns(N_g_kg=["2"] * ROWS), minimum_values=13)
    assert list(library.targets) == ["pH"]
    assert has_note(library, "OC_g_kg has 12", "N_g_kg is 2 in all 24 rows")


def lab(scale, rows=ROWS):
    return [f"{scale * (1 + row):.3f}" for row in range(rows)]


def test_lucas_names_are_read_with_their_units(tmp_path):
    absorbance = -np.log10(reflectance(NM))
    table = {"ID": lab(1), "clay": lab(1), "pH.in.CaCl2": columns()["pH"], "pH.in.H2O": columns()["pH"]}
    table |= {"OC": lab(2), "CaCO3": ["< LOD", *lab(5)[1:]], "N": lab(0.5), "CEC": lab(0.7)}
    table |= {f"spc.{nm:g}": map(repr, row.tolist()) for nm, row in zip(NM, absorbance.T, strict=True)}
    library = read(tmp_path, table)
    assert library.quantity == "absorbance"
    targets = ["N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH", "clay_pct"]
    assert list(library.targets) == targets
    first = [0.5, 2, np.nan, 0.7, 4, 1]
    np.testing.assert_allclose([library.targets[name][0] for name in targets], first)
    assert has_note(library, "LUCAS", "g/kg")
    assert has_note(library, "CaCO3_g_kg", "1 values below the limit of detection")


def test_ossl_names_are_read_with_their_units(tmp_path):
    table = {"id.layer_uuid_txt": ["a", "a", *lab(1)[2:]], "n.tot_usda.a623_w.pct": lab(0.01)}
    table |= {"oc_usda.c729_w.pct": [""] * ROWS, "oc_usda.c1059_w.pct": lab(0.2)}
    table |= {"ph.h2o_usda.a268_index": columns()["pH"], "ph.cacl2_usda.a481_index": columns()["pH"]}
    table |= {"cec_usda.a723_cmolc.kg": lab(0.7), "scan_mir.600_abs": [""] * ROWS}
    bands = zip(NM, reflectance(NM).T, strict=True)
    table |= {f"scan_nir.{nm:g}_ref": map(repr, row.tolist()) for nm, row in bands}
    library = read(tmp_path, table)
    first = {name: values[0] for name, values in library.targets.items()}
    assert first == pytest.approx({"N_g_kg": 0.1, "OC_g_kg": 2, "CEC_cmolc_kg": 0.7, "pH": 4})
    assert library.ids[0] == library.ids[1]
    assert has_note(library, "reflectance, as the file or the names of its bands state")
    assert has_note(library, "1 rows repeat an id")
    assert has_note(library, "oc_usda.c1059_w.pct was used")


def test_groups_and_parts_are_read(tmp_path):
    words = ["Training", "cal", "VAL", "test"] * 6
    library = read(tmp_path, columns(field=["a", "b", ""] * 8, split=words))
    assert library.groups.tolist()[:3] == ["a", "b", "alone:s3"]
    assert library.parts.tolist()[:4] == ["train", "train", "validation", "test"]
    assert read(tmp_path, columns(train=["1", "0"] * 12)).parts.tolist()[:2] == ["train", "test"]
    assert read(tmp_path, columns(field=["a"] * ROWS)).groups is None


def test_coordinates_are_read_and_refused_as_targets(tmp_path):
    table = columns(GPS_LAT=["50.25", "", "-1"] * 8, GPS_LONG=["5", "", "-70.5"] * 8)
    library = read(tmp_path, table)
    np.testing.assert_array_equal(library.coordinates[:3], [[5, 50.25], [np.nan, np.nan], [-70.5, -1]])
    assert list(library.targets) == ["OC_g_kg", "pH"]
    assert has_note(library, "coordinates are columns GPS_LONG and GPS_LAT")
    assert has_note(library, "8 rows have no coordinates")
    with pytest.raises(InputError, match=r"data\.targets names 'GPS_LAT', a coordinate"):
        read(tmp_path, table, targets=("GPS_LAT",))
    assert read(tmp_path, columns()).coordinates is None


def test_replicates_are_averaged_before_measured_values_are_counted(tmp_path):
    ids = [f"s{row // 2}" for row in range(ROWS)]
    table = columns(id=ids, OC_g_kg=[str(row // 2) for row in range(ROWS)])
    kept = read(tmp_path, table, minimum_values=20)
    assert (len(kept), kept.ids.tolist()) == (ROWS, ids)
    with pytest.raises(InputError, match="OC_g_kg has 12 measured values"):
        read(tmp_path, table, minimum_values=20, replicates="average")
    averaged = read(tmp_path, table, replicates="average")
    assert averaged.ids.tolist() == ids[::2]
    np.testing.assert_array_equal(averaged.targets["OC_g_kg"], np.arange(12))
    np.testing.assert_allclose(averaged.spectra, (kept.spectra[::2] + kept.spectra[1::2]) / 2, rtol=1e-6)
    assert has_note(averaged, "24 scans were averaged into 12 samples")


def test_averaging_does_not_hide_an_impossible_scan(tmp_path):
    table = columns(id=["s"] * 2 + columns()["id"][2:], **changed_cell("1850", 1, "1.6"))
    assert "row 2 (s) is 1.6" in read(tmp_path, table, replicates="average").dropped[0][2]
    with pytest.raises(InputError, match=r"row 2 \(s\) is 1.6"):
        read(tmp_path, table, replicates="average", bad_scans="refuse")


def test_rows_without_an_id_are_named_by_row_number(tmp_path):
    library = read(tmp_path, columns(id=None))
    assert library.ids.tolist() == [f"row{row}" for row in range(1, ROWS + 1)]
    assert has_note(library, "row1 to row24")
    partly = read(tmp_path, columns(**changed_cell("id", 2, "")))
    assert partly.ids.tolist()[1:4] == ["s2", "row3", "s4"]
    assert has_note(partly, "1 rows without an id")
    named = read(tmp_path, columns(id=None, lab=columns()["id"]), id_column="lab")
    assert named.ids.tolist() == columns()["id"]


def test_a_split_file_is_matched_by_the_column_that_contains_all_ids(tmp_path):
    table = {
        "index": ["1", "2", "3"],
        "sample.ID": ["30", "20", "10"],
        "split": ["test", "cal", "val"],
    }
    path = write(tmp_path / "split.csv", table)
    parts, note = read_parts(path, np.array(["10", "20", "30", "10"]))
    assert parts.tolist() == ["validation", "train", "test", "validation"]
    assert "sample.ID" in note


def test_a_known_id_column_is_preferred_to_a_row_number_that_contains_all_ids(tmp_path):
    """As in the public split of LUCAS: `index` comes first, and it contains small ids."""
    table = {"index": ["1", "2", "3"], "ID": ["3", "1", "2"], "split": ["test", "cal", "val"]}
    parts, note = read_parts(write(tmp_path / "split.csv", table), np.array(["1", "2", "3"]))
    assert parts.tolist() == ["train", "validation", "test"]
    assert "ID" in note


def test_two_unknown_columns_that_contain_the_ids_and_disagree_are_refused(tmp_path):
    table = {"one": ["1", "2"], "two": ["2", "1"], "split": ["test", "cal"]}
    with pytest.raises(InputError, match=r"split\.csv: columns 'one' and 'two' both contain the ids but disagree"):
        read_parts(write(tmp_path / "split.csv", table), np.array(["1", "2"]))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"id": ["a", "c"], "split": ["test", "cal"]}, ["'id'", "all 3 ids", "contains 1, but not b"]),
        ({"id": ["a", "b"], "fold": ["1", "2"]}, ["declares the split", "id, fold"]),
        ({"id": list("aabd"), "train": list("1011")}, ["id a", "train and in test"]),
        ({"split": ["test"]}, ["no column contains all"]),
        ({"id": ["a"], "split": ["B"]}, ["row 1", "'B'"]),
    ],
)
def test_invalid_split_files_are_refused(tmp_path, table, words):
    path = write(tmp_path / "split.csv", table)
    with pytest.raises(InputError) as error:
        read_parts(path, np.array(["a", "b", "d"]))
    assert [word for word in ["split.csv", *words] if word not in str(error.value)] == []
