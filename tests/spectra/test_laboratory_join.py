"""Joining a laboratory table equals a table that contains its columns; nothing is lost or joined without a note."""

import numpy as np
import pytest
from soil_tables import ROWS, columns, write

from relple_tf.config import Config, DataConfig, LimitsConfig, replace
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.sample_names import normalised_name, sample_stem
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import load

SCANS = columns(OC_g_kg=None, pH=None)
NAMES = SCANS["id"]
LAB = {
    "sample": NAMES,
    "pH": columns()["pH"],
    "OC_g_kg": columns()["OC_g_kg"],
    "field": [f"f{row // 4}" for row in range(ROWS)],
    "lon": [str(5 + row / 10) for row in range(ROWS)],
    "lat": ["50"] * ROWS,
    "split": ["train", "test"] * (ROWS // 2),
}


def rows(table, order):
    return {name: [cells[row] for row in order] for name, cells in table.items()}


def without(table, *names):
    return {name: cells for name, cells in table.items() if name not in names}


def renamed(name, row, table=LAB):
    return table | {"sample": [name if index == row else cell for index, cell in enumerate(table["sample"])]}


def joined(tmp_path, lab, scans=SCANS, **data):
    lab = write(tmp_path / "lab.csv", lab)
    settings = {"minimum_values": 10} | data
    return read_table(write(tmp_path / "scans.csv", scans), DataConfig(lab=str(lab), **settings))


def assert_equal(first, second):
    np.testing.assert_array_equal(first.spectra, second.spectra)
    assert list(first.targets) == list(second.targets)
    for name, values in first.targets.items():
        np.testing.assert_array_equal(values, second.targets[name])
    assert first.ids.tolist() == second.ids.tolist()
    for name in ("groups", "coordinates", "parts"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def has_note(library, *words):
    return any(all(word in note for word in words) for note in library.notes)


def test_a_joined_table_is_the_table_with_the_columns_inside(tmp_path):
    inside = read_table(write(tmp_path / "all.csv", SCANS | without(LAB, "sample")), DataConfig(minimum_values=10))
    assert inside.groups is not None
    assert inside.parts is not None
    assert_equal(joined(tmp_path, LAB), inside)


def test_the_order_of_the_laboratory_rows_changes_nothing(tmp_path):
    order = np.random.default_rng(0).permutation(ROWS)
    first, second = joined(tmp_path, LAB), joined(tmp_path, rows(LAB, order))
    assert_equal(first, second)
    assert first.notes == second.notes


def test_a_renamed_row_loses_exactly_its_scan_by_name(tmp_path):
    lab = without(LAB, "split")
    before, after = joined(tmp_path, lab), joined(tmp_path, renamed("unknown", 6, lab))
    lost = np.arange(ROWS) == 6
    np.testing.assert_array_equal(after.targets["pH"], np.where(lost, np.nan, before.targets["pH"]))
    np.testing.assert_array_equal(after.spectra, before.spectra)
    assert has_note(after, "no row for 1 scans", ": s7")
    assert has_note(after, "no scan for 1 rows: unknown")
    assert has_note(after, "23 of 24 scans have a row", "column sample")
    assert not has_note(before, "no row for")
    assert not has_note(after, "similar")


@pytest.mark.parametrize("name", ["s007", "S-7", "s_7", "sample7x"])
def test_near_matches_are_suggested_and_not_joined(tmp_path, name):
    library = joined(tmp_path, renamed(name, 6, without(LAB, "split")))
    assert np.flatnonzero(np.isnan(library.targets["pH"])).tolist() == [6]
    assert has_note(library, "not joined", f"scan s7 and row {name}") == (name != "sample7x")


@pytest.mark.parametrize("name", ["S7", " s7", "s 7", "s7.asd", "S7.csv.gz", "s7.0"])
def test_case_blanks_and_suffix_are_ignored_and_noted(tmp_path, name):
    library = joined(tmp_path, renamed(name, 6))
    assert_equal(library, joined(tmp_path, LAB))
    assert has_note(joined(tmp_path, renamed(name, 6)), f"s7 is {name.strip()}") == (name != " s7")


def test_names_that_become_equal_without_case_are_not_joined(tmp_path):
    scans = SCANS | {"id": [*NAMES[:-1], "S7"]}
    lab = without(renamed("s-7", 6), "split")
    lab = lab | {"sample": [*lab["sample"][:-1], "s 7"]}
    library = joined(tmp_path, lab, scans)
    assert np.flatnonzero(np.isnan(library.targets["pH"])).tolist() == [6, ROWS - 1]
    assert has_note(library, "no row for 2 scans", "s7, S7")


def test_the_number_of_a_scan_is_left_out_and_scans_of_a_row_are_one_sample(tmp_path):
    stems = [NAMES[row // 2] for row in range(ROWS)]
    names = [f"{stem}{('_1', ' rep2')[row % 2]}" for row, stem in enumerate(stems)]
    library = joined(tmp_path, LAB, SCANS | {"id": names})
    np.testing.assert_array_equal(library.targets["pH"], np.repeat(joined(tmp_path, LAB).targets["pH"][:12], 2))
    assert library.ids.tolist() == stems
    assert library.scans.tolist() == names
    assert has_note(library, "without the number of the scan", "s1_1 is s1, s1 rep2 is s1", "and 14 more")
    assert has_note(library, "24 scans of 12 samples")


@pytest.mark.parametrize(
    ("scans", "rows_of_lab", "row"),
    [
        (["s1_1", "s1_2"], ["s1", "S1"], 0),  # exactly the stem, although the rows differ in case only
        (["s1_1", "s1_2"], ["S1", "x"], 0),
        (["s1_1", "S1_2"], ["s 1", "x"], None),  # two stems that become equal without case
        (["s1_1", "s1_2"], ["S1", "s 1"], None),
    ],
)
def test_a_stem_is_joined_if_it_stands_for_one_name(tmp_path, scans, rows_of_lab, row):
    lab = without(LAB, "split") | {"sample": [*rows_of_lab, *NAMES[2:]]}
    library = joined(tmp_path, lab, SCANS | {"id": [*scans, *NAMES[2:]]})
    expected = np.full(2, np.nan if row is None else float(LAB["pH"][row]))
    np.testing.assert_array_equal(library.targets["pH"][:2], expected)


def test_a_number_that_names_samples_of_the_laboratory_is_not_left_out(tmp_path):
    lab = without(LAB, "split")
    lab = lab | {"sample": ["s1", "s1_1", *NAMES[2:]]}
    library = joined(tmp_path, lab, SCANS | {"id": ["s1", "s1_2", *NAMES[2:]]})
    assert np.flatnonzero(np.isnan(library.targets["pH"])).tolist() == [1]
    assert has_note(library, "no row for 1 scans", "s1_2")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        *(
            (name, "S1")
            for name in ("S1_1", "S1-2", "S1 rep3", "S1_rep3", "S1 (2)", "S1_scan12", "S1:row2", "S1_00001")
        ),
        *((name, name) for name in ("S1", "S1a", "1", "_1", "rep3", "S1.5", "2024", "S 12")),
        ("plot-1-2", "plot-1"),
    ],
)
def test_sample_stem(name, stem):
    assert sample_stem(name) == stem


def test_a_blank_between_digits_is_part_of_a_name():
    assert normalised_name("Plot 1 12") != normalised_name("Plot 11 2")
    assert normalised_name(" Plot  1 a ") == normalised_name("plot1A")


def test_names_of_files_are_joined(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for row in range(ROWS):
        write(folder / f"plot.{row:03d}", {name: [cells[row]] for name, cells in without(SCANS, "id").items()})
    files = [f"plot.{row:03d}" for row in range(ROWS)]
    lab = write(folder / "lab.csv", LAB | {"sample": files})
    library = read_table(folder, DataConfig(lab=str(lab), minimum_values=10))
    np.testing.assert_array_equal(library.targets["pH"], joined(tmp_path, LAB).targets["pH"])
    assert library.ids.tolist() == files
    assert has_note(library, "24 scans were joined by the name of their file")
    assert not has_note(library, "not read")


def test_a_table_of_files_and_samples_names_the_samples(tmp_path):
    samples = [f"soil{row // 2}" for row in range(ROWS)]
    lab = {"file": [f"{name}.asd" for name in NAMES], "Sample ID": samples, "pH": columns()["pH"]}
    library = joined(tmp_path, lab)
    assert library.ids.tolist() == samples
    assert library.scans.tolist() == NAMES


def test_names_that_this_program_wrote_with_an_apostrophe_are_joined(tmp_path):
    scans = SCANS | {"id": [f"-{name}" for name in NAMES]}
    lab = LAB | {"sample": [f"'-{name}" for name in NAMES]}
    np.testing.assert_array_equal(joined(tmp_path, lab, scans).targets["pH"], joined(tmp_path, LAB).targets["pH"])


def test_rows_without_a_name_are_noted(tmp_path):
    library = joined(tmp_path, renamed("", 6, without(LAB, "split")))
    assert has_note(library, "rows without a sample name", ": 7")
    assert has_note(library, "no row for 1 scans", ": s7")


def test_equal_rows_of_a_name_count_once_and_complete_each_other(tmp_path):
    lab = rows(LAB, [*range(ROWS), 3])
    lab["pH"][3], lab["pH"][-1] = "", lab["pH"][-1] + "0"
    library = joined(tmp_path, lab)
    assert_equal(library, joined(tmp_path, LAB))
    lab["pH"][3] = LAB["pH"][3]
    assert has_note(joined(tmp_path, lab), "1 rows repeat a sample")


REFUSED = {
    "two values": (
        rows(LAB, [*range(ROWS), 3]) | {"pH": [*LAB["pH"], "9"]},
        {},
        ["rows 4 and 25", "s4", "'pH'", "'4.3'", "'9'"],
    ),
    "no match": (
        LAB | {"sample": [f"x{row}" for row in range(ROWS)]},
        {},
        ["no sample name", "s1, s2, s3 and 21 more", "x0, x1, x2 and 21 more", "'sample'"],
    ),
    "bands": (SCANS | {"pH": LAB["pH"]}, {}, ["without bands, received 30"]),
    "same target": (LAB, {"pH": LAB["pH"]}, ["lab.csv: column 'pH'", "'pH' of", "scans.csv both contain pH"]),
    "same target, other unit": (LAB, {"SOC_pct": ["1"] * ROWS}, ["'OC_g_kg'", "'SOC_pct'", "both contain OC_g_kg"]),
    "other group": (LAB, {"field": ["a"] * ROWS}, ["'field'", "different values"]),
    "two columns": (
        without(LAB, "sample") | {"name": NAMES, "label": NAMES[::-1]},
        {},
        ["'name' and 'label' contain 24 and 24 names", "rename", "'id'"],
    ),
    "better column": (
        LAB | {"sample": ["s1", *(f"x{row}" for row in range(1, ROWS))], "name": NAMES},
        {},
        ["'sample' and 'name' contain 1 and 24 names"],
    ),
    "unknown part": (LAB | {"split": ["A"] * ROWS}, {}, ["with ", "lab.csv: row 1 (id s1), column 'split'"]),
    "text value": (LAB | {"pH": ["acid"] * ROWS}, {}, ["lab.csv: row 1 (id s1), column 'pH'", "'acid'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_error_names_both_sources(tmp_path, case):
    lab, scans, words = REFUSED[case]
    with pytest.raises(InputError) as error:
        joined(tmp_path, lab, SCANS | scans)
    message = str(error.value)
    assert [word for word in ["lab.csv", *words] if word not in message] == []
    assert "\n" not in message


def test_an_empty_column_of_the_scans_is_replaced(tmp_path):
    assert_equal(joined(tmp_path, LAB, SCANS | {"pH": [""] * ROWS}), joined(tmp_path, LAB))


def test_the_only_column_with_names_is_found(tmp_path):
    library = joined(tmp_path, without(LAB, "sample") | {"Probe": NAMES})
    assert_equal(library, joined(tmp_path, LAB))
    assert has_note(library, "names of the samples are column Probe")


def test_numbers_of_samples_are_not_searched_among_laboratory_values(tmp_path):
    numbers = [str(row) for row in range(1, ROWS + 1)]
    lab = without(LAB, "sample") | {"Probe": numbers, "clay_pct": numbers[::-1]}
    library = joined(tmp_path, lab, SCANS | {"id": numbers})
    np.testing.assert_array_equal(library.targets["clay_pct"], np.arange(ROWS, 0, -1))


@pytest.mark.parametrize("source", ["limesoda", "simulated"])
def test_a_source_with_laboratory_values_takes_no_table(source):
    with pytest.raises(InputError, match=f"{source} contains its laboratory values"):
        load(replace(Config(), data__source=source, data__lab="lab.csv"))


def test_from_table_takes_a_laboratory_table(tmp_path):
    scans, lab = write(tmp_path / "scans.csv", SCANS), write(tmp_path / "lab.csv", LAB)
    library = SpectralLibrary.from_table(scans, lab=str(lab), minimum_values=10)
    assert_equal(library, joined(tmp_path, LAB))


def test_the_limits_hold_for_the_laboratory_table(tmp_path):
    scans, lab = write(tmp_path / "scans.csv", SCANS), write(tmp_path / "lab.csv", rows(LAB, [*range(ROWS), *range(9)]))
    data = DataConfig(lab=str(lab), minimum_values=10)
    with pytest.raises(InputError, match=r"lab\.csv: more than 30 lines"):
        read_table(scans, data, LimitsConfig(table_rows=30))
