"""Groups: rows linked by sample, by a group column or by spatial block, which no split divides."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.coordinates import block_labels

Indices = npt.NDArray[np.intp]
Parts = npt.NDArray[np.str_]


def group_labels(library: SpectralLibrary, keep_groups: bool, block_km: float = 0.0) -> Indices:
    """Number the groups that no split divides: scans of a sample and, if requested, rows of a group or a block.

    Args:
        library: Rows to number.
        keep_groups: Link rows with equal `library.groups`; no effect where the library has none.
        block_km: Edge length of the blocks whose rows are linked; 0 links none.

    Returns:
        (n,) 0, 1, 2, ...; a sample that occurs in two groups joins them.

    Raises:
        InputError: blocks are requested, but the library or a row has no coordinates.
    """
    groups: Indices = np.unique(library.sample_labels, return_inverse=True)[1]
    if library.groups is not None and keep_groups:
        groups = _linked(groups, np.unique(library.groups, return_inverse=True)[1])
    if block_km:
        groups = _linked(groups, block_labels(library, block_km))
    return groups


def whole_groups(library: SpectralLibrary, parts: Parts, block_km: float = 0.0) -> Indices:
    """Number the groups that `parts` does not divide; folds of the development rows do not divide them either.

    Rows with equal `library.groups` are linked unless `parts` divides such a group. The same holds for blocks of
    `block_km` (0: no blocks).

    Returns:
        (n,) 0, 1, 2, ...

    Raises:
        InputError: blocks are requested, but the library or a row has no coordinates.
    """
    return group_labels(
        library,
        keep_groups=not group_divided(library, parts),
        block_km=0.0 if block_divided(library, parts, block_km) else block_km,
    )


def group_divided(library: SpectralLibrary, parts: Parts) -> int:
    """Number of `library.groups` with rows in more than one part; 0 without groups."""
    return 0 if library.groups is None else len(divided(library.groups, parts))


def block_divided(library: SpectralLibrary, parts: Parts, block_km: float) -> int:
    """Number of blocks of this edge length with rows in more than one part; 0 without blocks."""
    return len(divided(block_labels(library, block_km), parts)) if block_km else 0


def samples_divided(library: SpectralLibrary, parts: Parts) -> npt.NDArray[np.str_]:
    """Sorted labels of the samples with scans in more than one part."""
    return divided(library.sample_labels, parts)


def divided(labels: npt.NDArray[Any], parts: Parts) -> npt.NDArray[Any]:
    """Sorted labels that occur in more than one part; rows whose part is empty are not counted."""
    labels, parts = labels[parts != ""], parts[parts != ""]
    names, codes = np.unique(labels, return_inverse=True)
    pairs = np.unique(np.column_stack([codes, np.unique(parts, return_inverse=True)[1]]), axis=0)
    in_several: npt.NDArray[Any] = names[np.bincount(pairs[:, 0]) > 1]
    return in_several


def _linked(groups: Indices, others: Indices) -> Indices:
    """Join groups that contain rows with the same label in `others`, and renumber them."""
    others = others + groups.max() + 1
    nodes = others.max() + 1
    links = coo_array((np.ones(len(groups)), (groups, others)), shape=(nodes, nodes))
    component = connected_components(links, directed=False)[1]
    joined: Indices = np.unique(component[groups], return_inverse=True)[1]
    return joined
