"""Development and test soils of every repeat, fold and size of a comparison."""

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
from relple_tf.spectra.splitting.split import FEWEST_VALUES, MAXIMUM_DRAWS, split

Parts = npt.NDArray[np.str_]

UNUSED = ""
"""The part of rows that a smaller size omits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resample:
    """The seed and the parts of one repeat (or fold) and size; the same for every model."""

    seed: int
    """Of the split, the networks and the baselines: the base seed plus the number of the repeat."""
    fold: int
    """1, 2, ... in cross-validation, else 0."""
    soils: int
    """Number of development rows (train + validation)."""
    parts: Parts
    """(n,) names from PARTS, or UNUSED."""

    @property
    def name(self) -> str:
        """Name for files and columns."""
        fold = f"-fold{self.fold}" if self.fold else ""
        return f"seed{self.seed}{fold}-soils{self.soils}"


def make_resamples(library: SpectralLibrary, config: Config, repeats: int) -> tuple[list[Resample], tuple[str, ...]]:
    """The resamples of every repeat, fold and size.

    With `split.method=auto` every repeat has a new random split, even if the data declare one. With another method or
    a split file, the declared parts are kept, and repeats differ only in the parts that are random. The test rows of a
    repeat and fold are the same for all sizes, and a larger size contains the rows of every smaller size.

    Args:
        library: Rows to divide, within the wavelength range of the front end.
        config: Its sections split, comparison and training (seed).
        repeats: At least 1.

    Returns:
        The resamples in the order of seed, fold and size; and notes on the resampling.

    Raises:
        InputError: the rows cannot be divided as asked.
    """
    if config.comparison.scheme == "cross_validation":
        _check_cross_validation(config)
    library, config, split_notes = _without_declared_split(library, config)
    resamples, notes = [], []
    for seed in range(config.training.seed, config.training.seed + repeats):
        for fold, (parts, fold_notes) in _divisions(library, replace(config, training__seed=seed)).items():
            notes.append(fold_notes)
            for size, kept in sized(library, parts, config.comparison.sizes, seed).items():
                resamples.append(Resample(seed=seed, fold=fold, soils=size, parts=kept))
    return resamples, (*split_notes, *notes[0])


def _check_cross_validation(config: Config) -> None:
    if config.split.file or config.split.method not in ("auto", "random", "group"):
        setting = f"split.file={config.split.file}" if config.split.file else f"split.method={config.split.method}"
        raise InputError(
            f"comparison.scheme=cross_validation tests every row, but {setting} fixes the test rows; omit the setting, "
            "or use --set comparison.scheme=repeated"
        )


def _without_declared_split(
    library: SpectralLibrary, config: Config
) -> tuple[SpectralLibrary, Config, tuple[str, ...]]:
    """Replace `auto` by `random` and remove the split that the library declares.

    If the declared split divides groups, the random splits divide them too.
    """
    if config.split.method != "auto" or config.split.file:
        return library, config, ()
    config = replace(config, split__method="random")
    if library.parts is None:
        return library, config, ()
    notes = ["the declared split is not used, each repeat has a new random split; --set split.method=given keeps it"]
    groups = library.groups
    if group_divided(library, library.parts):
        groups = None
        notes.append(
            "like the declared split, the random splits divide groups: the scores are valid for further soils of the "
            "same fields, not for a new field; --set split.method=group estimates those of a new field"
        )
    return dataclasses.replace(library, parts=None, groups=groups), config, tuple(notes)


def _divisions(library: SpectralLibrary, config: Config) -> dict[int, tuple[Parts, tuple[str, ...]]]:
    """Fold number (0 without cross-validation) -> parts and notes."""
    seed = config.training.seed
    if config.comparison.scheme == "repeated":
        return {0: divide(library, config)}
    if config.split.method == "group" and library.groups is None:
        divide(library, config)  # raises the same error as the other commands
    number = folds(library, config.split, seed, config.comparison.folds) + 1
    declared = replace(config, split__method="given").split
    return {
        fold: split(library, declared, seed, np.where(number == fold, "test", "train"))
        for fold in range(1, number.max() + 1)
    }


def sized(library: SpectralLibrary, parts: Parts, sizes: tuple[int, ...], seed: int) -> dict[int, Parts]:
    """Reduce the development rows to each of `sizes`; the ratio of train to validation rows is kept.

    Each size consists of the first rows of the same random order, so that the sizes are nested.

    Args:
        library: Rows, to check the remaining laboratory values.
        parts: (n,) names from PARTS.
        sizes: Numbers of development rows (train + validation); empty for all.
        seed: Of the random order.

    Returns:
        Size, ascending -> (n,) parts, UNUSED for the omitted rows.

    Raises:
        InputError: there are fewer rows, or in no order the smallest size has FEWEST_VALUES of every target.
    """
    development = np.flatnonzero(parts != "test")
    if not sizes:
        return {len(development): parts}
    if max(sizes) > len(development):
        raise InputError(
            f"comparison.sizes: expected at most {len(development)}, the development soils of seed {seed} (the others "
            f"are the test part), received {max(sizes)}"
        )
    for attempt in range(MAXIMUM_DRAWS):
        rng = np.random.default_rng([seed, attempt])
        orders = {part: rng.permutation(np.flatnonzero(parts == part)) for part in ("train", "validation")}
        validation_fraction = len(orders["validation"]) / len(development)
        kept = {size: _first(parts, orders, size, validation_fraction) for size in sorted(sizes)}
        shortage = _shortage(library, kept[min(sizes)])
        if not shortage:
            return kept
    raise InputError(
        f"comparison.sizes holds {min(sizes)}: {shortage}; omit the target with --targets, or use a larger size"
    )


def _first(parts: Parts, orders: dict[str, npt.NDArray[np.intp]], size: int, validation_fraction: float) -> Parts:
    """`parts`, with UNUSED for all development rows except the first of each order."""
    validation = max(FEWEST_VALUES, round(validation_fraction * size))
    kept = np.where(parts == "test", parts, UNUSED)
    for part, count in {"train": size - validation, "validation": validation}.items():
        kept[orders[part][:count]] = part
    return kept


def _shortage(library: SpectralLibrary, parts: Parts) -> str:
    """The first target with fewer than FEWEST_VALUES different values in a part, as text; empty if there is none."""
    for name, values in library.targets.items():
        for part in ("train", "validation"):
            different = len(np.unique(values[(parts == part) & ~np.isnan(values)]))
            if different < FEWEST_VALUES:
                return (
                    f"{name} then has {different} different measured values in the {part} part, "
                    f"expected at least {FEWEST_VALUES}"
                )
    return ""
