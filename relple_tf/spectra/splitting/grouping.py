"""Units: rows that belong together, by sample, group or block of land, and that no split of ours divides."""

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
    """Number the groups that no split divides: rows linked by id and, where asked, by group or by block.

    Args:
        library: Rows to number.
        keep_groups: Link the rows of a group; without groups in the library this says nothing.
        block_km: Edge of the blocks whose rows are linked; 0 links none.

    Returns:
        (n,) 0, 1, 2, ...; an id that occurs in two groups makes one group of both.

    Raises:
        InputError: blocks are asked for, and the library or a row has no coordinates.
    """
    groups: Indices = np.unique(library.ids, return_inverse=True)[1]
    if library.groups is not None and keep_groups:
        groups = _linked(groups, np.unique(library.groups, return_inverse=True)[1])
    if block_km:
        groups = _linked(groups, block_labels(library, block_km))
    return groups


def whole_groups(library: SpectralLibrary, parts: Parts, block_km: float = 0.0) -> Indices:
    """The groups that `parts` leaves whole, for folds inside the learning rows to leave whole too.

    Groups are linked unless `parts` divides one, and so are blocks of `block_km` (0: there are none).

    Returns:
        (n,) 0, 1, 2, ...

    Raises:
        InputError: blocks are asked for, and the library or a row has no coordinates.
    """
    return group_labels(
        library,
        keep_groups=not group_divided(library, parts),
        block_km=0.0 if block_divided(library, parts, block_km) else block_km,
    )


def group_divided(library: SpectralLibrary, parts: Parts) -> int:
    """How many groups have rows in more than one part; 0 without groups."""
    return 0 if library.groups is None else len(divided(library.groups, parts))


def block_divided(library: SpectralLibrary, parts: Parts, block_km: float) -> int:
    """How many blocks of this edge have rows in more than one part; 0 without blocks."""
    return len(divided(block_labels(library, block_km), parts)) if block_km else 0


def divided(labels: npt.NDArray[Any], parts: Parts) -> npt.NDArray[Any]:
    """The labels that occur in more than one part, sorted; rows whose part is empty are in none."""
    labels, parts = labels[parts != ""], parts[parts != ""]
    names, codes = np.unique(labels, return_inverse=True)
    pairs = np.unique(np.column_stack([codes, np.unique(parts, return_inverse=True)[1]]), axis=0)
    found: npt.NDArray[Any] = names[np.bincount(pairs[:, 0]) > 1]
    return found


def _linked(groups: Indices, others: Indices) -> Indices:
    """Units joined where a row of each carries the same label of `others`, numbered anew."""
    others = others + groups.max() + 1
    nodes = others.max() + 1
    links = coo_array((np.ones(len(groups)), (groups, others)), shape=(nodes, nodes))
    component = connected_components(links, directed=False)[1]
    joined: Indices = np.unique(component[groups], return_inverse=True)[1]
    return joined
