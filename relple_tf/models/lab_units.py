"""From laboratory units to what is modelled, and back as the last layer of the graph."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.stats import skew

from relple_tf.models.domain import Distances
from relple_tf.models.inputs import view_name
from relple_tf.models.kernel import KernelMachines

SKEWNESS_FOR_LOG = 1.0
"""Targets whose training values are more skewed than this are modelled as log(1 + y)."""

MARGIN = 0.1
"""Predictions may leave the training range by this share of it, on the modelled scale."""


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """How one target is modelled; every number comes from training rows."""

    name: str
    log1p: bool
    mean: float
    """Mean on the modelled scale (after log1p where used)."""
    sd: float
    """SD on the modelled scale."""
    low: float
    """Lowest value that is ever predicted, on the modelled scale, in standard deviations from the mean."""
    high: float
    """Highest value that is ever predicted, likewise."""
    non_negative: bool
    """No training value is below 0, so no prediction is."""

    @classmethod
    def fit(cls, name: str, values: npt.NDArray[np.float64], *, may_log: bool = True) -> "TargetScale":
        """Choose the scale from the training rows' values (n,), NaN where not measured; without log1p on demand."""
        measured = values[~np.isnan(values)]
        non_negative = bool(measured.min() >= 0)
        log1p = may_log and non_negative and bool(skew(measured) > SKEWNESS_FOR_LOG)
        modelled = np.log1p(measured) if log1p else measured
        mean, sd = float(modelled.mean()), float(modelled.std())
        margin = MARGIN * np.ptp(modelled)
        low, high = modelled.min() - margin, modelled.max() + margin
        return cls(
            name=name,
            log1p=log1p,
            mean=mean,
            sd=sd,
            low=float(low - mean) / sd,
            high=float(high - mean) / sd,
            non_negative=non_negative,
        )

    def to_model(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Laboratory units to standard deviations; NaN stays NaN."""
        return ((np.log1p(values) if self.log1p else values) - self.mean) / self.sd

    def to_lab(self, modelled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Standard deviations to laboratory units, clipped to the range that the training rows cover."""
        clipped = np.clip(modelled, self.low, self.high) * self.sd + self.mean
        values = np.expm1(clipped) if self.log1p else clipped
        return np.maximum(values, 0.0) if self.non_negative else values


@keras.saving.register_keras_serializable("relple_tf")
class LabUnits(keras.layers.Layer):
    """One target's `to_lab` as a layer: (batch, 1) standard deviations -> (batch, 1) laboratory units.

    Clips before expm1, because one wild logarithm is an astronomical concentration.
    """

    def __init__(self, scale: TargetScale | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale if isinstance(scale, TargetScale) else TargetScale(**scale)

    def call(self, modelled: Any) -> Any:
        scale = self.scale
        clipped = ops.minimum(ops.maximum(modelled, scale.low), scale.high) * scale.sd + scale.mean
        # exp - 1, not expm1: the latter is no builtin operator of the device runtimes.
        values = ops.exp(clipped) - 1.0 if scale.log1p else clipped
        return ops.maximum(values, 0.0) if scale.non_negative else values

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": asdict(self.scale)}


T2, Q = "T2", "Q"
"""Names of the outputs that say how far a scan lies from the training spectra; see `domain.Distances`."""


def whole_graph(
    absorbance: keras.Model,
    channels: keras.Model,
    network: keras.Model,
    scales: Sequence[TargetScale],
    distances: Distances,
    machines: KernelMachines,
) -> keras.Model:
    """Join the trained parts to one graph; network and kernel machines each hold their share of the estimates.

    Returns:
        Raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, "T2": (batch, 1), "Q": (batch, 1)}.
    """
    spectrum = keras.Input(absorbance.input.shape[1:], name="spectrum")
    modelled, bands, scores = seeing(network)(channels(absorbance(spectrum)))
    similar = machines(scores)
    outputs = {
        scale.name: LabUnits(scale, name=f"{scale.name}_lab")(modelled[scale.name] + similar[scale.name])
        for scale in scales
    }
    outputs[T2], outputs[Q] = distances((bands, scores[0]))
    return keras.Model(spectrum, outputs, name="scan_to_lab")


def seeing(network: Any) -> Any:
    """The network with what `Distances` and `KernelMachines` read of it.

    Args:
        network: Of either Keras.

    Returns:
        Features -> (outputs, bands of the first view, scores of every view).
    """
    views = [layer for layer in network.layers if layer.name in map(view_name, range(len(network.layers)))]
    views.sort(key=lambda layer: layer.name)
    read = (network.output, views[0].input, [view.output for view in views])
    return type(network)(network.input, read, name=network.name)
