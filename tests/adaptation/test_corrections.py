"""Corrections that are linear in the estimate: closed forms, bounds, and the range of the scale."""

import numpy as np
import pytest

from relple_tf.adaptation.corrections import SLOPES, Correction, fit_correction, in_lab_units, widened_scale
from relple_tf.models.target_scaling import TargetScale

RNG = np.random.default_rng(0)
PLAIN = TargetScale.fit("pH", RNG.normal(6, 1, 200))
ROOT = TargetScale.fit("OC_g_kg", RNG.lognormal(2, 1, 200))


def test_the_scales_of_this_file_are_a_plain_and_a_root_scale():
    assert not PLAIN.root
    assert ROOT.root


def test_corrections_find_the_line_on_which_the_soils_lie():
    estimated = np.array([-1.0, 0.0, 0.5, 2.0])
    assert fit_correction("none", estimated, estimated + 3) == Correction()
    bias = fit_correction("bias", estimated, estimated + 3)
    np.testing.assert_allclose([bias.slope, bias.intercept], [1, 3])
    line = fit_correction("slope and bias", estimated, 0.6 * estimated - 2)
    np.testing.assert_allclose([line.slope, line.intercept], [0.6, -2])
    mean = fit_correction("local mean", estimated, np.array([1.0, 2, 3, 6]))
    assert (mean.slope, mean.intercept) == (0, 3)


@pytest.mark.parametrize(("slope", "bound"), [(-3.0, SLOPES[0]), (40.0, SLOPES[1])])
def test_a_slope_stays_within_its_bounds_and_the_mean_is_right(slope, bound):
    estimated = RNG.normal(size=20)
    line = fit_correction("slope and bias", estimated, slope * estimated)
    assert line.slope == bound
    assert np.mean(line(estimated)) == pytest.approx(np.mean(slope * estimated))


def test_equal_estimates_have_no_slope():
    line = fit_correction("slope and bias", np.full(6, 0.3), np.arange(6.0))
    assert (line.slope, line.intercept) == (1, pytest.approx(2.2))


@pytest.mark.parametrize("scale", [PLAIN, ROOT], ids=["plain", "root"])
def test_laboratory_units_beyond_the_library_are_not_clipped(scale):
    beyond = scale.to_lab(np.array([np.inf])) * 2
    assert in_lab_units(scale, scale.to_model(beyond)) == pytest.approx(beyond)
    if scale.root:
        assert in_lab_units(scale, np.array([-1e3])) == pytest.approx(0)


@pytest.mark.parametrize("scale", [PLAIN, ROOT], ids=["plain", "root"])
def test_a_range_is_widened_to_the_local_values_and_never_narrowed(scale):
    inside = np.array([scale.to_lab(np.array(0.0)), np.nan, scale.to_lab(np.array(0.1))])
    assert widened_scale(scale, inside) == scale
    highest = float(scale.to_lab(np.array(np.inf)))
    wide = widened_scale(scale, np.array([highest, 3 * highest]))
    assert wide.to_lab(wide.to_model(np.array([3 * highest]))) == pytest.approx(3 * highest)
    assert (wide.low, wide.mean, wide.sd) == (scale.low, scale.mean, scale.sd)


def test_the_root_scale_is_not_widened_below_the_root_of_0():
    wide = widened_scale(ROOT, np.array([0.0, 500.0]))
    assert wide.to_lab(np.array(-np.inf)) == pytest.approx(0)
    modelled = np.linspace(wide.low, wide.low + 1, 5)
    assert np.all(np.diff(wide.to_lab(modelled)) > 0)
