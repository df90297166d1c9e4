"""Corrections of the estimates of a target that are linear on the modelled scale, and the range of its scale."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from relple_tf.models.target_scaling import MARGIN, TargetScale

Floats = npt.NDArray[np.float64]

NONE, BIAS, SLOPE_AND_BIAS, MEAN = "none", "bias", "slope and bias", "local mean"
CORRECTIONS = (NONE, BIAS, SLOPE_AND_BIAS, MEAN)
"""The last one ignores the estimate of the run."""
SLOPES = (0.0, 5.0)
"""Bounds of a slope: a scan with a larger estimate never gets a smaller value, and none is magnified without limit."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Laboratory value = intercept + slope * estimate, in standard deviations of the library."""

    intercept: float = 0.0
    slope: float = 1.0

    def __call__(self, estimated: Floats) -> Floats:
        """Correct estimates (n,)."""
        return self.intercept + self.slope * estimated


def fit_correction(method: str, estimated: Floats, measured: Floats) -> Correction:
    """Fit a correction by least squares.

    Args:
        method: One of CORRECTIONS.
        estimated: (n,) at least one.
        measured: (n,).
    """
    if method == NONE:
        return Correction()
    slope = 0.0 if method == MEAN else 1.0
    if method == SLOPE_AND_BIAS and (spread := float(np.var(estimated))) > 0:
        centred = estimated - estimated.mean()
        slope = float(np.clip(np.mean(centred * measured) / spread, *SLOPES))
    return Correction(intercept=float(np.mean(measured - slope * estimated)), slope=slope)


def in_lab_units(scale: TargetScale, modelled: Floats) -> Floats:
    """`TargetScale.to_lab` (n,) without the range of the training values, which local soils may exceed."""
    wide = replace(scale, low=-scale.mean / scale.sd if scale.root else -np.inf, high=np.inf)
    return wide.to_lab(modelled)


def widened_scale(scale: TargetScale, measured: Floats) -> TargetScale:
    """Widen the range of a scale to the local values.

    Args:
        scale: Scale of the run.
        measured: (n,) local values in laboratory units, NaN where not measured; at least one.
    """
    local = scale.to_model(measured[np.isfinite(measured)])
    margin = MARGIN * float(np.ptp(local))
    low, high = min(scale.low, float(local.min()) - margin), max(scale.high, float(local.max()) + margin)
    if scale.root:
        low = max(low, -scale.mean / scale.sd)  # below 0 the square would rise again
    return replace(scale, low=low, high=high)
