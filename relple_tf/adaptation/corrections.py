"""Corrections of the estimates of a target by local soils, and the choice of one by leave-one-out cross-validation.

A correction is linear on the modelled scale, in standard deviations. So it is a part of the inverse target scaling:
the device file has the same operators and two other constants per target.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from relple_tf.models.target_scaling import MARGIN, TargetScale

Floats = npt.NDArray[np.float64]

METHODS = ("none", "bias", "slope and bias")
"""From simple to complex."""
SLOPES = (0.2, 5.0)
"""Bounds of a slope: a scan with a larger estimate never gets a smaller value, and none is magnified without limit."""
FEWEST_SAMPLES = 5
"""Fewest local samples with a laboratory value of a target from which a correction is chosen."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Laboratory value = intercept + slope * estimate."""

    method: str
    """One of METHODS."""
    intercept: float = 0.0
    slope: float = 1.0

    def __call__(self, estimated: Floats) -> Floats:
        """Correct estimates (n,)."""
        return self.intercept + self.slope * estimated


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The correction of a target."""

    correction: Correction
    """Fitted on all local soils."""
    held_out: dict[str, Floats]
    """Method -> (n,) estimates on the scale of the run, each corrected without the sample of its row; NaN where not
    measured."""


def fit_correction(method: str, estimated: Floats, measured: Floats) -> Correction:
    """Fit a correction by least squares.

    Args:
        method: One of METHODS.
        estimated: (n,) at least one.
        measured: (n,).
    """
    if method == "none":
        return Correction(method=method)
    slope = 1.0
    if method == "slope and bias" and (spread := float(np.var(estimated))) > 0:
        centred = estimated - estimated.mean()
        slope = float(np.clip(np.mean(centred * measured) / spread, *SLOPES))
    return Correction(method=method, intercept=float(np.mean(measured - slope * estimated)), slope=slope)


def choose_correction(scale: TargetScale, estimated: Floats, measured: Floats, samples: npt.NDArray[np.intp]) -> Choice:
    """Choose the simplest correction whose squared error is within one standard error of the smallest.

    The errors are those of soils that were left out (one sample at a time), in laboratory units. The standard error is
    that of the mean squared error of the best method (Hastie, Tibshirani & Friedman 2009, The Elements of Statistical
    Learning, section 7.10).

    Args:
        scale: Scale of the target in the run.
        estimated: (n,) estimates of the run, in standard deviations.
        measured: (n,) in laboratory units, NaN where not measured; values of FEWEST_SAMPLES samples or more.
        samples: (n,) numbers of the samples.
    """
    known, modelled = np.flatnonzero(np.isfinite(measured)), scale.to_model(measured)
    distinct = np.unique(samples[known])
    held_out = {method: np.full(len(measured), np.nan) for method in METHODS}
    for sample in distinct:
        others, held = known[samples[known] != sample], known[samples[known] == sample]
        for method, values in held_out.items():
            values[held] = fit_correction(method, estimated[others], modelled[others])(estimated[held])
    squares = {}
    for method, values in held_out.items():
        errors = in_lab_units(scale, values) - measured
        # A sample has one laboratory value: its scans count as one soil.
        squares[method] = np.array([np.mean(errors[known][samples[known] == sample] ** 2) for sample in distinct])
    best = min(squares.values(), key=np.mean)
    most = best.mean() + best.std(ddof=1) / len(best) ** 0.5
    chosen = next(method for method in METHODS if squares[method].mean() <= most)
    return Choice(correction=fit_correction(chosen, estimated[known], modelled[known]), held_out=held_out)


def in_lab_units(scale: TargetScale, modelled: Floats) -> Floats:
    """`TargetScale.to_lab` (n,) without the range of the training values, which local soils may exceed."""
    wide = replace(scale, low=-scale.mean / scale.sd if scale.root else -np.inf, high=np.inf)
    return wide.to_lab(modelled)


def corrected_scale(scale: TargetScale, correction: Correction, measured: Floats) -> TargetScale:
    """Join a correction with the scale of a target, and widen its range to the local values.

    Args:
        scale: Scale of the run.
        correction: To apply before it.
        measured: (n,) local values in laboratory units, NaN where not measured.

    Returns:
        A scale with which `to_lab(x)` is `scale.to_lab(correction(x))`, but for the wider range.
    """
    low, high = scale.low, scale.high
    local = scale.to_model(measured[np.isfinite(measured)])
    if len(local):
        margin = MARGIN * float(np.ptp(local))
        low, high = min(low, float(local.min()) - margin), max(high, float(local.max()) + margin)
    if scale.root:
        low = max(low, -scale.mean / scale.sd)  # below 0 the square would rise again
    return replace(
        scale,
        mean=scale.mean + scale.sd * correction.intercept,
        sd=scale.sd * correction.slope,
        low=(low - correction.intercept) / correction.slope,
        high=(high - correction.intercept) / correction.slope,
    )
