"""Kennard-Stone and SPXY: groups in the order in which they span the spectra, the farthest pair first."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from relple_tf.errors import InputError
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

MOST_DISTANCE_GROUPS = 20_000
"""kennard_stone and spxy hold all pairwise distances twice for a moment: 4 GB at this many."""
DISTANCE_COMPONENTS = 20
"""Principal components that stand for the spectra in kennard_stone and spxy."""
DISTANCE_BANDS = 500
"""Bands that the components are taken from, at most; neighbouring bands say the same."""


def distance_order(library: SpectralLibrary, groups: Indices, with_targets: bool) -> Indices:
    """The groups as Kennard-Stone or, with targets, SPXY chooses them, the farthest pair first.

    Kennard-Stone (1969, Technometrics 11, 137-148) spans the spectra; SPXY (Galvao et al. 2005,
    Talanta 67, 736-740) adds the distance of the targets with equal weight. Both look at all rows
    by design, and the test part is the inner rest that they leave, easier than a random one.
    Distances are Euclidean between the means of the groups: of the principal components of SNV'd
    absorbance, and of the standardised targets, where a value not measured counts as the mean.

    Returns:
        (groups,) labels, first chosen first.

    Raises:
        InputError: more than MOST_DISTANCE_GROUPS groups.
    """
    # These import pandas and scikit-learn, which no other split needs.
    from astartes.utils.fast_kennard_stone import fast_kennard_stone
    from sklearn.metrics import euclidean_distances

    count = groups.max() + 1
    if count > MOST_DISTANCE_GROUPS:
        raise InputError(
            f"{library.source}: kennard_stone and spxy compare every pair, and {count} samples or "
            f"groups are more than {MOST_DISTANCE_GROUPS}; use --set split.method=random"
        )
    # float32 halves the memory; scikit-learn still computes in float64.
    distances = euclidean_distances(_spectral_scores(library, groups).astype(np.float32))
    if with_targets:
        distances /= max(distances.max(), np.finfo(np.float32).tiny)
        of_targets = euclidean_distances(_target_scores(library, groups).astype(np.float32))
        of_targets /= max(of_targets.max(), np.finfo(np.float32).tiny)
        distances += of_targets
        del of_targets
    order: Indices = fast_kennard_stone(distances)
    return order


def _spectral_scores(library: SpectralLibrary, groups: Indices) -> Floats:
    """Principal components of the groups' mean SNV'd absorbance, (groups, components)."""
    from sklearn.decomposition import PCA

    x = library.spectra[:, :: math.ceil(library.spectra.shape[1] / DISTANCE_BANDS)]
    if library.quantity == "reflectance":
        x = -np.log10(np.maximum(x, REFLECTANCE_FLOOR))
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.maximum(x.std(axis=1, ddof=1, keepdims=True), np.finfo(np.float32).tiny)
    means = _group_means(x, groups)
    pca = PCA(min(DISTANCE_COMPONENTS, *means.shape), random_state=0)
    scores: Floats = pca.fit_transform(means)
    return scores


def _target_scores(library: SpectralLibrary, groups: Indices) -> Floats:
    """Standardised targets, (groups, targets); 0, the mean, where not measured."""
    values = np.column_stack(list(library.targets.values()))
    measured = np.isfinite(values)
    count = np.maximum(measured.sum(axis=0), 1)
    mean = np.where(measured, values, 0).sum(axis=0) / count
    scores = np.where(measured, values - mean, 0)
    sd = np.sqrt((scores**2).sum(axis=0) / count)
    scores /= np.where(sd > 0, sd, 1)
    # Of the scans of a sample only those with a value count.
    return _group_means(scores, groups) / np.maximum(_group_means(measured, groups), 1e-12)


def _group_means(rows: npt.NDArray[np.generic], groups: Indices) -> Floats:
    """(n, columns) -> (groups, columns)."""
    members = coo_array((np.ones(len(groups)), (groups, np.arange(len(groups))))).tocsr()
    means: Floats = (members @ rows.astype(float)) / np.bincount(groups)[:, None]
    return means
