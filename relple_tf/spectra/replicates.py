"""Average the replicate scans of each sample into one row."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary

Floats = npt.NDArray[np.float64]

_BANDS = 64
"""Bands averaged at a time."""


def average_replicates(library: SpectralLibrary) -> SpectralLibrary:
    """Average the scans of each sample: one row per sample, in the order in which the samples first occur.

    Spectra are averaged in the quantity in which they were read. For reflectance, the mean equals one longer scan over
    all measured spots of the sample, and detector noise, which is additive in reflectance, cancels without bias. For
    absorbance, no conversion to reflectance and back is needed: the two means differ by ln(10)/2 s^2, which is less
    than the noise of the replicates (0.0005 where replicates have an SD s of 0.02).

    A target is the mean of its measured values. The coordinates are the first given ones.

    Returns:
        The library with the first id of each sample, without names of scans; notes with the number of averaged rows.

    Raises:
        InputError: replicates of one sample are in two groups or in two declared parts.
    """
    _, first, codes = np.unique(library.sample_labels, return_index=True, return_inverse=True)
    # Samples are numbered in the order in which they first occur.
    ranks = np.empty(len(first), np.intp)
    ranks[np.argsort(first)] = np.arange(len(first))
    samples, first = ranks[codes], np.sort(first)
    if len(first) == len(library):
        return replace(library, notes=(*library.notes, "data.replicates=average: each sample has a single scan"))
    _check_agreement(library, samples, first)
    targets, notes = {}, [f"replicates: {len(library)} scans were averaged into {len(first)} samples"]
    for name, values in library.targets.items():
        targets[name], spread = _target_means(values, samples, len(first))
        if differing := int(np.sum(spread > 0)):
            notes.append(f"{name} differs between the replicates of {differing} samples: the mean is used")
    averaged = replace(
        library.rows(first),
        spectra=_spectral_means(library.spectra, samples),
        targets=targets,
        ids=library.sample_labels[first],
        samples=None,
        scans=None,
    )
    if library.coordinates is not None:
        averaged = replace(averaged, coordinates=_first_given(library.coordinates, samples, len(first)))
    return replace(averaged, notes=(*library.notes, *notes))


def _spectral_means(spectra: npt.NDArray[np.float32], samples: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """(n, bands) -> (samples, bands), summed in float64."""
    order = np.argsort(samples, kind="stable")
    counts = np.bincount(samples)
    starts = np.cumsum(counts) - counts
    means = np.empty((len(counts), spectra.shape[1]), dtype=np.float32)
    # All bands at once would need three more copies in memory, two of them in float64.
    for first in range(0, spectra.shape[1], _BANDS):
        bands = slice(first, first + _BANDS)
        means[:, bands] = np.add.reduceat(spectra[order, bands], starts, axis=0, dtype=np.float64) / counts[:, None]
    return means


def _target_means(values: Floats, samples: npt.NDArray[np.intp], count: int) -> tuple[Floats, Floats]:
    """(samples,) mean of the measured values, NaN where none was measured; and their maximum minus their minimum."""
    measured = np.isfinite(values)
    samples, values = samples[measured], values[measured]
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, samples, values)
    np.maximum.at(high, samples, values)
    counts = np.bincount(samples, minlength=count)
    sums = np.bincount(samples, weights=values, minlength=count)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    # The mean of equal values is that value exactly; a sum would add rounding errors.
    return np.where(low == high, low, means), high - low


def _first_given(coordinates: Floats, samples: npt.NDArray[np.intp], count: int) -> Floats:
    """(samples, 2) first given coordinates; a mean would move a sample at the 180th meridian to the prime meridian."""
    given = np.flatnonzero(~np.isnan(coordinates[:, 0]))
    first = np.full((count, 2), np.nan)
    first[samples[given[::-1]]] = coordinates[given[::-1]]
    return first


def _check_agreement(library: SpectralLibrary, samples: npt.NDArray[np.intp], first: npt.NDArray[np.intp]) -> None:
    """Raise InputError if the replicates of a sample are in two groups or parts."""
    for kind, labels in (("group", library.groups), ("part", library.parts)):
        if labels is None:
            continue
        expected = labels[first][samples]
        if (bad := np.flatnonzero(labels != expected)).size:
            raise InputError(
                f"{library.source}: row {bad[0] + 1} ({library.ids[bad[0]]}) is in {kind} {labels[bad[0]]!s}, but an "
                f"earlier scan of this sample is in {expected[bad[0]]!s}; give all scans of a sample the same {kind}, "
                "give each sample a different id, or use --set data.replicates=keep"
                + ("" if library.samples is None else " or --set data.samples=id")
            )
