"""Which rows train, validate and test; what belongs together stays together."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from relple_tf.config import SplitConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]

PARTS = ("train", "validation", "test")
FEWEST_VALUES = 2
"""Different measured values of a target that each part needs; with fewer no metric is defined."""
DRAWS = 100
"""Draws at random, at most; the first with FEWEST_VALUES everywhere is taken."""
MOST_DISTANCE_UNITS = 20_000
"""kennard_stone and spxy hold all pairwise distances twice for a moment: 4 GB at this many."""
DISTANCE_COMPONENTS = 20
"""Principal components that stand for the spectra in kennard_stone and spxy."""
DISTANCE_BANDS = 500
"""Bands that the components are taken from, at most; neighbouring bands say the same."""


def split(
    library: SpectralLibrary, config: SplitConfig, seed: int, declared: Parts | None = None
) -> tuple[Parts, tuple[str, ...]]:
    """Divide the rows into train, validation and test.

    Scans of one sample stay in one part, and so do the rows of a group unless
    `config.within_groups` or a declared split says otherwise. Validation rows that nobody declared
    are drawn at random from the rows to learn from.

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
    divides = known is not None and library.groups is not None and _divided(library.groups, known).size > 0
    units = unit_labels(library, keep_groups=not (config.within_groups or divides))
    _check_units(library, units, known)
    order = None
    if method in ("kennard_stone", "spxy"):
        order = distance_order(library, units, with_targets=method == "spxy")
    for draw in range(DRAWS):
        parts = _divide(units, known, order, config, np.random.default_rng([seed, draw]))
        lacking = _lacking(library, parts)
        if not lacking:
            break
    else:
        raise InputError(lacking)
    return parts, _notes(library, config, method, declared, parts)


def unit_labels(library: SpectralLibrary, keep_groups: bool) -> Indices:
    """Number the units that no split divides: rows linked by id or, with `keep_groups`, by group.

    Returns:
        (n,) 0, 1, 2, ...; an id that occurs in two groups makes one unit of both.
    """
    ids: Indices = np.unique(library.ids, return_inverse=True)[1]
    if library.groups is None or not keep_groups:
        return ids
    groups = np.unique(library.groups, return_inverse=True)[1] + ids.max() + 1
    nodes = groups.max() + 1
    links = coo_array((np.ones(len(ids)), (ids, groups)), shape=(nodes, nodes))
    component = connected_components(links, directed=False)[1]
    units: Indices = np.unique(component[ids], return_inverse=True)[1]
    return units


def whole_units(library: SpectralLibrary, parts: Parts) -> Indices:
    """The units that `parts` leaves whole, for folds inside the training rows to leave whole too."""
    divides = library.groups is not None and _divided(library.groups, parts).size > 0
    return unit_labels(library, keep_groups=not divides)


def distance_order(library: SpectralLibrary, units: Indices, with_targets: bool) -> Indices:
    """The units as Kennard-Stone or, with targets, SPXY chooses them, the farthest pair first.

    Kennard-Stone (1969, Technometrics 11, 137-148) spans the spectra; SPXY (Galvao et al. 2005,
    Talanta 67, 736-740) adds the distance of the targets with equal weight. Both look at all rows
    by design, and the test part is the inner rest that they leave, easier than a random one.
    Distances are Euclidean between the means of the units: of the principal components of SNV'd
    absorbance, and of the standardised targets, where a value not measured counts as the mean.

    Returns:
        (units,) labels, first chosen first.

    Raises:
        InputError: more than MOST_DISTANCE_UNITS units.
    """
    # These import pandas and scikit-learn, which no other split needs.
    from astartes.utils.fast_kennard_stone import fast_kennard_stone
    from sklearn.metrics import euclidean_distances

    count = units.max() + 1
    if count > MOST_DISTANCE_UNITS:
        raise InputError(
            f"{library.source}: kennard_stone and spxy compare every pair, and {count} samples or "
            f"groups are more than {MOST_DISTANCE_UNITS}; use --set split.method=random"
        )
    # float32 halves the memory; scikit-learn still computes in float64.
    distances = euclidean_distances(_spectral_scores(library, units).astype(np.float32))
    if with_targets:
        distances /= max(distances.max(), np.finfo(np.float32).tiny)
        of_targets = euclidean_distances(_target_scores(library, units).astype(np.float32))
        of_targets /= max(of_targets.max(), np.finfo(np.float32).tiny)
        distances += of_targets
        del of_targets
    order: Indices = fast_kennard_stone(distances)
    return order


def _spectral_scores(library: SpectralLibrary, units: Indices) -> Floats:
    """Principal components of the units' mean SNV'd absorbance, (units, components)."""
    from sklearn.decomposition import PCA

    x = library.spectra[:, :: math.ceil(library.spectra.shape[1] / DISTANCE_BANDS)]
    if library.quantity == "reflectance":
        x = -np.log10(np.maximum(x, REFLECTANCE_FLOOR))
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.maximum(x.std(axis=1, ddof=1, keepdims=True), np.finfo(np.float32).tiny)
    means = _unit_means(x, units)
    pca = PCA(min(DISTANCE_COMPONENTS, *means.shape), random_state=0)
    scores: Floats = pca.fit_transform(means)
    return scores


def _target_scores(library: SpectralLibrary, units: Indices) -> Floats:
    """Standardised targets, (units, targets); 0, the mean, where not measured."""
    values = np.column_stack(list(library.targets.values()))
    measured = np.isfinite(values)
    count = np.maximum(measured.sum(axis=0), 1)
    mean = np.where(measured, values, 0).sum(axis=0) / count
    scores = np.where(measured, values - mean, 0)
    sd = np.sqrt((scores**2).sum(axis=0) / count)
    scores /= np.where(sd > 0, sd, 1)
    # Of the scans of a sample only those with a value count.
    return _unit_means(scores, units) / np.maximum(_unit_means(measured, units), 1e-12)


def _unit_means(rows: npt.NDArray[np.generic], units: Indices) -> Floats:
    """(n, columns) -> (units, columns)."""
    members = coo_array((np.ones(len(units)), (units, np.arange(len(units))))).tocsr()
    means: Floats = (members @ rows.astype(float)) / np.bincount(units)[:, None]
    return means


def _divide(
    units: Indices,
    known: Parts | None,
    order: Indices | None,
    config: SplitConfig,
    rng: np.random.Generator,
) -> Parts:
    """One draw: test units unless parts are known, then validation units unless known too."""
    sizes = np.bincount(units)
    if known is not None:
        parts = known.copy()
    else:
        wanted = config.test * len(units)
        test = _fill(rng.permutation(len(sizes)), sizes, wanted, 2) if order is None else _rest(order, sizes, wanted)
        parts = np.where(np.isin(units, test), "test", "train").astype("U10")
    if not np.any(parts == "validation"):
        candidates = rng.permutation(np.unique(units[parts == "train"]))
        drawn = _fill(candidates, sizes, config.validation * len(units), 1)
        parts[np.isin(units, drawn)] = "validation"
    return parts


def _fill(candidates: Indices, sizes: Indices, wanted: float, spared: int) -> list[int]:
    """Candidates in order, each if it brings the rows nearer to `wanted`; never none, never all."""
    taken: list[int] = []
    rows = 0
    for unit in candidates.tolist():
        if len(taken) < len(candidates) - spared and abs(rows + sizes[unit] - wanted) < abs(rows - wanted):
            taken.append(unit)
            rows += sizes[unit]
    return taken or [int(candidates[np.argmin(sizes[candidates])])]


def _rest(order: Indices, sizes: Indices, wanted: float) -> Indices:
    """The last chosen units, as many as come nearest to `wanted` rows and leave two."""
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
    if (ids := _divided(library.ids, declared)).size:
        raise InputError(
            f"{library.source}: the declared split puts scans of {ids[0]} into different parts "
            f"({len(ids)} such ids); give the scans of a sample one part, or use "
            "--set split.method=random"
        )
    return declared.astype("U10")


def _divided(labels: Parts, parts: Parts) -> Parts:
    """The labels that occur in more than one part."""
    names, codes = np.unique(labels, return_inverse=True)
    seen = np.zeros((len(names), len(PARTS)), bool)
    for column, part in enumerate(PARTS):
        seen[codes[parts == part], column] = True
    divided: Parts = names[seen.sum(axis=1) > 1]
    return divided


def _check_groups(library: SpectralLibrary, config: SplitConfig, method: str) -> None:
    if method == "group" and library.groups is None:
        raise InputError(
            f"{library.source}: split.method is group but the rows have no groups; name their "
            "column with --set data.group_column=..., or use --set split.method=random"
        )
    if method == "group" and config.within_groups:
        raise InputError("split.method=group keeps groups whole, split.within_groups=true divides them; drop one")


def _check_units(library: SpectralLibrary, units: Indices, known: Parts | None) -> None:
    """Refuse rows that are too few for a part each."""
    way_out = "add samples"
    if library.groups is not None:
        way_out += ", or divide groups with --set split.within_groups=true (not with split.method=group)"
    if known is None and (count := len(np.unique(units))) < 3:
        raise InputError(
            f"{library.source}: {len(library)} rows in {count} samples or groups that stay whole; "
            f"train, validation and test need 3; {way_out}"
        )
    if known is not None and not np.any(known == "validation") and len(np.unique(units[known == "train"])) < 2:
        raise InputError(
            f"{library.source}: the declared training rows are 1 sample or group that stays whole, "
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
    if library.groups is not None and (divided := _divided(library.groups, parts)).size:
        other = "split.within_groups=false" if config.within_groups and method != "given" else "split.method=group"
        notes.append(
            f"{len(divided)} of {len(np.unique(library.groups))} groups are divided between "
            f"the parts: scores hold for further soils of the same fields, not for a new field; "
            f"--set {other} measures that"
        )
    return tuple(notes)
