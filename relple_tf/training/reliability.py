"""Prediction intervals and limits of the applicability domain, from the development set."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.models.domain import Limits, cross_validated_statistics, limits
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import group_labels
from relple_tf.training.cross_fitting import CrossFit
from relple_tf.training.intervals import Interval, fit_interval
from relple_tf.training.preparation import Prepared, first_view

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """What a prediction needs beside its value; fitted on the development set alone."""

    limits: Limits
    """Of T2 and Q."""
    intervals: dict[str, Interval]
    """Target -> its interval; empty without out-of-fold predictions."""
    t2: Floats
    """(n,) of the development set, each by components found without it; NaN for other rows."""
    q: Floats
    """(n,) likewise."""


def fit_reliability(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    cross_fit: CrossFit | None,
    seed: int,
) -> Reliability:
    """Limits of the domain from the training rows, and intervals from their out-of-fold predictions.

    The folds of the distances leave samples whole, not groups: limits from groups left out would let almost any scan
    pass, and it is in a new group that predictions are to be flagged.
    """
    train = parts == "train"
    groups = group_labels(library, keep_groups=False)[train]
    t2, q = np.full((2, len(library)), np.nan)
    t2[train], q[train] = cross_validated_statistics(
        first_view(prepared), groups, prepared.spec.components, seed, count=prepared.domain_statistics.count
    )
    fitted = limits(t2[train], q[train])
    intervals = {}
    if cross_fit is not None:
        intervals = {
            scale.name: fit_interval(
                scale,
                library.targets[scale.name][train],
                cross_fit.predictions[scale.name][train],
                fitted.difficulty(t2[train]),
            )
            for scale in prepared.scales
        }
    return Reliability(limits=fitted, intervals=intervals, t2=t2, q=q)
