"""What may be said of a new scan's estimates: their interval, and whether the scan is of the kind that was learned."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.evaluation.intervals import Interval, fit_interval
from relple_tf.models.domain import Limits, cross_validated_distances, limits
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.units import unit_labels
from relple_tf.training.members import CrossFit
from relple_tf.training.preparation import Prepared, first_view

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """From learning rows only."""

    limits: Limits
    """Of T2 and Q."""
    intervals: dict[str, Interval]
    """Target -> its interval; empty where no network left a fold out."""
    t2: Floats
    """(n,) of the learning rows, each by components found without it; NaN for other rows."""
    q: Floats
    """(n,) likewise."""


def trust(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    crossed: CrossFit | None,
    seed: int,
) -> Trust:
    """Limits of the domain from the training rows, and intervals from the estimates of rows that were left out.

    Samples, not fields, are what the distances leave whole: limits from fields left out whole would let almost any
    scan pass, and it is in a new field that estimates are to be flagged.
    """
    train = parts == "train"
    units = unit_labels(library, keep_groups=False)[train]
    t2, q = np.full((2, len(library)), np.nan)
    t2[train], q[train] = cross_validated_distances(
        first_view(prepared), units, prepared.problem.components, seed, count=prepared.distances.count
    )
    found = limits(t2[train], q[train])
    intervals = {}
    if crossed is not None:
        intervals = {
            scale.name: fit_interval(
                scale,
                library.targets[scale.name][train],
                crossed.estimates[scale.name][train],
                found.difficulty(t2[train]),
            )
            for scale in prepared.scales
        }
    return Trust(limits=found, intervals=intervals, t2=t2, q=q)
