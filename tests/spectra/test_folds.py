"""Properties of the cross-validation folds."""

from dataclasses import replace

import numpy as np
import pytest

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds, folds
from relple_tf.spectra.splitting.grouping import group_labels, whole_groups
from relple_tf.spectra.splitting.split import split

RANDOM = SplitConfig(method="random")
WITHIN = replace(RANDOM, within_groups=True)
BLOCKS = replace(RANDOM, block_km=50)


def make(rows=200, seed=0):
    """Fields of 1 to 9 rows, pairs of scans (some across two fields) at 60 sites 111 km apart, a target with gaps."""
    rng = np.random.default_rng(seed)
    fields = np.repeat(np.arange(rows), rng.integers(1, 10, rows))[:rows]
    return SpectralLibrary(
        source="made",
        spectra=rng.normal(1, 0.1, (rows, 12)).astype(np.float32),
        wavelengths_nm=1100 + 10.0 * np.arange(12),
        quantity="absorbance",
        targets={
            "OC_g_kg": rng.lognormal(3, 0.6, rows),
            "pH": np.where(rng.random(rows) < 0.5, np.nan, rng.normal(6.5, 1, rows)),
        },
        ids=np.array([f"s{row // 2}" for row in range(rows)]),
        groups=fields.astype(str),
        coordinates=np.column_stack([np.repeat(rng.integers(0, 60, rows // 2), 2), np.zeros(rows)]),
    )


def divided(groups, fold):
    return any(len(set(fold[groups == group].tolist())) > 1 for group in set(groups.tolist()))


@pytest.mark.parametrize("config", [RANDOM, WITHIN, replace(WITHIN, block_km=50)], ids=["groups", "ids", "blocks"])
@pytest.mark.parametrize("count", [2, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_in_a_fold_and_no_fold_divides_a_group(config, count, seed):
    library = make()
    fold = folds(library, config, seed, count)
    groups = group_labels(library, not config.within_groups, config.block_km)
    assert set(fold.tolist()) == set(range(count))
    assert not divided(groups, fold)
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= np.bincount(groups).max()


def test_folds_of_ungrouped_rows_have_equal_size():
    library = replace(make(), ids=np.array([f"s{row}" for row in range(200)]), groups=None)
    assert np.bincount(folds(library, RANDOM, 0, 8)).tolist() == [25] * 8


def test_folds_are_reproducible_by_seed():
    library = make()
    first = folds(library, RANDOM, 0, 5)
    np.testing.assert_array_equal(folds(library, RANDOM, 0, 5), first)
    assert np.any(folds(library, RANDOM, 1, 5) != first)


@pytest.mark.parametrize("config", [RANDOM, WITHIN, replace(WITHIN, block_km=50), BLOCKS])
def test_development_rows_are_in_a_fold_and_test_rows_in_none(config):
    library = make()
    if config is BLOCKS:
        # Fields would link most sites into a single group.
        library = replace(library, groups=None)
    parts, _ = split(library, config, 0)
    fold = development_folds(library, parts, 0, 5, config.block_km)
    np.testing.assert_array_equal(fold == -1, parts == "test")
    assert set(fold[parts != "test"].tolist()) == set(range(5))
    groups = whole_groups(library, parts, config.block_km)
    assert not divided(groups[parts != "test"], fold[parts != "test"])


def test_folds_divide_groups_only_if_the_split_does():
    library = replace(make(), ids=np.array([f"s{row}" for row in range(200)]))
    for config, expected in ((RANDOM, False), (WITHIN, True)):
        parts, _ = split(library, config, 0)
        fold = development_folds(library, parts, 0, 5)
        development = parts != "test"
        assert divided(library.groups[development], fold[development]) == expected


def test_unused_rows_are_in_no_fold_and_divide_no_group():
    library = replace(make(), ids=np.array([f"s{row}" for row in range(200)]))
    parts, _ = split(library, RANDOM, 0)
    parts = np.where(np.arange(200) % 3 == 0, "", parts)
    fold = development_folds(library, parts, 0, 5)
    development = np.isin(parts, ("train", "validation"))
    np.testing.assert_array_equal(fold >= 0, development)
    assert not divided(library.groups[development], fold[development])


def test_folds_do_not_depend_on_the_values_of_test_rows():
    library = make()
    parts, _ = split(library, RANDOM, 0)
    without_test_values = {name: np.where(parts == "test", np.nan, values) for name, values in library.targets.items()}
    changed = replace(library, targets=without_test_values)
    np.testing.assert_array_equal(development_folds(changed, parts, 0, 5), development_folds(library, parts, 0, 5))


def test_rows_that_are_not_selected_are_in_no_fold():
    rows = np.arange(200) >= 100
    fold = folds(make(), RANDOM, 0, 4, rows)
    assert set(fold[:100].tolist()) == {-1}
    assert set(fold[100:].tolist()) == {0, 1, 2, 3}


def test_the_number_of_folds_is_at_most_the_number_of_groups():
    library = replace(make(12), ids=np.array(list("aaaabbbbcccc")), groups=None)
    fold = folds(library, RANDOM, 0, 10)
    assert sorted(np.bincount(fold).tolist()) == [4, 4, 4]


def test_the_draw_is_repeated_until_enough_values_are_outside_every_fold():
    """Three values in 60 rows: a fold that contains two of them leaves only one value for training."""
    library = replace(make(60), ids=np.array([f"s{row}" for row in range(60)]), groups=None)
    sparse = np.full(60, np.nan)
    sparse[:3] = [1, 2, 3]
    library = replace(library, targets={"pH": sparse})
    for seed in range(10):
        fold = folds(library, RANDOM, seed, 5)
        assert len(set(fold[:3].tolist())) == 3


def single_group():
    return replace(make(20), groups=np.array(["a"] * 20))


def constant_target():
    return replace(make(20), targets={"pH": np.full(20, 7.0)}, groups=None)


@pytest.mark.parametrize(
    ("library", "config", "message"),
    [
        (single_group(), RANDOM, "20 rows form 1 group.*within_groups=true"),
        (
            constant_target(),
            RANDOM,
            "pH has 1 distinct measured values outside fold 1 of 5, training needs 2.*--targets",
        ),
        (replace(make(20), coordinates=None), BLOCKS, "block_km=50 needs coordinates"),
    ],
)
def test_impossible_folds_are_refused_in_one_line(library, config, message):
    with pytest.raises(InputError, match=message) as error:
        folds(library, config, 0, 5)
    assert "\n" not in str(error.value)
