"""Replicate scans of a sample, averaged into one row."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary

Floats = npt.NDArray[np.float64]

_BANDS = 64
"""Bands that are averaged at a time."""


def average_replicates(library: SpectralLibrary) -> SpectralLibrary:
    """One row per id, in the order in which ids first occur.

    Spectra are averaged in the unit in which they came. For reflectance that is what one longer scan over all places
    of the sample would have given, and noise of the detector, which adds to the light, cancels without bias. For
    absorbance it spares a turn into reflectance and back that nobody asked for; replicates are so much alike that the
    two means differ by less than their noise: by ln(10)/2 s^2, 0.0005 where replicates have an SD s of 0.02.

    A target is the mean of its measured values, the coordinates are the first ones given.

    Returns:
        The library with unique ids, and notes on what became of how many rows.

    Raises:
        InputError: replicates of one id are in two groups or in two declared parts.
    """
    _, first, codes = np.unique(library.ids, return_index=True, return_inverse=True)
    # Samples are numbered as they first occur.
    ranks = np.empty(len(first), np.intp)
    ranks[np.argsort(first)] = np.arange(len(first))
    samples, first = ranks[codes], np.sort(first)
    if len(first) == len(library):
        return replace(library, notes=(*library.notes, "data.replicates=average: no id occurs twice"))
    _check_agreement(library, samples, first)
    targets, notes = {}, [f"replicates: {len(library)} scans were averaged into {len(first)} samples, by id"]
    for name, values in library.targets.items():
        targets[name], spread = _target_means(values, samples, len(first))
        if unlike := int(np.sum(spread > 0)):
            notes.append(f"{name} differs between the replicates of {unlike} samples: its mean was taken")
    averaged = replace(library.rows(first), spectra=_spectral_means(library.spectra, samples), targets=targets)
    if library.coordinates is not None:
        averaged = replace(averaged, coordinates=_first_given(library.coordinates, samples, len(first)))
    return replace(averaged, notes=(*library.notes, *notes))


def _spectral_means(spectra: npt.NDArray[np.float32], samples: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """(n, bands) -> (samples, bands), summed in float64."""
    order = np.argsort(samples, kind="stable")
    counts = np.bincount(samples)
    starts = np.cumsum(counts) - counts
    means = np.empty((len(counts), spectra.shape[1]), dtype=np.float32)
    # All bands at once would be in memory three times more, twice of that in float64.
    for first in range(0, spectra.shape[1], _BANDS):
        bands = slice(first, first + _BANDS)
        means[:, bands] = np.add.reduceat(spectra[order, bands], starts, axis=0, dtype=np.float64) / counts[:, None]
    return means


def _target_means(values: Floats, samples: npt.NDArray[np.intp], count: int) -> tuple[Floats, Floats]:
    """(samples,) mean of the measured values, NaN where none is, and their highest less their lowest."""
    measured = np.isfinite(values)
    samples, values = samples[measured], values[measured]
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, samples, values)
    np.maximum.at(high, samples, values)
    counts = np.bincount(samples, minlength=count)
    sums = np.bincount(samples, weights=values, minlength=count)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    # Equal values keep their bits; a sum would not.
    return np.where(low == high, low, means), high - low


def _first_given(coordinates: Floats, samples: npt.NDArray[np.intp], count: int) -> Floats:
    """(samples, 2): a mean would put a sample at the 180th meridian on the other side of the Earth."""
    given = np.flatnonzero(~np.isnan(coordinates[:, 0]))
    found = np.full((count, 2), np.nan)
    found[samples[given[::-1]]] = coordinates[given[::-1]]
    return found


def _check_agreement(library: SpectralLibrary, samples: npt.NDArray[np.intp], first: npt.NDArray[np.intp]) -> None:
    """Refuse a sample whose replicates are in two groups or parts."""
    for what, labels in (("group", library.groups), ("part", library.parts)):
        if labels is None:
            continue
        expected = labels[first][samples]
        if (bad := np.flatnonzero(labels != expected)).size:
            raise InputError(
                f"{library.source}: row {bad[0] + 1} ({library.ids[bad[0]]}) is in {what} {labels[bad[0]]!s} and an "
                f"earlier scan of it in {expected[bad[0]]!s}; give scans of one sample one {what}, give samples ids of "
                "their own, or use --set data.replicates=keep"
            )
