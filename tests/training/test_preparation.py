"""Properties of the fit of the robust views."""

import numpy as np
import pytest
from conftest import CONFIG

from relple_tf.config import ROBUST_VIEWS
from relple_tf.config import replace as change
from relple_tf.models.front_end import apply_all
from relple_tf.models.robust_views import PROJECTION, robust_bands
from relple_tf.training.kernel_regression import fit_kernel_regression
from relple_tf.training.preparation import fit_reference, whitening


@pytest.fixture(scope="module")
def absorbance():
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=(50, 60)), axis=1).astype("float32")


def test_the_reference_is_the_kernel_regression_on_projections_of_standardised_bands(absorbance):
    rng = np.random.default_rng(1)
    values = {"OC_g_kg": rng.normal(size=50), "pH": np.where(rng.random(50) < 0.2, np.nan, rng.normal(size=50))}
    groups = np.arange(50)
    reference = fit_reference(absorbance, values, groups, None, CONFIG)
    scores, kernels = [], []
    for bands in apply_all(robust_bands(60, CONFIG.front_end), absorbance):
        standardised = (bands - bands.mean(axis=0, dtype="float64")) / bands.std(axis=0, dtype="float64")
        kernel, bias = whitening(standardised.astype("float32"), CONFIG)
        scores.append((standardised @ kernel + bias).astype("float32"))
        kernels.append(kernel)
        # Whitened scores of the training rows are not correlated.
        np.testing.assert_allclose(np.corrcoef(scores[-1], rowvar=False), np.eye(kernel.shape[1]), atol=1e-3)
    assert len(scores) == len(ROBUST_VIEWS)
    expected = fit_kernel_regression(scores, kernels, values, groups, CONFIG.model.landmarks, CONFIG.training.seed)
    np.testing.assert_allclose(reference(absorbance), expected(scores), atol=2e-3)


@pytest.mark.parametrize("bands", [15, 20, 30])
@pytest.mark.parametrize("views", [ROBUST_VIEWS, ROBUST_VIEWS[::-1], ("detrended", "d2_snv")])
def test_views_of_few_bands_have_fewer_components(absorbance, bands, views):
    config = change(CONFIG, front_end__robust_views=views, front_end__whitened_components=60)
    values = {"pH": np.random.default_rng(3).normal(size=50)}
    reference = fit_reference(absorbance[:, :bands], values, np.arange(50), None, config)
    assert np.isfinite(reference(absorbance[:, :bands])).all()


def test_a_constant_band_of_a_robust_view_has_no_influence(absorbance):
    flat = absorbance.copy()
    flat[:, 20:45] = 1.0
    config = change(CONFIG, front_end__robust_views=("detrended",), front_end__step_nm=40.0)
    reference = fit_reference(flat, {"pH": np.random.default_rng(2).normal(size=50)}, np.arange(50), None, config)
    assert np.isfinite(reference(flat)).all()
    assert np.isfinite(reference.get_layer(PROJECTION.format(1)).get_weights()[0]).all()
