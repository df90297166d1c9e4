"""Corrections of estimates: closed forms, the rule of choice, and the scale that holds them."""

import numpy as np
import pytest

from relple_tf.adaptation.corrections import (
    FEWEST_SAMPLES,
    METHODS,
    SLOPES,
    Correction,
    choose_correction,
    corrected_scale,
    fit_correction,
    in_lab_units,
)
from relple_tf.models.target_scaling import TargetScale

RNG = np.random.default_rng(0)
PLAIN = TargetScale.fit("pH", RNG.normal(6, 1, 200))
ROOT = TargetScale.fit("OC_g_kg", RNG.lognormal(2, 1, 200))


def test_the_scales_of_this_file_are_a_plain_and_a_root_scale():
    assert not PLAIN.root
    assert ROOT.root


def test_corrections_find_the_line_on_which_the_soils_lie():
    estimated = np.array([-1.0, 0.0, 0.5, 2.0])
    assert fit_correction("none", estimated, estimated + 3) == Correction(method="none")
    bias = fit_correction("bias", estimated, estimated + 3)
    np.testing.assert_allclose([bias.slope, bias.intercept], [1, 3])
    line = fit_correction("slope and bias", estimated, 0.6 * estimated - 2)
    np.testing.assert_allclose([line.slope, line.intercept], [0.6, -2])


@pytest.mark.parametrize(("slope", "bound"), [(-3.0, SLOPES[0]), (40.0, SLOPES[1])])
def test_a_slope_stays_within_its_bounds_and_the_mean_is_right(slope, bound):
    estimated = RNG.normal(size=20)
    line = fit_correction("slope and bias", estimated, slope * estimated)
    assert line.slope == bound
    assert np.mean(line(estimated)) == pytest.approx(np.mean(slope * estimated))


def test_equal_estimates_have_no_slope():
    line = fit_correction("slope and bias", np.full(6, 0.3), np.arange(6.0))
    assert (line.slope, line.intercept) == (1, pytest.approx(2.2))


def local(scale, truth, noise=0.02, count=20, seed=1):
    """Estimates of the run and laboratory values of local soils, whose modelled values are `truth` of the estimates."""
    rng = np.random.default_rng(seed)
    estimated = rng.normal(0, 0.6, count)
    return estimated, in_lab_units(scale, truth(estimated) + noise * rng.normal(size=count)), np.arange(count)


@pytest.mark.parametrize("scale", [PLAIN, ROOT], ids=["plain", "root"])
@pytest.mark.parametrize(
    ("truth", "method"),
    [
        (lambda x: x, "none"),
        (lambda x: x + 0.8, "bias"),
        (lambda x: 0.5 * x + 0.8, "slope and bias"),
    ],
    ids=METHODS,
)
def test_the_simplest_sufficient_correction_is_chosen(scale, truth, method):
    estimated, measured, samples = local(scale, truth)
    choice = choose_correction(scale, estimated, measured, samples)
    assert choice.correction.method == method
    np.testing.assert_allclose(choice.correction(estimated), truth(estimated), atol=0.05)


def test_a_gain_within_the_standard_error_is_not_taken():
    estimated, measured, samples = local(PLAIN, lambda x: x + 0.2, noise=0.6, seed=3)
    choice = choose_correction(PLAIN, estimated, measured, samples)
    errors = {m: np.mean((in_lab_units(PLAIN, choice.held_out[m]) - measured) ** 2) for m in METHODS}
    assert errors["bias"] < errors["none"]
    assert choice.correction.method == "none"


def test_held_out_estimates_do_not_depend_on_the_value_of_the_sample():
    """Both scans of a sample are left out together."""
    estimated, measured, _ = local(PLAIN, lambda x: x + 1)
    samples = np.repeat(np.arange(10), 2)
    changed = measured.copy()
    changed[4:6] += 50
    before, after = (choose_correction(PLAIN, estimated, values, samples).held_out for values in (measured, changed))
    for method in ("bias", "slope and bias"):
        np.testing.assert_array_equal(before[method][4:6], after[method][4:6])
        assert (np.delete(before[method], (4, 5)) != np.delete(after[method], (4, 5))).all()


def test_soils_without_a_value_have_no_influence():
    estimated, measured, samples = local(PLAIN, lambda x: x + 1, count=FEWEST_SAMPLES + 2)
    measured[:2] = np.nan
    choice = choose_correction(PLAIN, estimated, measured, samples)
    expected = choose_correction(PLAIN, estimated[2:], measured[2:], samples[2:])
    assert choice.correction == expected.correction
    assert np.isnan(choice.held_out["bias"][:2]).all()


@pytest.mark.parametrize("scale", [PLAIN, ROOT], ids=["plain", "root"])
def test_the_corrected_scale_is_the_correction_before_the_scale(scale):
    correction = Correction(method="slope and bias", intercept=0.7, slope=0.6)
    near = in_lab_units(scale, np.array([-0.1, 0.1]))
    adapted = corrected_scale(scale, correction, near)
    modelled = np.linspace(-1.5, 1.5, 30)
    np.testing.assert_allclose(adapted.to_lab(modelled), scale.to_lab(correction(modelled)))
    far = np.array([-100.0, 100.0])
    np.testing.assert_allclose(adapted.to_lab(far), scale.to_lab(far))


@pytest.mark.parametrize("scale", [PLAIN, ROOT], ids=["plain", "root"])
def test_the_range_reaches_local_values_beyond_that_of_the_library(scale):
    highest = scale.to_lab(np.array([np.inf]))[0]
    local_values = np.array([1.1, 1.5]) * highest
    adapted = corrected_scale(scale, Correction(method="bias", intercept=3.0), local_values)
    ends = adapted.to_lab(np.array([-np.inf, np.inf]))
    assert ends[1] > 1.5 * highest
    assert ends[0] == pytest.approx(scale.to_lab(np.array([-np.inf]))[0])
    assert (ends >= 0).all()
