"""Laws of the links between scans of one sample."""

from dataclasses import replace

import numpy as np
import pytest
from soil_tables import NM, ROWS, columns, write

from relple_tf.config import DataConfig, SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.near_scans import LARGEST_DISTANCE, MANY_VALUES, distances, snv_absorbance
from relple_tf.spectra.readers.measured_values import measured_values
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.replicates import average_replicates
from relple_tf.spectra.samples import OVERRIDE, link_samples
from relple_tf.spectra.splitting.folds import folds
from relple_tf.spectra.splitting.grouping import divided, group_labels, samples_divided
from relple_tf.spectra.splitting.split import split

BANDS = 1000 + 10.0 * np.arange(120)
SOILS = 60


def soils(count=SOILS, seed=0):
    """(count, bands) smooth absorbance of different soils."""
    rng = np.random.default_rng(seed)
    centres = np.array([1200, 1414, 1700, 1914, 2100])
    peaks = np.exp(-(((BANDS - centres[:, None]) / 80) ** 2))
    return 0.4 + rng.uniform(0.0, 0.4, (count, len(centres))) @ peaks


def library(absorbance, targets, ids=None, **fields):
    return SpectralLibrary(
        source="made",
        spectra=absorbance.astype(np.float32),
        wavelengths_nm=BANDS,
        quantity="absorbance",
        targets={name: np.asarray(values, float) for name, values in targets.items()},
        ids=np.array([f"scan {row:04d}x" for row in range(len(absorbance))] if ids is None else ids),
        **fields,
    )


def replicated(noise=0.001, ids=None):
    """Two scans of each soil under different ids: row i and row i + SOILS."""
    rng = np.random.default_rng(1)
    first = soils()
    both = np.concatenate([first, 1.1 * first + 0.05 + rng.normal(0, noise, first.shape)])
    targets = {"OC_g_kg": rng.lognormal(3, 0.6, SOILS), "pH": rng.normal(6.5, 1, SOILS)}
    return library(both, {name: np.tile(values, 2) for name, values in targets.items()}, ids)


def partition(labels):
    """The sets of rows with equal labels."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


PAIRS = {frozenset((row, row + SOILS)) for row in range(SOILS)}


def test_the_distance_is_the_rms_difference_of_snv_spectra():
    snv = snv_absorbance(soils(5), "absorbance")
    np.testing.assert_allclose(snv.std(axis=1), 1)
    expected = np.sqrt(((snv[:, None] - snv) ** 2).mean(axis=2))
    np.testing.assert_allclose(distances(snv), expected, atol=1e-7)
    np.testing.assert_allclose(snv_absorbance(10.0 ** -soils(5), "reflectance"), snv, atol=1e-12)


def test_equal_values_and_nearly_equal_spectra_make_a_sample_and_are_logged_with_the_override():
    linked = link_samples(replicated())
    assert partition(linked.sample_labels) == PAIRS
    (note,) = linked.notes
    assert "120 rows are scans of 60 samples" in note
    assert OVERRIDE in note
    assert "data.samples=id" in OVERRIDE
    assert linked.ids.tolist() == replicated().ids.tolist()


def test_no_split_and_no_fold_divides_linked_rows():
    linked = link_samples(replicated())
    for seed in range(50):
        parts, _ = split(linked, SplitConfig(method="random"), seed)
        assert not samples_divided(linked, parts).size
        assert not divided(linked.sample_labels, folds(linked, SplitConfig(), seed, 5).astype(str)).size
    assert group_labels(linked, keep_groups=False).max() + 1 == SOILS


def test_the_order_of_the_rows_does_not_change_the_samples():
    linked = link_samples(replicated())
    order = np.random.default_rng(2).permutation(len(linked))
    permuted = link_samples(replicated().rows(order))
    assert partition(permuted.sample_labels[np.argsort(order)]) == partition(linked.sample_labels)


@pytest.mark.parametrize("change", [1e-6, 0.5, np.nan])
def test_rows_with_different_values_are_never_linked(change):
    different = replicated(noise=0.0)
    values = different.targets["pH"].copy()
    values[SOILS:] += change
    assert link_samples(replace(different, targets={**different.targets, "pH": values})).samples is None


def test_rows_with_equal_values_and_different_spectra_are_never_linked_and_this_is_logged():
    absorbance = soils()
    targets = {"OC_g_kg": np.full(SOILS, 12.0), "pH": np.full(SOILS, 6.1)}
    distance = distances(snv_absorbance(absorbance, "absorbance"))
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > LARGEST_DISTANCE
    linked = link_samples(library(absorbance, targets))
    assert linked.samples is None
    (note,) = linked.notes
    assert "60 rows agree with another soil in all laboratory values" in note
    assert "data.id_column" in note


def test_one_equal_value_links_nothing_but_is_logged():
    whole = replicated()
    single = link_samples(replace(whole, targets={"pH": whole.targets["pH"]}))
    assert single.samples is None
    assert "60 pairs of rows agree in their only laboratory value" in single.notes[0]


def test_values_that_are_not_modelled_are_compared_too():
    whole = replicated()
    other = np.arange(len(whole), dtype=float)
    assert link_samples(whole, {**whole.targets, "clay_pct": other}).samples is None


def test_many_equal_values_link_replicates_of_a_handheld_scanner():
    noisy = replicated(noise=0.01)
    snv = snv_absorbance(noisy.spectra, "absorbance")
    between = distances(snv)[np.arange(SOILS), np.arange(SOILS) + SOILS]
    assert between.min() > LARGEST_DISTANCE
    assert between.max() < 0.2
    assert link_samples(noisy).samples is None
    rng = np.random.default_rng(3)
    many = {f"p{number}_pct": np.tile(rng.uniform(1, 9, SOILS), 2) for number in range(MANY_VALUES)}
    assert partition(link_samples(noisy, many).sample_labels) == PAIRS


def test_the_visible_range_is_not_compared():
    """A common slope below 1000 nm makes different soils alike."""
    absorbance = soils()
    visible = np.tile(np.linspace(9, 1, 120), (SOILS, 1))
    steep = replace(
        library(absorbance, {"OC_g_kg": np.full(SOILS, 12.0), "pH": np.full(SOILS, 6.1)}),
        spectra=np.hstack([visible, absorbance]).astype(np.float32),
        wavelengths_nm=np.concatenate([350 + 5.0 * np.arange(120), BANDS]),
    )
    assert distances(snv_absorbance(steep.spectra, "absorbance")).max() < LARGEST_DISTANCE
    assert link_samples(steep).samples is None


def test_equal_spectra_of_different_samples_are_a_warning():
    same = replicated(noise=0.0)
    same = replace(same, spectra=np.tile(same.spectra[:SOILS], (2, 1)))
    assert link_samples(same).warnings == ()
    values = np.arange(len(same), dtype=float)
    (warning,) = link_samples(replace(same, targets={"OC_g_kg": values})).warnings
    assert "60 rows have the spectrum of another soil, such as scan 0000x and scan 0060x" in warning


def named(form, first=1, values=None):
    """Three scans of each of 20 soils, named by `form`, unlike in spectrum."""
    ids = [form.format(soil=soil, scan=scan) for soil in range(20) for scan in range(first, first + 3)]
    values = np.repeat(np.arange(20.0), 3) if values is None else values
    return library(soils(60), {"OC_g_kg": values}, ids)


FORMS = (
    "{soil}_{scan}",
    "S{soil}-{scan}",
    "S {soil} rep{scan}",
    "S{soil}_rep{scan}",
    "S{soil} ({scan})",
    "S{soil}.00{scan}",
)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("form", [*FORMS, "0{scan}_{soil}_1", "S{soil}_scan_{scan}", "S{soil}_r{scan}"])
def test_names_with_the_number_of_the_scan_are_linked_if_the_values_agree(form, first):
    linked = link_samples(named(form, first))
    assert partition(linked.sample_labels) == {frozenset(range(row, row + 3)) for row in range(0, 60, 3)}
    assert OVERRIDE in linked.notes[0]


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_different_soils_link_nothing(form):
    """Plot and sample (`P1_1`, `P1_2`), or set and row (`CV.98-1`)."""
    plots = link_samples(named(form, values=np.arange(60.0)))
    assert plots.samples is None
    assert "laboratory values differ in 20 of 20" in plots.notes[0]
    assert link_samples(named(form, first=2)).samples is None, "no scan has number 2 as its first"
    unmeasured = np.where(np.arange(60) % 3 == 0, np.arange(60.0), np.nan)
    assert link_samples(named(form, values=unmeasured)).samples is None, "nothing shows that the values agree"


def test_a_stem_whose_values_differ_links_only_its_equal_rows():
    values = np.repeat(np.arange(20.0), 3)
    values[2] = 99
    labels = link_samples(named("{soil}_{scan}", values=values)).sample_labels
    assert labels[0] == labels[1]
    assert labels[2] != labels[0]
    values[2] = np.nan
    labels = link_samples(named("{soil}_{scan}", values=values)).sample_labels
    assert labels[2] == labels[0]


def test_another_column_of_names_links_rows_whose_values_agree():
    scans = named("scan {soil} {scan} x")
    names = np.repeat([f"S{soil}" for soil in range(20)], 3).tolist()
    assert len(partition(link_samples(scans, names=[names]).sample_labels)) == 20
    differing = replace(scans, targets={"OC_g_kg": np.arange(60.0)})
    assert link_samples(differing, names=[names]).samples is None


def test_a_declared_split_that_divides_linked_rows_is_kept_and_logged():
    parts = np.where(np.arange(2 * SOILS) < SOILS, "train", "test")
    linked = replace(link_samples(replicated()), parts=parts)
    kept, notes = split(linked, SplitConfig(), 0)
    np.testing.assert_array_equal(kept == "test", parts == "test")
    assert "puts scans of 60 samples into different parts" in notes[0]
    assert "scan 0000x (" in notes[0]
    assert "scores are optimistic" in notes[0]
    _, notes = split(linked, SplitConfig(method="random"), 0)
    assert not any("optimistic" in note for note in notes)


def test_average_replicates_averages_linked_rows_under_the_first_id():
    linked = link_samples(replicated())
    averaged = average_replicates(linked)
    assert averaged.ids.tolist() == linked.ids[:SOILS].tolist()
    assert (averaged.samples, averaged.scans) == (None, None)
    np.testing.assert_allclose(averaged.spectra, (linked.spectra[:SOILS] + linked.spectra[SOILS:]) / 2, rtol=1e-6)
    divided_groups = replace(linked, groups=np.repeat(["a", "b"], SOILS))
    with pytest.raises(InputError, match=r"data\.samples=id"):
        average_replicates(divided_groups)


def test_from_arrays_links_rows_only_without_sample_ids():
    both = replicated()
    arrays = {"spectra": both.spectra, "targets": both.targets, "wavelengths_nm": BANDS, "quantity": "absorbance"}
    assert partition(SpectralLibrary.from_arrays(**arrays).sample_labels) == PAIRS
    assert SpectralLibrary.from_arrays(**arrays, sample_ids=both.ids).samples is None


def read(tmp_path, table, **settings):
    return read_table(write(tmp_path / "soils.csv", table), DataConfig(minimum_values=10, **settings))


@pytest.mark.parametrize("sample", ["Sample Name", "sampleName", "SSN", "sample", "sample_id"])
@pytest.mark.parametrize("scan", ["scan_id", "scan", "uuid", "File Name"])
def test_the_column_of_samples_keeps_its_scans_together_and_the_scans_keep_their_names(tmp_path, sample, scan):
    samples = [f"S{row // 2}" for row in range(ROWS)]
    scans = [f"u{row}" for row in range(ROWS)]
    table = {scan: scans, **columns(id=None), sample: samples}
    read_library = read(tmp_path, table)
    assert read_library.ids.tolist() == samples
    assert read_library.scans.tolist() == scans
    (chunk,) = open_scans(tmp_path / "soils.csv").chunks(100)
    assert (chunk.ids.tolist(), chunk.scans.tolist()) == (samples, scans)


def test_a_column_of_samples_beside_an_id_of_scans_links_them(tmp_path):
    values = [f"{4 + row // 2 / 4}" for row in range(ROWS)]
    table = columns(pH=values, OC_g_kg=values, sample_id=[f"S{row // 2}" for row in range(ROWS)])
    linked = read(tmp_path, table)
    assert linked.ids.tolist() == columns()["id"]
    assert len(set(linked.sample_labels.tolist())) == ROWS // 2
    plots = columns(sample=[str(row % 3) for row in range(ROWS)])
    assert read(tmp_path, plots).samples is None, "the number of a sample within a plot"


def test_names_of_scans_are_ids_where_nothing_names_the_samples(tmp_path):
    names = [f"u{row}" for row in range(ROWS)]
    library_of_scans = read(tmp_path, columns(id=None, scan_id=names))
    assert (library_of_scans.ids.tolist(), library_of_scans.scans) == (names, None)
    counted = read(tmp_path, columns(id=None, replicate=[str(row % 3) for row in range(ROWS)]))
    assert len(set(counted.ids.tolist())) == ROWS, "the number of a scan names no sample"


def test_replicates_under_a_usual_name_are_linked_unless_the_config_says_otherwise(tmp_path):
    values = [f"{4 + row // 3}" for row in range(ROWS)]
    table = {"Sample Name": [f"{row // 3}_{row % 3 + 1}" for row in range(ROWS)], **columns(id=None, pH=values)}
    table["OC_g_kg"] = values
    assert len(set(read(tmp_path, table).sample_labels.tolist())) == ROWS // 3
    assert read(tmp_path, table, samples="id").samples is None


def test_laboratory_columns_are_compared_as_written_and_numbers_of_scans_are_not():
    texts = {
        "id": ["1", "2"],
        "OC_pct": ["1.5", ""],
        "OC_g_kg": ["15", "20"],
        "clay (%)": ["< 2", "12"],
        "scan_number": ["1", "2"],
        "temperature": ["20", "21"],
        "EC_mS_m": ["-9999", "3"],
        "name_pct": ["a", "b"],
    }
    values = measured_values(texts)
    assert list(values) == ["OC_g_kg", "clay_pct", "EC_mS_m"]
    np.testing.assert_array_equal(values["OC_g_kg"], [1.5, 20])
    np.testing.assert_array_equal(values["EC_mS_m"], [np.nan, 3])


def test_a_row_without_group_does_not_join_a_group_of_the_name_that_it_is_given(tmp_path):
    groups = ["", "alone:s1", *["a", "b"] * (ROWS // 2 - 1)]
    grouped = read(tmp_path, columns(field=groups), group_column="field")
    assert len(set(grouped.groups.tolist())) == 4
    assert NM[0] == grouped.wavelengths_nm[0]
