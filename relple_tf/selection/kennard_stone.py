"""Kennard-Stone: the sample that is farthest from all samples selected so far, again and again."""

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_BLOCK_ROWS = 1024
"""Rows whose distances to all others are in memory at a time."""


def kennard_stone(scores: Floats, count: int) -> Indices:
    """Select samples that cover the scores evenly, with the CADEX algorithm.

    Kennard & Stone (1969), Technometrics 11(1), 137-148, section 2: the first two samples are the pair with the largest
    Euclidean distance; each further sample has the largest distance to its nearest selected sample. A single sample is
    the one nearest to the mean, because the algorithm begins with two. Of equal distances, the first row counts.

    Args:
        scores: (n, components), finite.
        count: Samples to select, 1 to n.

    Returns:
        (count,) rows in the order of selection.
    """
    if count == 1:
        return np.array([np.argmin(np.sum((scores - scores.mean(axis=0)) ** 2, axis=1))], dtype=np.intp)
    chosen = list(_farthest_pair(scores))
    nearest = np.min(cdist(scores, scores[chosen]), axis=1)
    while len(chosen) < count:
        nearest[chosen] = -1.0  # also below the distance 0 of a copy
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, cdist(scores, scores[chosen[-1:]])[:, 0])
    return np.array(chosen, dtype=np.intp)


def _farthest_pair(scores: Floats) -> tuple[int, int]:
    """The two rows of (n, components) with the largest distance; n at least 2."""
    largest, pair = -1.0, (0, 1)
    for first in range(0, len(scores), _BLOCK_ROWS):
        distances = cdist(scores[first : first + _BLOCK_ROWS], scores[first:])
        row, column = np.unravel_index(np.argmax(distances), distances.shape)
        if row != column and distances[row, column] > largest:
            largest, pair = float(distances[row, column]), (first + int(row), first + int(column))
    return pair
