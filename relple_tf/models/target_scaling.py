"""From laboratory units to what is modelled, and back as a layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.stats import skew

SKEWNESS_FOR_ROOT = 1.0
"""Targets whose training values are more skewed than this are modelled as their square root."""

MARGIN = 0.1
"""Predictions may leave the training range by this share of it, on the modelled scale."""


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """How one target is modelled; every number comes from training rows."""

    name: str
    root: bool
    """Whether the square root is modelled: an error there weighs high values less than one in laboratory units, and
    more than one of the logarithm, which was worse on inner splits (CONTRIBUTING)."""
    mean: float
    """Mean on the modelled scale (after the root where used)."""
    sd: float
    """SD on the modelled scale."""
    low: float
    """Lowest value that is ever predicted, on the modelled scale, in standard deviations from the mean."""
    high: float
    """Highest value that is ever predicted, likewise."""
    non_negative: bool
    """No training value is below 0, so no prediction is."""

    @classmethod
    def fit(cls, name: str, values: npt.NDArray[np.float64], *, may_root: bool = True) -> "TargetScale":
        """Choose the scale from the training rows' values (n,), NaN where not measured; without root on demand."""
        measured = values[~np.isnan(values)]
        non_negative = bool(measured.min() >= 0)
        root = may_root and non_negative and bool(skew(measured) > SKEWNESS_FOR_ROOT)
        modelled = np.sqrt(measured) if root else measured
        mean, sd = float(modelled.mean()), float(modelled.std())
        margin = MARGIN * np.ptp(modelled)
        low, high = modelled.min() - margin, modelled.max() + margin
        low = max(low, 0.0) if root else low  # the square of a lower one would rise again
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
        """Laboratory units to standard deviations; NaN stays NaN."""
        # A value below 0, which no training row has, goes on beyond the root of 0 as it would below it.
        return ((np.sign(values) * np.sqrt(np.abs(values)) if self.root else values) - self.mean) / self.sd

    def to_lab(self, modelled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Standard deviations to laboratory units, clipped to the range that the training rows cover."""
        clipped = np.clip(modelled, self.low, self.high) * self.sd + self.mean
        values = np.square(clipped) if self.root else clipped
        return np.maximum(values, 0.0) if self.non_negative else values


@keras.saving.register_keras_serializable("relple_tf")
class InverseTargetScaling(keras.layers.Layer):
    """`to_lab` of all targets as a layer: (batch, targets) standard deviations -> (batch, targets) laboratory units.

    Clips on the modelled scale: no estimate leaves the range of the training soils by more than MARGIN.
    """

    def __init__(self, scales: Sequence[TargetScale | dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scales = tuple(one if isinstance(one, TargetScale) else TargetScale(**one) for one in scales)

    def call(self, modelled: Any) -> Any:
        low, high, mean, sd, root = self._constants()
        values = ops.minimum(ops.maximum(modelled, low), high) * sd + mean
        if root.all():
            values = values * values
        elif root.any():
            values = values * (values * root + (1.0 - root))
        floor = np.array([one.non_negative and not one.root for one in self.scales])  # a square has it already
        if floor.any():
            values = ops.maximum(values, np.where(floor, 0.0, LOWEST).astype("f4"))
        return values

    def _constants(self) -> npt.NDArray[np.float32]:
        """low, high, mean, sd and root, (targets,) each."""
        rows = [(one.low, one.high, one.mean, one.sd, one.root) for one in self.scales]
        return np.array(rows, "float32").T

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": [asdict(one) for one in self.scales]}


LOWEST = -3e38
"""Below every estimate of a target that may be negative; infinity is not for device files."""
