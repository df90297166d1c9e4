"""Gaussian process regression: closed form of its prediction, invariances of its features, and silence at bounds."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.kernel_ridge import KernelRidge

from relple_tf.baselines.gaussian_process import COVARIANCES, SCALINGS, BandScaling, gaussian_process

BANDS = 12


@pytest.fixture
def soils():
    """(40, 12) features whose bands differ in scale, and a target of mean 0 and SD 1 that is not linear in them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, BANDS)) * rng.uniform(0.1, 10, BANDS) + 5
    y = np.sin(x[:, 0]) + x[:, 1] + rng.normal(0, 0.2, 40)
    return x, (y - y.mean()) / y.std()


def fitted(x, y, scaling, covariance="Matern + linear"):
    estimator, _ = gaussian_process(BANDS, 0)
    return estimator.set_params(bandscaling__scaling=scaling, gaussianprocess__covariance=covariance).fit(x, y)


@pytest.mark.parametrize("terms", COVARIANCES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_predictions_equal_kernel_ridge_regression_with_the_learned_covariance(soils, scaling, terms):
    x, y = soils
    model = fitted(x[:30], y[:30], scaling, terms)
    process = model[-1].process_
    covariance = process.kernel_
    noise = covariance.k2
    assert isinstance(noise, WhiteKernel)
    scaled = model[0].transform(x)
    ridge = KernelRidge(alpha=noise.noise_level + process.alpha, kernel="precomputed")
    ridge.fit(covariance.k1(scaled[:30]), y[:30])
    np.testing.assert_allclose(model.predict(x), ridge.predict(covariance.k1(scaled, scaled[:30])), rtol=1e-6)


@pytest.mark.parametrize("terms", COVARIANCES)
def test_the_learned_hyperparameters_have_a_likelihood_no_lower_than_their_neighbours(soils, terms):
    process = fitted(*soils, "each band", terms)[-1].process_
    best, bounds = process.kernel_.theta, process.kernel_.bounds
    for position in range(len(best)):
        for step in (-0.05, 0.05):
            neighbour = best.copy()
            neighbour[position] = np.clip(best[position] + step, *bounds[position] + np.array([1e-3, -1e-3]))
            change = process.log_marginal_likelihood(neighbour) - process.log_marginal_likelihood(best)
            assert change < 1e-4


@pytest.mark.parametrize("scaling", SCALINGS)
def test_scaled_rows_have_a_mean_of_zero_and_a_mean_squared_norm_of_one(soils, scaling):
    scaled = BandScaling(scaling).fit_transform(soils[0])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((scaled**2).sum(axis=1).mean(), 1, rtol=1e-12)


def test_scaling_each_band_ignores_the_units_of_the_bands(soils):
    x, y = soils
    units = np.linspace(0.1, 100, BANDS)
    expected = fitted(x, y, "each band").predict(x)
    np.testing.assert_allclose(fitted(x * units, y, "each band").predict(x * units), expected, rtol=1e-4)


def test_scaling_all_bands_gives_the_predictions_of_all_principal_component_scores(soils):
    """The covariance depends on distances and inner products, which a rotation keeps."""
    x, y = soils
    scores = 7 * PCA().fit_transform(x)
    np.testing.assert_allclose(
        fitted(scores, y, "all bands").predict(scores), fitted(x, y, "all bands").predict(x), rtol=1e-4
    )


@pytest.mark.parametrize("scaling", SCALINGS)
def test_bands_without_variation_are_not_divided_by_zero(soils, scaling):
    x = np.column_stack([soils[0][:, :2], np.ones(40)])
    assert np.isfinite(BandScaling(scaling).fit_transform(x)).all()
    assert not BandScaling(scaling).fit_transform(np.ones((4, 3))).any()


@pytest.mark.parametrize("kind", ["linear without noise", "noise only"])
def test_a_variance_at_its_bound_gives_no_warning(soils, kind):
    """Warnings are errors in these tests."""
    x, _ = soils
    target = x[:, 0] if kind == "linear without noise" else np.random.default_rng(1).normal(size=40)
    target = (target - target.mean()) / target.std()
    predictions = fitted(x, target, "each band").predict(x)
    if kind == "linear without noise":
        np.testing.assert_allclose(predictions, target, atol=0.02)
