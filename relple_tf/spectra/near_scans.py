"""Rows with equal laboratory values and nearly equal spectra: scans of one sample under different names."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Pair = tuple[int, int]

FEWEST_VALUES = 2
"""Measured values that must be equal; a single value is equal by chance in every set."""
LARGEST_DISTANCE = 0.05
"""Distance below which two scans with equal values are one sample. The 55 pairs of NIRsoil reach 0.0443, the 240 pairs
of corn on three instruments 0.0292; other soils with equal values begin at 0.0593 in NIRsoil and at 0.0515 in 460 soils
of LimeSoDa (SSP.460)."""
SHARE_OF_SPREAD = 0.1
"""The distance must also be below this share of the RMS distance of random rows, which is 0.63 in NIRsoil and smaller
where the soils or the bands are alike: 0.05 to 0.09 on 740 to 1070 nm."""
MANY_VALUES = 5
"""With this many equal values, the spectra need only not contradict: no two of the 2,106 soils of the NeoSpectra
library are equal in any five properties."""
LARGEST_DISTANCE_MANY = 0.2
"""Links the 24 scans of five soils by handheld scanners (OSSL; distances of 0.02 to 0.48, median 0.094) to their
soils."""
START_NM = 1000.0
"""Distances are computed from here on: the slope of the visible range hides the differences between soils. On 350 to
2500 nm, 44 pairs of different soils of SSP.460 are below LARGEST_DISTANCE; from 1000 nm on, none is."""
FEWEST_BANDS = 10
LARGEST_SET = 1000
"""More rows with equal values are not compared: they share a code, not a soil; distances need the square of this."""
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class NearScans:
    """Result of `near_scans`."""

    pairs: tuple[Pair, ...]
    """Rows that are scans of one sample."""
    sets: tuple[Indices, ...]
    """Rows with equal values, at least FEWEST_VALUES."""
    nearest_apart: tuple[float, Pair] | None
    """Smallest distance of two rows with equal values that are not linked, and these rows."""
    single: tuple[Pair, ...]
    """Rows with nearly equal spectra and an equal value, the only one measured: not linked."""


def near_scans(library: SpectralLibrary, values: Floats, groups: Indices) -> NearScans:
    """Compare the spectra of rows whose laboratory values are all equal.

    Values are equal if the same properties are measured in both rows, with the same results. The distance of two
    spectra is the RMS difference of their SNV-corrected absorbance.

    Args:
        library: n rows.
        values: (n, properties) laboratory values as written, NaN where not measured.
        groups: (n,) rows of equal number are linked already, and not compared.
    """
    sets = list(_equal_values(values, groups))
    bands = _compared_bands(library)
    limit = _largest_distance(library, bands) if sets else 0.0
    pairs: list[Pair] = []
    single: list[Pair] = []
    apart: list[tuple[float, Pair]] = []
    for rows, count in sets:
        distance = distances(snv_absorbance(library.spectra[rows][:, bands], library.quantity))
        first, second = np.nonzero(np.triu(groups[rows][:, None] != groups[rows], 1))
        between = distance[first, second]
        near = between < (LARGEST_DISTANCE_MANY if count >= MANY_VALUES else limit)
        found = list(zip(rows[first[near]].tolist(), rows[second[near]].tolist(), strict=True))
        if count < FEWEST_VALUES:
            single += found
            continue
        pairs += found
        if not near.all():
            nearest = np.flatnonzero(~near)[np.argmin(between[~near])]
            apart.append((float(between[nearest]), (int(rows[first[nearest]]), int(rows[second[nearest]]))))
    return NearScans(
        pairs=tuple(pairs),
        sets=tuple(rows for rows, count in sets if count >= FEWEST_VALUES),
        nearest_apart=min(apart, default=None),
        single=tuple(single),
    )


def are_near(library: SpectralLibrary, sets: Sequence[Sequence[int]]) -> list[bool]:
    """Whether all spectra of each set of rows are as near as those of two scans with equal laboratory values."""
    if not sets:
        return []
    bands = _compared_bands(library)
    limit = _largest_distance(library, bands)
    return [
        bool(np.all(distances(snv_absorbance(library.spectra[list(rows)][:, bands], library.quantity)) < limit))
        for rows in sets
    ]


def _compared_bands(library: SpectralLibrary) -> npt.NDArray[np.bool_]:
    """(bands,) true for the bands in which spectra are compared."""
    bands = library.wavelengths_nm >= START_NM
    return bands if bands.sum() >= FEWEST_BANDS else np.ones_like(bands)


def _largest_distance(library: SpectralLibrary, bands: npt.NDArray[np.bool_]) -> float:
    """Distance below which two scans with a further sign of one sample are one."""
    return min(LARGEST_DISTANCE, SHARE_OF_SPREAD * _spread(library, bands))


def snv_absorbance(spectra: npt.NDArray[np.float32], quantity: str) -> Floats:
    """SNV-corrected absorbance (n, bands), each row with mean 0 and population SD 1; a constant row is 0."""
    absorbance = np.asarray(spectra, np.float64)
    if quantity == "reflectance":
        absorbance = -np.log10(np.maximum(absorbance, REFLECTANCE_FLOOR))
    centred: Floats = absorbance - absorbance.mean(axis=1, keepdims=True)
    sd = centred.std(axis=1, keepdims=True)
    scaled: Floats = np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 0)
    return scaled


def distances(snv: Floats) -> Floats:
    """(n, n) RMS differences of SNV-corrected spectra (n, bands): sqrt(2 - 2 r), with the correlations r."""
    squares = 2 - 2 * (snv @ snv.T) / snv.shape[1]
    rms: Floats = np.sqrt(np.maximum(squares, 0))
    return rms


def _equal_values(values: Floats, groups: Indices) -> Iterator[tuple[Indices, int]]:
    """Rows of at least two groups whose values are all equal, and the number of their measured values."""
    measured = np.isfinite(values).sum(axis=1)
    codes = np.unique(np.where(np.isfinite(values), values, np.inf), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if measured[rows[0]] and 1 < len(rows) <= LARGEST_SET and len(np.unique(groups[rows])) > 1:
            yield rows, int(measured[rows[0]])


def _spread(library: SpectralLibrary, bands: npt.NDArray[np.bool_]) -> float:
    """RMS distance of two rows drawn at random: sqrt(2 - 2 |m|^2 / bands), with the mean SNV-corrected spectrum m."""
    total = np.zeros(int(bands.sum()))
    for start in range(0, len(library), _BLOCK_ROWS):
        block = library.spectra[start : start + _BLOCK_ROWS][:, bands]
        total += snv_absorbance(block, library.quantity).sum(axis=0)
    mean = total / len(library)
    return math.sqrt(max(0.0, 2 - 2 * float(np.mean(mean**2))))
