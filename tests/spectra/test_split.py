"""Properties of the split into training, validation and test parts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from astartes import train_test_split
from scipy.spatial.distance import pdist, squareform

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting import distance_order as ordering
from relple_tf.spectra.splitting.distance_order import distance_order
from relple_tf.spectra.splitting.grouping import block_divided, group_divided, group_labels, whole_groups
from relple_tf.spectra.splitting.split import PARTS, split

METHODS = ("auto", "random", "kennard_stone", "spxy")


def make(rows=200, bands=12, groups=None, ids=None, parts=None, seed=0, coordinates=None):
    """Smooth absorbance with two targets, one of which has gaps."""
    rng = np.random.default_rng(seed)
    spectra = rng.normal(size=(rows, bands)).cumsum(axis=1).astype(np.float32) / 20 + 1
    oc = rng.lognormal(3, 0.6, rows)
    ph = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(6.5, 1, rows))
    return SpectralLibrary(
        source="made",
        spectra=spectra,
        wavelengths_nm=1100 + 10.0 * np.arange(bands),
        quantity="absorbance",
        targets={"OC_g_kg": oc, "pH": ph},
        ids=np.array([f"s{i}" for i in range(rows)]) if ids is None else np.asarray(ids, str),
        groups=None if groups is None else np.asarray(groups, str),
        parts=None if parts is None else np.asarray(parts, str),
        coordinates=None if coordinates is None else np.asarray(coordinates, float),
    )


def grouped(rows=200):
    """Fields of 1 to 9 rows, and pairs of scans, some pairs across two fields."""
    rng = np.random.default_rng(5)
    fields = np.repeat(np.arange(rows), rng.integers(1, 10, rows))[:rows]
    return make(rows, groups=fields, ids=[f"s{i // 2}" for i in range(rows)])


def fraction(parts, part):
    return np.mean(parts == part)


def parts_of(labels, parts):
    """Label -> the set of parts in which it occurs."""
    return {label: set(parts[labels == label].tolist()) for label in set(labels.tolist())}


def divides(parts, labels):
    """Whether rows with the same label are in more than one part."""
    return any(len(occupied) > 1 for occupied in parts_of(labels, parts).values())


@pytest.mark.parametrize("method", [*METHODS, "group"])
@pytest.mark.parametrize("seed", range(3))
def test_a_split_divides_neither_samples_nor_groups(method, seed):
    library = grouped()
    parts, notes = split(library, SplitConfig(method=method), seed)
    assert set(parts.tolist()) == set(PARTS)
    assert not divides(parts, library.groups)
    assert not divides(parts, library.ids)
    assert notes == ()


@pytest.mark.parametrize("method", METHODS)
def test_within_groups_divides_groups_but_no_sample_with_a_note(method):
    library = grouped()
    parts, notes = split(library, SplitConfig(method=method, within_groups=True), 0)
    assert divides(parts, library.groups)
    assert not divides(parts, library.ids)
    divided = sum(len(occupied) > 1 for occupied in parts_of(library.groups, parts).values())
    assert f"{divided} of {len(set(library.groups))} groups" in notes[0]
    assert "not for a new field" in notes[0]


def test_an_id_in_two_groups_joins_the_groups():
    library = make(6, groups=["a", "a", "b", "b", "c", "d"], ids=["1", "2", "2", "3", "4", "4"])
    assert group_labels(library, keep_groups=True).tolist() == [0, 0, 0, 0, 1, 1]
    assert group_labels(library, keep_groups=False).tolist() == [0, 1, 1, 2, 3, 3]


BLOCKS = SplitConfig(block_km=50)
DEGREES = np.repeat(np.arange(20.0), 10)
"""Longitudes at the equator, 111 km apart: 20 sites in separate blocks, with ten of 200 rows each."""
SITES = np.column_stack([DEGREES, np.zeros(200)])


@pytest.mark.parametrize("method", METHODS)
def test_a_split_divides_no_block_even_if_it_divides_groups(method):
    # Row i is in group i % 2 and at site i // 10, so each site has rows of both groups.
    library = make(coordinates=SITES, groups=[str(i % 2) for i in range(200)])
    config = replace(BLOCKS, method=method, within_groups=True)
    parts, notes = split(library, config, 0)
    assert not divides(parts, DEGREES)
    assert [np.sum(parts == part) for part in PARTS] == [130, 30, 40]
    assert notes[1] == "the rows come from 20 blocks of 50 km"
    assert (group_divided(library, parts), block_divided(library, parts, 50)) == (2, 0)
    groups = whole_groups(library, parts, block_km=50)
    np.testing.assert_array_equal(groups, group_labels(library, keep_groups=False, block_km=50))


def test_ids_groups_and_blocks_link_rows():
    """Rows 0 and 1 share a block, 1 and 2 a group, 4 and 5 an id in two blocks."""
    sites = [[0, 0], [0.001, 0], [9, 0], [20, 0], [30, 0], [40, 0]]
    library = make(6, groups=list("abbcde"), ids=list("012344"), coordinates=sites)
    assert group_labels(library, keep_groups=True, block_km=10).tolist() == [0, 0, 0, 1, 2, 2]
    assert group_labels(library, keep_groups=False, block_km=10).tolist() == [0, 0, 1, 2, 3, 3]
    assert group_labels(library, keep_groups=True).tolist() == [0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("seed", range(3))
def test_a_declared_split_that_divides_blocks_is_used_with_a_note(seed):
    declared = np.array(["test" if i % 10 < 3 and i < 70 else "train" for i in range(200)])
    library = make(coordinates=SITES, parts=declared)
    parts, (note,) = split(library, BLOCKS, seed)
    np.testing.assert_array_equal(parts == "test", declared == "test")
    divided = sum(len(occupied) > 1 for occupied in parts_of(DEGREES, parts).values())
    assert divided >= 7
    assert note.startswith(f"the declared split divides {divided} blocks of 50 km")
    np.testing.assert_array_equal(whole_groups(library, parts, 50), group_labels(library, keep_groups=False))


def test_validation_divides_no_block_if_the_declared_split_divides_none():
    declared = np.array(["test"] * 50 + ["train"] * 150)
    library = make(coordinates=SITES, parts=declared)
    parts, _ = split(library, BLOCKS, 0)
    assert not divides(parts, DEGREES)
    assert np.sum(parts == "validation") == 30


def test_group_divided_counts_the_groups_in_more_than_one_part():
    library = make(6, groups=list("aabbcc"))
    parts = np.array(["train", "test", "test", "test", "train", "validation"])
    assert group_divided(library, parts) == 2
    assert group_divided(make(6), parts) == 0


@pytest.mark.parametrize("method", [*METHODS, "group"])
@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.15), (0.4, 0.3), (0.05, 0.05)])
def test_fractions_differ_from_the_config_by_at_most_the_largest_group(method, test, validation):
    library = grouped(400)
    config = SplitConfig(method=method, test=test, validation=validation)
    parts, _ = split(library, config, 3)
    largest = np.bincount(group_labels(library, keep_groups=True)).max() / len(library)
    assert fraction(parts, "test") == pytest.approx(test, abs=largest)
    assert fraction(parts, "validation") == pytest.approx(validation, abs=largest)


@pytest.mark.parametrize("method", METHODS)
def test_ungrouped_rows_meet_the_fractions_exactly(method):
    parts, _ = split(make(200), SplitConfig(method=method), 0)
    assert [np.sum(parts == part) for part in PARTS] == [130, 30, 40]


@pytest.mark.parametrize("method", [*METHODS, "group"])
def test_no_part_is_empty_if_group_sizes_differ_strongly(method):
    library = make(60, groups=["a"] * 50 + ["b"] * 6 + ["c"] * 4)
    for seed in range(5):
        parts, _ = split(library, SplitConfig(method=method), seed)
        assert set(parts.tolist()) == set(PARTS)
        assert not divides(parts, library.groups)


@pytest.mark.parametrize("method", METHODS)
def test_a_split_is_reproducible_by_seed(method):
    library = make()
    config = SplitConfig(method=method)
    first = split(library, config, 0)[0]
    np.testing.assert_array_equal(split(library, config, 0)[0], first)
    assert np.any(split(library, config, 1)[0] != first)


def test_a_random_split_does_not_depend_on_the_names_of_samples():
    """The draw uses sorted labels, not the order of a hash."""
    library = make(40, ids=[f"{i:03d}" for i in range(40)])
    renamed = replace(library, ids=np.array([f"x{i:03d}" for i in range(40)]))
    config = SplitConfig(method="random")
    np.testing.assert_array_equal(split(library, config, 7)[0], split(renamed, config, 7)[0])


def test_declared_parts_are_used_unchanged():
    declared = np.array([PARTS[i % 3] for i in range(60)])
    parts, notes = split(make(60, parts=declared), SplitConfig(), 0)
    np.testing.assert_array_equal(parts, declared)
    assert notes == ()


def test_parts_of_a_file_override_those_of_the_library():
    file = np.array(["test"] * 20 + ["train"] * 40)
    library = make(60, parts=["train"] * 40 + ["test"] * 20)
    parts, _ = split(library, SplitConfig(method="given"), 0, file)
    np.testing.assert_array_equal(parts == "test", file == "test")


@pytest.mark.parametrize("groups", [None, [i // 4 for i in range(100)]])
def test_validation_is_drawn_from_training_rows_only(groups):
    declared = np.array(["test"] * 40 + ["train"] * 60)
    validations = []
    for seed in range(3):
        parts, notes = split(make(100, groups=groups, parts=declared), SplitConfig(), seed)
        np.testing.assert_array_equal(parts == "test", declared == "test")
        assert np.sum(parts == "validation") in (15, 16)
        assert notes == ()
        if groups is not None:
            assert not divides(parts, np.array(groups))
        validations.append(parts == "validation")
    assert all(np.any(a != b) for a, b in itertools.combinations(validations, 2))


def test_a_declared_split_that_divides_groups_is_used_with_a_note():
    groups = [f"f{i // 10}" for i in range(100)]
    # Seven of ten fields have three rows in the test part, three fields have none.
    declared = ["test" if i % 10 < 3 and i < 70 else "train" for i in range(100)]
    library = make(100, groups=groups, parts=declared)
    parts, (note,) = split(library, SplitConfig(), 0)
    assert np.array_equal(parts == "test", np.array(declared) == "test")
    # Validation is drawn row by row: 15 rows cannot be whole fields of 7 and 10 rows.
    assert np.sum(parts == "validation") == 15
    divided = sum(len(occupied) > 1 for occupied in parts_of(library.groups, parts).values())
    assert divided >= 7
    assert note.startswith(f"{divided} of 10 groups are divided")
    assert "--set split.method=group" in note


def test_a_note_states_that_a_declared_split_is_ignored():
    parts = ["train"] * 40 + ["test"] * 20
    _, notes = split(make(60, parts=parts), SplitConfig(method="random"), 0)
    assert notes == ("a split is declared, but split.method=random ignores it",)


def snv(spectra):
    x = spectra.astype(float)
    x -= x.mean(axis=1, keepdims=True)
    return x / x.std(axis=1, ddof=1, keepdims=True)


def test_kennard_stone_starts_with_the_farthest_pair():
    library = make(50)
    order = distance_order(library, np.arange(50), with_targets=False)
    distances = squareform(pdist(snv(library.spectra)))
    assert sorted(order) == list(range(50))
    assert distances[order[0], order[1]] == pytest.approx(distances.max())
    # Each next row is the farthest from the rows selected before.
    for count in range(2, 49):
        nearest = distances[np.ix_(order[count:], order[:count])].min(axis=1)
        assert nearest[0] == pytest.approx(nearest.max(), rel=1e-5)


def test_kennard_stone_selects_the_same_test_rows_as_astartes():
    library = make(80)
    parts, _ = split(library, SplitConfig(method="kennard_stone", test=0.25), 0)
    *_, train, test = train_test_split(
        snv(library.spectra),
        train_size=0.75,
        test_size=0.25,
        sampler="kennard_stone",
        return_indices=True,
    )
    assert set(np.flatnonzero(parts == "test")) == set(test)
    assert set(np.flatnonzero(parts != "test")) == set(train)


def test_spxy_with_one_target_selects_the_same_test_rows_as_astartes():
    library = make(80)
    oc = library.targets["OC_g_kg"]
    library = replace(library, targets={"OC_g_kg": oc})
    parts, _ = split(library, SplitConfig(method="spxy", test=0.25), 0)
    *_, test = train_test_split(
        snv(library.spectra),
        oc,
        train_size=0.75,
        test_size=0.25,
        sampler="spxy",
        return_indices=True,
    )
    assert set(np.flatnonzero(parts == "test")) == set(test)


def test_spxy_depends_on_targets_and_kennard_stone_does_not():
    library = make(80)
    other = replace(library, targets={"OC_g_kg": library.targets["OC_g_kg"][::-1].copy()})
    for method, same in (("kennard_stone", True), ("spxy", False)):
        config = SplitConfig(method=method)
        first, second = (split(lib, config, 0)[0] == "test" for lib in (library, other))
        assert np.array_equal(first, second) == same


def test_kennard_stone_converts_reflectance_to_absorbance():
    library = make(60)
    as_reflectance = replace(library, quantity="reflectance", spectra=10**-library.spectra)
    config = SplitConfig(method="kennard_stone")
    np.testing.assert_array_equal(split(library, config, 0)[0], split(as_reflectance, config, 0)[0])


def test_the_draw_is_repeated_until_every_target_is_measured_in_every_part():
    library = make(60)
    sparse = np.full(60, np.nan)
    sparse[:6] = np.arange(6)
    library = replace(library, targets={"pH": sparse})
    for seed in range(10):
        parts, _ = split(library, SplitConfig(method="random"), seed)
        assert min(np.sum(parts[:6] == part) for part in PARTS) >= 2


@pytest.mark.parametrize("method", ["kennard_stone", "spxy"])
def test_distance_methods_work_on_seven_rows(method):
    library = make(7)
    library = replace(library, targets={"pH": np.arange(7.0)})
    parts, _ = split(library, SplitConfig(method=method, test=0.3, validation=0.3), 0)
    assert [np.sum(parts == part) for part in PARTS] == [3, 2, 2]


GIVEN = SplitConfig(method="given")
TWO_FIELDS = ["a"] * 30 + ["b"] * 30
HALVES = ["train"] * 30 + ["test"] * 30


@pytest.mark.parametrize(
    ("library", "config", "message"),
    [
        (make(60), GIVEN, "needs a declared split.*split.file"),
        (make(60, parts=["train"] * 60), GIVEN, "no test rows"),
        (make(60, parts=["test"] * 60), GIVEN, "no train rows"),
        (make(60, parts=["train"] * 59 + ["tset"]), GIVEN, "'tset'.*train, validation, test"),
        (make(60, ids=["s"] * 60, parts=HALVES), GIVEN, "scans of s into different parts"),
        (make(60, groups=TWO_FIELDS, parts=HALVES), GIVEN, "none is left for validation"),
        (make(60), SplitConfig(method="group"), "needs groups.*data.group_column"),
        (grouped(), SplitConfig(method="group", within_groups=True), "drop either"),
        (make(60, groups=TWO_FIELDS), SplitConfig(), "60 rows form 2 groups.*within_groups=true"),
        (make(2), SplitConfig(), "2 rows form 2 groups.*add samples"),
        (make(60), BLOCKS, r"block_km=50 needs coordinates, but the rows have none.*--set split\.block_km=0"),
        (
            make(60, coordinates=[[5, 50], [np.nan, np.nan]] * 30),
            BLOCKS,
            r"30 rows have none, the first is row 2 \(s1\)",
        ),
        (make(60, coordinates=[[5, 50]] * 60), BLOCKS, r"60 rows form 1 group .*smaller than split\.block_km=50"),
        (make(5), SplitConfig(), "OC_g_kg has 1 measured values in the validation part"),
    ],
)
def test_an_impossible_split_is_refused_in_one_line(library, config, message):
    with pytest.raises(InputError, match=message) as error:
        split(library, config, 0)
    assert "\n" not in str(error.value)


def test_declared_parts_of_the_wrong_length_are_refused():
    with pytest.raises(InputError, match="a declared part for each of 60 rows, got 3"):
        split(make(60), GIVEN, 0, np.array(PARTS))


def test_too_many_groups_for_all_distances_are_refused(monkeypatch):
    monkeypatch.setattr(ordering, "MOST_DISTANCE_GROUPS", 50)
    with pytest.raises(InputError, match=r"at most 50 groups, got 60.*method=random"):
        split(make(60), SplitConfig(method="spxy"), 0)
