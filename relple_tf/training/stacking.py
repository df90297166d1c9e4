"""Stacking of network and kernel regression: their predictions, the weight of each, and their agreement."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.models import front_end
from relple_tf.models.deployed import with_views
from relple_tf.training.preparation import Prepared

Floats = npt.NDArray[np.float64]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidates for the stacking weight w of the network; the kernel regression has 1 - w."""

EQUAL_WITHIN = 0.03
"""Mean squared errors within this fraction of the smallest count as equal to it."""

LARGEST_ERROR = 3.0
"""Errors are clipped at this many SDs of the laboratory values, so that a single soil cannot determine the weight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Predictions of the members of the stack, (n, K) each, in standard deviations."""

    network: Floats
    network_views: Floats
    """Kernel regression, mean over the network's views."""
    reference: Floats
    """Kernel regression, mean over the robust views; NaN without robust views."""
    robust_share: float
    """Fraction of the views of the kernel regressions that are robust."""

    @property
    def kernel_regression(self) -> Floats:
        """Mean over all views (n, K)."""
        if not self.robust_share:
            return self.network_views
        return (1 - self.robust_share) * self.network_views + self.robust_share * self.reference

    @property
    def differences(self) -> Floats:
        """Predictions of the network's views less the reference (n, K), from which the disagreement is computed."""
        return self.network_views - self.reference

    def stacked_by_weight(self) -> Floats:
        """Stack with each of WEIGHTS: (weights, n, K)."""
        return np.stack([self.stacked(weight) for weight in WEIGHTS])

    def stacked(self, weights: npt.ArrayLike) -> Floats:
        """Stack with a weight of the network for each target, (K,) or a scalar: (n, K)."""
        weights = np.asarray(weights, "float64")
        stacked: Floats = weights * self.network + (1 - weights) * self.kernel_regression
        return stacked


def members(network: keras.Model, prepared: Prepared, absorbance: npt.NDArray[np.float32]) -> Members:
    """Predict with each member of the stack.

    Args:
        network: Trained network.
        prepared: Preparation of its training.
        absorbance: (n, grid).
    """
    extended = with_views(network)
    outputs, _, scores = extended.output
    columns = [outputs[target] for target in prepared.spec.targets]
    both = [keras.ops.concatenate(columns, axis=1), prepared.kernel_regression(scores)]
    features = front_end.apply(prepared.channel_stage, absorbance)
    from_network, from_views = (
        values.astype("float64") for values in front_end.apply_all(keras.Model(extended.input, both), features)
    )
    reference = np.full_like(from_views, np.nan)
    if prepared.reference is not None:
        reference = front_end.apply(prepared.reference, absorbance).astype("float64")
    return Members(
        network=from_network, network_views=from_views, reference=reference, robust_share=prepared.robust_share
    )


def best_weight(measured: Floats, stacked: Floats) -> int:
    """Choose the weight nearest to 0.5 among those whose mean squared error is within EQUAL_WITHIN of the smallest.

    Nearest to 0.5, because the mean of two good predictions with different errors is better than either, and a small
    library shows only large differences between weights. Errors are in laboratory units, because the modelled scale
    understates errors at high values.

    Args:
        measured: (n,) in laboratory units, NaN where not measured.
        stacked: (weights, n) stacked predictions for each of WEIGHTS, in laboratory units.

    Returns:
        Its index in WEIGHTS.
    """
    sd = np.nanstd(measured) or 1.0
    squares = np.nanmean(np.minimum(np.abs(stacked - measured) / sd, LARGEST_ERROR) ** 2, axis=1)
    good = np.flatnonzero(squares <= (1 + EQUAL_WITHIN) * squares.min())
    return int(good[np.argmin(np.abs(np.array(WEIGHTS)[good] - 0.5))])


def scale_heads(network: keras.Model, weights: dict[str, float]) -> None:
    """Multiply each head of `network` by the stacking weight of its target, in place."""
    for target, weight in weights.items():
        head = network.get_layer(target)
        head.set_weights([weight * values for values in head.get_weights()])
