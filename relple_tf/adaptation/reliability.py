"""Intervals and domain limits after an adaptation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import Limits, status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.library import REFLECTANCE_FLOOR
from relple_tf.spectra.sources.out_of_domain import KINDS, out_of_domain_scans
from relple_tf.training.intervals import Interval

Floats = npt.NDArray[np.float64]
Estimate = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[Any]]]

LIBRARY_SOILS = 2
"""The error of the library counts as much as that of this many local soils."""
SCANS_PER_KIND = 25
"""Simulated out-of-domain scans of each kind against which wider limits are checked."""
FEWEST_FLAGGED = 0.95
"""Fraction of these scans that must stay outside the domain."""
STEPS = 8
"""Limits between those of the library and those that hold all local soils, which are tried from wide to narrow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalErrors:
    """What changes the interval of a target: wider limits of the domain, and the errors of local soils."""

    widening: float
    """Limit of T2 after the adaptation, divided by that before, as a factor of distances."""
    scale: TargetScale
    """Of the run."""
    measured: Floats
    """(n,) in standard deviations, NaN where not measured; all NaN for a target that is not adapted."""
    held_out: Floats
    """(n,) estimates, adapted without the soil."""
    difficulty: Floats
    """(n,) of the scans, with the limits after the adaptation."""
    samples: npt.NDArray[np.intp]
    """(n,) numbers of the samples."""

    def __call__(self, interval: Interval) -> Interval:
        """Return the interval after the adaptation."""
        # The difficulty is in units of the limit of T2, which is wider now; the intervals are not narrower for it.
        wide = replace(interval, growth=interval.growth * self.widening)
        if np.isnan(self.measured).all():
            return wide
        return local_interval(wide, self.scale, self.measured, self.held_out, self.difficulty, self.samples)


def local_interval(
    interval: Interval,
    scale: TargetScale,
    measured: Floats,
    held_out: Floats,
    difficulty: Floats,
    samples: npt.NDArray[np.intp],
) -> Interval:
    """Estimate the half-width of an interval again, from local errors and that of the library.

    Ten soils do not determine the 90 % quantile of their errors. The errors are therefore taken as normal. Their
    variance is the mean of LIBRARY_SOILS times that of the library, and of the local squared errors (a scaled inverse
    chi-squared prior; Gelman et al. 2013, Bayesian Data Analysis, section 2.6). The quantile is that of Student's t
    with as many degrees of freedom.

    Args:
        interval: Of the run.
        scale: Of the run, before the correction.
        measured: (n,) in standard deviations on the modelled scale, NaN where not measured.
        held_out: (n,) estimates, corrected without the soil.
        difficulty: (n,) of the scans.
        samples: (n,) numbers of the samples; the scans of a sample count as one soil.
    """
    if interval.half_width is None:
        return interval
    known = np.isfinite(measured)
    errors = scale.sd * (held_out - measured)[known] / (1 + interval.growth * difficulty[known])
    _, sample = np.unique(samples[known], return_inverse=True)
    squares = np.bincount(sample, errors**2) / np.bincount(sample) if len(errors) else np.zeros(0)
    tail = 0.5 + interval.coverage / 2
    library_sd = interval.half_width / float(t.ppf(tail, 1e6))
    count = LIBRARY_SOILS + len(squares)
    sd = float(np.sqrt((LIBRARY_SOILS * library_sd**2 + squares.sum()) / count))
    return replace(interval, half_width=sd * float(t.ppf(tail, count)), n=len(squares))


def widened_limits(
    limits: Limits, local: Mapping[str, Floats], estimate: Estimate, nm: Floats, quantity: str, targets: tuple[str, ...]
) -> Limits:
    """Widen the limits of T2 and Q to the local soils, as far as out-of-domain scans stay outside.

    Args:
        limits: Of the run.
        local: T2 and Q of the local scans, (n,) each.
        estimate: The model.
        nm: (bands,) that it reads.
        quantity: That it reads.
        targets: Its targets.

    Returns:
        The widest of STEPS + 1 limits, evenly spaced on a logarithmic scale from those of the run to the largest local
        T2 and Q, with which at least FEWEST_FLAGGED of the scans of `out_of_domain` are outside or invalid. Those of
        the run, if there are none.
    """
    scans = np.concatenate([out_of_domain_scans(kind, nm, SCANS_PER_KIND, seed=0) for kind in KINDS])
    if quantity == "absorbance":
        scans = (-np.log10(np.maximum(scans, REFLECTANCE_FLOOR))).astype("float32")
    foreign = estimate(scans)
    values = {target: foreign[target] for target in targets}
    factors = {name: max(float(np.max(local[name])) / limit, 1.0) for name, limit in ((T2, limits.t2), (Q, limits.q))}
    for step in range(STEPS, 0, -1):
        # A millionth more, so that rounding in another runtime does not put the farthest local soil outside.
        wide = replace(
            limits,
            t2=limits.t2 * factors[T2] ** (step / STEPS) * (1 + 1e-6 * (factors[T2] > 1)),
            q=limits.q * factors[Q] ** (step / STEPS) * (1 + 1e-6 * (factors[Q] > 1)),
        )
        if np.mean(status(values, foreign[T2], foreign[Q], wide) != "ok") >= FEWEST_FLAGGED:
            return wide
    return limits
