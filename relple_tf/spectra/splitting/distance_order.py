"""Kennard-Stone and SPXY: order of the groups by distance, the farthest pair first."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from relple_tf.errors import InputError
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

MOST_DISTANCE_GROUPS = 20_000
"""Limit for kennard_stone and spxy, which briefly hold all pairwise distances twice: 4 GB at this number."""
DISTANCE_COMPONENTS = 20
"""Principal components on which kennard_stone and spxy compute distances."""
DISTANCE_BANDS = 500
"""Maximum number of bands for the PCA; neighbouring bands are redundant."""


def distance_order(library: SpectralLibrary, groups: Indices, with_targets: bool) -> Indices:
    """Order the groups by Kennard-Stone or, with targets, by SPXY, the farthest pair first.

    Kennard-Stone (1969, Technometrics 11, 137-148) spans the spectra. SPXY (Galvao et al. 2005, Talanta 67, 736-740)
    adds the distance of the targets with equal weight. Both use all rows by design. The test part consists of the
    remaining central samples and is therefore easier to predict than a random one. Distances are Euclidean distances
    between group means: of the principal components of SNV-corrected absorbance, and of the standardised targets,
    where a missing value counts as the mean.

    Returns:
        (groups,) group labels in the order of selection.

    Raises:
        InputError: more than MOST_DISTANCE_GROUPS groups.
    """
    # These import pandas and scikit-learn, which no other split needs.
    from astartes.utils.fast_kennard_stone import fast_kennard_stone
    from sklearn.metrics import euclidean_distances

    count = groups.max() + 1
    if count > MOST_DISTANCE_GROUPS:
        raise InputError(
            f"{library.source}: kennard_stone and spxy compute all pairwise distances of at most "
            f"{MOST_DISTANCE_GROUPS} groups, got {count}; use --set split.method=random"
        )
    # float32 halves the memory; scikit-learn still computes in float64.
    distances = euclidean_distances(_spectral_scores(library, groups).astype(np.float32))
    if with_targets:
        distances /= max(distances.max(), np.finfo(np.float32).tiny)
        target_distances = euclidean_distances(_target_scores(library, groups).astype(np.float32))
        target_distances /= max(target_distances.max(), np.finfo(np.float32).tiny)
        distances += target_distances
        del target_distances
    order: Indices = fast_kennard_stone(distances)
    return order


def _spectral_scores(library: SpectralLibrary, groups: Indices) -> Floats:
    """(groups, components) principal components of the mean SNV-corrected absorbance of each group."""
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
    """(groups, targets) standardised targets; 0, the mean, where not measured."""
    values = np.column_stack(list(library.targets.values()))
    measured = np.isfinite(values)
    count = np.maximum(measured.sum(axis=0), 1)
    mean = np.where(measured, values, 0).sum(axis=0) / count
    scores = np.where(measured, values - mean, 0)
    sd = np.sqrt((scores**2).sum(axis=0) / count)
    scores /= np.where(sd > 0, sd, 1)
    # The mean of a group is taken over its measured rows only.
    return _group_means(scores, groups) / np.maximum(_group_means(measured, groups), 1e-12)


def _group_means(rows: npt.NDArray[np.generic], groups: Indices) -> Floats:
    """Means of the rows of each group, (n, columns) -> (groups, columns)."""
    indicator = coo_array((np.ones(len(groups)), (groups, np.arange(len(groups))))).tocsr()
    means: Floats = (indicator @ rows.astype(float)) / np.bincount(groups)[:, None]
    return means
