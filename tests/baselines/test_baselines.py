"""The PLSR baseline."""

import chemotools.derivative
import chemotools.scatter
import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline

from relple_tf.baselines import plsr as baselines
from relple_tf.baselines.plsr import FOLDS, cross_validated, cross_validated_errors, plsr
from relple_tf.models.target_scaling import TargetScale

SEED = 3


@pytest.fixture
def spectra():
    """(60, 40) absorbance of four mixed absorptions, and a target that depends on the first two."""
    rng = np.random.default_rng(0)
    position = np.arange(40)
    bands = np.stack([np.exp(-(((position - c) / w) ** 2)) for c, w in ((8, 3), (18, 4), (28, 3), (20, 9))])
    amounts = rng.uniform(0.2, 1, (60, 4))
    x = 0.4 + amounts @ bands + rng.normal(0, 0.01, (60, 40))
    y = 5 + 3 * amounts[:, 0] - 2 * amounts[:, 1] + rng.normal(0, 0.1, 60)
    return x.astype("float32"), y


def folds_of(x, y, groups):
    if len(np.unique(groups)) == len(x):
        return list(KFold(FOLDS, shuffle=True, random_state=SEED).split(x))
    return list(GroupKFold(FOLDS).split(x, y, groups))


@pytest.mark.parametrize("size", [1, 3], ids=["rows", "groups"])
def test_cross_validated_errors_equal_those_of_refitted_models(spectra, size, monkeypatch):
    x, y = spectra
    groups = np.arange(len(x)) // size
    monkeypatch.setattr(baselines, "MAXIMUM_COMPONENTS", 8)
    error = np.zeros(8)
    for train, held in folds_of(x, y, groups):
        for count in range(1, 9):
            model = PLSRegression(count, scale=True).fit(x[train], y[train])
            error[count - 1] += ((model.predict(x[held]).ravel() - y[held]) ** 2).sum()
    got = cross_validated_errors(x.astype("float64"), y, groups, AS_IS, SEED)
    np.testing.assert_allclose(got, error, rtol=1e-5)
    assert cross_validated(x.astype("float64"), y, groups, AS_IS, SEED).components == np.argmin(error) + 1


def test_no_fold_divides_a_group(spectra, monkeypatch):
    x, y = spectra
    groups = np.repeat(np.arange(12), 5)
    fitted = []
    fit = PLSRegression.fit

    def spy(self, x_train, y_train):
        fitted.append({tuple(row) for row in x_train})
        return fit(self, x_train, y_train)

    monkeypatch.setattr(PLSRegression, "fit", spy)
    component_count(x, y, groups)
    assert len(fitted) == FOLDS
    for rows in fitted:
        inside = np.array([tuple(row) in rows for row in x])
        for group in range(12):
            assert len(set(inside[groups == group])) == 1


@pytest.mark.parametrize("rows", [8, 12])
def test_the_number_of_components_is_below_the_number_of_rows(spectra, rows):
    x, y = spectra
    assert 1 <= component_count(x[:rows], y[:rows], np.arange(rows)) < rows


@pytest.mark.parametrize("folds", [2, 4, 8])
def test_cross_validated_metrics_equal_those_of_models_refitted_without_each_fold(spectra, folds):
    x, y = spectra
    x = x.astype("float64")
    fold = np.random.default_rng(1).permutation(np.arange(60) % folds)
    got = cross_validated(x, y, fold, AS_IS, SEED, folds)
    predictions = np.empty(60)
    for held in range(folds):
        model = PLSRegression(got.components).fit(x[fold != held], y[fold != held])
        predictions[fold == held] = model.predict(x[fold == held]).ravel()
    assert (got.n, got.scale) == (60, AS_IS)
    assert got.rmse == pytest.approx(np.sqrt(np.mean((predictions - y) ** 2)), rel=1e-6)
    assert got.r2 == pytest.approx(r2_score(y, predictions), rel=1e-6)


AS_IS = TargetScale(name="a", root=False, mean=0.0, sd=1.0, low=-1e9, high=1e9, non_negative=False)


def component_count(x, y, groups):
    return int(np.argmin(cross_validated_errors(x, y, groups, AS_IS, SEED))) + 1


def fit_plsr(x, y, fitted, scale):
    predictions, chosen = plsr(
        x, {"a": y}, fitted, np.arange(len(x)), [scale], window_points=7, polynomial=2, seed=SEED
    )
    return predictions["a"], chosen["a"].components


def test_predictions_equal_chemotools_snv_and_derivative_followed_by_plsr(spectra):
    x, y = spectra
    fitted = np.arange(60) < 45
    y = y.copy()
    y[:5] = np.nan
    scale = TargetScale.fit("a", y[fitted])
    got, count = fit_plsr(x, y, fitted, scale)
    reference = make_pipeline(
        chemotools.scatter.StandardNormalVariate(),
        chemotools.derivative.SavitzkyGolay(window_length=7, polyorder=2, deriv=1),
        PLSRegression(count),
    )
    rows = fitted & ~np.isnan(y)
    expected = reference.fit(x[rows], scale.to_model(y[rows])).predict(x).ravel()
    np.testing.assert_allclose(got, scale.to_lab(expected), rtol=1e-5)


def test_test_rows_are_not_used_for_fitting(spectra):
    x, y = spectra
    fitted = np.arange(60) < 45
    scale = TargetScale.fit("a", y[fitted])
    altered_x, altered_y = x.copy(), y.copy()
    altered_x[~fitted] = altered_x[~fitted][:, ::-1] + 5
    altered_y[~fitted] = 1e6
    clean, altered = fit_plsr(x, y, fitted, scale), fit_plsr(altered_x, altered_y, fitted, scale)
    np.testing.assert_array_equal(clean[0][fitted], altered[0][fitted])
    assert clean[1] == altered[1]


def test_predictions_are_clipped_to_the_range_of_the_target_scale(spectra):
    x, y = spectra
    fitted = np.arange(60) < 45
    scale = TargetScale.fit("a", np.array([4.9, 5.0, 5.1]))
    got, _ = fit_plsr(x, y, fitted, scale)
    assert got.max() == pytest.approx(5.12)
    assert got.min() == pytest.approx(4.88)


@pytest.mark.parametrize("root", [True, False])
def test_a_skewed_target_is_fitted_on_the_scale_with_the_lower_cross_validated_error(spectra, root):
    """A target whose square root is linear in the features, and a target that is itself linear."""
    x, y = spectra
    features = make_pipeline(
        chemotools.scatter.StandardNormalVariate(),
        chemotools.derivative.SavitzkyGolay(window_length=7, polyorder=2, deriv=1),
    ).fit_transform(x)
    linear = PLSRegression(2).fit(features, y).predict(features).ravel()
    skewed = ((linear - linear.min()) / linear.std()) ** 3
    if not root:
        skewed = PLSRegression(4).fit(features, skewed).predict(features).ravel()
        skewed -= skewed.min()
    fitted = np.ones(60, bool)
    scale = TargetScale.fit("a", skewed)
    assert scale.root
    scales = {True: scale, False: TargetScale.fit("a", skewed, may_root=False)}
    errors = {
        is_root: cross_validated_errors(features, skewed, np.arange(60), candidate, SEED)
        for is_root, candidate in scales.items()
    }
    better = min(errors, key=lambda is_root: errors[is_root].min())
    assert better is root
    got, count = fit_plsr(x, skewed, fitted, scale)
    assert count == np.argmin(errors[better]) + 1
    model = PLSRegression(count).fit(features, scales[better].to_model(skewed))
    np.testing.assert_allclose(got, scales[better].to_lab(model.predict(features).ravel()), rtol=1e-5)
