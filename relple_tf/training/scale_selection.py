"""Choice of the scale on which a target is modelled: untransformed, or its square root."""

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVR

from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.splitting.folds import group_k_fold
from relple_tf.training.kernel_regression import EPSILON, MIDDLE_COST, MOST_SVM_ROWS

Floats = npt.NDArray[np.float64]

FOLDS = 5
"""Cross-validation folds in the comparison of the scales."""
CLEARLY_BETTER = 0.9
"""A skewed target is modelled untransformed if its RMSE is below this fraction of the RMSE with the square root."""


def choose_scale(name: str, values: Floats, scores: Floats, groups: npt.NDArray[np.intp], seed: int) -> TargetScale:
    """Choose the square root for a skewed target, unless an SVR predicts the untransformed target clearly better.

    Errors are compared by cross-validation in the target's unit. The square root suits a target whose error grows with
    its value, and harms a target whose few high values are predicted best.

    Args:
        name: Name of the target, with unit.
        values: (n,) of the training rows, NaN where not measured.
        scores: (n, components) of the first view; their mean variance is 1.
        groups: (n,) numbers of the groups that no fold divides.
        seed: Seed of the folds, and of the random subset of MOST_SVM_ROWS rows that is used if there are more.
    """
    skewed = TargetScale.fit(name, values)
    if not skewed.root:
        return skewed
    rows = np.flatnonzero(~np.isnan(values))
    if len(rows) > MOST_SVM_ROWS:
        rows = np.random.default_rng(seed).choice(rows, MOST_SVM_ROWS, replace=False)
    x, y = scores[rows], values[rows]
    untransformed = TargetScale.fit(name, values, may_root=False)
    rmse = []
    for scale in (skewed, untransformed):
        estimated = np.empty(len(y))
        for fitted, held in group_k_fold(groups[rows], FOLDS, seed):
            svr = SVR(C=MIDDLE_COST, epsilon=EPSILON, gamma=0.5 / x.shape[1])
            estimated[held] = scale.to_lab(svr.fit(x[fitted], scale.to_model(y[fitted])).predict(x[held]))
        rmse.append(np.sqrt(np.mean((estimated - y) ** 2)))
    return untransformed if rmse[1] < CLEARLY_BETTER * rmse[0] else skewed
