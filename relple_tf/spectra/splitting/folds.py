"""Cross-validation folds; no fold divides a group."""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import Indices, Parts, group_labels, whole_groups
from relple_tf.spectra.splitting.split import FEWEST_VALUES, MAXIMUM_DRAWS

_STREAM = 1
"""Added to the seed, so that folds are independent of the order that `split` draws from the same seed."""


def group_k_fold(groups: Indices, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """At most `count` pairs of (training rows, held-out rows); no fold divides a group.

    If every row is a separate group, the folds are drawn at random with `seed`. Otherwise they are balanced by rows,
    without randomness. A single group is divided by rows, because there is no alternative.

    Args:
        groups: (n,) group numbers.
        count: Number of folds, 2 or more; fewer where there are fewer groups.
        seed: Seed of the random draw.
    """
    rows, distinct = np.arange(len(groups)), len(np.unique(groups))
    if distinct in (1, len(groups)):
        return list(KFold(min(count, len(groups)), shuffle=True, random_state=seed).split(rows))
    return list(GroupKFold(min(count, distinct)).split(rows, groups=groups))


def folds(
    library: SpectralLibrary,
    config: SplitConfig,
    seed: int,
    count: int,
    rows: npt.NDArray[np.bool_] | None = None,
) -> Indices:
    """Assign a fold to every row; a declared split is ignored.

    A group stays in one fold: the scans of a sample, the rows linked by a group column unless `config.within_groups`,
    and the rows of a spatial block of `config.block_km`.

    Args:
        library: Rows to divide.
        config: `within_groups` and `block_km` are read.
        seed: Seed of the random draw.
        count: Number of folds, 2 or more; fewer where there are fewer groups.
        rows: (n,) true for the rows to divide; None divides all.

    Returns:
        (n,) fold numbers from 0, each used; -1 for rows that are not divided. The largest fold exceeds the smallest
        by at most the rows of one group.

    Raises:
        InputError: the rows are a single group, or no draw leaves enough values of every target outside each fold.
    """
    groups = group_labels(library, keep_groups=not config.within_groups, block_km=config.block_km)
    return _draw_folds(library, groups, seed, count, np.ones(len(library), bool) if rows is None else rows)


def development_folds(library: SpectralLibrary, parts: Parts, seed: int, count: int, block_km: float = 0.0) -> Indices:
    """Assign a fold to every development row (training + validation), for model selection without the test part.

    The folds do not divide what `parts` does not divide (`whole_groups`): rows of a group are divided only if the
    split of the run divides groups too. So the folds measure the same kind of error as the test part.

    Args:
        library: All rows.
        parts: (n,) of PARTS; empty for rows that the run does not use.
        seed: Seed of the random draw.
        count: Number of folds, 2 or more; fewer where there are fewer groups.
        block_km: `split.block_km` of the run.

    Returns:
        (n,) fold numbers from 0, each used; -1 for test rows and unused rows.

    Raises:
        InputError: the development rows are a single group, or no draw leaves enough values of every target outside
            each fold.
    """
    development = np.isin(parts, ("train", "validation"))
    return _draw_folds(library, whole_groups(library, parts, block_km), seed, count, development)


def _draw_folds(
    library: SpectralLibrary, groups: Indices, seed: int, count: int, rows: npt.NDArray[np.bool_]
) -> Indices:
    """Folds of the first draw that leaves enough values of every target outside each fold."""
    groups = np.unique(groups[rows], return_inverse=True)[1]
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise InputError(
            f"{library.source}: the {rows.sum()} rows form 1 group (rows linked by sample, group column or block), "
            "cross-validation needs at least 2; add samples, divide groups with --set split.within_groups=true, or "
            "make split.block_km smaller"
        )
    targets = {name: values[rows] for name, values in library.targets.items()}
    for draw in range(MAXIMUM_DRAWS):
        fold = _balanced(sizes, min(count, len(sizes)), np.random.default_rng([seed, _STREAM, draw]))[groups]
        lacking = _lacking(targets, fold)
        if not lacking:
            break
    else:
        raise InputError(f"{library.source}: {lacking}")
    numbered = np.full(len(library), -1, np.intp)
    numbered[rows] = fold
    return numbered


def _balanced(sizes: Indices, count: int, rng: np.random.Generator) -> Indices:
    """(groups,) fold numbers: groups in random order, each assigned to the fold with the fewest rows so far."""
    fold = np.empty(len(sizes), np.intp)
    fold_rows = np.zeros(count, np.intp)
    for group in rng.permutation(len(sizes)).tolist():
        fold[group] = np.argmin(fold_rows)
        fold_rows[fold[group]] += sizes[group]
    return fold


def _lacking(targets: dict[str, npt.NDArray[np.float64]], fold: Indices) -> str:
    """Message with the first target and fold that leave too few distinct values outside the fold; empty if none."""
    for name, values in targets.items():
        for left_out in range(fold.max() + 1):
            outside = values[(fold != left_out) & np.isfinite(values)]
            if (distinct := len(np.unique(outside))) < FEWEST_VALUES:
                return (
                    f"{name} has {distinct} distinct measured values outside fold {left_out + 1} of "
                    f"{fold.max() + 1}, training needs {FEWEST_VALUES}; leave it out with --targets, or add samples"
                )
    return ""
