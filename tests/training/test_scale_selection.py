"""Properties of the choice between an untransformed target and its square root."""

import numpy as np
import pytest
from sklearn.svm import SVR

from relple_tf.models.target_scaling import TargetScale
from relple_tf.training import scale_selection
from relple_tf.training.scale_selection import CLEARLY_BETTER, FOLDS, choose_scale

SEED = 5
ROWS = np.arange(120)


@pytest.fixture
def scores():
    """(120, 3), mean variance 1; the first is skewed."""
    rng = np.random.default_rng(0)
    x = np.column_stack([np.exp(rng.normal(0, 0.9, 120)), rng.normal(size=(120, 2))])
    x -= x.mean(axis=0)
    return x / np.sqrt(np.mean(x.var(axis=0)))


def exponential(scores):
    """A target whose error grows with its value: the exponential of a score with noise."""
    return np.exp(scores[:, 1] + np.random.default_rng(1).normal(0, 0.2, len(scores)))


def linear(scores, size=50.0, noise=0.05):
    """A target whose few high values are predicted best; the relative error of its low values is large."""
    values = scores[:, 0] - scores[:, 0].min() + np.random.default_rng(1).normal(0, noise, len(scores))
    return size * np.maximum(values, 0)


def quadratic(scores):
    """A target that is predicted a little better untransformed: the square of a score with noise."""
    root = 2 + scores[:, 1] + np.random.default_rng(1).normal(0, 0.3, len(scores))
    return np.maximum(root, 0) ** 2


def rmse(scale, values, scores):
    """RMSE in the target's unit, by cross-validation that holds out every fifth row."""
    estimated = np.empty(len(values))
    for first in range(5):
        held = np.arange(len(values)) % 5 == first
        svr = SVR(C=scale_selection.MIDDLE_COST, epsilon=scale_selection.EPSILON, gamma=0.5 / scores.shape[1])
        svr.fit(scores[~held], scale.to_model(values[~held]))
        estimated[held] = scale.to_lab(svr.predict(scores[held]))
    return np.sqrt(np.mean((estimated - values) ** 2))


def both_scales(values):
    root, untransformed = TargetScale.fit("a", values), TargetScale.fit("a", values, may_root=False)
    assert root.root
    assert not untransformed.root
    return root, untransformed


@pytest.mark.parametrize(
    ("make", "low", "high", "root"),
    [
        (exponential, 1.0, np.inf, True),
        (quadratic, 1.02 * CLEARLY_BETTER, 0.99, True),
        (linear, 0.0, 0.9 * CLEARLY_BETTER, False),
    ],
)
def test_a_skewed_target_is_untransformed_only_if_its_error_is_then_clearly_smaller(scores, make, low, high, root):
    values = make(scores)
    root_scale, untransformed = both_scales(values)
    ratio = rmse(untransformed, values, scores) / rmse(root_scale, values, scores)
    assert low < ratio < high
    assert choose_scale("a", values, scores, ROWS, SEED) == (root_scale if root else untransformed)


@pytest.mark.parametrize("make", [exponential, linear])
def test_rows_without_a_value_have_no_influence(scores, make):
    values = make(scores)
    with_missing = np.concatenate([values, np.full(30, np.nan)])
    more_scores = np.vstack([scores, np.full((30, 3), 1e6)])
    expected = choose_scale("a", values, scores, ROWS, SEED)
    assert choose_scale("a", with_missing, more_scores, np.arange(150), SEED) == expected


def fitted_rows(monkeypatch, scores):
    """A list to which each fit of an SVR appends a mask (n,) of its rows."""
    masks = []
    fit = SVR.fit
    monkeypatch.setattr(SVR, "fit", lambda self, x, y: masks.append(np.isin(scores[:, 0], x[:, 0])) or fit(self, x, y))
    return masks


@pytest.mark.parametrize("values", [ROWS - 60.0, 7 + np.sin(ROWS)], ids=["negative", "symmetric"])
def test_no_svr_is_fitted_for_a_target_that_is_not_skewed_or_has_negative_values(scores, monkeypatch, values):
    masks = fitted_rows(monkeypatch, scores)
    assert choose_scale("a", values, scores, ROWS, SEED) == TargetScale.fit("a", values)
    assert masks == []


def test_no_fold_divides_a_group(scores, monkeypatch):
    masks = fitted_rows(monkeypatch, scores)
    choose_scale("a", linear(scores), scores, ROWS // 4, SEED)
    assert len(masks) == 2 * FOLDS
    for inside in masks:
        assert not inside.all()
        by_group = inside.reshape(30, 4)
        np.testing.assert_array_equal(by_group.any(axis=1), by_group.all(axis=1))


def test_of_many_rows_a_subset_decides_and_the_scale_is_fitted_on_all(scores, monkeypatch):
    masks = fitted_rows(monkeypatch, scores)
    monkeypatch.setattr(scale_selection, "MOST_SVM_ROWS", 40)
    values = linear(scores)
    assert choose_scale("a", values, scores, ROWS, SEED) in both_scales(values)
    assert np.any(masks, axis=0).sum() == 40
    assert [inside.sum() for inside in masks] == [32] * 2 * FOLDS
