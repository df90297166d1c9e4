"""Laws of the choice between a target as it is and its square root."""

import numpy as np
import pytest
from sklearn.svm import SVR

from relple_tf.models.target_scaling import TargetScale
from relple_tf.training import scale_selection as scales
from relple_tf.training.scale_selection import CLEARLY, FOLDS, choose_scale

SEED = 5
UNITS = np.arange(120)


@pytest.fixture
def scores():
    """(120, 3), mean variance 1; the first is skewed."""
    draw = np.random.default_rng(0)
    x = np.column_stack([np.exp(draw.normal(0, 0.9, 120)), draw.normal(size=(120, 2))])
    x -= x.mean(axis=0)
    return x / np.sqrt(np.mean(x.var(axis=0)))


def told_by_logarithm(scores):
    """A target whose error grows with its value: the exponential of what the scores tell."""
    return np.exp(scores[:, 1] + np.random.default_rng(1).normal(0, 0.2, len(scores)))


def told_as_it_is(scores, size=50.0, noise=0.05):
    """A target whose few high values the scores tell best, and of its low ones hardly the order of magnitude."""
    told = scores[:, 0] - scores[:, 0].min() + np.random.default_rng(1).normal(0, noise, len(scores))
    return size * np.maximum(told, 0)


def told_a_little_better_as_it_is(scores):
    """The square of what the scores tell, with an error that hardly grows."""
    told = 2 + scores[:, 1] + np.random.default_rng(1).normal(0, 0.3, len(scores))
    return np.maximum(told, 0) ** 2


def rmse(scale, values, scores):
    """By cross-validation with every fifth row, in the target's unit."""
    estimated = np.empty(len(values))
    for first in range(5):
        held = np.arange(len(values)) % 5 == first
        machine = SVR(C=scales.COST, epsilon=scales.EPSILON, gamma=0.5 / scores.shape[1])
        machine.fit(scores[~held], scale.to_model(values[~held]))
        estimated[held] = scale.to_lab(machine.predict(scores[held]))
    return np.sqrt(np.mean((estimated - values) ** 2))


def both_scales(values):
    skewed, plain = TargetScale.fit("a", values), TargetScale.fit("a", values, may_root=False)
    assert skewed.root
    assert not plain.root
    return skewed, plain


@pytest.mark.parametrize(
    ("make", "low", "high", "root"),
    [
        (told_by_logarithm, 1.0, np.inf, True),
        (told_a_little_better_as_it_is, 1.02 * CLEARLY, 0.99, True),
        (told_as_it_is, 0.0, 0.9 * CLEARLY, False),
    ],
)
def test_a_skewed_target_is_modelled_as_it_is_only_where_that_is_clearly_better(scores, make, low, high, root):
    values = make(scores)
    skewed, plain = both_scales(values)
    ratio = rmse(plain, values, scores) / rmse(skewed, values, scores)
    assert low < ratio < high
    assert choose_scale("a", values, scores, UNITS, SEED) == (skewed if root else plain)


@pytest.mark.parametrize("make", [told_by_logarithm, told_as_it_is])
def test_values_that_were_not_measured_change_nothing(scores, make):
    values = make(scores)
    gaps = np.concatenate([values, np.full(30, np.nan)])
    more = np.vstack([scores, np.full((30, 3), 1e6)])
    expected = choose_scale("a", values, scores, UNITS, SEED)
    assert choose_scale("a", gaps, more, np.arange(150), SEED) == expected


def fitted_rows(monkeypatch, scores):
    """A list that gets, for every machine that is fitted, which rows it was fitted on."""
    seen = []
    fit = SVR.fit
    monkeypatch.setattr(SVR, "fit", lambda self, x, y: seen.append(np.isin(scores[:, 0], x[:, 0])) or fit(self, x, y))
    return seen


@pytest.mark.parametrize("values", [UNITS - 60.0, 7 + np.sin(UNITS)], ids=["negative", "symmetric"])
def test_a_target_that_is_not_skewed_or_goes_below_zero_is_not_tried(scores, monkeypatch, values):
    seen = fitted_rows(monkeypatch, scores)
    assert choose_scale("a", values, scores, UNITS, SEED) == TargetScale.fit("a", values)
    assert seen == []


def test_no_fold_divides_a_unit(scores, monkeypatch):
    seen = fitted_rows(monkeypatch, scores)
    choose_scale("a", told_as_it_is(scores), scores, UNITS // 4, SEED)
    assert len(seen) == 2 * FOLDS
    for inside in seen:
        assert not inside.all()
        by_unit = inside.reshape(30, 4)
        np.testing.assert_array_equal(by_unit.any(axis=1), by_unit.all(axis=1))


def test_of_many_rows_some_are_tried_and_all_are_scaled(scores, monkeypatch):
    seen = fitted_rows(monkeypatch, scores)
    monkeypatch.setattr(scales, "MOST_SVM_ROWS", 40)
    values = told_as_it_is(scores)
    assert choose_scale("a", values, scores, UNITS, SEED) in both_scales(values)
    assert np.any(seen, axis=0).sum() == 40
    assert [inside.sum() for inside in seen] == [32] * 2 * FOLDS
