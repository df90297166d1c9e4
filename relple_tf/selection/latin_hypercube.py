"""Conditioned Latin hypercube: samples that follow the distributions of the scores and their correlations."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.selection.kennard_stone import kennard_stone

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

ITERATIONS = 10_000
START_TEMPERATURE, COOLING, STEPS_PER_TEMPERATURE = 1.0, 0.95, 10
"""Temperature at the start, its factor, and the iterations between changes; those of the R package clhs."""
RANDOM_EXCHANGES = 0.5
"""Fraction of the exchanges that remove a random sample; the others remove one from the strata that hold too many."""


def latin_hypercube(scores: Floats, count: int, seed: int) -> Indices:
    """Select samples with one sample in each of `count` quantile strata of each component, as nearly as possible.

    Minasny & McBratney (2006), Computers & Geosciences 32(9), 1378-1388, section 2.2: simulated annealing minimises the
    sum of |samples in a stratum - 1| over components and strata (equation 1) plus the sum of the absolute differences
    between the correlations of the selected samples and of all samples (equation 3), with equal weights.

    Args:
        scores: (n, components), finite.
        count: Samples to select, 1 to n.
        seed: Seed of the random numbers.

    Returns:
        (count,) rows, in the order in which Kennard-Stone selects from them.
    """
    varying = scores[:, np.ptp(scores, axis=0) > 0]
    if not varying.shape[1] or count == len(scores):
        return kennard_stone(scores, count)
    rows = _annealed(_Objective.of(varying, count), count, np.random.default_rng(seed))
    return rows[kennard_stone(scores[rows], count)]


def strata(scores: Floats, count: int) -> Indices:
    """(n, components) number of the quantile stratum, 0 to count - 1, of each score (n, components)."""
    edges = np.quantile(scores, np.arange(1, count) / count, axis=0)
    return np.stack(
        [np.searchsorted(edges[:, j], scores[:, j], side="right") for j in range(scores.shape[1])], axis=1
    ).astype(np.intp)


@dataclass(frozen=True, kw_only=True)
class _Objective:
    """The function that is minimised."""

    scores: Floats
    """(n, components) standardised."""
    strata: Indices
    """(n, components)."""
    correlation: Floats
    """(components, components) of all samples."""

    @classmethod
    def of(cls, scores: Floats, count: int) -> "_Objective":
        standardised = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        return cls(scores=standardised, strata=strata(scores, count), correlation=_correlation(standardised))

    def counts(self, rows: Indices) -> Indices:
        """(components, count) selected samples in each stratum."""
        components = np.arange(self.strata.shape[1])
        counts = np.zeros((len(components), len(rows)), np.intp)
        np.add.at(counts, (components[None, :], self.strata[rows]), 1)
        return counts

    def value(self, rows: Indices) -> float:
        """The sum of both differences for the selected rows (count,)."""
        strata_error = np.abs(self.counts(rows) - 1).sum()
        if len(rows) < 3:  # two points always have correlation 1
            return float(strata_error)
        return float(strata_error + np.abs(_correlation(self.scores[rows]) - self.correlation).sum())


def _annealed(objective: _Objective, count: int, rng: np.random.Generator) -> Indices:
    """The best rows (count,) of a run of simulated annealing."""
    order = rng.permutation(len(objective.scores))
    rows, others = order[:count], order[count:]
    value = objective.value(rows)
    best, best_value = rows.copy(), value
    for step in range(ITERATIONS):
        if best_value == 0:
            break
        temperature = START_TEMPERATURE * COOLING ** (step // STEPS_PER_TEMPERATURE)
        place, other = _removed(objective, rows, rng), int(rng.integers(len(others)))
        rows[place], others[other] = others[other], rows[place]
        changed = objective.value(rows)
        if changed <= value or rng.random() < np.exp((value - changed) / max(temperature, 1e-12)):
            value = changed
        else:
            rows[place], others[other] = others[other], rows[place]
        if value < best_value:
            best, best_value = rows.copy(), value
    return best


def _removed(objective: _Objective, rows: Indices, rng: np.random.Generator) -> int:
    """Position in `rows` of the sample to exchange: a random one, or one in the strata with too many samples."""
    if rng.random() < RANDOM_EXCHANGES:
        return int(rng.integers(len(rows)))
    components = np.arange(objective.strata.shape[1])
    crowding = objective.counts(rows)[components, objective.strata[rows]].sum(axis=1)
    return int(rng.choice(np.flatnonzero(crowding == crowding.max())))


def _correlation(scores: Floats) -> Floats:
    """(components, components) Pearson correlations of (n, components); 0 for a constant column."""
    centred = scores - scores.mean(axis=0)
    length = np.sqrt(np.sum(centred**2, axis=0))
    scaled = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
    correlation: Floats = scaled.T @ scaled
    return correlation
