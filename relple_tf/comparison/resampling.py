"""Which soils a comparison learns from and which it tests on: repeats, folds, and sizes of a learning curve."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import folds
from relple_tf.spectra.splitting.grouping import group_divided
from relple_tf.spectra.splitting.parts import divide
from relple_tf.spectra.splitting.split import DRAWS, FEWEST_VALUES, split

Parts = npt.NDArray[np.str_]

UNUSED = ""
"""The part of rows that a smaller size leaves out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resample:
    """What every model of one repeat (or fold) and size gets."""

    seed: int
    """Of the split, the networks and the baselines: the base seed plus the number of the repeat."""
    fold: int
    """1, 2, ... in cross-validation, else 0."""
    soils: int
    """Rows to learn from, train and validation together."""
    parts: Parts
    """(n,) of PARTS, or UNUSED."""

    @property
    def name(self) -> str:
        """For files and columns."""
        fold = f"-fold{self.fold}" if self.fold else ""
        return f"seed{self.seed}{fold}-soils{self.soils}"


def resamples(library: SpectralLibrary, config: Config, repeats: int) -> tuple[list[Resample], tuple[str, ...]]:
    """Resample every repeat, and in it every fold and size.

    `split.method=auto` means a fresh draw for every repeat, also where the data declare a split; with a method or a
    split file that the user chose, what is declared stays, and repeats differ in what is drawn beside it. The test
    rows of a repeat and fold are the same for all sizes, and the rows of a smaller size are among those of a larger.

    Args:
        library: Rows to divide, in range of the front end.
        config: Its sections split, comparison and training (seed).
        repeats: At least 1.

    Returns:
        In the order of seed, fold and size; and what must be said about the draws, once.

    Raises:
        InputError: the rows cannot be divided as asked.
    """
    if config.comparison.scheme == "cross_validation":
        _check_cross_validation(config)
    library, config, own_notes = _redrawn(library, config)
    drawn, notes = [], []
    for seed in range(config.training.seed, config.training.seed + repeats):
        for fold, (parts, told) in _divisions(library, replace(config, training__seed=seed)).items():
            notes.append(told)
            for size, kept in sized(library, parts, config.comparison.sizes, seed).items():
                drawn.append(Resample(seed=seed, fold=fold, soils=size, parts=kept))
    return drawn, (*own_notes, *notes[0])


def _check_cross_validation(config: Config) -> None:
    if config.split.file or config.split.method not in ("auto", "random", "group"):
        asked = f"split.file={config.split.file}" if config.split.file else f"split.method={config.split.method}"
        raise InputError(
            f"comparison.scheme=cross_validation tests every row, {asked} only some; leave that out, or use "
            "--set comparison.scheme=repeated"
        )


def _redrawn(library: SpectralLibrary, config: Config) -> tuple[SpectralLibrary, Config, tuple[str, ...]]:
    """`auto` as `random`, and the library without the split that it declares.

    Draws that stand in the place of a declared split that divides groups, divide them too.
    """
    if config.split.method != "auto" or config.split.file:
        return library, config, ()
    config = replace(config, split__method="random")
    if library.parts is None:
        return library, config, ()
    notes = ["the declared split is left aside, each repeat draws its own; --set split.method=given keeps it"]
    groups = library.groups
    if group_divided(library, library.parts):
        groups = None
        notes.append(
            "like the declared split, repeats divide groups: scores hold for further soils of the same fields, not "
            "for a new field; --set split.method=group measures that"
        )
    return dataclasses.replace(library, parts=None, groups=groups), config, tuple(notes)


def _divisions(library: SpectralLibrary, config: Config) -> dict[int, tuple[Parts, tuple[str, ...]]]:
    """Number of a fold, or 0 -> one division and its notes."""
    seed = config.training.seed
    if config.comparison.scheme == "repeated":
        return {0: divide(library, config)}
    if config.split.method == "group" and library.groups is None:
        divide(library, config)  # refuses, in the words of every other command
    number = folds(library, config.split, seed, config.comparison.folds) + 1
    given = replace(config, split__method="given").split
    return {
        fold: split(library, given, seed, np.where(number == fold, "test", "train"))
        for fold in range(1, number.max() + 1)
    }


def sized(library: SpectralLibrary, parts: Parts, sizes: tuple[int, ...], seed: int) -> dict[int, Parts]:
    """Leave out rows to learn from, until `sizes` are left; train and validation keep their shares.

    Each size takes the first rows of one random order, so that sizes are nested.

    Args:
        library: Rows, for the values that are left.
        parts: (n,) of PARTS.
        sizes: Train and validation rows together; empty is all there are.
        seed: Of the order.

    Returns:
        Size, ascending -> (n,) parts, UNUSED for the rows left out.

    Raises:
        InputError: there are fewer rows, or no order leaves the smallest size FEWEST_VALUES of every target.
    """
    known = np.flatnonzero(parts != "test")
    if not sizes:
        return {len(known): parts}
    if max(sizes) > len(known):
        raise InputError(
            f"comparison.sizes holds {max(sizes)}, but seed {seed} leaves {len(known)} soils to learn from; the others "
            "are the test part"
        )
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        orders = {part: rng.permutation(np.flatnonzero(parts == part)) for part in ("train", "validation")}
        share = len(orders["validation"]) / len(known)
        kept = {size: _first(parts, orders, size, share) for size in sorted(sizes)}
        lacking = _lacking(library, kept[min(sizes)])
        if not lacking:
            return kept
    raise InputError(f"comparison.sizes holds {min(sizes)}: {lacking}; leave it out with --targets, or take more soils")


def _first(parts: Parts, orders: dict[str, npt.NDArray[np.intp]], size: int, share: float) -> Parts:
    """`parts` with the first rows of each order only."""
    validation = max(FEWEST_VALUES, round(share * size))
    kept = np.where(parts == "test", parts, UNUSED)
    for part, count in {"train": size - validation, "validation": validation}.items():
        kept[orders[part][:count]] = part
    return kept


def _lacking(library: SpectralLibrary, parts: Parts) -> str:
    """Say which target has too few different values to learn from; empty if none has."""
    for name, values in library.targets.items():
        for part in ("train", "validation"):
            different = len(np.unique(values[(parts == part) & ~np.isnan(values)]))
            if different < FEWEST_VALUES:
                return f"{name} then has {different} different measured values in the {part} part"
    return ""
