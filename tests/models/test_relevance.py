"""Laws of the correlation, and of the experts that a gate reads because of it."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CORRELATION, TARGETS, TINY, spec_of

from relple_tf.models.catalogue import ROUTINGS
from relple_tf.models.relevance import (
    EPSILON,
    MINIMUM_COMMON_ROWS,
    pearson,
    relevant_targets,
    unrelated_for_lack_of_rows,
)

RS_PLE = replace(TINY, architecture="rs_ple")


@pytest.fixture
def values():
    draw = np.random.default_rng(0)
    return draw.normal(size=(40, 3)) @ draw.normal(size=(3, 3))


def test_pearson_equals_numpy_on_complete_rows(values):
    np.testing.assert_allclose(pearson(values), np.corrcoef(values.T), rtol=1e-12)


def test_pearson_does_not_depend_on_unit_and_origin(values):
    np.testing.assert_allclose(pearson(values * [2, 0.01, 30] + [5, 0, -1]), pearson(values))


def test_pearson_is_pairwise_complete(values):
    values[:15, 0] = np.nan
    values[30:, 1] = np.nan
    expected = np.eye(3)
    for (k, j), rows in {(0, 1): slice(15, 30), (0, 2): slice(15, 40), (1, 2): slice(30)}.items():
        expected[k, j] = expected[j, k] = np.corrcoef(values[rows, k], values[rows, j])[0, 1]
    np.testing.assert_allclose(pearson(values), expected, rtol=1e-12)


@pytest.mark.parametrize("common", [0, 1, 9, 10, 11])
def test_a_pair_with_fewer_than_ten_common_rows_is_unrelated_and_reported(values, common):
    values[common:20, 0] = np.nan
    values[20:, 1] = np.nan
    enough = common >= 10
    assert MINIMUM_COMMON_ROWS == 10
    assert (pearson(values)[0, 1] != 0) == enough
    reported = unrelated_for_lack_of_rows(values, TARGETS)
    assert reported == ([] if enough else [("OC_g_kg", "CEC_cmolc_kg", common)])


def test_a_constant_target_is_unrelated(values):
    values[:, 2] = 7.0
    np.testing.assert_array_equal(pearson(values)[2], [0, 0, 1])


@pytest.mark.parametrize("architecture", ROUTINGS)
@pytest.mark.parametrize("relevance", ["hard", "soft"])
def test_only_rs_ple_reads_the_experts_of_another_target(architecture, relevance):
    config = replace(TINY, architecture=architecture, relevance=relevance, relevance_tau=0.0)
    gates, *_ = ROUTINGS[architecture](config, spec_of())
    of_other_targets = [
        name
        for target in TARGETS
        for name in gates[target]
        if any(f".{other}." in name for other in TARGETS if other != target)
    ]
    assert bool(of_other_targets) == (architecture == "rs_ple")


@pytest.mark.parametrize("tau", [0.0, 0.2, 0.3, 0.4, 0.5, 0.7, 0.71, 2.0])
def test_hard_reads_targets_with_absolute_r_of_at_least_tau(tau):
    read = relevant_targets(CORRELATION, TARGETS, replace(RS_PLE, relevance_tau=tau))
    for k, target in enumerate(TARGETS):
        related = {other: 0.0 for j, other in enumerate(TARGETS) if j != k and abs(CORRELATION[k, j]) >= tau}
        assert read[target] == related


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_soft_reads_all_and_adds_beta_log_r(beta):
    config = replace(RS_PLE, relevance="soft", relevance_beta=beta, relevance_tau=2.0)
    read = relevant_targets(CORRELATION, TARGETS, config)
    for k, target in enumerate(TARGETS):
        assert list(read[target]) == [other for other in TARGETS if other != target]
        for other, offset in read[target].items():
            r = CORRELATION[k, TARGETS.index(other)]
            assert offset == pytest.approx(beta * np.log(abs(r) + EPSILON), abs=1e-12)


def test_soft_is_finite_for_unrelated_targets():
    read = relevant_targets(np.eye(3), TARGETS, replace(RS_PLE, relevance="soft"))
    assert all(np.isfinite(v) for offsets in read.values() for v in offsets.values())
