"""Kernel regression of all targets as one layer of the deployed model."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("relple_tf")
class KernelRegression(keras.layers.Layer):
    """Sum of a Gaussian and a bounded linear kernel regression over all views, for each target.

    A Gaussian kernel compares a scan with landmarks, which are training soils. With z a view's first scores times
    `gain` and l a landmark, the prediction is the sum over views of slope * exp(-|z - l|^2) and
    linear * tanh(z * inverse_bound), plus `level`. The tanh is nearly linear within the training range and saturates
    beyond it: predictions for a scan outside the domain stay plausible until the domain statistics flag it.

    Reads the scores of each view, (batch, components); returns (batch, targets) in standard deviations.
    `training.kernel_regression` sets the weights; they are never trained.

    Args:
        targets: Names, in the order of the columns of `slope`.
        landmarks: Number of training soils that a scan is compared with.
        components: Number of scores of each view that are compared.
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
        # One product for both kernels: each operator costs a few hundred bytes of memory on a microcontroller.
        total = self.level
        for view, scores in enumerate(views):
            first = scores if scores.shape[1] == self.components else scores[:, : self.components]
            saturated = ops.tanh(first * (self.gain[view] * self.inverse_bound[view]))
            kernels = ops.concatenate([self.similarity(first, view), saturated], axis=1)
            total = ops.matmul(kernels, ops.concatenate([self.slope[view], self.linear[view]], axis=0)) + total
        return total

    def similarity(self, scores: Any, view: int) -> Any:
        """exp(-|z - l|^2) for every landmark l of the view: (batch, components) -> (batch, landmarks).

        The square is expanded into products with constants. By rounding, the similarity of a soil to itself may be a
        little above 1.
        """
        gain, landmark = self.gain[view], self.landmark[view]
        # A sum with the negative: a product with constants plus constants becomes one operator.
        product = ops.matmul(scores, ops.transpose(2.0 * landmark * gain)) + ops.sum(-ops.square(landmark), axis=1)
        return ops.exp(product - ops.matmul(ops.square(scores), ops.square(gain)[:, None]))

    def get_config(self) -> dict[str, Any]:
        sizes = {"targets": self.targets, "landmarks": self.landmarks, "components": self.components}
        return {**super().get_config(), **sizes}
