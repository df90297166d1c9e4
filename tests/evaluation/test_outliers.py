"""The outlier table lists and explains planted outliers and no other soils."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation, norm

from relple_tf.evaluation.outliers import FEWEST_RESIDUALS, LEAST_CUTOFF, cutoff, outliers, studentised
from relple_tf.models.domain import Limits
from relple_tf.models.target_scaling import TargetScale

LIMITS = Limits(t2=100.0, q=2.0, share=0.99)
N = 200


class Soils:
    """Arguments of `outliers` for N soils without outliers; the tests plant outliers."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.ids = np.array([f"soil{i}" for i in range(N)])
        self.t2, self.q = rng.uniform(10, 90, N), rng.uniform(0.1, 1.9, N)
        modelled = rng.normal(size=(2, N))
        # Residuals at the quantiles of the normal distribution: the largest is 2.8 SD, for every seed.
        residuals = 0.1 * norm.ppf((np.arange(N) + 0.5) / N)
        self.scales = (
            TargetScale.fit("OC_g_kg", np.exp(modelled[0] + 2.5)),
            TargetScale.fit("pH", modelled[1] + 6.5),
        )
        self.measured = {s.name: s.to_lab(m) for s, m in zip(self.scales, modelled, strict=True)}
        self.expected = {
            s.name: s.to_lab(s.to_model(self.measured[s.name]) - rng.permutation(residuals)) for s in self.scales
        }

    def table(self, **options):
        arguments = (self.ids, self.t2, self.q, LIMITS, self.scales, self.measured, self.expected)
        return outliers(*arguments, **options)


@pytest.fixture
def soils():
    return Soils()


def test_soils_without_outliers_give_an_empty_table_with_its_columns(soils):
    table = soils.table()
    assert len(table) == 0
    assert list(table) == ["id", "t2_by_limit", "q_by_limit", "OC_g_kg_studentised", "pH_studentised", "reason"]


def test_planted_outliers_are_listed_explained_and_sorted(soils):
    soils.t2[3], soils.q[3] = 400.0, 1.0
    soils.t2[7], soils.q[7] = 150.0, 200.0
    soils.measured["OC_g_kg"][11], soils.expected["OC_g_kg"][11] = 45.0, 12.0
    table = soils.table()
    assert table["id"].tolist() == ["soil7", "soil11", "soil3"]
    assert table["reason"].tolist() == [
        "unusual spectrum: T2 1.5 times its limit, Q 100 times its limit",
        "laboratory value of OC_g_kg does not fit its spectrum: measured 45, expected 12",
        "unusual spectrum: T2 4 times its limit",
    ]
    np.testing.assert_allclose(table["t2_by_limit"], [1.5, soils.t2[11] / 100, 4.0])
    np.testing.assert_allclose(table["q_by_limit"], [100.0, soils.q[11] / 2, 0.5])


def test_a_soil_with_several_reasons_lists_all(soils):
    soils.q[5] = 3.0
    soils.measured["OC_g_kg"][5], soils.expected["OC_g_kg"][5] = 1.0, 80.0
    soils.measured["pH"][5], soils.expected["pH"][5] = 9.0, 4.251
    (reason,) = soils.table()["reason"]
    assert reason == (
        "unusual spectrum: Q 1.5 times its limit; "
        "laboratory value of OC_g_kg does not fit its spectrum: measured 1, expected 80; "
        "laboratory value of pH does not fit its spectrum: measured 9, expected 4.25"
    )


def test_a_soil_at_the_limits_is_no_outlier(soils):
    soils.t2[0], soils.q[0] = LIMITS.t2, LIMITS.q
    assert len(soils.table()) == 0


def test_a_shortened_table_keeps_the_most_extreme_outliers(soils):
    soils.t2[:50] = 101.0 + np.random.default_rng(0).permutation(50)
    full = soils.table(most=100)
    assert len(full) == 50
    assert full["t2_by_limit"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(soils.table(most=7), full.iloc[:7])


@pytest.mark.parametrize("name", ["t2", "q"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_soil_whose_t2_or_q_is_not_finite_is_listed_first(soils, name, value):
    soils.t2[3] = 4000.0
    getattr(soils, name)[8] = value
    table = soils.table()
    assert table["id"].tolist() == ["soil8", "soil3"]
    assert table["reason"][0] == "T2 or Q of the spectrum is not finite"


def test_missing_laboratory_values_are_not_flagged(soils):
    soils.measured["pH"][::2] = np.nan
    soils.expected["pH"][::2] = 1000.0
    assert len(soils.table()) == 0
    soils.t2[0] = 400.0
    assert np.isnan(soils.table()["pH_studentised"].item())


def test_skewed_targets_are_compared_on_their_modelled_scale(soils):
    """Equal differences of square roots give equal residuals at low and high values."""
    for row, low in ((2, 10.0), (4, 30.0)):
        soils.measured["OC_g_kg"][row], soils.expected["OC_g_kg"][row] = (np.sqrt(low) + 4) ** 2, low
    got = soils.table()["OC_g_kg_studentised"]
    assert len(got) == 2
    assert got[0] == pytest.approx(got[1])


def test_studentised_residuals_equal_scipy_and_ignore_level_and_unit():
    x = np.random.default_rng(1).standard_t(3, 80)
    got = studentised(x)
    np.testing.assert_allclose(got, (x - np.median(x)) / median_abs_deviation(x, scale="normal"), rtol=1e-4)
    np.testing.assert_allclose(studentised(5 * x + 7), got, rtol=1e-10)
    assert studentised(np.random.default_rng(2).normal(3, 2, 100_000)).std() == pytest.approx(1, abs=0.02)


def test_many_wrong_values_do_not_mask_each_other():
    x = np.random.default_rng(1).normal(size=100)
    x[:20] = 1000.0
    assert (studentised(x)[:20] > 500).all()
    # With the ordinary SD they would.
    assert (np.abs(x - x.mean()) / x.std() < LEAST_CUTOFF).all()


def test_too_few_or_mostly_equal_residuals_are_not_studentised():
    few = np.arange(FEWEST_RESIDUALS - 1.0)
    assert np.isnan(studentised(few)).all()
    assert np.isnan(studentised(np.append(few, np.nan))).all()
    assert np.isfinite(studentised(np.append(few, 20.0))).all()
    assert np.isnan(studentised(np.array([0.0] * 30 + [5.0] * 20))).all()


@pytest.mark.parametrize(("n", "expected"), [(1, 3.5), (100, 3.5), (2000, norm.isf(0.05 / 4000))])
def test_the_cutoff_is_the_bonferroni_limit_but_at_least_3_5(n, expected):
    assert cutoff(np.zeros(n)) == pytest.approx(expected)
    assert cutoff(np.append(np.zeros(n), np.full(5000, np.nan))) == pytest.approx(expected)


def test_normal_residuals_are_rarely_flagged():
    rng = np.random.default_rng(4)
    samples = [studentised(rng.normal(size=500)) for _ in range(400)]
    flagged = [np.any(np.abs(sample) > cutoff(sample)) for sample in samples]
    # 0.05 by definition; the robust SD of 500 residuals has an uncertainty of 5 %.
    assert np.mean(flagged) <= 0.1


@pytest.mark.parametrize(("value", "text"), [(45.0, "45"), (0.12345, "0.123"), (1234.5, "1230"), (1000.0, "1000")])
def test_numbers_have_three_digits_and_no_exponent(soils, value, text):
    soils.measured["OC_g_kg"][1], soils.expected["OC_g_kg"][1] = value, 1e6
    assert f"measured {text}, expected 1000000" in soils.table()["reason"].item()
