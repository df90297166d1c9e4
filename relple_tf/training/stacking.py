"""Stacking of network and kernel regression: predictions of both, their combination, and the choice of the weight."""

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from relple_tf.models import front_end
from relple_tf.models.deployed import with_views
from relple_tf.models.kernel_regression import KernelRegression

Floats = npt.NDArray[np.float64]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidates for the stacking weight w of the network; the kernel regression has 1 - w."""

EQUAL_WITHIN = 0.03
"""Mean squared errors within this fraction of the smallest count as equal to it."""

LARGEST_ERROR = 3.0
"""Errors are clipped at this many SDs of the laboratory values, so that a single soil cannot determine the weight."""


def components(
    network: keras.Model, kernel_regression: KernelRegression, features: npt.NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Predict with the network alone and with the kernel regression alone.

    Args:
        network: Trained network.
        kernel_regression: From `fit_kernel_regression`.
        features: (n, bands, channels).

    Returns:
        (n, K) each, in standard deviations.
    """
    extended = with_views(network)
    outputs, _, scores = extended.output
    both = [
        ops.concatenate([outputs[target] for target in kernel_regression.targets], axis=1),
        kernel_regression(scores),
    ]
    predictions = front_end.apply(keras.Model(extended.input, ops.stack(both, axis=1)), features).astype("float64")
    return predictions[:, 0], predictions[:, 1]


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


def stacked_by_weight(network: Floats, kernel_regression: Floats) -> Floats:
    """Stack predictions (n, K) of network and kernel regression with each of WEIGHTS: (weights, n, K)."""
    return np.stack([weight * network + (1 - weight) * kernel_regression for weight in WEIGHTS])


def scale_heads(network: keras.Model, weights: dict[str, float]) -> None:
    """Multiply each head of `network` by the stacking weight of its target, in place."""
    for target, weight in weights.items():
        head = network.get_layer(target)
        head.set_weights([weight * values for values in head.get_weights()])
