"""On which scale each target is modelled."""

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVR

from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.splitting.folds import group_k_fold
from relple_tf.training.kernel_regression import EPSILON, MOST_SVM_ROWS

Floats = npt.NDArray[np.float64]

FOLDS = 5
COST = 3.0
"""C of the machine that compares the scales, the middle of `machine.COSTS`."""
CLEARLY = 0.9
"""A skewed target is modelled as it is where that brings the RMSE below this share of its square root's."""


def choose_scale(name: str, values: Floats, scores: Floats, groups: npt.NDArray[np.intp], seed: int) -> TargetScale:
    """The square root for a skewed target, unless a support vector machine predicts it clearly better as it is.

    Errors are compared in the target's unit, by cross-validation: the root suits a target whose error grows
    with its value, and harms one whose few high values are what the spectra tell best.

    Args:
        name: Of the target, with unit.
        values: (n,) of the training rows, NaN where not measured.
        scores: (n, components) of the first view, their mean variance 1.
        groups: (n,) numbers of what no fold may divide.
        seed: Of the folds, and of the rows that are tried where there are more than MOST_SVM_ROWS.
    """
    skewed = TargetScale.fit(name, values)
    if not skewed.root:
        return skewed
    known = np.flatnonzero(~np.isnan(values))
    if len(known) > MOST_SVM_ROWS:
        known = np.random.default_rng(seed).choice(known, MOST_SVM_ROWS, replace=False)
    x, y = scores[known], values[known]
    plain = TargetScale.fit(name, values, may_root=False)
    rmse = []
    for scale in (skewed, plain):
        estimated = np.empty(len(y))
        for fitted, held in group_k_fold(groups[known], FOLDS, seed):
            kernel = SVR(C=COST, epsilon=EPSILON, gamma=0.5 / x.shape[1])
            estimated[held] = scale.to_lab(kernel.fit(x[fitted], scale.to_model(y[fitted])).predict(x[held]))
        rmse.append(np.sqrt(np.mean((estimated - y) ** 2)))
    return plain if rmse[1] < CLEARLY * rmse[0] else skewed
