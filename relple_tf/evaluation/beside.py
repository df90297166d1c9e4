"""PLSR beside the network: fitted on the same soils, and cross-validated on those that the network left out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.config import Config
from relple_tf.evaluation.baselines import FOLDS, CrossValidated, cross_validated, plsr, snv_first_derivative
from relple_tf.models import front_end
from relple_tf.models.lab_units import TargetScale
from relple_tf.spectra.folds import learning_folds
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.units import group_divided, unit_labels, whole_units
from relple_tf.training.preparation import Prepared

FEWEST_ROWS = 10
"""Rows that are left when some are left out, for a model of PLSR to be worth fitting on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beside:
    """PLSR on the soils of a run; all but `predictions` from learning soils only."""

    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    components: dict[str, int]
    """Target -> number of them."""
    left_out: dict[str, CrossValidated]
    """Target -> what it does on learning soils left out, in the folds of the networks if there are any."""
    new_groups: dict[str, CrossValidated]
    """Likewise with whole groups left out; empty unless the split divides groups."""


def beside(
    library: SpectralLibrary, parts: npt.NDArray[np.str_], prepared: Prepared, config: Config, *, members: int
) -> Beside:
    """Fit and cross-validate PLSR.

    Args:
        library: All rows.
        parts: (n,) of PARTS.
        prepared: From `prepare` on the same parts.
        config: Of the run.
        members: Folds that networks left out; 0 without.
    """
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    window, polynomial = front_end.window_points(config.front_end), config.front_end.derivative_polynomial
    learned, seed = parts != "test", config.training.seed
    predictions, chosen = plsr(
        absorbance,
        library.targets,
        learned,
        whole_units(library, parts, config.split.block_km),
        prepared.scales,
        window_points=window,
        polynomial=polynomial,
        seed=seed,
    )
    features = snv_first_derivative(absorbance[learned], window, polynomial)
    values = {name: measured[learned] for name, measured in library.targets.items()}
    left_out, new_groups = chosen, {}
    if members:
        # Their folds, for with others it would have learned from more soils than the networks, or from fewer.
        fold = learning_folds(library, parts, seed, members, config.split.block_km)[learned]
        left_out = chosen | without(features, values, fold, prepared.scales, seed, members)
    if group_divided(library, parts):
        groups = unit_labels(library, keep_groups=True)[learned]
        new_groups = without(features, values, groups, prepared.scales, seed)
    components = {name: one.components for name, one in chosen.items()}
    return Beside(predictions=predictions, components=components, left_out=left_out, new_groups=new_groups)


def without(
    features: npt.NDArray[np.float64],
    targets: dict[str, npt.NDArray[np.float64]],
    units: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    seed: int,
    folds: int = FOLDS,
) -> dict[str, CrossValidated]:
    """What PLSR does where whole units are left out.

    Args:
        features: (n, bands) from `snv_first_derivative`.
        targets: Name -> (n,), NaN where not measured.
        units: (n,) 0, 1, 2, ...
        scales: The targets' scales.
        seed: Of the folds where every row is a unit of its own.
        folds: At most.

    Returns:
        Target -> the best model; without targets of which no more than FEWEST_ROWS values lie outside some unit.
    """
    found = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        y, held = targets[scale.name][rows], units[rows]
        if len(rows) - np.bincount(held).max() > FEWEST_ROWS:
            found[scale.name] = cross_validated(features[rows], y, held, scale, seed, folds)
    return found
