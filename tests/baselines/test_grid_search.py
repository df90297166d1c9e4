"""The tuned baselines: their common laws on a fast method, and each method of BASELINES.

TabPFN and TabICL are replaced by ridge regression with their interface, because their weights are not fetched.
"""

import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from relple_tf.baselines import grid_search as module
from relple_tf.baselines.grid_search import BASELINES, svr, tuned
from relple_tf.baselines.plsr import FOLDS, plsr, snv_first_derivative
from relple_tf.baselines.tabular_models import LeadingScores, tabicl, tabpfn
from relple_tf.config import BASELINE_NAMES
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.splitting.folds import group_k_fold

SEED = 3
WINDOW = {"window_points": 7, "polynomial": 2}


@pytest.fixture
def spectra():
    """(60, 40) absorbance of four mixed absorptions, and a target that depends on the first two."""
    rng = np.random.default_rng(0)
    position = np.arange(40)
    bands = np.stack([np.exp(-(((position - c) / w) ** 2)) for c, w in ((8, 3), (18, 4), (28, 3), (20, 9))])
    amounts = rng.uniform(0.2, 1, (60, 4))
    x = 0.4 + amounts @ bands + rng.normal(0, 0.01, (60, 40))
    return x.astype("float32"), 5 + 3 * amounts[:, 0] - 2 * amounts[:, 1] + rng.normal(0, 0.1, 60)


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(module, "ExtraTreesRegressor", lambda count, **rest: ExtraTreesRegressor(5, **rest))


class StubRegressor(Ridge):
    """Ridge regression with the arguments of `TabPFNRegressor` and `TabICLRegressor` that the baselines use."""

    def __init__(self, *, random_state=42):
        super().__init__(alpha=0.1, random_state=random_state)


@pytest.fixture(autouse=True)
def stubs(monkeypatch):
    for package, name in (("tabpfn", "TabPFNRegressor"), ("tabicl", "TabICLRegressor")):
        module_stub = ModuleType(package)
        setattr(module_stub, name, StubRegressor)
        monkeypatch.setitem(sys.modules, package, module_stub)


def ridge(bands, seed):
    return make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10.0, 1000.0]}


def fitted_by(baseline, x, y, fitted, groups=None, scale=None):
    groups = np.arange(len(x)) if groups is None else groups
    scale = scale or TargetScale.fit("a", y[fitted])
    predictions, settings = baseline(x, {"a": y}, fitted, groups, [scale], **WINDOW, seed=SEED)
    return predictions["a"], settings["a"]


def quick(*arguments, **named):
    return tuned(ridge, *arguments, **named)


def test_baselines_have_the_names_of_the_config():
    assert tuple(BASELINES) == BASELINE_NAMES


def test_settings_are_rounded_to_two_digits():
    scale = TargetScale.fit("a", np.array([1.0, 2.0, 4.0]))
    best_params = {"regressor__svr__C": 100, "regressor__svr__gamma": 0.07 / 326, "func": scale.to_model}
    assert module._settings_text(best_params) == "C 100, gamma 0.00021"


def by_hand(x, y, groups, scales, candidates):
    """The estimator with the smallest sum of absolute errors over the folds, its name and its scale."""
    error = {}
    for scale in scales:
        for name, estimator in candidates.items():
            error[name, scale.root] = 0.0
            for train, held in group_k_fold(groups, FOLDS, SEED):
                model = estimator.fit(x[train], scale.to_model(y[train]))
                error[name, scale.root] += np.abs(scale.to_lab(model.predict(x[held])) - y[held]).sum()
    name, root = min(error, key=error.get)
    return candidates[name], name, next(scale for scale in scales if scale.root == root)


@pytest.mark.parametrize("size", [1, 5], ids=["rows", "groups"])
def test_svr_has_the_settings_with_the_lowest_cross_validated_error(spectra, size):
    x, y = spectra
    fitted = np.arange(60) < 45
    y = y.copy()
    y[:5] = np.nan
    groups = np.arange(60) // size
    rows = np.flatnonzero(fitted & ~np.isnan(y))
    features = snv_first_derivative(x, *WINDOW.values())
    scale = TargetScale.fit("a", y[fitted])
    svms = {
        f"C {c}, gamma {float(f'{gamma / 40:.2g}'):g}": make_pipeline(
            StandardScaler(), SVR(C=c, gamma=gamma / 40, epsilon=0.03)
        )
        for c in (3, 10, 30, 100)
        for gamma in (0.07, 0.21, 0.7)
    }
    model, name, _ = by_hand(features[rows], y[rows], groups[rows], [scale], svms)
    expected = scale.to_lab(model.fit(features[rows], scale.to_model(y[rows])).predict(features))
    got, settings = fitted_by(BASELINES["svr"], x, y, fitted, groups, scale)
    assert settings == name
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_gamma_is_inversely_proportional_to_the_number_of_bands():
    np.testing.assert_allclose(svr(700, 0)[1]["svr__gamma"], [1e-4, 3e-4, 1e-3])


def ridge_of(features, y):
    """The target y, approximated by a linear function of the features."""
    return make_pipeline(StandardScaler(), Ridge(0.1)).fit(features, y).predict(features)


@pytest.mark.parametrize("skewed", ["root", "itself"])
def test_a_skewed_target_is_fitted_on_the_scale_with_the_lower_cross_validated_error(spectra, skewed):
    """A target whose square root is linear in the features, and a target that is itself linear."""
    x, y = spectra
    features = snv_first_derivative(x, *WINDOW.values())
    linear = ridge_of(features, y)
    z = (linear - linear.min()) / linear.std()
    # Both are skewed; the square root of the first and the second itself are close to linear in the features.
    values = z**3 if skewed == "root" else ridge_of(features, z**4)
    values = values - values.min()
    scale = TargetScale.fit("a", values)
    assert scale.root
    scales = [scale, TargetScale.fit("a", values, may_root=False)]
    estimators = {f"alpha {a:.2g}": make_pipeline(StandardScaler(), Ridge(a)) for a in (0.1, 10.0, 1000.0)}
    model, name, best_scale = by_hand(features, values, np.arange(60), scales, estimators)
    assert best_scale.root == (skewed == "root")
    got, settings = fitted_by(quick, x, values, np.ones(60, bool), scale=scale)
    assert settings == (f"{name}, square root" if best_scale.root else name)
    expected = best_scale.to_lab(model.fit(features, best_scale.to_model(values)).predict(features))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


class Recorder(RegressorMixin, BaseEstimator):
    """Predicts the mean, and records the rows of each fit."""

    fitted_rows: ClassVar[list] = []

    def __init__(self, offset=0):
        self.offset = offset

    def fit(self, x, y):
        self.mean_ = y.mean()
        self.fitted_rows.append([row.tobytes() for row in x])
        return self

    def predict(self, x):
        return np.full(len(x), self.mean_ + self.offset)


def test_no_fold_divides_a_group_and_no_test_row_is_fitted(spectra, monkeypatch):
    x, y = spectra
    monkeypatch.setattr(Recorder, "fitted_rows", [])
    groups, fitted = np.repeat(np.arange(12), 5), np.arange(60) < 45
    grid = {"offset": [0, 1]}
    fitted_by(lambda *a, **k: tuned(lambda bands, seed: (Recorder(), grid), *a, **k), x, y, fitted, groups)
    assert len(Recorder.fitted_rows) == 2 * 5 + 1
    number = {row.tobytes(): i for i, row in enumerate(snv_first_derivative(x, *WINDOW.values()))}
    fits = [np.array([number[row] for row in rows]) for rows in Recorder.fitted_rows]
    for rows in fits:
        assert rows.max() < 45
        for group in set(groups[rows]):
            assert np.sum(groups[:45] == group) == np.sum(groups[rows] == group)
    assert {len(rows) for rows in fits[:-1]} == {35, 40}


def test_of_more_rows_than_the_maximum_a_random_selection_is_fitted_and_stated(spectra, monkeypatch):
    x, y = spectra
    monkeypatch.setattr(Recorder, "fitted_rows", [])
    method = lambda bands, seed: (Recorder(), {"offset": [0]})  # noqa: E731
    row_of = {row.tobytes(): i for i, row in enumerate(snv_first_derivative(x, *WINDOW.values()))}
    selections = []
    for seed in (SEED, SEED, SEED + 1):
        scale = TargetScale.fit("a", y)
        _, settings = tuned(
            method, x, {"a": y}, np.arange(60) < 45, np.arange(60), [scale], **WINDOW, seed=seed, maximum_rows=20
        )
        assert settings["a"] == "offset 0, 20 of 45 rows"
        selections.append([row_of[row] for row in Recorder.fitted_rows[-1]])
    assert selections[0] == selections[1] != selections[2]
    assert all(len(set(rows)) == 20 and max(rows) < 45 for rows in selections)
    _, settings = fitted_by(lambda *a, **k: tuned(method, *a, **k, maximum_rows=45), x, y, np.arange(60) < 45)
    assert settings == "offset 0"


@pytest.mark.parametrize("name", BASELINES)
def test_test_rows_do_not_change_predictions_for_other_rows(spectra, name, few_trees):
    x, y = spectra
    fitted = np.arange(60) < 45
    scale = TargetScale.fit("a", y[fitted])
    altered_x, altered_y = x.copy(), y.copy()
    altered_x[~fitted] = altered_x[~fitted][:, ::-1] + 5
    altered_y[~fitted] = 1e6
    clean = fitted_by(BASELINES[name], x, y, fitted, scale=scale)
    altered = fitted_by(BASELINES[name], altered_x, altered_y, fitted, scale=scale)
    np.testing.assert_array_equal(clean[0][fitted], altered[0][fitted])
    assert clean[1] == altered[1]


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_predicts_test_rows_and_is_clipped_to_the_range(spectra, name, few_trees):
    x, y = spectra
    fitted = np.arange(60) < 45
    scale = TargetScale.fit("a", y[fitted])
    got, settings = fitted_by(BASELINES[name], x, y, fitted, scale=scale)
    assert settings
    assert np.mean((got[~fitted] - y[~fitted]) ** 2) < 0.7 * y[~fitted].var()
    narrow = TargetScale.fit("a", np.array([4.9, 5.0, 5.1]))
    clipped, _ = fitted_by(BASELINES[name], x, y, fitted, scale=narrow)
    assert clipped.min() >= 4.88 - 1e-9
    assert clipped.max() <= 5.12 + 1e-9


@pytest.mark.parametrize(("name", "method"), [("tabpfn", tabpfn), ("tabicl", tabicl)])
def test_tabular_models_read_principal_component_scores_and_get_the_seed(spectra, name, method):
    x, y = spectra
    fitted = np.arange(60) < 45
    scale = TargetScale.fit("a", y[fitted])
    features = snv_first_derivative(x, *WINDOW.values())
    candidates = {
        f"components {count}": make_pipeline(StandardScaler(), PCA(count), StubRegressor()) for count in (10, 30)
    }
    model, settings, _ = by_hand(features[fitted], y[fitted], np.arange(45), [scale], candidates)
    expected = scale.to_lab(model.fit(features[fitted], scale.to_model(y[fitted])).predict(features))
    got, got_settings = fitted_by(BASELINES[name], x, y, fitted, scale=scale)
    assert got_settings == settings
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert method(40, 7)[0][-1].random_state == 7


@pytest.mark.parametrize(("rows", "bands"), [(12, 40), (50, 8)])
def test_there_are_no_more_scores_than_rows_or_bands(rows, bands):
    x = np.random.default_rng(0).normal(size=(rows, bands))
    assert LeadingScores(30).fit_transform(x).shape == (rows, min(rows, bands))


def test_plsr_in_baselines_equals_plsr_and_states_its_components(spectra):
    x, y = spectra
    fitted = np.arange(60) < 45
    got, settings = fitted_by(BASELINES["plsr"], x, y, fitted)
    predictions, chosen = plsr(
        x, {"a": y}, fitted, np.arange(60), [TargetScale.fit("a", y[fitted])], **WINDOW, seed=SEED
    )
    np.testing.assert_array_equal(got, predictions["a"])
    assert settings == f"components {chosen['a'].components}"
