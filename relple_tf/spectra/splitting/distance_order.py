"""Kennard-Stone and SPXY: units in the order in which they span the spectra, the farthest pair first."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

from relple_tf.errors import InputError
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

MOST_DISTANCE_UNITS = 20_000
"""kennard_stone and spxy hold all pairwise distances twice for a moment: 4 GB at this many."""
DISTANCE_COMPONENTS = 20
"""Principal components that stand for the spectra in kennard_stone and spxy."""
DISTANCE_BANDS = 500
"""Bands that the components are taken from, at most; neighbouring bands say the same."""


def distance_order(library: SpectralLibrary, units: Indices, with_targets: bool) -> Indices:
    """The units as Kennard-Stone or, with targets, SPXY chooses them, the farthest pair first.

    Kennard-Stone (1969, Technometrics 11, 137-148) spans the spectra; SPXY (Galvao et al. 2005,
    Talanta 67, 736-740) adds the distance of the targets with equal weight. Both look at all rows
    by design, and the test part is the inner rest that they leave, easier than a random one.
    DomainStatistics are Euclidean between the means of the units: of the principal components of SNV'd
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
