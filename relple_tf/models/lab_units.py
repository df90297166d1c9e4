"""From laboratory units to what is modelled, and back as the last layer of the graph."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.stats import skew

from relple_tf.models.domain import Distances
from relple_tf.models.front_end import InvalidIsNan
from relple_tf.models.inputs import joined, view_name
from relple_tf.models.kernel import KernelMachines

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
class LabUnits(keras.layers.Layer):
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
        Raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, "T2": (batch, 1), "Q": (batch, 1)}; NaN for
        an impossible scan.
    """
    spectrum = keras.Input(absorbance.input.shape[1:], name="spectrum")
    on_grid = absorbance(spectrum)
    modelled, bands, scores = seeing(network)(channels(on_grid))
    similar = machines(scores)
    learned = joined([modelled[scale.name] for scale in scales], keras, name="learned")
    together = keras.layers.Add(name="stack")([learned, similar])
    guard = InvalidIsNan(name="invalid_is_nan")
    values = guard((on_grid, LabUnits(scales, name="lab_units")(together)))
    outputs = PerTarget([scale.name for scale in scales], name="per_target")(values)
    outputs[T2], outputs[Q] = (guard((on_grid, distance)) for distance in distances((bands, scores[0])))
    return keras.Model(spectrum, outputs, name="scan_to_lab")


@keras.saving.register_keras_serializable("relple_tf")
class PerTarget(keras.layers.Layer):
    """`by_target` as a layer.

    Every operation of the deployed model is a layer with a name: Keras would number operations through the process, and
    the saved file would depend on what was built before.
    """

    def __init__(self, targets: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets = tuple(targets)

    def call(self, values: Any) -> Any:
        return by_target(values, self.targets)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "targets": self.targets}


def by_target(values: Any, targets: Sequence[str]) -> dict[str, Any]:
    """(batch, targets) -> {target: (batch, 1)}."""
    return dict(zip(targets, ops.split(values, len(targets), axis=1), strict=True))


def seeing(network: Any) -> Any:
    """The network with what `Distances` and `KernelMachines` read of it.

    Args:
        network: Of either Keras.

    Returns:
        Features -> (outputs, bands of the first view, scores of every view).
    """
    layers = {layer.name: layer for layer in network.layers}
    # In the order of the config: the kernel regression has its weights in that order.
    names = itertools.takewhile(layers.__contains__, map(view_name, itertools.count()))
    views = [layers[name] for name in names]
    read = (network.output, views[0].input, [view.output for view in views])
    return type(network)(network.input, read, name=network.name)
