"""The applicability domain: how far a scan lies from the training spectra, and whether to trust its estimates."""

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
"""`ok`: like the training spectra; `outside`: unlike them; `invalid`: something is no number."""

SHARE_WITHIN = 0.99
"""Share of new soils, of the kind trained on, that each of the two limits lets pass."""

NEGLIGIBLE_SD = 1e-6
"""A component whose SD is this share of the largest has no variance; `preparation.whitening` draws the same line."""

NEIGHBOURS = 256
"""Training rows that a new scan is compared with, unless `model.landmarks` are fewer; 128 find less of what is foreign
to a library of several fields."""

NEIGHBOUR_COMPONENTS = 20
"""Components that neighbours are found in; 10 to 60 find the same, and each costs a weight per neighbour."""

NTH_NEIGHBOUR = 5
"""A neighbour's own surroundings reach to this one of the training rows next to it."""

SMALLEST_RADIUS = 0.01
"""Surroundings are as wide as this share of the median at least: twins under two names have none."""

MOST_LEVERAGE = 0.9
"""A row that decides nine tenths of its own estimate says little about rows left out; its leverage counts as this."""


@keras.saving.register_keras_serializable("relple_tf")
class DomainStatistics(keras.layers.Layer):
    """How far a scan lies from the training spectra: T2 from their mean, Q from their plane and from each of them.

    T2 is Hotelling's, the sum of (score / SD)^2. Q is the squared norm of features minus mean less that of the scores
    (Jackson & Mudholkar 1979, Technometrics 21(3), 341-349); the components are orthonormal, so it needs no inverse
    projection. Both take the training soils for one cloud. In a library of several fields, some of them scanned with
    more noise, the space between the clouds is near the mean and the noisiest field sets the limits, so Q is also
    large far from every soil: with d_j the distance to training row j in the first components and r_j the distance
    from there to its NTH_NEIGHBOUR neighbour (a local scale, as in LOF: Breunig et al. 2000, SIGMOD Record 29(2), 93-104), it is
    at least the smallest (d_j / r_j)^8 times a constant, by which as many training soils are far as are out of plane.
    The power is there because that constant is uncertain by half, residuals having long tails and (d / r) none.

    Reads (features (batch, ...), scores (batch, components)), the latter from the frozen whitened projection of the
    former; returns T2 and Q, each (batch, 1), both without unit. A component without variance has no part in T2, and
    what a scan has there counts to Q. NaN in the features is NaN in both. `fit` sets the constants; they are saved
    with the model.

    Args:
        count: Training rows that a scan is compared with.
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
        near = (self.count, min(NEIGHBOUR_COMPONENTS, scores[1] or 0))
        self.neighbours = self.add_weight(shape=near, initializer="zeros", trainable=False, name="neighbours")
        self.closeness = self.add_weight(shape=near[:1], initializer="zeros", trainable=False, name="closeness")

    def fit(
        self, features: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32], samples: Indices | None = None
    ) -> None:
        """Take mean, SDs, scales and neighbours from the rows that the projection was fitted on.

        Args:
            features: (n, ...) of the training rows, 2 at least.
            kernel: (features, components) of the projection: orthonormal columns, each times a scale, which may be 0.
            samples: (n,) numbers; scans of one sample are no neighbours of each other. None: each row is a sample.
        """
        mean = features.mean(axis=0, dtype="float64")
        wide = kernel.astype("float64")
        centred = (features - mean).reshape(len(features), -1)
        scores = centred @ wide
        sd = scores.std(axis=0, ddof=1)
        scale = np.linalg.norm(wide, axis=0)
        of_component = np.divide(sd, scale, out=np.zeros_like(sd), where=scale > 0)
        alive = of_component > NEGLIGIBLE_SD * of_component.max()
        inverse_sd = np.divide(1.0, sd, out=np.zeros_like(sd), where=alive)
        inverse_scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=alive)
        self.mean.assign(mean)
        self.inverse_sd.assign(inverse_sd)
        self.inverse_scale.assign(inverse_scale)

        plain = scores * inverse_scale
        left = np.sum(centred**2, axis=1) - np.sum(plain**2, axis=1)
        t2 = np.sum((scores * inverse_sd) ** 2, axis=1)
        neighbours, inverse_radius, apart = _neighbours(plain[:, : self.neighbours.shape[1]], samples, self.count)
        usual = _at_share(apart, SHARE_WITHIN)
        closeness = max(_at_share(_left_out(left, t2), SHARE_WITHIN), 0.0) ** 0.25 / usual if usual > 0 else 0.0
        self.neighbours.assign(neighbours)
        self.closeness.assign(closeness * inverse_radius**2)

    def call(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        features, scores = inputs
        centred = ops.reshape(features - self.mean, (-1, math.prod(self.mean.shape)))
        # All sums of squares as one product: every operator costs a microcontroller a few hundred bytes of memory.
        compared = self.neighbours.shape[1]
        first = np.arange(self.inverse_scale.shape[0]) < compared
        inverse = ops.square(self.inverse_scale)
        factors = [ops.square(self.inverse_sd), inverse]
        if not first.all():
            factors.append(inverse * first.astype("float32"))
        lengths = ops.matmul(ops.square(scores), ops.stack(factors, axis=1))
        t2, within, *of_first = ops.split(lengths, len(factors), axis=1)
        near = of_first[0] if of_first else within
        # In float32 the difference is right to about 1e-6 of the norm; soils have 1e-4 of it and more. Where less is
        # left, its sign is rounding.
        left = ops.abs(ops.sum(ops.square(centred), axis=1, keepdims=True) - within)
        # |a - b|^2 as |a|^2 - 2ab + |b|^2, all neighbours at once: their differences would fill a microcontroller. It
        # is right to a millionth of the norms, and what is near a neighbour is not what Q is for.
        begin = scores if first.all() else scores[:, :compared]
        product = ops.matmul(begin, ops.transpose(-2.0 * self.neighbours * self.inverse_scale[:compared]))
        squared = ops.relu(near + (product + ops.sum(ops.square(self.neighbours), axis=1)))
        apart = ops.min(squared * self.closeness, axis=1, keepdims=True)
        # The larger of both. A sum, abs and relu pass NaN on on every runtime, as a maximum need not.
        return t2, left + ops.relu(ops.square(ops.square(apart)) - left)


def _neighbours(scores: Floats, samples: Indices | None, count: int) -> tuple[Floats, Floats, Floats]:
    """Training rows to compare with, and how far from them the others are.

    Args:
        scores: (n, k) of the training rows.
        samples: See `DomainStatistics.fit`.
        count: See `DomainStatistics`.

    Returns:
        `count` rows of `scores`, drawn at random, some more than once where there are fewer; 1 / radius of each, 0
        where no two rows differ; (n,) the smallest (distance / radius)^2 of each row to a neighbour of another sample.
    """
    own = np.arange(len(scores)) if samples is None or len(np.unique(samples)) == 1 else samples
    chosen = np.resize(np.random.default_rng(0).permutation(len(scores)), count)
    squared = cdist(scores, scores[chosen], "sqeuclidean")
    same = own[:, None] == own[chosen]
    squared[same] = np.inf
    others = int((~same).sum(axis=0).min())
    radius = np.sqrt(np.sort(squared, axis=0)[min(NTH_NEIGHBOUR, others) - 1])
    radius = np.maximum(radius, SMALLEST_RADIUS * np.median(radius))
    inverse = np.divide(1.0, radius, out=np.zeros_like(radius), where=radius > 0)
    # inf times 0 is NaN: where no two rows differ, nothing is apart.
    apart = (squared * inverse**2).min(axis=1) if inverse.all() else np.zeros(len(scores))
    return scores[chosen], inverse, apart


def _left_out(left: Floats, t2: Floats) -> Floats:
    """The squared residuals (n,) as they would be if each row were left out of the components that it helped to find.

    Each over (1 - leverage)^2, which is exact in regression (Allen 1974, Technometrics 16(1), 125-127) and close here
    (Martens & Naes 1989, Multivariate RunResult, leverage correction): 0.7 to 0.9 of what folds give, where the plain
    residuals are 0.2 to 0.7 of it.
    """
    leverage = 1 / len(t2) + t2 / (len(t2) - 1)
    corrected: Floats = left / (1 - np.minimum(leverage, MOST_LEVERAGE)) ** 2
    return corrected


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The distances beyond which a scan is unlike the training spectra."""

    t2: float
    q: float
    share: float
    """Share of new soils, of the kind trained on, that each limit lets pass."""

    def difficulty(self, t2: Floats) -> Floats:
        """T2 (n,) as a distance in units of its limit: 0 at the training mean, 1 at the limit."""
        return np.sqrt(t2 / self.t2)


def cross_validated_statistics(
    features: npt.NDArray[np.float32],
    groups: Indices,
    components: int,
    seed: int,
    folds: int = 10,
    count: int = NEIGHBOURS,
) -> tuple[Floats, Floats]:
    """Each row's T2 and Q by components that were found without it, as those of a new scan are.

    The rows' own distances are far too small for limits: with 60 components and 500 rows, limits from them flag a
    tenth of the held-out soils.

    Args:
        features: (n, ...) of the training rows, at least 3.
        groups: (n,) numbers of what no fold may divide (fields, or samples); a single one is divided by rows.
        components: Of the whitened projection; a fold has fewer where it has fewer rows.
        seed: Of folds of single rows, and of the PCA.
        folds: At most.
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
        # The layer itself, so that its rounding is in the limits too.
        t2[held], q[held] = (ops.convert_to_numpy(distance)[:, 0] for distance in layer((flat[held], scores)))
    return t2, q


def limits(t2: Floats, q: Floats, share: float = SHARE_WITHIN) -> Limits:
    """The limits of T2 and Q that a new soil stays within, each with probability `share`.

    The conformal rank among the distances: a new soil, exchangeable with those measured, exceeds it with probability
    1 - share at most, and one of the two limits at 0.99 with 2 % at most. Fewer than share / (1 - share) rows, 99 at
    0.99, have no such rank; the largest is taken then, which a new soil exceeds with probability 1 / (n + 1).

    Args:
        t2: (n,) from `cross_validated_statistics`.
        q: (n,) likewise.
        share: Above 0, below 1.

    Raises:
        ValueError: a distance is not finite, or there is none.
    """
    if not len(t2) or not (np.isfinite(t2).all() and np.isfinite(q).all()):
        raise ValueError(f"limits need finite distances, got {len(t2)} of which some are not, or none")
    return Limits(t2=_at_share(t2, share), q=_at_share(q, share), share=share)


def _at_share(values: Floats, share: float) -> float:
    """The value (n,) of the conformal rank, or the largest where there are too few."""
    return float(np.sort(values)[min(conformal_rank(len(values), share), len(values)) - 1])


def conformal_rank(n: int, share: float) -> int:
    """The rank, from 1, among n exchangeable numbers that a further one does not exceed with probability `share`.

    ceil((n + 1) share), Vovk et al. (2005), Algorithmic Learning in a Random World; above n where n is too small.
    """
    # 100 * 0.07 is 7.000000000000001: without the margin its rank would be 8.
    return math.ceil((n + 1) * share - 1e-9)


def status(values: Mapping[str, npt.ArrayLike], t2: Floats, q: Floats, limits: Limits) -> npt.NDArray[np.str_]:
    """Whether each scan's estimates may be trusted, one of STATUSES.

    Args:
        values: Target -> (n,) estimates.
        t2: (n,) from `DomainStatistics`.
        q: (n,) likewise.
        limits: From `limits`.

    Returns:
        (n,) `invalid` where an estimate or a distance is not finite, else `outside` where a distance is above its
        limit, else `ok`.
    """
    finite = np.all([np.isfinite(numbers) for numbers in (t2, q, *values.values())], axis=0)
    inside = (t2 <= limits.t2) & (q <= limits.q)
    return np.select([~finite, ~inside], ["invalid", "outside"], "ok")
