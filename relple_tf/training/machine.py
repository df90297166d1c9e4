"""The kernel machine of each head: a support vector machine on every view's scores and basis, without gradients."""

import keras
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.svm import SVR

from relple_tf.config import Config
from relple_tf.models import front_end

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Weights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

COSTS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""C of the support vector machine, tried by cross-validation."""
EPSILON = 0.03
"""Errors below this many standard deviations cost nothing."""
FOLDS = 4
"""Of the choice of C."""
MOST_SVM_ROWS = 3000
"""A support vector machine needs all products of two rows; with more rows the start is a ridge regression."""
STRENGTHS = np.logspace(-4, 4, 25)
"""Of that ridge, tried by leave-one-out."""


def kernel_machines(
    network: keras.Model,
    features: npt.NDArray[np.float32],
    values: Floats,
    units: Indices,
    weights: list[Floats],
    config: Config,
) -> dict[str, Weights]:
    """For every target the mean of its views' machines, as weights of its head.

    Args:
        features: (n, bands, channels) of the training rows.
        values: (n, K) in standard deviations, NaN where not measured; columns in the order of the outputs.
        units: (n,) numbers of what no fold may divide.
        weights: For each view (components,), what its scores are multiplied by.

    Returns:
        Target -> kernel, 0 for the tower, and bias, in the shapes of the head's.
    """
    views, basis = len(weights), np.ones(config.model.basis_units)
    counts = np.concatenate([part for of_view in weights for part in (of_view, basis)])
    machines = {}
    for column, target in enumerate(network.output):
        known = ~np.isnan(values[:, column])
        head = network.get_layer(target)
        read = front_end.apply(keras.Model(network.input, head.input), features[known])
        skip = read[:, config.model.tower_units :] * counts
        fitted = [
            machine(view, values[known, column], units[known], config.training.seed)
            for view in np.split(skip, views, axis=1)
        ]
        kernel = np.zeros(head.kernel.shape, "float32")
        kernel[config.model.tower_units :, 0] = np.concatenate([slope for slope, _ in fitted]) * counts / views
        machines[target] = (kernel, np.array([np.mean([level for _, level in fitted])], "float32"))
    return machines


def machine(x: Floats, y: Floats, units: Indices, seed: int) -> tuple[Floats, float]:
    """A linear support vector machine, its C by cross-validation: y is about x @ slope + level.

    On a random basis it is a kernel machine. Unlike a ridge regression it gives a soil with a wild laboratory value a
    bounded pull (Smola & Schoelkopf 2004, Statistics and Computing 14, 199-222).

    Args:
        x: (n, m).
        y: (n,) in standard deviations.
        units: (n,) numbers of what no fold may divide.
        seed: Of the folds.

    Returns:
        Slope (m,) and level.
    """
    centre = x.mean(axis=0)
    if len(x) > MOST_SVM_ROWS:
        ridge = RidgeCV(STRENGTHS).fit(x - centre, y)
        return ridge.coef_, float(ridge.intercept_ - centre @ ridge.coef_)
    size = np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))
    scaled = (x - centre) / (size or 1.0)
    gram = scaled @ scaled.T
    search = GridSearchCV(
        SVR(kernel="precomputed", epsilon=EPSILON),
        {"C": COSTS},
        cv=whole_folds(units, FOLDS, seed),
        scoring="neg_mean_squared_error",
    )
    best = search.fit(gram, y).best_estimator_
    slope = scaled[best.support_].T @ best.dual_coef_[0] / (size or 1.0)
    return slope, float(best.intercept_[0] - centre @ slope)


def whole_folds(units: Indices, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """At most `count` pairs of rows to fit on and rows held back, which leave `units` (n,) whole.

    A single unit is divided by rows, for there is no other.
    """
    rows, distinct = np.arange(len(units)), len(np.unique(units))
    if distinct in (1, len(units)):
        return list(KFold(min(count, len(units)), shuffle=True, random_state=seed).split(rows))
    return list(GroupKFold(min(count, distinct)).split(rows, groups=units))
