"""Which rows train, validate and test; what belongs together stays together."""

import numpy as np
import numpy.typing as npt

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.coordinates import block_labels
from relple_tf.spectra.splitting.distance_order import distance_order
from relple_tf.spectra.splitting.grouping import block_divided, divided, group_divided, group_labels

Indices = npt.NDArray[np.intp]
Parts = npt.NDArray[np.str_]

PARTS = ("train", "validation", "test")
FEWEST_VALUES = 2
"""Different measured values of a target that each part needs; with fewer no metric is defined."""
DRAWS = 100
"""Draws at random, at most; the first with FEWEST_VALUES everywhere is taken."""


def split(
    library: SpectralLibrary, config: SplitConfig, seed: int, declared: Parts | None = None
) -> tuple[Parts, tuple[str, ...]]:
    """Divide the rows into train, validation and test.

    Scans of one sample stay in one part, and so do the rows of a group unless `config.within_groups` or a declared
    split says otherwise, and those of a block of `config.block_km` unless a declared split does. Validation rows that
    nobody declared are drawn at random from the rows to learn from.

    Args:
        library: Rows to divide.
        config: Method and shares.
        seed: Seed of everything drawn at random.
        declared: (n,) parts read from `split.file`; they go before those of the library.

    Returns:
        (n,) of PARTS, and what a reader of the scores must know, one sentence each.

    Raises:
        InputError: the rows cannot be divided as asked.
    """
    declared = library.parts if declared is None else declared
    method = config.method
    if method == "auto":
        method = "random" if declared is None else "given"
    _check_groups(library, config, method)
    known = _given(library, declared) if method == "given" else None
    groups = group_labels(
        library,
        keep_groups=not config.within_groups and (known is None or not group_divided(library, known)),
        block_km=0.0 if known is not None and block_divided(library, known, config.block_km) else config.block_km,
    )
    _check_size(library, config, groups, known)
    order = None
    if method in ("kennard_stone", "spxy"):
        order = distance_order(library, groups, with_targets=method == "spxy")
    for draw in range(DRAWS):
        parts = _divide(groups, known, order, config, np.random.default_rng([seed, draw]))
        lacking = _lacking(library, parts)
        if not lacking:
            break
    else:
        raise InputError(lacking)
    return parts, _notes(library, config, method, declared, parts)


def _divide(
    groups: Indices,
    known: Parts | None,
    order: Indices | None,
    config: SplitConfig,
    rng: np.random.Generator,
) -> Parts:
    """One draw: test groups unless parts are known, then validation groups unless known too."""
    sizes = np.bincount(groups)
    if known is not None:
        parts = known.copy()
    else:
        wanted = config.test * len(groups)
        test = _fill(rng.permutation(len(sizes)), sizes, wanted, 2) if order is None else _rest(order, sizes, wanted)
        parts = np.where(np.isin(groups, test), "test", "train").astype("U10")
    if not np.any(parts == "validation"):
        candidates = rng.permutation(np.unique(groups[parts == "train"]))
        drawn = _fill(candidates, sizes, config.validation * len(groups), 1)
        parts[np.isin(groups, drawn)] = "validation"
    return parts


def _fill(candidates: Indices, sizes: Indices, wanted: float, spared: int) -> list[int]:
    """Candidates in order, each if it brings the rows nearer to `wanted`; never none, never all."""
    taken: list[int] = []
    rows = 0
    for group in candidates.tolist():
        if len(taken) < len(candidates) - spared and abs(rows + sizes[group] - wanted) < abs(rows - wanted):
            taken.append(group)
            rows += sizes[group]
    return taken or [int(candidates[np.argmin(sizes[candidates])])]


def _rest(order: Indices, sizes: Indices, wanted: float) -> Indices:
    """The last chosen groups, as many as come nearest to `wanted` rows and leave two."""
    last = order[::-1]
    count = 1 + int(np.argmin(np.abs(np.cumsum(sizes[last]) - wanted)))
    return last[: min(count, len(order) - 2)]


def _given(library: SpectralLibrary, declared: Parts | None) -> Parts:
    """The declared parts, checked."""
    if declared is None:
        raise InputError(
            f"{library.source}: split.method is given but no split is declared; name a table with "
            "--set split.file=..., or use --set split.method=random"
        )
    if len(declared) != len(library):
        raise InputError(f"{library.source}: {len(declared)} declared parts for {len(library)} rows")
    if unknown := sorted(set(declared.tolist()) - set(PARTS)):
        raise InputError(f"{library.source}: the declared split holds {unknown[0]!r}; use {', '.join(PARTS)}")
    for part in ("train", "test"):
        if not np.any(declared == part):
            raise InputError(
                f"{library.source}: the declared split has no {part} rows; add some, or use --set split.method=random"
            )
    if (ids := divided(library.ids, declared)).size:
        raise InputError(
            f"{library.source}: the declared split puts scans of {ids[0]} into different parts "
            f"({len(ids)} such ids); give the scans of a sample one part, or use "
            "--set split.method=random"
        )
    return declared.astype("U10")


def _check_groups(library: SpectralLibrary, config: SplitConfig, method: str) -> None:
    if method == "group" and library.groups is None:
        raise InputError(
            f"{library.source}: split.method is group but the rows have no groups; name their "
            "column with --set data.group_column=..., or use --set split.method=random"
        )
    if method == "group" and config.within_groups:
        raise InputError("split.method=group keeps groups whole, split.within_groups=true divides them; drop one")


def _check_size(library: SpectralLibrary, config: SplitConfig, groups: Indices, known: Parts | None) -> None:
    """Refuse rows that are too few for a part each."""
    way_out = "add samples"
    if config.block_km:
        way_out += f", or make blocks smaller than split.block_km={config.block_km:g}"
    if library.groups is not None:
        way_out += ", or divide groups with --set split.within_groups=true (not with split.method=group)"
    if known is None and (count := len(np.unique(groups))) < 3:
        raise InputError(
            f"{library.source}: {len(library)} rows in {count} samples, groups or blocks that stay whole; "
            f"train, validation and test need 3; {way_out}"
        )
    if known is not None and not np.any(known == "validation") and len(np.unique(groups[known == "train"])) < 2:
        raise InputError(
            f"{library.source}: the declared training rows are 1 sample, group or block that stays whole, "
            f"so none is left for validation; declare validation rows, or {way_out}"
        )


def _lacking(library: SpectralLibrary, parts: Parts) -> str:
    """Say which target has too few measured values, or equal ones, in which part; empty if none has."""
    for name, values in library.targets.items():
        for part in PARTS:
            measured = values[(parts == part) & np.isfinite(values)]
            if len(measured) < FEWEST_VALUES or np.ptp(measured) == 0:
                return (
                    f"{library.source}: {name} has {len(measured)} measured values in the {part} part, "
                    f"{len(np.unique(measured))} of them different; {FEWEST_VALUES} are needed to learn or to score; "
                    "leave it out with --targets, or change split.method, split.test or split.validation"
                )
    return ""


def _notes(
    library: SpectralLibrary, config: SplitConfig, method: str, declared: Parts | None, parts: Parts
) -> tuple[str, ...]:
    notes = []
    if method != "given" and declared is not None:
        notes.append(f"a split is declared, but split.method={method} leaves it aside")
    if library.groups is not None and (count := group_divided(library, parts)):
        other = "split.within_groups=false" if config.within_groups and method != "given" else "split.method=group"
        notes.append(
            f"{count} of {len(np.unique(library.groups))} groups are divided between "
            f"the parts: scores hold for further soils of the same fields, not for a new field; "
            f"--set {other} measures that"
        )
    if config.block_km:
        blocks = f"blocks of {config.block_km:g} km"
        if count := block_divided(library, parts, config.block_km):
            notes.append(f"the declared split divides {count} {blocks}, so split.block_km keeps none whole")
        else:
            notes.append(f"the rows come from {len(np.unique(block_labels(library, config.block_km)))} {blocks}")
    return tuple(notes)
