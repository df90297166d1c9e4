"""Laws of the distortions of `benchmarks.distortions`, and the figures of hand-made predictions."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.distortions import kinds
from benchmarks.distortions.figures import figures, missed_goals

NM = np.arange(1100.0, 2499.0, 2.0)
U = np.linspace(-1, 1, len(NM))
SCANS = 0.4 + 0.1 * np.sin(NM / np.array([[150.0], [200.0], [310.0]]))
LINES = np.array([[0.3], [0.5]]) + np.array([[1e-4], [-2e-4]]) * (NM - 1100)


def distorted(function, scans, strength):
    return function(scans, NM, strength, np.random.default_rng(0))


FUNCTIONS = {distortion.function.__name__: distortion.function for distortion in kinds.DISTORTIONS}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_strength_0_changes_nothing(function):
    np.testing.assert_allclose(distorted(function, SCANS, 0.0), SCANS, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distortion", kinds.DISTORTIONS, ids=lambda d: f"{d.name} {d.strengths[0]}")
def test_every_strength_changes_the_scans_more_than_the_last_and_repeats(distortion):
    changes = [np.abs(distorted(distortion.function, SCANS, s) - SCANS).mean() for s in distortion.strengths]
    assert 0 < changes[0] < changes[1] < changes[2]
    repeated = [distorted(distortion.function, SCANS, distortion.strengths[0]) for _ in range(2)]
    np.testing.assert_array_equal(*repeated)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (kinds.tilt, U),
        (kinds.parabola, U**2),
        (kinds.sine, np.sin(2 * np.pi * (NM - 1100) / 1398)),
        (kinds.hump, np.exp(-(((NM - 1519.4) / 209.7) ** 2) / 2)),
        (kinds.offset, np.ones_like(NM)),
        (kinds.step, np.where(NM > 1799, 1.0, 0.0)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_shape_is_added_as_stated(function, shape):
    np.testing.assert_allclose(distorted(function, SCANS, 0.05) - SCANS, np.tile(0.05 * shape, (3, 1)), atol=1e-12)


def test_random_shapes_are_polynomials_with_the_stated_peak_and_no_offset():
    shapes = distorted(kinds.random_shape, np.zeros((20, len(NM))), 0.05)
    np.testing.assert_allclose(np.abs(shapes).max(axis=1), 0.05)
    fitted = np.polynomial.legendre.legfit(U, shapes.T, 5)
    np.testing.assert_allclose(np.polynomial.legendre.legval(U, fitted), shapes, atol=1e-12)
    np.testing.assert_allclose(fitted[0], 0, atol=1e-12)
    # Both signs of every order.
    assert (fitted[1:].min(axis=1) < 0).all()
    assert (fitted[1:].max(axis=1) > 0).all()


def test_gain_multiplies():
    np.testing.assert_allclose(distorted(kinds.gain, SCANS, 0.25), 1.25 * SCANS)
    np.testing.assert_allclose(distorted(kinds.gain_tilt, SCANS, 0.2), (1 + 0.2 * U) * SCANS)


def test_a_mixture_is_the_mean_of_the_reflectances():
    reflectance = 10 ** -distorted(kinds.mixture, SCANS, 0.3)
    np.testing.assert_allclose(reflectance, 0.7 * 10**-SCANS + 0.3 * 0.95)


@pytest.mark.parametrize("shift_nm", [1.0, 3.0, 10.0, -7.3])
def test_a_shift_of_a_straight_line_is_exact_also_beyond_the_ends(shift_nm):
    slopes = np.array([[1e-4], [-2e-4]])
    np.testing.assert_allclose(distorted(kinds.shift, LINES, shift_nm), LINES + shift_nm * slopes, atol=1e-12)


def test_a_shift_reads_the_scan_at_other_wavelengths():
    np.testing.assert_allclose(distorted(kinds.shift, SCANS, 4.0)[:, :-2], SCANS[:, 2:], atol=1e-12)


def test_broadening_keeps_a_straight_line():
    np.testing.assert_allclose(distorted(kinds.broadening, LINES, 40.0), LINES, atol=1e-12)


def test_broadening_widens_a_gaussian_by_the_sum_of_variances():
    peak = np.exp(-(((NM - 1800) / 30) ** 2) / 2)[None]
    sd = np.hypot(30, 40 / 2.354820045)
    expected = 30 / sd * np.exp(-(((NM - 1800) / sd) ** 2) / 2)[None]
    np.testing.assert_allclose(distorted(kinds.broadening, peak, 40.0), expected, atol=1e-4)


def test_noise_has_the_stated_sd():
    noise = distorted(kinds.noise, np.zeros((100, len(NM))), 0.002)
    np.testing.assert_allclose(noise.std(), 0.002, rtol=0.01)


def predictions(values, status):
    values = np.array(values, float)
    return pd.DataFrame({"OC_pct": values, "OC_pct_low": values - 1, "OC_pct_high": values + 1, "status": status})


def test_figures_of_five_scans():
    undistorted = predictions([1, 2, 3, 4, 5], ["ok"] * 5)
    # Changes in SDs of 2: 0, 0.1, 1.5, 1.5; the last scan is impossible.
    table = predictions([1, 2.2, 6, 7, np.nan], ["ok", "outside", "outside", "ok", "invalid"])
    measured = {"OC_pct": np.array([1.5, 2, 3, 4, 5])}
    received = figures(table, undistorted, measured, {"OC_pct": 2.0})
    expected = {"ok": 0.4, "invalid": 0.2, "changed": 0.4, "changed_flagged": 0.5, "flagged_hardly_changed": 0.2}
    assert {name: received[name] for name in expected} == expected
    assert received["coverage"] == received["coverage_OC_pct"] == 0.5  # of the first and the fourth


GOOD = {"level": "mild", "smooth": True, "ok": 1.0, "changed": 0.1, "changed_flagged": 0.0, "coverage": 0.9}


@pytest.mark.parametrize(
    ("differences", "count"),
    [
        ({}, 0),
        ({"coverage": 0.7}, 1),
        ({"coverage": 0.98}, 1),
        ({"coverage": 0.7, "changed_flagged": 0.9}, 0),
        ({"coverage": 0.7, "smooth": False}, 0),
        ({"coverage": np.nan, "changed_flagged": np.nan, "ok": 0.0}, 0),
        ({"flagged_hardly_changed": 0.11}, 1),
        ({"flagged_hardly_changed": 0.11, "level": "strong"}, 0),
        ({"ok": 0.96}, 0),
        ({"ok": 0.96, "level": ""}, 1),
    ],
)
def test_goals(differences, count):
    assert len(missed_goals({**GOOD, "flagged_hardly_changed": 0.0, **differences})) == count
