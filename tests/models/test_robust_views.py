"""Properties of the robust views: what they remove exactly, at the ends of the range too."""

import numpy as np
import pytest
from conftest import CONFIG
from scipy.signal import savgol_filter

from relple_tf.config import ROBUST_VIEWS
from relple_tf.config import replace as change
from relple_tf.errors import InputError
from relple_tf.models.front_end import apply_all
from relple_tf.models.robust_views import Detrend, robust_bands, robust_points, usable_views

BANDS = 60


@pytest.fixture(scope="module")
def absorbance():
    """Smooth random spectra, (40, BANDS)."""
    rng = np.random.default_rng(0)
    spectra = savgol_filter(rng.normal(size=(40, BANDS)), 7, 2, axis=1)
    return (0.5 + 0.2 * spectra).astype("float32")


def distorted(absorbance, rng):
    """Each spectrum times a gain, plus a random parabola over the whole range."""
    u = np.linspace(-1, 1, absorbance.shape[1])
    gain, offset, tilt, curvature = (
        values[:, None]
        for values in (rng.uniform(0.5, 2, len(absorbance)), *rng.uniform(-0.2, 0.2, (3, len(absorbance))))
    )
    return (gain * absorbance + offset + tilt * u + curvature * u**2).astype("float32")


@pytest.mark.parametrize(("points", "polynomial"), [(5, 2), (25, 2), (11, 3), (BANDS - 1, 2)])
def test_detrending_is_the_spectrum_less_its_smoothing_by_scipy(absorbance, points, polynomial):
    smooth = savgol_filter(absorbance.astype("float64"), points, polynomial, axis=1, mode="interp")
    np.testing.assert_allclose(Detrend(points, polynomial)(absorbance), absorbance - smooth, atol=2e-6)


def test_a_polynomial_of_the_order_of_the_window_is_removed_at_the_ends_too():
    u = np.linspace(-1, 1, BANDS)
    parabolas = np.stack([np.ones(BANDS), u, u**2]).astype("float32")
    np.testing.assert_allclose(Detrend(25, 2)(parabolas), 0, atol=2e-6)
    assert np.abs(np.asarray(Detrend(25, 2)((u**3)[None].astype("float32")))).max() > 1e-3


@pytest.mark.parametrize("view", ROBUST_VIEWS)
def test_gain_and_a_parabola_do_not_change_a_robust_view(absorbance, view):
    stage = robust_bands(BANDS, change(CONFIG, front_end__step_nm=8.0, front_end__robust_views=(view,)).front_end)
    (before,) = apply_all(stage, absorbance)
    (after,) = apply_all(stage, distorted(absorbance, np.random.default_rng(1)))
    np.testing.assert_allclose(after, before, atol=2e-3 * before.std())


def test_the_views_are_in_the_order_of_the_config(absorbance):
    order = ("detrended_d1", "d2_snv", "detrended")
    stage = robust_bands(BANDS, change(CONFIG, front_end__robust_views=order).front_end)
    for view, bands in zip(order, apply_all(stage, absorbance), strict=True):
        (alone,) = apply_all(robust_bands(BANDS, change(CONFIG, front_end__robust_views=(view,)).front_end), absorbance)
        np.testing.assert_array_equal(bands, alone)


@pytest.mark.parametrize(
    ("bands", "window_nm", "step_nm", "points"),
    [(175, 88, 8, 11), (175, 200, 8, 25), (20, 200, 8, 7), (10, 200, 8, 5), (175, 88, 40, 5), (350, 200, 4, 49)],
)
def test_a_window_has_its_width_but_at_most_about_a_third_of_the_bands(bands, window_nm, step_nm, points):
    """And at least five bands, with which a parabola is fitted."""
    assert robust_points(bands, window_nm, step_nm) == points


@pytest.mark.parametrize("views", [("d2",), ("d2_snv", "d2_snv")])
def test_an_unknown_or_repeated_view_is_refused(views):
    with pytest.raises(InputError, match=r"front_end\.robust_views"):
        change(CONFIG, front_end__robust_views=views)


@pytest.mark.parametrize(
    ("scan_bands", "grid_bands", "quantity", "has_views"),
    [
        (15, 15, "absorbance", True),
        (30, 15, "reflectance", True),
        (14, 100, "absorbance", False),
        (100, 14, "reflectance", False),
        (60, 60, "features", False),
    ],
)
def test_features_and_few_bands_of_scan_or_grid_have_no_robust_views(scan_bands, grid_bands, quantity, has_views):
    assert usable_views(scan_bands, grid_bands, quantity, CONFIG.front_end) == (ROBUST_VIEWS if has_views else ())
    if has_views:
        assert len(robust_bands(grid_bands, CONFIG.front_end).outputs) == len(ROBUST_VIEWS)
