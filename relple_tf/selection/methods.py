"""The methods of selection by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.selection.k_medoids import k_medoids
from relple_tf.selection.kennard_stone import kennard_stone
from relple_tf.selection.latin_hypercube import latin_hypercube

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of selection."""

    choose: Callable[[Floats, int, int], Indices]
    """Scores (n, components), count and seed -> (count,) rows in the order of the list."""
    reason: str
    """Why a sample was selected, for the table."""
    first_reason: str
    """Likewise for the two samples with which the method begins; equal to `reason` where it does not matter."""

    def reasons(self, count: int) -> list[str]:
        """Why each of `count` samples was selected, in the order of the list."""
        if count == 1 and self.first_reason != self.reason:
            return ["nearest to the mean"]
        return [self.first_reason if number < 2 else self.reason for number in range(count)]


METHODS = {
    "k_medoids": Method(
        choose=lambda scores, count, _: k_medoids(scores, count),
        reason="medoid of a cluster",
        first_reason="medoid of a cluster",
    ),
    "kennard_stone": Method(
        choose=lambda scores, count, _: kennard_stone(scores, count),
        reason="farthest from the samples above",
        first_reason="farthest pair",
    ),
    "latin_hypercube": Method(
        choose=latin_hypercube,
        reason="strata of the scores",
        first_reason="strata of the scores",
    ),
}
"""Same names as in `relple_tf.select`, which imports nothing slow."""
