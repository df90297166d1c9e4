"""Laws of the methods of selection, and of the division of a count over groups."""

import re
from itertools import combinations

import numpy as np
import pytest

from relple_tf import select as command
from relple_tf.errors import InputError
from relple_tf.selection import k_medoids as k_medoids_module
from relple_tf.selection.allocation import allocate
from relple_tf.selection.k_medoids import k_medoids, sum_of_distances
from relple_tf.selection.kennard_stone import kennard_stone
from relple_tf.selection.latin_hypercube import latin_hypercube, strata
from relple_tf.selection.methods import METHODS


def cloud(rows=60, components=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, components))


def test_kennard_stone_on_a_line_selects_the_ends_and_then_the_middles():
    line = np.linspace(0, 16, 17)[:, None]
    assert kennard_stone(line, 5).tolist() == [0, 16, 8, 4, 12]


def test_each_sample_of_kennard_stone_is_the_farthest_from_those_before():
    scores = cloud()
    rows = kennard_stone(scores, 12)
    between = np.linalg.norm(scores[:, None] - scores[None], axis=2)
    assert between[rows[0], rows[1]] == between.max()
    for number in range(2, 12):
        nearest = between[:, rows[:number]].min(axis=1)
        assert nearest[rows[number]] == nearest.max()


def test_the_farthest_pair_is_found_across_blocks(monkeypatch):
    from relple_tf.selection import kennard_stone as module

    expected = kennard_stone(cloud(), 10)
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    assert kennard_stone(cloud(), 10).tolist() == expected.tolist()


def test_a_single_sample_is_the_nearest_to_the_mean():
    scores = np.array([[0.0], [4.0], [5.0], [11.0]])
    assert kennard_stone(scores, 1).tolist() == [2]


@pytest.mark.parametrize("seed", range(20))
def test_k_medoids_equals_exhaustive_search_in_clusters(seed):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [6, 0], [0, 6]])
    scores = np.concatenate([centre + rng.normal(0, 0.7, (5, 2)) for centre in centres])
    best = min(sum_of_distances(scores, np.array(rows)) for rows in combinations(range(15), 3))
    assert sum_of_distances(scores, k_medoids(scores, 3)) == pytest.approx(best)


def test_no_single_exchange_improves_the_medoids(monkeypatch):
    monkeypatch.setattr(k_medoids_module, "_BLOCK_ROWS", 7)
    scores = cloud(40)
    medoids = k_medoids(scores, 6)
    reached = sum_of_distances(scores, medoids)
    for place in range(6):
        for row in set(range(40)) - set(medoids.tolist()):
            exchanged = medoids.copy()
            exchanged[place] = row
            assert sum_of_distances(scores, exchanged) >= reached - 1e-9


def test_the_medoid_of_the_largest_cluster_is_first():
    scores = np.concatenate([np.full((3, 1), 0.0), np.full((9, 1), 10.0)]) + 0.01 * cloud(12, 1)
    assert k_medoids(scores, 2)[0] >= 3


def test_k_medoids_refuses_more_samples_than_fit_into_memory(monkeypatch):
    monkeypatch.setattr(k_medoids_module, "MOST_SAMPLES", 59)
    with pytest.raises(InputError, match=re.escape("at most 59 samples, received 60")):
        k_medoids(cloud(), 3)


@pytest.mark.parametrize("components", [1, 2])
def test_a_latin_hypercube_has_one_sample_per_stratum_where_that_is_possible(components):
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * components), axis=-1).reshape(-1, components)
    rows = latin_hypercube(grid, 4, seed=0)
    for column in strata(grid, 4)[rows].T:
        assert sorted(column) == [0, 1, 2, 3]


def test_a_latin_hypercube_keeps_the_correlation():
    rng = np.random.default_rng(0)
    first = rng.normal(size=300)
    scores = np.column_stack([first, 0.9 * first + 0.4 * rng.normal(size=300)])
    rows = latin_hypercube(scores, 15, seed=0)
    expected = np.corrcoef(scores.T)[0, 1]
    assert np.corrcoef(scores[rows].T)[0, 1] == pytest.approx(expected, abs=0.02)


def test_a_latin_hypercube_depends_on_its_seed_only():
    scores = cloud(200)
    rows = [set(latin_hypercube(scores, 10, seed).tolist()) for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3, 59, 60])
def test_every_method_selects_different_rows(method, count):
    rows = METHODS[method].choose(cloud(), count, 0)
    assert len(set(rows.tolist())) == len(rows) == len(METHODS[method].reasons(count)) == count


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_copies_are_selected_once_each(method, count):
    for scores in (np.zeros((12, 2)), np.repeat(cloud(6), 2, axis=0)):
        rows = METHODS[method].choose(scores, count, 0)
        assert len(set(rows.tolist())) == count


def test_the_command_lists_the_methods():
    assert tuple(METHODS) == command.METHODS


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"A": 10, "B": 10}, 4, {"A": 2, "B": 2}),
        ({"A": 60, "B": 30, "C": 10}, 10, {"A": 6, "B": 3, "C": 1}),
        ({"A": 97, "B": 2, "C": 1}, 10, {"A": 8, "B": 1, "C": 1}),  # at least one each
        ({"A": 3, "B": 9, "C": 5}, 2, {"A": 0, "B": 1, "C": 1}),  # the largest groups
        ({"A": 1, "B": 1, "C": 8}, 10, {"A": 1, "B": 1, "C": 8}),  # all
    ],
)
def test_a_count_is_divided_in_proportion(sizes, count, expected):
    assert allocate(sizes, count) == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_shares_of_groups_sum_to_the_count(seed):
    rng = np.random.default_rng(seed)
    sizes = {f"g{number}": int(size) for number, size in enumerate(rng.integers(1, 30, 8))}
    for count in range(1, sum(sizes.values()) + 1):
        shares = allocate(sizes, count)
        assert sum(shares.values()) == count
        assert all(min(1, count // 8) <= shares[name] <= sizes[name] for name in sizes)
        assert all(shares[a] >= shares[b] for a in sizes for b in sizes if sizes[a] > sizes[b])
