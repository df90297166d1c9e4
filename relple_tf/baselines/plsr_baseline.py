"""The PLSR baseline of a run: fitted on the development set, cross-validated in the folds of the network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cross_decomposition import PLSRegression

from relple_tf.baselines.plsr import (
    FOLDS,
    CrossValidated,
    cross_validated,
    plsr,
    snv_first_derivative,
)
from relple_tf.config import Config
from relple_tf.models import front_end
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds, group_k_fold
from relple_tf.spectra.splitting.grouping import group_divided, group_labels, whole_groups
from relple_tf.training.preparation import Prepared

FEWEST_ROWS = 10
"""Minimum number of rows to fit a PLSR model on."""
CURVE_FRACTIONS = (0.25, 0.5, 0.75, 1.0)
"""Fractions of the rows outside the fold that the learning curve fits on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlsrBaseline:
    """PLSR on the soils of a run; every field except `predictions` is computed from the development set only."""

    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    components: dict[str, int]
    """Target -> number of PLS components."""
    left_out: dict[str, CrossValidated]
    """Target -> cross-validated on the development set, in the folds of the networks if these are cross-validated."""
    new_groups: dict[str, CrossValidated]
    """Target -> cross-validated with whole groups left out; empty unless the split divides groups."""
    curve: dict[str, dict[int, float]]
    """Target -> {soils fitted on: cross-validated RMSE}, see `learning_curve`."""


def plsr_baseline(
    library: SpectralLibrary, parts: npt.NDArray[np.str_], prepared: Prepared, config: Config
) -> PlsrBaseline:
    """Fit PLSR on the development set and cross-validate it.

    Args:
        library: All rows.
        parts: (n,) names from PARTS.
        prepared: From `prepare` on the same parts.
        config: Config of the run.
    """
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    window, polynomial = front_end.window_points(config.front_end), config.front_end.derivative_polynomial
    development, seed = parts != "test", config.training.seed
    predictions, chosen = plsr(
        absorbance,
        library.targets,
        development,
        whole_groups(library, parts, config.split.block_km),
        prepared.scales,
        window_points=window,
        polynomial=polynomial,
        seed=seed,
    )
    features = snv_first_derivative(absorbance[development], window, polynomial)
    values = {name: measured[development] for name, measured in library.targets.items()}
    left_out, new_groups = chosen, {}
    if cv_folds := config.training.cv_folds:
        # The folds of the networks, so that PLSR and the networks are fitted on the same number of soils.
        fold = development_folds(library, parts, seed, cv_folds, config.split.block_km)[development]
        left_out = chosen | cross_validate_groups(features, values, fold, prepared.scales, seed, cv_folds)
    if group_divided(library, parts):
        groups = group_labels(library, keep_groups=True)[development]
        new_groups = cross_validate_groups(features, values, groups, prepared.scales, seed)
    groups = whole_groups(library, parts, config.split.block_km)[development]
    curve = learning_curve(features, values, groups, prepared.scales, seed)
    components = {name: best.components for name, best in chosen.items()}
    return PlsrBaseline(
        predictions=predictions, components=components, left_out=left_out, new_groups=new_groups, curve=curve
    )


def cross_validate_groups(
    features: npt.NDArray[np.float64],
    targets: dict[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    seed: int,
    folds: int = FOLDS,
) -> dict[str, CrossValidated]:
    """Cross-validate PLSR with whole groups left out.

    Args:
        features: (n, bands) from `snv_first_derivative`.
        targets: Name -> (n,), NaN where not measured.
        groups: (n,) group numbers 0, 1, 2, ...
        scales: The targets' scales.
        seed: Of the folds; used only if every row is a separate group.
        folds: Maximum number of folds.

    Returns:
        Target -> the best model; only targets with more than FEWEST_ROWS values outside the largest group.
    """
    best = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        y, held = targets[scale.name][rows], groups[rows]
        if len(rows) - np.bincount(held).max() > FEWEST_ROWS:
            best[scale.name] = cross_validated(features[rows], y, held, scale, seed, folds)
    return best


def learning_curve(
    features: npt.NDArray[np.float64],
    targets: dict[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    seed: int,
) -> dict[str, dict[int, float]]:
    """RMSE of PLSR by the number of soils it is fitted on; takes seconds, a curve of the network would take hours.

    PLSR predicts each fold from a subset of the other folds; the components are chosen within the subset. All sizes
    are therefore evaluated on the same soils. Cross-validation inside a small subset would underestimate the error of
    a skewed target.

    Args:
        features: (n, bands) from `snv_first_derivative`.
        targets: Name -> (n,), NaN where not measured.
        groups: (n,) group numbers; no fold divides a group.
        scales: The targets' scales.
        seed: Of the folds and the subsets.

    Returns:
        Target -> {soils fitted on: RMSE}, ascending; without targets whose smallest subset has fewer than FEWEST_ROWS
        soils or contains a single group.
    """
    curve = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        x, y, group = features[rows], targets[scale.name][rows], groups[rows]
        folds = group_k_fold(group, FOLDS, seed)
        subsets = [nested_subsets(fitted, group, [seed, fold]) for fold, (fitted, _) in enumerate(folds)]
        if any(len(smallest) < FEWEST_ROWS or len(np.unique(group[smallest])) == 1 for smallest, *_ in subsets):
            continue
        squared_errors = np.empty((len(CURVE_FRACTIONS), len(y)))
        for (_, held), by_size in zip(folds, subsets, strict=True):
            for size, subset in enumerate(by_size):
                best = cross_validated(x[subset], y[subset], group[subset], scale, seed)
                model = PLSRegression(best.components, scale=True).fit(x[subset], best.scale.to_model(y[subset]))
                squared_errors[size, held] = (best.scale.to_lab(model.predict(x[held]).ravel()) - y[held]) ** 2
        counts = np.mean([[len(subset) for subset in by_size] for by_size in subsets], axis=0).round().astype(int)
        curve[scale.name] = dict(zip(counts.tolist(), np.sqrt(squared_errors.mean(axis=1)).tolist(), strict=True))
    return curve


def nested_subsets(
    rows: npt.NDArray[np.intp], groups: npt.NDArray[np.intp], seed: int | list[int]
) -> list[npt.NDArray[np.intp]]:
    """For each of CURVE_FRACTIONS, the first rows in a random order of the groups; each subset contains the smaller."""
    rank = np.random.default_rng(seed).permutation(groups.max() + 1)
    order = rows[np.argsort(rank[groups[rows]], kind="stable")]
    return [np.sort(order[: round(fraction * len(rows))]) for fraction in CURVE_FRACTIONS]
