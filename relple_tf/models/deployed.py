"""The deployed model: front end, stack of network and kernel regression, target scaling, domain statistics."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from relple_tf.models.domain import DomainStatistics
from relple_tf.models.front_end import InvalidIsNan
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.target_scaling import LOWEST, InverseTargetScaling, TargetScale
from relple_tf.models.views import joined, view_name

T2, Q = "T2", "Q"
"""Names of the outputs that say how far a scan lies from the training spectra; see `domain.DomainStatistics`."""


def deployed_model(
    absorbance: keras.Model,
    channels: keras.Model,
    network: keras.Model,
    scales: Sequence[TargetScale],
    distances: DomainStatistics,
    kernel_regression: KernelRegression,
) -> keras.Model:
    """Join the trained parts to one graph; network and kernel machines each hold their share of the estimates.

    Returns:
        Raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, "T2": (batch, 1), "Q": (batch, 1)}; NaN for
        an impossible scan.
    """
    spectrum = keras.Input(absorbance.input.shape[1:], name="spectrum")
    on_grid = absorbance(spectrum)
    modelled, bands, scores = with_views(network)(channels(on_grid))
    similar = kernel_regression(scores)
    learned = joined([modelled[scale.name] for scale in scales], keras, name="learned")
    together = keras.layers.Add(name="stack")([learned, similar])
    lowest = InvalidIsNan().lowest if absorbance.get_layer("absorbance").quantity != "features" else LOWEST
    guard = InvalidIsNan(lowest, name="invalid_is_nan")
    values = guard((on_grid, InverseTargetScaling(scales, name="target_scaling")(together)))
    outputs = PerTarget([scale.name for scale in scales], name="per_target")(values)
    outputs[T2], outputs[Q] = (guard((on_grid, distance)) for distance in distances((bands, scores[0])))
    return keras.Model(spectrum, outputs, name="scan_to_lab")


@keras.saving.register_keras_serializable("relple_tf")
class PerTarget(keras.layers.Layer):
    """`per_target` as a layer.

    Every operation of the deployed model is a layer with a name: Keras would number operations through the process, and
    the saved file would depend on what was built before.
    """

    def __init__(self, targets: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets = tuple(targets)

    def call(self, values: Any) -> Any:
        return per_target(values, self.targets)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "targets": self.targets}


def per_target(values: Any, targets: Sequence[str]) -> dict[str, Any]:
    """(batch, targets) -> {target: (batch, 1)}."""
    return dict(zip(targets, ops.split(values, len(targets), axis=1), strict=True))


def with_views(network: Any) -> Any:
    """The network with what `DomainStatistics` and `KernelRegression` read of it.

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
