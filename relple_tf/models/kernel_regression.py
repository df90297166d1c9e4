"""Kernel machines of all targets as one layer: what stands beside the trained network in the graph."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("relple_tf")
class KernelRegression(keras.layers.Layer):
    """Sums of Gaussian and bounded linear kernel machines, one for each view of the spectrum and each target.

    A view's machine compares a scan with landmarks, which are training soils: with z the view's first scores times
    `gain` and l a landmark, it adds up slope * exp(-|z - l|^2), and linear * tanh(z * inverse_bound). The latter is
    nearly linear among the training soils and levels off beyond them: a scan from elsewhere has estimates within
    reason, until the applicability domain refuses it.

    Reads the scores of each view, (batch, components); returns (batch, targets) in standard deviations. The weights
    are set by `training.machine` and never trained.

    Args:
        targets: Names, in the order of the slopes' columns.
        landmarks: Training soils that a scan is compared with.
        components: Of each view that are compared.
    """

    def __init__(self, targets: Sequence[str], landmarks: int, components: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets = tuple(targets)
        self.landmarks = landmarks
        self.components = components

    def build(self, shapes: Sequence[Sequence[int | None]]) -> None:
        views, count, components, targets = len(shapes), self.landmarks, self.components, len(self.targets)

        def weight(name: str, *shape: int) -> Any:
            return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)

        self.gain = weight("gain", views, components)
        self.landmark = weight("landmark", views, count, components)
        self.slope = weight("slope", views, count, targets)
        self.inverse_bound = weight("inverse_bound", views, components)
        self.linear = weight("linear", views, components, targets)
        self.level = weight("level", targets)

    def call(self, views: Sequence[Any]) -> Any:
        # One product for both kernels: every operator costs a microcontroller a few hundred bytes of memory.
        total = self.level
        for view, scores in enumerate(views):
            first = scores if scores.shape[1] == self.components else scores[:, : self.components]
            bent = ops.tanh(first * (self.gain[view] * self.inverse_bound[view]))
            compared = ops.concatenate([self.similarity(first, view), bent], axis=1)
            total = ops.matmul(compared, ops.concatenate([self.slope[view], self.linear[view]], axis=0)) + total
        return total

    def similarity(self, scores: Any, view: int) -> Any:
        """exp(-|z - l|^2) with every landmark l of the view: (batch, components) -> (batch, landmarks).

        The square as products with constants; rounding may leave a soil a little more than 1 like itself.
        """
        gain, landmark = self.gain[view], self.landmark[view]
        # Plus the negative: a product with constants plus constants becomes one operator.
        product = ops.matmul(scores, ops.transpose(2.0 * landmark * gain)) + ops.sum(-ops.square(landmark), axis=1)
        return ops.exp(product - ops.matmul(ops.square(scores), ops.square(gain)[:, None]))

    def scaled(self, factors: Sequence[float]) -> "KernelRegression":
        """A copy of this layer whose estimates of each target are multiplied by a factor."""
        copy: KernelRegression = type(self).from_config(self.get_config())
        copy.build([(None, self.components)] * self.gain.shape[0])
        copy.set_weights(self.get_weights())
        for weight in (copy.slope, copy.linear, copy.level):
            weight.assign(weight * ops.convert_to_tensor(factors, "float32"))
        return copy

    def get_config(self) -> dict[str, Any]:
        sizes = {"targets": self.targets, "landmarks": self.landmarks, "components": self.components}
        return {**super().get_config(), **sizes}
