"""Prediction intervals, limits of the applicability domain and usual disagreement, fitted on the training rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.config import Config
from relple_tf.models.agreement import POWER
from relple_tf.models.domain import SHARE_WITHIN, Limits, conformal_quantile, cross_validated_statistics, limits
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import group_labels
from relple_tf.training.cross_fitting import CrossFit
from relple_tf.training.intervals import Interval, fit_interval
from relple_tf.training.preparation import Prepared, cross_validated_differences, first_view

Floats = npt.NDArray[np.float64]

USUAL_SHARE = 0.9
"""Fraction of the soils whose two predictions of a target differ by at most the usual difference."""

FEWEST_DIFFERENCES = 20
"""Fewest rows from which a limit of the disagreement is computed: of fewer, the largest is exceeded too often."""

SMALLEST_DIFFERENCE = 1e-3
"""Smallest usual difference, in standard deviations: views without variance give equal predictions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """Constants of `models.agreement.Disagreement`."""

    usual: Floats
    """(K,) usual |difference| of each target, in standard deviations."""
    scale: float
    """Factor after which the disagreement is compared with the limit of Q."""

    def q(self, differences: Floats) -> Floats:
        """Disagreement of scans as a part of Q: differences of the kernel regressions (n, K) -> (n,)."""
        scaled: Floats = self.scale * np.max(np.abs(differences) / self.usual, axis=1) ** POWER
        return scaled


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
    """(n,) cross-validated Q, likewise; includes the disagreement."""
    agreement: Agreement | None
    """None without robust views, or with fewer than FEWEST_DIFFERENCES rows."""


def fit_reliability(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    cross_fit: CrossFit | None,
    config: Config,
) -> Reliability:
    """Fit the domain limits on the training rows, and the intervals on their out-of-fold predictions.

    Args:
        library: All rows.
        parts: (n,) of PARTS, as used for the final network.
        prepared: Preparation of the final network.
        cross_fit: Out-of-fold predictions; None without cross-validation folds.
        config: Config of the run, with the seed of the folds for T2, Q and the disagreement.

    These folds divide groups, but no sample. Limits from held-out groups would accept almost every scan, and
    scans of a new group are those to flag.
    """
    train = parts == "train"
    samples = group_labels(library, keep_groups=False)[train]
    t2, q = np.full((2, len(library)), np.nan)
    t2[train], q[train] = cross_validated_statistics(
        first_view(prepared),
        samples,
        prepared.spec.components,
        config.training.seed,
        count=prepared.domain_statistics.count,
    )
    domain_limits = limits(t2[train], q[train])
    differences = cross_validated_differences(prepared, samples, config)
    agreement = fit_agreement(differences, domain_limits.q)
    if agreement is not None:
        q[train] = np.fmax(q[train], agreement.q(differences))
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
    return Reliability(limits=domain_limits, intervals=intervals, t2=t2, q=q, agreement=agreement)


def fit_agreement(differences: Floats, q_limit: float) -> Agreement | None:
    """Scale the disagreement so that its quantile at SHARE_WITHIN is the limit of Q.

    With 99 rows or more, a new soil then exceeds T2, Q and the disagreement with probability 1 - SHARE_WITHIN each. A
    common limit for Q and the disagreement would lie far in the tail of the latter, where it flags few distorted scans.

    Args:
        differences: (n, K) from `preparation.cross_validated_differences`.
        q_limit: Limit of Q without the disagreement.

    Returns:
        None if fewer than FEWEST_DIFFERENCES rows have a difference.
    """
    known = differences[np.isfinite(differences).all(axis=1)]
    if len(known) < FEWEST_DIFFERENCES:
        return None
    usual = np.maximum(np.quantile(np.abs(known), USUAL_SHARE, axis=0), SMALLEST_DIFFERENCE)
    largest = np.maximum(np.max(np.abs(known) / usual, axis=1), SMALLEST_DIFFERENCE)
    return Agreement(usual=usual, scale=q_limit / conformal_quantile(largest, SHARE_WITHIN) ** POWER)
