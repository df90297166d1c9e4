"""Target scaling: laboratory units to the modelled scale, and back as a layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.stats import skew

SKEWNESS_FOR_ROOT = 1.0
"""A target is modelled as its square root if the skewness of its training values is above this."""

MARGIN = 0.1
"""Predictions may exceed the training range by this fraction of it, on the modelled scale."""


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """The modelled scale of one target; all numbers come from training rows."""

    name: str
    root: bool
    """Whether the square root is modelled. Its errors weigh high values less than errors in laboratory units and more
    than errors of the logarithm, which was worse on inner splits (CONTRIBUTING)."""
    mean: float
    """Mean on the modelled scale (after the root where used)."""
    sd: float
    """SD on the modelled scale."""
    low: float
    """Lower bound of predictions on the modelled scale, in standard deviations from the mean."""
    high: float
    """Upper bound of predictions, likewise."""
    non_negative: bool
    """No training value is below 0, so predictions are clipped at 0."""

    @classmethod
    def fit(cls, name: str, values: npt.NDArray[np.float64], *, may_root: bool = True) -> "TargetScale":
        """Choose the scale from training values (n,), NaN where not measured; `may_root` false excludes the root."""
        measured = values[~np.isnan(values)]
        non_negative = bool(measured.min() >= 0)
        root = may_root and non_negative and bool(skew(measured) > SKEWNESS_FOR_ROOT)
        modelled = np.sqrt(measured) if root else measured
        mean, sd = float(modelled.mean()), float(modelled.std())
        margin = MARGIN * np.ptp(modelled)
        low, high = modelled.min() - margin, modelled.max() + margin
        low = max(low, 0.0) if root else low  # below 0 the square would rise again
        return cls(
            name=name,
            root=root,
            mean=mean,
            sd=sd,
            low=float(low - mean) / sd,
            high=float(high - mean) / sd,
            non_negative=non_negative,
        )

    def to_model(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Convert laboratory units to standard deviations; NaN stays NaN."""
        # The root of a value below 0, which no training row has, is minus the root of its absolute value.
        return ((np.sign(values) * np.sqrt(np.abs(values)) if self.root else values) - self.mean) / self.sd

    def to_lab(self, modelled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Convert standard deviations to laboratory units, clipped to the training range and its margin."""
        clipped = np.clip(modelled, self.low, self.high) * self.sd + self.mean
        values = np.square(clipped) if self.root else clipped
        return np.maximum(values, 0.0) if self.non_negative else values


@keras.saving.register_keras_serializable("relple_tf")
class InverseTargetScaling(keras.layers.Layer):
    """`to_lab` of all targets as a layer: (batch, targets) standard deviations -> (batch, targets) laboratory units.

    Clips on the modelled scale: no prediction exceeds the training range by more than MARGIN.
    """

    def __init__(self, scales: Sequence[TargetScale | dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scales = tuple(scale if isinstance(scale, TargetScale) else TargetScale(**scale) for scale in scales)

    def call(self, modelled: Any) -> Any:
        low, high, mean, sd, root = self._constants()
        values = ops.minimum(ops.maximum(modelled, low), high) * sd + mean
        if root.all():
            values = values * values
        elif root.any():
            values = values * (values * root + (1.0 - root))
        floor = np.array([scale.non_negative and not scale.root for scale in self.scales])  # a square is never below 0
        if floor.any():
            values = ops.maximum(values, np.where(floor, 0.0, LOWEST).astype("f4"))
        return values

    def _constants(self) -> npt.NDArray[np.float32]:
        """Return low, high, mean, sd and root, each (targets,)."""
        rows = [(scale.low, scale.high, scale.mean, scale.sd, scale.root) for scale in self.scales]
        return np.array(rows, "float32").T

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": [asdict(scale) for scale in self.scales]}


LOWEST = -3e38
"""Below every prediction of a target that may be negative; device files cannot hold infinity."""
