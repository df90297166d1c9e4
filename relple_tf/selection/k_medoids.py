"""k-medoids: the samples with the smallest sum of distances from all samples to the nearest of them."""

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from relple_tf.errors import InputError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_SAMPLES = 6000
"""Limit of the number of samples: all distances are in memory, 288 MB at this number."""
_BLOCK_ROWS = 256
"""Candidates for a swap whose gains are computed at a time."""
_SMALLEST_GAIN = 1e-9
"""A swap is made if it reduces the sum by more than this fraction, so that rounding cannot cause endless swaps."""


def k_medoids(scores: Floats, count: int) -> Indices:
    """Select the medoids of `count` clusters with the algorithm PAM.

    Kaufman & Rousseeuw (1990), Finding Groups in Data, chapter 2: BUILD adds the sample that reduces the sum of
    Euclidean distances to the nearest medoid most; SWAP exchanges the best pair of a medoid and another sample until no
    exchange reduces the sum. The gains of all exchanges are computed together, as in FastPAM1 (Schubert & Rousseeuw
    2019, SISAP, LNCS 11807, 171-187, equation 7). Of equal gains, the first counts.

    Args:
        scores: (n, components), finite, n at most MOST_SAMPLES.
        count: Samples to select, 1 to n.

    Returns:
        (count,) rows; the medoid of the largest cluster first.

    Raises:
        InputError: there are more than MOST_SAMPLES samples.
    """
    if len(scores) > MOST_SAMPLES:
        raise InputError(
            f"k_medoids computes all distances of at most {MOST_SAMPLES:,} samples, received {len(scores):,}; use "
            "--method kennard_stone"
        )
    distances = cdist(scores, scores)
    medoids = _build(distances, count)
    while _swap(distances, medoids):
        pass
    clusters = np.argmin(distances[:, medoids], axis=1)
    clusters[medoids] = np.arange(count)  # the copy of a medoid has the same distances
    return medoids[np.argsort(-np.bincount(clusters, minlength=count), kind="stable")]


def sum_of_distances(scores: Floats, medoids: Indices) -> float:
    """Sum of the distances from each of (n, components) scores to the nearest medoid, which PAM minimises."""
    return float(cdist(scores, scores[medoids]).min(axis=1).sum())


def _build(distances: Floats, count: int) -> Indices:
    """The first medoids, (count,), from (n, n) distances."""
    medoids = [int(np.argmin(distances.sum(axis=0)))]
    nearest = distances[:, medoids[0]].copy()
    while len(medoids) < count:
        gains = np.concatenate(
            [
                np.maximum(nearest - distances[first : first + _BLOCK_ROWS], 0.0).sum(axis=1)
                for first in range(0, len(distances), _BLOCK_ROWS)
            ]
        )
        gains[medoids] = -1.0
        medoids.append(int(np.argmax(gains)))
        nearest = np.minimum(nearest, distances[:, medoids[-1]])
    return np.array(medoids, dtype=np.intp)


def _swap(distances: Floats, medoids: Indices) -> bool:
    """Make the best exchange, in place; false if none reduces the sum."""
    to_medoids = distances[:, medoids]
    ranked = np.sort(to_medoids, axis=1)
    nearest = ranked[:, 0]
    second = ranked[:, 1] if len(medoids) > 1 else np.full(len(distances), np.inf)
    clusters = np.eye(len(medoids))[np.argmin(to_medoids, axis=1)]
    changes = []
    for first in range(0, len(distances), _BLOCK_ROWS):
        block = distances[first : first + _BLOCK_ROWS]
        with_medoid = np.minimum(block, nearest)
        # A sample of the removed medoid moves to the new sample or to its second nearest medoid.
        without = (np.minimum(block, second) - with_medoid) @ clusters
        changes.append((with_medoid - nearest).sum(axis=1, keepdims=True) + without)
    change = np.concatenate(changes)
    row, removed = np.unravel_index(np.argmin(change), change.shape)
    if change[row, removed] >= -_SMALLEST_GAIN * nearest.sum():
        return False
    medoids[removed] = row
    return True
