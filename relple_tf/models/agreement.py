"""Agreement of two kernel regressions: a scan on which they disagree is not in the domain."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

POWER = 4
"""Q grows with this power of the disagreement: that of a usual soil is then small beside the residual."""


@keras.saving.register_keras_serializable("relple_tf")
class Disagreement(keras.layers.Layer):
    """Distance between two predictions of all targets: the largest over the targets, in units of its usual size.

    Reads the predictions, (batch, targets) each, in standard deviations. Returns (batch, 1): scale * d^POWER, where d
    is the largest |difference| * inverse_size of a target. `pipeline.disagreement` sets the constants.
    """

    def build(self, shapes: Sequence[Sequence[int | None]]) -> None:
        targets = shapes[0][1:]
        self.inverse_size = self.add_weight(shape=targets, initializer="ones", trainable=False, name="inverse_size")
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")

    def call(self, inputs: Sequence[Any]) -> Any:
        first, second = inputs
        difference = ops.max(ops.abs((first - second) * self.inverse_size), axis=1, keepdims=True)
        return ops.square(ops.square(difference)) * self.scale


@keras.saving.register_keras_serializable("relple_tf")
class Larger(keras.layers.Layer):
    """The larger of two tensors of one shape."""

    def call(self, inputs: Sequence[Any]) -> Any:
        first, second = inputs
        # Sum and relu propagate NaN on every runtime; a maximum may not.
        return first + ops.relu(second - first)
