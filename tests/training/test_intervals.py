"""Properties of the prediction intervals: ranks by hand, coverage by simulation, invariances."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.stats import beta

from relple_tf.models.target_scaling import TargetScale
from relple_tf.training.intervals import GROWTHS, Interval, achieved_coverage, fit_interval

RNG = np.random.default_rng(0)
SYMMETRIC = TargetScale.fit("pH", RNG.normal(7, 0.8, 300))
SKEWED = TargetScale.fit("OC_g_kg", np.exp(RNG.normal(2, 1, 300)))
SCALES = {"symmetric": SYMMETRIC, "skewed": SKEWED}
INTERVAL = Interval(target="pH", coverage=0.9, half_width=0.5, growth=2.0, root=False, non_negative=True, n=50)


def soils(rng, n, scale, error="equal"):
    """Measured, estimated and difficulty of n soils; the SD of the error is constant, or grows with difficulty."""
    modelled = rng.normal(size=n)
    difficulty = np.sqrt(rng.chisquare(6, n) / 30)
    size = 0.3 * (difficulty if error == "growing" else np.ones(n))
    measured = modelled + size * rng.standard_t(5, n)
    return scale.to_lab(measured), scale.to_lab(modelled), difficulty


def fitted(rng, n, scale, error="equal", coverage=0.9):
    return fit_interval(scale, *soils(rng, n, scale, error), coverage=coverage)


@pytest.mark.parametrize(("n", "coverage", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (100, 0.9, 91), (19, 0.5, 10)])
def test_half_width_is_the_conformal_rank_of_the_absolute_residuals(n, coverage, rank):
    residual = np.random.default_rng(n).permutation(np.arange(1.0, n + 1)) / 100
    estimated = np.full(n, 6.0)
    signs = np.where(np.arange(n) % 2, 1, -1)
    got = fit_interval(SYMMETRIC, estimated + signs * residual, estimated, np.zeros(n), coverage)
    assert got.half_width == pytest.approx(rank / 100)
    assert (got.growth, got.n, got.coverage, got.target) == (0.0, n, coverage, "pH")


def test_half_width_of_a_skewed_target_is_on_the_scale_of_the_square_root():
    root = np.exp(RNG.normal(0, 1, 49))
    residual = np.linspace(0.01, 0.49, 49)
    got = fit_interval(SKEWED, (root + residual) ** 2, root**2, np.zeros(49))
    assert got.half_width == pytest.approx(residual[44])
    lower, upper = got.bounds(root**2, np.zeros(49))
    np.testing.assert_allclose(upper, (root + residual[44]) ** 2)
    np.testing.assert_allclose(lower, np.where(root > residual[44], (root - residual[44]) ** 2, 0), atol=1e-12)
    assert (root < residual[44]).any()


@pytest.mark.parametrize("error", ["equal", "growing"])
@pytest.mark.parametrize("n", [40, 107])
@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_mean_coverage_of_new_soils_is_nominal(scale, n, error):
    """1,000 samples of soils to fit on, with 50 new soils each; the choice of growth may cost a percent at most."""
    rng = np.random.default_rng([n, len(error)])
    coverages = [
        achieved_coverage(fitted(rng, n, scale, error), *soils(rng, 50, scale, error))["coverage"] for _ in range(1000)
    ]
    assert 0.89 <= np.mean(coverages) <= 0.9 + 1 / n + 0.005


@pytest.mark.parametrize("error", ["equal", "growing"])
def test_the_coverage_of_single_samples_is_beta_distributed(error):
    """Vovk (2012): Beta(r, n + 1 - r) for n soils and rank r."""
    rng = np.random.default_rng(3)
    new = soils(rng, 40000, SYMMETRIC, error)
    coverages = [achieved_coverage(fitted(rng, 500, SYMMETRIC, error), *new)["coverage"] for _ in range(300)]
    expected = beta(451, 50).ppf([0.05, 0.5, 0.95])
    # The choice of growth costs a few thousandths; the sampling error of 40,000 soils is of the same size.
    np.testing.assert_allclose(np.quantile(coverages, [0.05, 0.5, 0.95]), expected, atol=0.008)


def test_growing_width_covers_difficult_soils_too_and_its_mean_is_smaller():
    rng = np.random.default_rng(1)
    measured, estimated, difficulty = soils(rng, 20000, SYMMETRIC, "growing")
    hard = difficulty > np.quantile(difficulty, 0.8)
    calibration = soils(rng, 2000, SYMMETRIC, "growing")
    growing = fit_interval(SYMMETRIC, *calibration)
    constant = fit_interval(SYMMETRIC, *calibration[:2], np.zeros(2000))
    assert growing.growth > 0
    hard_coverages = [
        achieved_coverage(interval, measured[hard], estimated[hard], difficulty[hard])["coverage"]
        for interval in (growing, constant)
    ]
    assert hard_coverages[0] > 0.86
    assert hard_coverages[1] < 0.80
    widths = [
        achieved_coverage(interval, measured, estimated, difficulty)["mean_width"] for interval in (growing, constant)
    ]
    assert widths[0] < widths[1]


def test_width_is_constant_if_errors_do_not_depend_on_difficulty():
    rng = np.random.default_rng(2)
    growths = [fitted(rng, 100, SYMMETRIC).growth for _ in range(200)]
    assert np.mean(np.equal(growths, 0)) >= 0.8
    assert GROWTHS[0] == 0


def test_a_hundred_soils_are_enough_to_detect_errors_that_grow_with_difficulty():
    rng = np.random.default_rng(2)
    growths = [fitted(rng, 100, SYMMETRIC, "growing").growth for _ in range(200)]
    assert np.mean(np.greater(growths, 0)) >= 0.8


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("non_negative", [True, False])
def test_interval_has_the_scale_of_the_target(root, non_negative):
    scale = replace(SYMMETRIC, root=root, non_negative=non_negative)
    got = fit_interval(scale, *soils(np.random.default_rng(4), 30, SYMMETRIC))
    assert (got.root, got.non_negative) == (root, non_negative)


@pytest.mark.parametrize("error", ["equal", "growing"])
def test_the_conformal_fraction_of_the_fitted_soils_lies_within(error):
    data = soils(np.random.default_rng(5), 99, SKEWED, error)
    assert achieved_coverage(fit_interval(SKEWED, *data), *data)["coverage"] == pytest.approx(90 / 99)


def test_the_interval_does_not_depend_on_the_order_of_soils_or_on_unmeasured_soils():
    data = soils(np.random.default_rng(6), 60, SKEWED, "growing")
    expected = fit_interval(SKEWED, *data)
    reversed_rows = fit_interval(SKEWED, *(column[::-1] for column in data))
    assert reversed_rows.half_width == pytest.approx(expected.half_width)
    with_unmeasured = [np.concatenate([column, np.full(7, np.nan)]) for column in data]
    assert fit_interval(SKEWED, *with_unmeasured) == expected


def test_the_half_width_scales_with_the_unit():
    measured, estimated, difficulty = soils(np.random.default_rng(7), 60, SYMMETRIC, "growing")
    interval = fit_interval(SYMMETRIC, measured, estimated, difficulty)
    scaled = fit_interval(SYMMETRIC, 10 * measured, 10 * estimated, difficulty)
    assert scaled.half_width == pytest.approx(10 * interval.half_width)
    assert scaled.growth == interval.growth


def test_bounds_move_away_from_the_estimate_with_difficulty():
    lower, upper = INTERVAL.bounds([6.0, 6.0, 6.0, 0.3], [0.0, 0.5, 2.0, 0.0])
    np.testing.assert_allclose(lower, [5.5, 5.0, 3.5, 0.0])
    np.testing.assert_allclose(upper, [6.5, 7.0, 8.5, 0.8])


def test_bounds_may_leave_the_range_of_the_training_values_but_are_not_negative():
    highest = SKEWED.to_lab(np.array([np.inf]))
    reach = 2 * np.sqrt(highest[0])
    wide = Interval(target="a", coverage=0.9, half_width=reach, growth=0.0, root=True, non_negative=True, n=50)
    lower, upper = wide.bounds([highest[0], 0.5, 0.0], np.zeros(3))
    assert upper[0] > 5 * highest[0]
    np.testing.assert_array_equal(lower[1:], 0.0)
    assert replace(INTERVAL, non_negative=False).bounds([0.3], [0.0])[0] == pytest.approx(-0.2)


@pytest.mark.parametrize(("estimated", "difficulty"), [(np.nan, 0.1), (6.0, np.nan), (6.0, np.inf)])
@pytest.mark.parametrize("growth", [0.0, 2.0])
def test_bounds_are_nan_without_a_finite_estimate_and_difficulty(estimated, difficulty, growth):
    ends = replace(INTERVAL, growth=growth).bounds([estimated, 6.0], [difficulty, 0.0])
    assert np.isnan([end[0] for end in ends]).all()
    assert np.isfinite([end[1] for end in ends]).all()


def test_the_upper_bound_grows_without_limit():
    lower, upper = replace(INTERVAL, root=True).bounds([6.0], [1e6])
    assert lower[0] == 0
    assert upper[0] == pytest.approx((np.sqrt(6) + 0.5 * (1 + 2e6)) ** 2)


@pytest.mark.parametrize(("n", "available"), [(0, False), (8, False), (9, True)])
def test_too_few_soils_give_an_interval_without_half_width(n, available):
    got = fitted(np.random.default_rng(8), n, SYMMETRIC)
    assert (got.half_width is not None) == available
    assert got.n == n
    ends = got.bounds([6.0], [0.5])
    assert np.isfinite(ends).all() == available
    achieved = achieved_coverage(got, np.array([6.0]), np.array([6.0]), np.array([0.5]))
    assert (achieved["coverage"] is not None) == available


@pytest.mark.parametrize("n", [8, 50])
def test_an_interval_is_restored_from_json(n):
    interval = fitted(np.random.default_rng(9), n, SKEWED, "growing")
    assert Interval(**json.loads(json.dumps(asdict(interval), allow_nan=False))) == interval


def test_exact_estimates_have_an_interval_of_width_zero():
    values = np.linspace(5, 8, 20)
    got = fit_interval(SYMMETRIC, values, values, np.ones(20))
    assert (got.half_width, got.growth) == (0.0, 0.0)


@pytest.mark.parametrize("column", [1, 2])
def test_an_estimate_or_difficulty_that_is_nan_is_refused(column):
    data = list(soils(np.random.default_rng(10), 30, SYMMETRIC))
    data[column][4] = np.nan
    with pytest.raises(ValueError, match="finite estimates and difficulties"):
        fit_interval(SYMMETRIC, *data)


def test_achieved_coverage_by_hand():
    measured = np.array([6.4, 6.6, np.nan, 5.0, 7.0])
    estimated = np.array([6.0, 6.0, 6.0, 6.0, np.nan])
    got = achieved_coverage(INTERVAL, measured, estimated, np.array([0.0, 0.0, 0.0, 0.5, 0.0]))
    assert got == {"n": 3, "coverage": pytest.approx(2 / 3), "mean_width": pytest.approx((1 + 1 + 2) / 3)}


def test_achieved_coverage_without_soils_is_none():
    missing = np.array([np.nan])
    got = achieved_coverage(INTERVAL, missing, missing, missing)
    assert got == {"n": 0, "coverage": None, "mean_width": None}
