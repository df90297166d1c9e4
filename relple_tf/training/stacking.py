"""The stack of the trained network and the kernel regression: which weight each has, by out-of-fold predictions."""

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from relple_tf.models import front_end
from relple_tf.models.deployed import with_views
from relple_tf.models.kernel_regression import KernelRegression

Floats = npt.NDArray[np.float64]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Stacking weights of the network that are tried; the kernel regression has the rest."""

EQUAL = 0.03
"""Mean squared errors that differ by less than this share are called equal."""

LARGEST_ERROR = 3.0
"""Standard deviations of the laboratory values; larger errors count as this much, lest one soil choose the weight."""


def components(
    network: keras.Model, kernel_regression: KernelRegression, features: npt.NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Predictions of the network and of the kernel regression, (n, K) each, in standard deviations.

    Args:
        network: TrainedNetwork.
        kernel_regression: From `fit_kernel_regression`.
        features: (n, bands, channels).
    """
    read = with_views(network)
    learned, _, scores = read.output
    both = [
        ops.concatenate([learned[target] for target in kernel_regression.targets], axis=1),
        kernel_regression(scores),
    ]
    predictions = front_end.apply(keras.Model(read.input, ops.stack(both, axis=1)), features).astype("float64")
    return predictions[:, 0], predictions[:, 1]


def best_weight(measured: Floats, stacked: Floats) -> int:
    """The position in WEIGHTS of the weight nearest to a half whose error is within EQUAL of the least.

    A half, because the mean of two good predictions that err differently is better than either, and small libraries
    show only large differences between weights. In laboratory units, because the modelled scale hides what an error
    costs at high values.

    Args:
        measured: (n,) in laboratory units, NaN where not measured.
        stacked: (weights, n), predictions for each of WEIGHTS, likewise.
    """
    sd = np.nanstd(measured) or 1.0
    squares = np.nanmean(np.minimum(np.abs(stacked - measured) / sd, LARGEST_ERROR) ** 2, axis=1)
    good = np.flatnonzero(squares <= (1 + EQUAL) * squares.min())
    return int(good[np.argmin(np.abs(np.array(WEIGHTS)[good] - 0.5))])


def stacked_by_weight(learned: Floats, kernel: Floats) -> Floats:
    """Stacked predictions for each of WEIGHTS: (n, K) and (n, K) -> (weights, n, K)."""
    return np.stack([weight * learned + (1 - weight) * kernel for weight in WEIGHTS])


def scale_heads(network: keras.Model, weights: dict[str, float]) -> None:
    """Multiply each head of `network` by the stacking weight of its target, in place."""
    for target, weight in weights.items():
        head = network.get_layer(target)
        head.set_weights([weight * learned for learned in head.get_weights()])
