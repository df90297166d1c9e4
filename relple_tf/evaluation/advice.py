"""What a user should hear before using the network: where PLSR serves better, and what a new field will do.

Decided on learning rows only, so that the test scores stay those of soils that nothing was chosen on.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.evaluation.baselines import CrossValidated, cross_validated, snv_first_derivative
from relple_tf.models.lab_units import TargetScale

MARGIN = 0.02
"""PLSR serves better where its cross-validated RMSE is below the network's by more than this share."""

FEWEST_ROWS = 10
"""Rows outside a field that a model of PLSR is worth fitting on."""


def in_new_groups(
    absorbance: npt.NDArray[np.float32],
    targets: dict[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    *,
    window_points: int,
    polynomial: int,
    seed: int,
) -> dict[str, CrossValidated]:
    """What PLSR does in groups that it has not seen: whole ones are left out.

    Args:
        absorbance: (n, bands) on the model's grid, learning rows only.
        targets: Name -> (n,), NaN where not measured.
        groups: (n,) numbers of the groups, rows of one sample in one of them.
        scales: The targets' scales.
        window_points: Bands in the derivative window.
        polynomial: Order of its polynomial.
        seed: Of the folds where every row is a group of its own.

    Returns:
        Target -> the best model; without targets of which no more than FEWEST_ROWS values lie outside some group.
    """
    features = snv_first_derivative(absorbance, window_points, polynomial)
    found = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        y, held = targets[scale.name][rows], groups[rows]
        if len(rows) - np.bincount(held).max() > FEWEST_ROWS:
            found[scale.name] = cross_validated(features[rows], y, held, scale, seed)
    return found


def plsr_serves_better(network: dict[str, Any], plsr: CrossValidated) -> bool:
    """Whether PLSR's cross-validated error is below that of the network's (`metrics.scores`) by more than MARGIN."""
    return bool(plsr.rmse < (1 - MARGIN) * network["rmse"])


def advice(
    network: dict[str, dict[str, Any]], plsr: dict[str, CrossValidated], new_groups: dict[str, CrossValidated]
) -> tuple[str, ...]:
    """Notes for the terminal, the card and the report.

    Args:
        network: Target -> figures of the network's estimates of learning soils that it was not trained on; empty
            where there are none.
        plsr: Target -> PLSR on the same soils, in folds that divide groups where the split does.
        new_groups: From `in_new_groups`; empty where the split divides no group.
    """
    notes = []
    if new_groups:
        told = "; ".join(
            f"{target} R2 {plsr[target].r2:z.2f} with fields divided, {found.r2:z.2f} with whole fields left out"
            for target, found in new_groups.items()
        )
        notes.append(f"PLSR, cross-validated: {told}: expect the latter in a new field")
    for target, figures in network.items():
        if plsr_serves_better(figures, plsr[target]):
            notes.append(
                f"PLSR serves better for {target}: cross-validated RMSE {plsr[target].rmse:.3g} against "
                f"{figures['rmse']:.3g} by the network"
            )
    return tuple(notes)
