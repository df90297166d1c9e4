"""Stacking of network and kernel regressions: their predictions, the weight of each, and their differences."""

from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from relple_tf.models import front_end
from relple_tf.models.deployed import with_views
from relple_tf.training.preparation import Prepared

Floats = npt.NDArray[np.float64]


class StackingWeights(NamedTuple):
    """Weight of each member of the stack for a target; not negative, with sum 1."""

    network: float
    kernel_regression: float
    """Of the network's views."""
    robust_regression: float = 0.0
    """Kernel regression of the robust views; 0 without them."""


PRIOR = StackingWeights(network=0.4, kernel_regression=0.4, robust_regression=0.2)
"""Weights of a library without soils. The robust views have the smallest: they lack brightness and colour."""

PRIOR_SOILS = 60.0
"""Factor of the squared distance from the prior, in units of the squared error of a soil in SDs."""

LARGEST_ERROR = 3.0
"""Errors are clipped at this many SDs of the laboratory values, so that a single soil cannot determine the weights."""

SMALLEST_WEIGHT = 0.02
"""Smaller weights are 0: an 8-bit head multiplied by almost nothing is mostly rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Predictions of the members of the stack, (n, K) each, in standard deviations."""

    network: Floats
    kernel_regression: Floats
    """Of the network's views."""
    robust_regression: Floats | None
    """Kernel regression of the robust views; None without."""

    @property
    def predictions(self) -> Floats:
        """Predictions in the order of `StackingWeights`, (members, n, K): 3, or 2 without robust views."""
        of_views = [self.network, self.kernel_regression]
        return np.stack(of_views if self.robust_regression is None else [*of_views, self.robust_regression])


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
    from_robust = None
    if prepared.reference is not None:
        from_robust = front_end.apply(prepared.reference, absorbance).astype("float64")
    return Members(network=from_network, kernel_regression=from_views, robust_regression=from_robust)


def stack(predictions: Floats, weights: StackingWeights) -> Floats:
    """Weighted mean of the predictions of a target: (members, n) -> (n,)."""
    stacked: Floats = np.asarray(weights[: len(predictions)]) @ predictions
    return stacked


def fit_weights(measured: Floats, predictions: Floats) -> StackingWeights:
    """Fit the stacking weights of a target by `least_squares_weights`, with PRIOR as additional soils.

    Args:
        measured: (n,) in standard deviations, NaN where not measured.
        predictions: (members, n) of rows that were not trained on, in the order of `StackingWeights`.
    """
    prior = np.array(PRIOR[: len(predictions)])
    known = np.isfinite(measured)
    errors = np.clip(predictions[:, known] - measured[known], -LARGEST_ERROR, LARGEST_ERROR)
    weights = least_squares_weights(errors, prior / prior.sum(), PRIOR_SOILS)
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return StackingWeights(*(weights / weights.sum()).tolist())


def least_squares_weights(errors: Floats, prior: Floats, prior_soils: float) -> Floats:
    """Fit the weights of the members of a stack by non-negative least squares.

    Minimises the sum over the soils of (w . e)^2, plus prior_soils * |w - prior|^2, over weights w with sum 1, where e
    are the errors of the members (Breiman 1996, Machine Learning 24, 49-64, for the constraint).

    Args:
        errors: (members, n).
        prior: (members,) weights without soils, with sum 1.
        prior_soils: Factor of the squared distance from the prior, in units of the squared error of a soil.

    Returns:
        (members,) not negative, with sum 1.
    """
    count, soils = errors.shape
    # The sum of 1 is a row with a large factor; what is missing to 1 is rounding, which the division removes.
    root, heavy = np.sqrt(prior_soils), 1e3 * np.sqrt(prior_soils + soils)
    rows = np.vstack([errors.T, root * np.eye(count), np.full(count, heavy)])
    weights, _ = nnls(rows, np.concatenate([np.zeros(soils), root * prior, [heavy]]))
    normalised: Floats = weights / weights.sum()
    return normalised


def scale_heads(network: keras.Model, weights: dict[str, float]) -> None:
    """Multiply each head of `network` by the stacking weight of its target, in place."""
    for target, weight in weights.items():
        head = network.get_layer(target)
        head.set_weights([weight * values for values in head.get_weights()])
