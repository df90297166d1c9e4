"""Division of the rows into training, validation and test parts.

Groups stay whole unless the config or a declared split divides them.
"""

import numpy as np
import numpy.typing as npt

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.coordinates import block_labels
from relple_tf.spectra.splitting.distance_order import distance_order
from relple_tf.spectra.splitting.grouping import (
    block_divided,
    divided,
    group_divided,
    group_labels,
    samples_divided,
)

Indices = npt.NDArray[np.intp]
Parts = npt.NDArray[np.str_]

PARTS = ("train", "validation", "test")
FEWEST_VALUES = 2
"""Distinct measured values of a target that each part needs; with fewer no metric is defined."""
MAXIMUM_DRAWS = 100
"""Maximum number of random draws; the first with FEWEST_VALUES in every part is used."""


def split(
    library: SpectralLibrary, config: SplitConfig, seed: int, declared: Parts | None = None
) -> tuple[Parts, tuple[str, ...]]:
    """Divide the rows into train, validation and test.

    A group stays in one part: the scans of a sample, the rows with equal `library.groups` unless
    `config.within_groups` or a declared split divides them, and the rows of a block of `config.block_km` unless a
    declared split divides it. A declared split that divides samples of `library.samples` is kept, with a note. If no
    validation rows are declared, they are drawn at random from the training rows.

    Args:
        library: Rows to divide.
        config: Method, and fractions of test and validation rows.
        seed: Seed of all random draws.
        declared: (n,) parts read from `split.file`; they override those of the library.

    Returns:
        (n,) of PARTS, and notes that a reader of the scores needs, one sentence each.

    Raises:
        InputError: the rows cannot be divided as requested.
    """
    declared = library.parts if declared is None else declared
    method = config.method
    if method == "auto":
        method = "random" if declared is None else "given"
    _check_groups(library, config, method)
    given = _given(library, declared) if method == "given" else None
    groups = group_labels(
        library,
        keep_groups=not config.within_groups and (given is None or not group_divided(library, given)),
        block_km=0.0 if given is not None and block_divided(library, given, config.block_km) else config.block_km,
    )
    _check_size(library, config, groups, given)
    order = None
    if method in ("kennard_stone", "spxy"):
        order = distance_order(library, groups, with_targets=method == "spxy")
    for draw in range(MAXIMUM_DRAWS):
        parts = _divide(groups, given, order, config, np.random.default_rng([seed, draw]))
        lacking = _lacking(library, parts)
        if not lacking:
            break
    else:
        raise InputError(lacking)
    return parts, _notes(library, config, method, declared, parts)


def _divide(
    groups: Indices,
    given: Parts | None,
    order: Indices | None,
    config: SplitConfig,
    rng: np.random.Generator,
) -> Parts:
    """One random draw: test groups unless the parts are declared, then validation groups unless declared too."""
    sizes = np.bincount(groups)
    if given is not None:
        parts = given.copy()
    else:
        wanted = config.test * len(groups)
        test = _fill(rng.permutation(len(sizes)), sizes, wanted, 2) if order is None else _rest(order, sizes, wanted)
        parts = np.where(np.isin(groups, test), "test", "train").astype("U10")
    if not np.any(parts == "validation"):
        candidates = rng.permutation(np.unique(groups[parts == "train"]))
        validation = _fill(candidates, sizes, config.validation * len(groups), 1)
        # A declared split may leave other rows of these groups in the test part.
        parts[np.isin(groups, validation) & (parts == "train")] = "validation"
    return parts


def _fill(candidates: Indices, sizes: Indices, wanted: float, spared: int) -> list[int]:
    """Groups taken from `candidates` in order, each if it brings the number of rows nearer to `wanted`.

    At least one group is taken, and at least `spared` are left.
    """
    taken: list[int] = []
    rows = 0
    for group in candidates.tolist():
        if len(taken) < len(candidates) - spared and abs(rows + sizes[group] - wanted) < abs(rows - wanted):
            taken.append(group)
            rows += sizes[group]
    return taken or [int(candidates[np.argmin(sizes[candidates])])]


def _rest(order: Indices, sizes: Indices, wanted: float) -> Indices:
    """The last groups of `order`: the number that comes nearest to `wanted` rows and leaves at least two groups."""
    last = order[::-1]
    count = 1 + int(np.argmin(np.abs(np.cumsum(sizes[last]) - wanted)))
    return last[: min(count, len(order) - 2)]


def _given(library: SpectralLibrary, declared: Parts | None) -> Parts:
    """Check and return the declared parts."""
    if declared is None:
        raise InputError(
            f"{library.source}: split.method=given needs a declared split, but there is none; name a table with "
            "--set split.file=..., or use --set split.method=random"
        )
    if len(declared) != len(library):
        raise InputError(
            f"{library.source}: expected a declared part for each of {len(library)} rows, got {len(declared)}"
        )
    if unknown := sorted(set(declared.tolist()) - set(PARTS)):
        raise InputError(f"{library.source}: the declared split contains {unknown[0]!r}; use {', '.join(PARTS)}")
    for part in ("train", "test"):
        if not np.any(declared == part):
            raise InputError(
                f"{library.source}: the declared split has no {part} rows; add some, or use --set split.method=random"
            )
    if (ids := divided(library.ids, declared)).size:
        raise InputError(
            f"{library.source}: the declared split puts scans of {ids[0]} into different parts "
            f"({len(ids)} such ids); put all scans of a sample into the same part, or use "
            "--set split.method=random"
        )
    return declared.astype("U10")


def _check_groups(library: SpectralLibrary, config: SplitConfig, method: str) -> None:
    if method == "group" and library.groups is None:
        raise InputError(
            f"{library.source}: split.method=group needs groups, but the rows have none; name their "
            "column with --set data.group_column=..., or use --set split.method=random"
        )
    if method == "group" and config.within_groups:
        raise InputError(
            "split.method=group keeps groups whole, but split.within_groups=true divides them; drop either"
        )


def _check_size(library: SpectralLibrary, config: SplitConfig, groups: Indices, given: Parts | None) -> None:
    """Raise InputError if there are too few groups to fill every part."""
    remedy = "add samples"
    if config.block_km:
        remedy += f", or make blocks smaller than split.block_km={config.block_km:g}"
    if library.groups is not None:
        remedy += ", or divide groups with --set split.within_groups=true (not with split.method=group)"
    if given is None and (count := len(np.unique(groups))) < 3:
        raise InputError(
            f"{library.source}: {len(library)} rows form {count} group{'s' if count > 1 else ''} (rows linked by "
            f"sample, group column or block); train, validation and test need 3; {remedy}"
        )
    if given is not None and not np.any(given == "validation") and len(np.unique(groups[given == "train"])) < 2:
        raise InputError(
            f"{library.source}: the declared training rows form 1 group (rows linked by sample, group column or "
            f"block), so none is left for validation; declare validation rows, or {remedy}"
        )


def _lacking(library: SpectralLibrary, parts: Parts) -> str:
    """Message with the first target and part that have too few distinct measured values; empty if none."""
    for name, values in library.targets.items():
        for part in PARTS:
            measured = values[(parts == part) & np.isfinite(values)]
            if len(measured) < FEWEST_VALUES or np.ptp(measured) == 0:
                return (
                    f"{library.source}: {name} has {len(measured)} measured values in the {part} part, "
                    f"{len(np.unique(measured))} of them distinct; training and scoring need {FEWEST_VALUES}; "
                    "leave it out with --targets, or change split.method, split.test or split.validation"
                )
    return ""


def divided_samples_note(library: SpectralLibrary, parts: Parts) -> tuple[str, ...]:
    """A note that the declared split divides samples; empty if it does not."""
    samples = samples_divided(library, parts)
    if not samples.size:
        return ()
    rows = library.sample_labels == samples[0]
    scans = ", ".join(f"{name} ({part})" for name, part in zip(library.ids[rows][:3], parts[rows][:3], strict=True))
    return (
        f"the declared split puts scans of {len(samples)} samples into different parts, such as {scans}: the scores "
        "are optimistic, because the model has seen these samples; --set split.method=random keeps samples whole",
    )


def _notes(
    library: SpectralLibrary, config: SplitConfig, method: str, declared: Parts | None, parts: Parts
) -> tuple[str, ...]:
    notes = [*divided_samples_note(library, parts)]
    if method != "given" and declared is not None:
        notes.append(f"a split is declared, but split.method={method} ignores it")
    if library.groups is not None and (count := group_divided(library, parts)):
        other = "split.within_groups=false" if config.within_groups and method != "given" else "split.method=group"
        notes.append(
            f"{count} of {len(np.unique(library.groups))} groups are divided between "
            f"the parts: scores hold for further soils of the same fields, not for a new field; "
            f"--set {other} measures the error on new fields"
        )
    if config.block_km:
        blocks = f"blocks of {config.block_km:g} km"
        if count := block_divided(library, parts, config.block_km):
            notes.append(f"the declared split divides {count} {blocks}, so split.block_km has no effect")
        else:
            notes.append(f"the rows come from {len(np.unique(block_labels(library, config.block_km)))} {blocks}")
    return tuple(notes)
