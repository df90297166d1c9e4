"""Prediction intervals and limits of the applicability domain, fitted on the training rows."""

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
    """Domain limits and prediction intervals; with cross-fitting, the training rows are the whole development set."""

    limits: Limits
    """Limits of T2 and Q."""
    intervals: dict[str, Interval]
    """Target -> prediction interval; empty without out-of-fold predictions."""
    t2: Floats
    """(n,) cross-validated T2 of the training rows; NaN for other rows."""
    q: Floats
    """(n,) cross-validated Q, likewise."""


def fit_reliability(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    cross_fit: CrossFit | None,
    seed: int,
) -> Reliability:
    """Fit the domain limits on the training rows, and the intervals on their out-of-fold predictions.

    The folds for T2 and Q divide groups, but no sample. Limits from held-out groups would accept almost every scan, and
    scans of a new group are those to flag.
    """
    train = parts == "train"
    samples = group_labels(library, keep_groups=False)[train]
    t2, q = np.full((2, len(library)), np.nan)
    t2[train], q[train] = cross_validated_statistics(
        first_view(prepared), samples, prepared.spec.components, seed, count=prepared.domain_statistics.count
    )
    domain_limits = limits(t2[train], q[train])
    intervals = {}
    if cross_fit is not None:
        intervals = {
            scale.name: fit_interval(
                scale,
                library.targets[scale.name][train],
                cross_fit.predictions[scale.name][train],
                domain_limits.difficulty(t2[train]),
            )
            for scale in prepared.scales
        }
    return Reliability(limits=domain_limits, intervals=intervals, t2=t2, q=q)
