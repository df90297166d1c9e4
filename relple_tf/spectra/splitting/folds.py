"""Folds for cross-validation; what belongs together stays in one fold."""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.grouping import Indices, Parts, group_labels, whole_groups
from relple_tf.spectra.splitting.split import DRAWS, FEWEST_VALUES

_STREAM = 1
"""PlsrBaseline the seed, so that folds do not follow the order that `split` draws from the same seed."""


def group_k_fold(groups: Indices, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """At most `count` pairs of (rows to fit on, rows held back), which divide no group.

    Drawn by `seed` where every row is a group of its own; else balanced by rows, without a draw. A single group is
    divided by rows, because there is no other.

    Args:
        groups: (n,) numbers of what no fold may divide.
        count: Folds, 2 or more; fewer where there are fewer groups.
        seed: Of the draw.
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
    """Number the fold of every row; a declared split is not looked at.

    Scans of one sample stay in one fold, and so do the rows of a group unless `config.within_groups`, and those of a
    block of `config.block_km`.

    Args:
        library: Rows to divide.
        config: Its `within_groups` and `block_km`.
        seed: Seed of the draw.
        count: Folds, 2 or more; fewer are made where there are fewer groups that stay whole.
        rows: (n,) true for the rows to divide; None divides all.

    Returns:
        (n,) 0 to the number of folds less 1, each of them used; -1 for rows that are not divided. The largest fold
        has at most the rows of one group more than the smallest.

    Raises:
        InputError: the rows are one group, or no draw leaves every target enough values outside each fold.
    """
    groups = group_labels(library, keep_groups=not config.within_groups, block_km=config.block_km)
    return _drawn(library, groups, seed, count, np.ones(len(library), bool) if rows is None else rows)


def development_folds(library: SpectralLibrary, parts: Parts, seed: int, count: int, block_km: float = 0.0) -> Indices:
    """Number the fold of every row of the train and validation parts, for choices made inside the learning rows.

    The folds leave whole what `parts` leaves whole (`whole_groups`): rows of a group are divided only where the split
    of the run divides groups too, so that the folds ask what the test part will ask.

    Args:
        library: All rows.
        parts: (n,) of PARTS; empty for rows that a run leaves unused.
        seed: Seed of the draw.
        count: Folds, 2 or more; fewer are made where there are fewer groups that stay whole.
        block_km: `split.block_km` of the run.

    Returns:
        (n,) 0 to the number of folds less 1, each of them used; -1 for test rows and unused ones.

    Raises:
        InputError: the learning rows are one group, or no draw leaves every target enough values outside each fold.
    """
    learning = np.isin(parts, ("train", "validation"))
    return _drawn(library, whole_groups(library, parts, block_km), seed, count, learning)


def _drawn(library: SpectralLibrary, groups: Indices, seed: int, count: int, rows: npt.NDArray[np.bool_]) -> Indices:
    """The first draw that leaves every target enough values outside each fold."""
    groups = np.unique(groups[rows], return_inverse=True)[1]
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise InputError(
            f"{library.source}: {rows.sum()} rows are one sample, group or block that stays whole; cross-validation "
            "needs 2 at least: add samples, divide groups with --set split.within_groups=true, or make "
            "split.block_km smaller"
        )
    targets = {name: values[rows] for name, values in library.targets.items()}
    for draw in range(DRAWS):
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
    """(groups,) folds: groups in random order, each to the fold that has the fewest rows by then."""
    fold = np.empty(len(sizes), np.intp)
    held = np.zeros(count, np.intp)
    for group in rng.permutation(len(sizes)).tolist():
        fold[group] = np.argmin(held)
        held[fold[group]] += sizes[group]
    return fold


def _lacking(targets: dict[str, npt.NDArray[np.float64]], fold: Indices) -> str:
    """Say which target has too few different values outside which fold; empty if none has."""
    for name, values in targets.items():
        for left_out in range(fold.max() + 1):
            outside = values[(fold != left_out) & np.isfinite(values)]
            if (different := len(np.unique(outside))) < FEWEST_VALUES:
                return (
                    f"{name} has {different} different measured values outside fold {left_out + 1} of "
                    f"{fold.max() + 1}; {FEWEST_VALUES} are needed to learn; leave it out with --targets, or add "
                    "samples"
                )
    return ""
