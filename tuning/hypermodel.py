"""A KerasTuner `HyperModel` of the public builders, for people who bring their own tuner and data.

`tuning.search` does not use it: a search over calibrations tunes whole configs.
"""

from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner
import numpy.typing as npt

from relple_tf import models
from relple_tf.errors import InputError

ROUTED = ("rs_ple", "ple", "cgc")
"""Architectures with experts per target."""
LEVELLED = ("rs_ple", "ple")
"""Architectures with several extraction levels."""


class MultiTaskHyperModel(keras_tuner.HyperModel):
    """Expert and gate sizes, dropout and learning rate of an architecture of `relple_tf.models`.

    Args:
        architecture: Name of a builder, such as `rs_ple`.
        input_shape: (n_features,) or (n_steps, n_channels).
        targets: Names of the targets.
        correlation: (K, K) correlation of the targets on training rows; needed for `rs_ple`.
        fixed: Further arguments of the builder, which are not searched.

    Raises:
        InputError: the architecture is unknown.
    """

    def __init__(
        self,
        architecture: str,
        input_shape: Sequence[int],
        targets: Sequence[str],
        *,
        correlation: npt.ArrayLike | None = None,
        **fixed: Any,
    ) -> None:
        super().__init__(name=architecture)
        if architecture not in models.__all__:
            raise InputError(f"architecture: expected one of {', '.join(models.__all__)}; received {architecture!r}")
        self.architecture, self.fixed = architecture, fixed
        self.input_shape, self.targets, self.correlation = tuple(input_shape), tuple(targets), correlation

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile a model: Adam, mean squared error of each target."""
        sizes: dict[str, Any] = {
            "expert_units": hp.Int("expert_units", 8, 64, step=8, default=32),
            "tower_units": hp.Int("tower_units", 4, 32, step=4, default=16),
            "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1, default=0.1),
        }
        if self.architecture in ROUTED:
            sizes["task_experts"] = hp.Int("task_experts", 1, 4, default=1)
            sizes["shared_experts"] = hp.Int("shared_experts", 1, 4, default=1)
        if self.architecture in LEVELLED:
            sizes["levels"] = hp.Int("levels", 1, 3, default=2)
        if self.architecture == "mmoe":
            sizes["experts"] = hp.Int("experts", 2, 8, default=4)
        if self.architecture == "rs_ple":
            sizes["relevance_tau"] = hp.Float("relevance_tau", 0.2, 1.0, step=0.2, default=0.6)
            sizes["correlation"] = self.correlation
        builder = getattr(models, self.architecture)
        model: keras.Model = builder(self.input_shape, self.targets, **sizes | self.fixed)
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
        model.compile(keras.optimizers.Adam(rate), loss="mse")
        return model
