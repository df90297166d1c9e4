"""The applicability domain: the domain statistics T2 and Q, their limits, and the status of a scan.

Q of the deployed model is the larger of Q here and the disagreement of its kernel regressions (`agreement`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from relple_tf.spectra.splitting.folds import group_k_fold

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

STATUSES = ("ok", "outside", "invalid")
"""`ok`: inside the domain; `outside`: T2 or Q above its limit; `invalid`: a statistic or prediction is not finite."""

SHARE_WITHIN = 0.99
"""Fraction of new soils of the training population that stays within each of the two limits."""

NEGLIGIBLE_SD = 1e-6
"""A component whose SD is at most this fraction of the largest counts as constant, as in `preparation.whitening`."""

NEIGHBOURS = 256
"""Training rows that a new scan is compared with, unless `model.landmarks` is smaller; with 128, fewer out-of-domain
scans are detected in a library of several fields."""

NEIGHBOUR_COMPONENTS = 20
"""Components in which distances to neighbours are measured; 10 to 60 detect the same scans, and each component costs a
weight per neighbour."""

NTH_NEIGHBOUR = 5
"""The radius of a neighbour is its distance to the training row of this rank."""

SMALLEST_RADIUS = 0.01
"""Smallest radius, as a fraction of the median radius: a soil stored under two names has radius 0."""

MOST_LEVERAGE = 0.9
"""Upper bound of the leverage in the correction of residuals: near 1, the correction is not reliable."""


@keras.saving.register_keras_serializable("relple_tf")
class DomainStatistics(keras.layers.Layer):
    """The domain statistics of a scan: Hotelling's T2, and Q, the residual or the distance to the nearest soils.

    T2 is the sum of (score / SD)^2. The residual is the squared norm of features minus mean, less that of the scores
    (Jackson & Mudholkar 1979, Technometrics 21(3), 341-349); the components are orthonormal, so it needs no inverse
    projection. Both assume that the training soils are one cluster. In a library of several fields, some of them
    scanned with more noise, the space between the clusters is near the mean and the noisiest field sets the limits.
    Therefore Q is also large for a scan far from every soil. Let d_j be the distance to training row j in the first
    components, and r_j the distance from row j to its neighbour of rank NTH_NEIGHBOUR (a local scale, as in LOF:
    Breunig et al. 2000, SIGMOD Record 29(2), 93-104). Q is the larger of the residual and the smallest (d_j / r_j)^8
    times a constant, which makes the quantiles of both at SHARE_WITHIN equal on the training soils. The power is high
    because that constant is uncertain by half: residuals have long tails, d / r has none.

    Reads (features (batch, ...), scores (batch, components)), the scores from the frozen whitened projection of the
    features. Returns T2 and Q, each (batch, 1), without unit. A constant component does not contribute to T2; a scan's
    deviation along it counts in Q. NaN in the features gives NaN in both. `fit` sets the constants; they are saved with
    the model.

    Args:
        count: Number of training rows that a scan is compared with.
    """

    def __init__(self, count: int = NEIGHBOURS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}

    def build(self, shapes: Sequence[Sequence[int | None]]) -> None:
        features, scores = shapes
        self.mean = self.add_weight(shape=features[1:], initializer="zeros", trainable=False, name="mean")
        self.inverse_sd = self.add_weight(shape=scores[1:], initializer="ones", trainable=False, name="inverse_sd")
        self.inverse_scale = self.add_weight(
            shape=scores[1:], initializer="ones", trainable=False, name="inverse_scale"
        )
        shape = (self.count, min(NEIGHBOUR_COMPONENTS, scores[1] or 0))
        self.neighbours = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="neighbours")
        self.closeness = self.add_weight(shape=shape[:1], initializer="zeros", trainable=False, name="closeness")

    def fit(
        self, features: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32], samples: Indices | None = None
    ) -> None:
        """Set mean, SDs, scales and neighbours from the rows that the projection was fitted on.

        Args:
            features: (n, ...) of the training rows, at least 2.
            kernel: (features, components) of the projection: orthonormal columns, each times a scale, which may be 0.
            samples: (n,) sample numbers; scans of one sample are not neighbours of each other. None: each row is a
                sample.
        """
        mean = features.mean(axis=0, dtype="float64")
        projection = kernel.astype("float64")
        centred = (features - mean).reshape(len(features), -1)
        scores = centred @ projection
        sd = scores.std(axis=0, ddof=1)
        scale = np.linalg.norm(projection, axis=0)
        component_sd = np.divide(sd, scale, out=np.zeros_like(sd), where=scale > 0)
        varies = component_sd > NEGLIGIBLE_SD * component_sd.max()
        inverse_sd = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
        inverse_scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=varies)
        self.mean.assign(mean)
        self.inverse_sd.assign(inverse_sd)
        self.inverse_scale.assign(inverse_scale)

        unscaled = scores * inverse_scale
        residuals = np.sum(centred**2, axis=1) - np.sum(unscaled**2, axis=1)
        t2 = np.sum((scores * inverse_sd) ** 2, axis=1)
        neighbours, inverse_radius, distances = _neighbours(
            unscaled[:, : self.neighbours.shape[1]], samples, self.count
        )
        distance = conformal_quantile(distances, SHARE_WITHIN)
        closeness = 0.0
        if distance > 0:
            residual = conformal_quantile(_leave_one_out(residuals, t2), SHARE_WITHIN)
            closeness = max(residual, 0.0) ** 0.25 / distance
        self.neighbours.assign(neighbours)
        self.closeness.assign(closeness * inverse_radius**2)

    def call(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        features, scores = inputs
        centred = ops.reshape(features - self.mean, (-1, math.prod(self.mean.shape)))
        # All sums of squares as one product: each operator costs a few hundred bytes of memory on a microcontroller.
        compared = self.neighbours.shape[1]
        first = np.arange(self.inverse_scale.shape[0]) < compared
        inverse = ops.square(self.inverse_scale)
        factors = [ops.square(self.inverse_sd), inverse]
        if not first.all():
            factors.append(inverse * first.astype("float32"))
        lengths = ops.matmul(ops.square(scores), ops.stack(factors, axis=1))
        t2, within, *of_first = ops.split(lengths, len(factors), axis=1)
        first_norm = of_first[0] if of_first else within
        # In float32 the error of the difference is about 1e-6 of the norm; residuals of soils are 1e-4 of it and more.
        # The sign of a smaller difference is rounding.
        residual = ops.abs(ops.sum(ops.square(centred), axis=1, keepdims=True) - within)
        # |a - b|^2 as |a|^2 - 2ab + |b|^2, all neighbours at once: their differences would fill the memory of a
        # microcontroller. The error is a millionth of the norms; Q does not need small distances.
        first_scores = scores if first.all() else scores[:, :compared]
        product = ops.matmul(first_scores, ops.transpose(-2.0 * self.neighbours * self.inverse_scale[:compared]))
        squared = ops.relu(first_norm + (product + ops.sum(ops.square(self.neighbours), axis=1)))
        nearest = ops.min(squared * self.closeness, axis=1, keepdims=True)
        # The larger of both. Sum, abs and relu propagate NaN on every runtime; a maximum may not.
        return t2, residual + ops.relu(ops.square(ops.square(nearest)) - residual)


def _neighbours(scores: Floats, samples: Indices | None, count: int) -> tuple[Floats, Floats, Floats]:
    """Select the training rows that a scan is compared with, and measure the distances of all rows to them.

    Args:
        scores: (n, k) of the training rows.
        samples: See `DomainStatistics.fit`.
        count: See `DomainStatistics`.

    Returns:
        `count` rows of `scores`, chosen at random, some repeated where n is smaller; 1 / radius of each, 0 where no two
        rows differ; (n,) the smallest (distance / radius)^2 of each row to a neighbour of another sample.
    """
    sample = np.arange(len(scores)) if samples is None or len(np.unique(samples)) == 1 else samples
    chosen = np.resize(np.random.default_rng(0).permutation(len(scores)), count)
    squared = cdist(scores, scores[chosen], "sqeuclidean")
    same = sample[:, None] == sample[chosen]
    squared[same] = np.inf
    others = int((~same).sum(axis=0).min())
    radius = np.sqrt(np.sort(squared, axis=0)[min(NTH_NEIGHBOUR, others) - 1])
    radius = np.maximum(radius, SMALLEST_RADIUS * np.median(radius))
    inverse = np.divide(1.0, radius, out=np.zeros_like(radius), where=radius > 0)
    # inf times 0 is NaN: where no two rows differ, every distance is 0.
    distances = (squared * inverse**2).min(axis=1) if inverse.all() else np.zeros(len(scores))
    return scores[chosen], inverse, distances


def _leave_one_out(residuals: Floats, t2: Floats) -> Floats:
    """Estimate the squared residuals (n,) that each row would have if the components were fitted without it.

    Divides each by (1 - leverage)^2, which is exact in regression (Allen 1974, Technometrics 16(1), 125-127) and close
    here (Martens & Naes 1989, Multivariate Calibration, leverage correction): 0.7 to 0.9 of the cross-validated
    residuals, where the uncorrected residuals are 0.2 to 0.7 of them.
    """
    leverage = 1 / len(t2) + t2 / (len(t2) - 1)
    corrected: Floats = residuals / (1 - np.minimum(leverage, MOST_LEVERAGE)) ** 2
    return corrected


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The values of T2 and Q above which a scan is outside the domain."""

    t2: float
    q: float
    share: float
    """Fraction of new soils of the training population that stays within each limit."""

    def difficulty(self, t2: Floats) -> Floats:
        """Scale T2 (n,) to a distance in units of its limit: 0 at the training mean, 1 at the limit."""
        return np.sqrt(t2 / self.t2)


def cross_validated_statistics(
    features: npt.NDArray[np.float32],
    groups: Indices,
    components: int,
    seed: int,
    folds: int = 10,
    count: int = NEIGHBOURS,
) -> tuple[Floats, Floats]:
    """Compute T2 and Q of each row with components fitted without it, as for a new scan.

    T2 and Q of the fitted rows are far too small for limits: with 60 components and 500 rows, limits from them flag a
    tenth of the held-out soils.

    Args:
        features: (n, ...) of the training rows, at least 3.
        groups: (n,) numbers of the groups (fields, or samples) that no fold divides; a single group is divided by rows.
        components: Components of the whitened projection; a fold with fewer rows has fewer.
        seed: Seed of folds of single rows, and of the PCA.
        folds: Number of folds, at most.
        count: See `DomainStatistics`.

    Returns:
        T2 and Q, (n,) each.
    """
    flat = features.reshape(len(features), -1)
    t2, q = np.full((2, len(flat)), np.nan)
    for fitted, held in group_k_fold(groups, folds, seed):
        pca = PCA(min(components, len(fitted) - 1, flat.shape[1]), random_state=seed).fit(flat[fitted])
        kernel = pca.components_.T
        scores = (flat[held] - pca.mean_) @ kernel
        layer = DomainStatistics(count)
        layer.build((flat.shape, scores.shape))
        layer.fit(flat[fitted], kernel, groups[fitted])
        # By the layer itself, so that the limits include its rounding.
        t2[held], q[held] = (ops.convert_to_numpy(statistic)[:, 0] for statistic in layer((flat[held], scores)))
    return t2, q


def limits(t2: Floats, q: Floats, share: float = SHARE_WITHIN) -> Limits:
    """Compute the limits of T2 and Q within which a new soil stays, each with probability `share`.

    A limit is the value of the conformal rank: a new soil, exchangeable with the measured ones, exceeds it with
    probability 1 - share at most, and at least one of two limits at 0.99 with 2 % at most; the disagreement, which is
    a part of the deployed model's Q, exceeds the limit of Q with a further 1 - share. Fewer than
    share / (1 - share) rows, 99 at 0.99, have no such rank. The limit is then the largest value, which a new soil
    exceeds with probability 1 / (n + 1).

    Args:
        t2: (n,) from `cross_validated_statistics`.
        q: (n,) likewise.
        share: Above 0, below 1.

    Raises:
        ValueError: no value, or a value is not finite.
    """
    finite = np.isfinite(t2) & np.isfinite(q)
    if not len(t2) or not finite.all():
        raise ValueError(
            f"limits: expected at least one finite T2 and Q; received {len(t2)} values, {np.sum(~finite)} not finite"
        )
    return Limits(t2=conformal_quantile(t2, share), q=conformal_quantile(q, share), share=share)


def conformal_quantile(values: Floats, share: float) -> float:
    """Return the value (n,) of the conformal rank, or the largest where there are too few."""
    return float(np.sort(values)[min(conformal_rank(len(values), share), len(values)) - 1])


def conformal_rank(n: int, share: float) -> int:
    """Return the rank, from 1, among n exchangeable values within which a further value stays with probability `share`.

    ceil((n + 1) share), Vovk et al. (2005), Algorithmic Learning in a Random World; above n where n is too small.
    """
    # 100 * 0.07 is 7.000000000000001: without the margin its rank would be 8.
    return math.ceil((n + 1) * share - 1e-9)


def status(values: Mapping[str, npt.ArrayLike], t2: Floats, q: Floats, limits: Limits) -> npt.NDArray[np.str_]:
    """Classify scans by their predictions and domain statistics.

    Args:
        values: Target -> (n,) predictions.
        t2: (n,) from `DomainStatistics`.
        q: (n,) likewise.
        limits: From `limits`.

    Returns:
        (n,) of STATUSES: `invalid` where a prediction, T2 or Q is not finite, else `outside` where T2 or Q is above its
        limit, else `ok`.
    """
    finite = np.all([np.isfinite(column) for column in (t2, q, *values.values())], axis=0)
    inside = (t2 <= limits.t2) & (q <= limits.q)
    return np.select([~finite, ~inside], ["invalid", "outside"], "ok")
