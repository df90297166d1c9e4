"""PLSR beside the network: fitted on the same soils, and cross-validated on those that the network left out."""

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
"""Rows that are left when some are left out, for a model of PLSR to be worth fitting on them."""
SIZES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the soils to learn from that the learning curve has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlsrBaseline:
    """PLSR on the soils of a run; all but `predictions` from learning soils only."""

    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    components: dict[str, int]
    """Target -> number of them."""
    left_out: dict[str, CrossValidated]
    """Target -> what it does on learning soils left out, in the folds of the networks if there are any."""
    new_groups: dict[str, CrossValidated]
    """Likewise with whole groups left out; empty unless the split divides groups."""
    curve: dict[str, dict[int, float]]
    """Target -> {soils learned from: RMSE of others}, see `learning_curve`."""


def plsr_baseline(
    library: SpectralLibrary, parts: npt.NDArray[np.str_], prepared: Prepared, config: Config
) -> PlsrBaseline:
    """Fit and cross-validate PLSR.

    Args:
        library: All rows.
        parts: (n,) of PARTS.
        prepared: From `prepare` on the same parts.
        config: Of the run.
    """
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    window, polynomial = front_end.window_points(config.front_end), config.front_end.derivative_polynomial
    learned, seed = parts != "test", config.training.seed
    predictions, chosen = plsr(
        absorbance,
        library.targets,
        learned,
        whole_groups(library, parts, config.split.block_km),
        prepared.scales,
        window_points=window,
        polynomial=polynomial,
        seed=seed,
    )
    features = snv_first_derivative(absorbance[learned], window, polynomial)
    values = {name: measured[learned] for name, measured in library.targets.items()}
    left_out, new_groups = chosen, {}
    if members := config.training.cv_folds:
        # Their folds, for with others it would have learned from more soils than the networks, or from fewer.
        fold = development_folds(library, parts, seed, members, config.split.block_km)[learned]
        left_out = chosen | without(features, values, fold, prepared.scales, seed, members)
    if group_divided(library, parts):
        groups = group_labels(library, keep_groups=True)[learned]
        new_groups = without(features, values, groups, prepared.scales, seed)
    groups = whole_groups(library, parts, config.split.block_km)[learned]
    curve = learning_curve(features, values, groups, prepared.scales, seed)
    components = {name: one.components for name, one in chosen.items()}
    return PlsrBaseline(
        predictions=predictions, components=components, left_out=left_out, new_groups=new_groups, curve=curve
    )


def without(
    features: npt.NDArray[np.float64],
    targets: dict[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    seed: int,
    folds: int = FOLDS,
) -> dict[str, CrossValidated]:
    """What PLSR does where whole groups are left out.

    Args:
        features: (n, bands) from `snv_first_derivative`.
        targets: Name -> (n,), NaN where not measured.
        groups: (n,) 0, 1, 2, ...
        scales: The targets' scales.
        seed: Of the folds where every row is a group of its own.
        folds: At most.

    Returns:
        Target -> the best model; without targets of which no more than FEWEST_ROWS values lie outside some group.
    """
    found = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        y, held = targets[scale.name][rows], groups[rows]
        if len(rows) - np.bincount(held).max() > FEWEST_ROWS:
            found[scale.name] = cross_validated(features[rows], y, held, scale, seed, folds)
    return found


def learning_curve(
    features: npt.NDArray[np.float64],
    targets: dict[str, npt.NDArray[np.float64]],
    groups: npt.NDArray[np.intp],
    scales: tuple[TargetScale, ...],
    seed: int,
) -> dict[str, dict[int, float]]:
    """How PLSR's error falls with the number of soils: seconds, where a network's curve would take hours.

    Each fold of the soils is estimated by PLSR on a part of the others, components chosen within that part. So all
    sizes are judged by the same soils; within a small part alone, a skewed target would seem easier than it is.

    Args:
        features: (n, bands) from `snv_first_derivative`.
        targets: Name -> (n,), NaN where not measured.
        groups: (n,) numbers of what no fold may divide.
        scales: The targets' scales.
        seed: Of the folds and the parts.

    Returns:
        Target -> {soils learned from: RMSE}, ascending; without targets of which the smallest part has fewer than
        FEWEST_ROWS soils, or is of a single group.
    """
    curve = {}
    for scale in scales:
        rows = np.flatnonzero(~np.isnan(targets[scale.name]))
        x, y, group = features[rows], targets[scale.name][rows], groups[rows]
        folds = group_k_fold(group, FOLDS, seed)
        parts = [nested(learned, group, [seed, fold]) for fold, (learned, _) in enumerate(folds)]
        if any(len(smallest) < FEWEST_ROWS or len(np.unique(group[smallest])) == 1 for smallest, *_ in parts):
            continue
        squares = np.empty((len(SIZES), len(y)))
        for (_, held), sizes in zip(folds, parts, strict=True):
            for size, part in enumerate(sizes):
                best = cross_validated(x[part], y[part], group[part], scale, seed)
                model = PLSRegression(best.components, scale=True).fit(x[part], best.scale.to_model(y[part]))
                squares[size, held] = (best.scale.to_lab(model.predict(x[held]).ravel()) - y[held]) ** 2
        counts = np.mean([[len(part) for part in sizes] for sizes in parts], axis=0).round().astype(int)
        curve[scale.name] = dict(zip(counts.tolist(), np.sqrt(squares.mean(axis=1)).tolist(), strict=True))
    return curve


def nested(
    rows: npt.NDArray[np.intp], groups: npt.NDArray[np.intp], seed: int | list[int]
) -> list[npt.NDArray[np.intp]]:
    """The first of `rows` in one random order of their groups, for each of SIZES."""
    place = np.random.default_rng(seed).permutation(groups.max() + 1)
    order = rows[np.argsort(place[groups[rows]], kind="stable")]
    return [np.sort(order[: round(share * len(rows))]) for share in SIZES]
