"""On which scale each target is modelled."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV

from relple_tf.models.lab_units import TargetScale
from relple_tf.training.machine import STRENGTHS, whole_folds

Floats = npt.NDArray[np.float64]

FOLDS = 5


def choose_scale(name: str, values: Floats, scores: Floats, units: npt.NDArray[np.intp], seed: int) -> TargetScale:
    """log(1 + y) for a skewed target, unless a ridge regression on the scores predicts it better as it is.

    Errors are compared in the target's unit, by cross-validation: log1p suits a target whose error grows with its
    value, and ruins one whose few high values are what the spectra tell best.

    Args:
        name: Of the target, with unit.
        values: (n,) of the training rows, NaN where not measured.
        scores: (n, components) of the first view.
        units: (n,) numbers of what no fold may divide.
        seed: Of the folds.
    """
    skewed = TargetScale.fit(name, values)
    if not skewed.log1p:
        return skewed
    known = ~np.isnan(values)
    x, y = scores[known], values[known]
    errors = []
    tried = (skewed, TargetScale.fit(name, values, may_log=False))
    for scale in tried:
        estimated = np.empty(len(y))
        for fitted, held in whole_folds(units[known], FOLDS, seed):
            ridge = RidgeCV(STRENGTHS).fit(x[fitted], scale.to_model(y[fitted]))
            estimated[held] = scale.to_lab(ridge.predict(x[held]))
        errors.append(np.mean((estimated - y) ** 2))
    return tried[int(np.argmin(errors))]
