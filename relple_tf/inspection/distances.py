"""Robust distance of each scan from the centre of its library, to find scans that are worth a look."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary

Floats = npt.NDArray[np.float64]

FEWEST_SCANS = 10
"""With fewer scans, median and MAD of the scores are too uncertain."""
MOST_BANDS = 200
"""Neighbouring bands are averaged to at most this number, which bounds memory; scans of soils have no finer detail."""
MOST_COMPONENTS, EXPLAINED = 10, 0.999
"""Components are added until they explain this fraction of the variance."""
_BLOCK_ROWS = 1024
_SD_PER_MAD = 1.4826
"""SD of a normal distribution divided by its median absolute deviation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Distances:
    """Distances of the scans of a library."""

    values: Floats
    """(n,) root mean square of the robust z-scores over the components; about 1 for a typical scan."""
    components: int

    def farthest(self, count: int) -> list[int]:
        """Rows of the largest distances, in descending order."""
        rows: list[int] = np.argsort(-self.values, kind="stable")[:count].tolist()
        return rows


def score_distances(library: SpectralLibrary) -> Distances | None:
    """Distances in the scores of a PCA of absorbance.

    A robust z-score is the score minus the median, divided by 1.4826 times the median absolute deviation: a few unusual
    scans do not enlarge the scale by which they are judged.

    Returns:
        None with fewer than FEWEST_SCANS scans, or if all scans are equal.
    """
    if len(library) < FEWEST_SCANS:
        return None
    absorbance = _averaged_absorbance(library)
    if not np.ptp(absorbance, axis=0).any():
        return None
    absorbance -= absorbance.mean(axis=0)
    # The order of summation in BLAS depends on its threads; the page must not depend on the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        variances, vectors = np.linalg.eigh(absorbance.T @ absorbance)
        variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
        explained = np.cumsum(variances) / variances.sum()
        components = min(int(np.searchsorted(explained, EXPLAINED)) + 1, MOST_COMPONENTS)
        scores = absorbance @ vectors[:, :components]
    scores -= np.median(scores, axis=0)
    scale = _SD_PER_MAD * np.median(np.abs(scores), axis=0)
    # More than half of the scores may be equal, such as those of copies.
    scale = np.where(scale > 0, scale, scores.std(axis=0))
    return Distances(values=np.sqrt(np.mean((scores / scale) ** 2, axis=1)), components=components)


def _averaged_absorbance(library: SpectralLibrary) -> Floats:
    """(n, at most MOST_BANDS) absorbance of blocks of neighbouring bands."""
    bands = len(library.wavelengths_nm)
    starts = np.linspace(0, bands, min(MOST_BANDS, bands) + 1).astype(int)
    averaged = np.empty((len(library), len(starts) - 1))
    for first in range(0, len(library), _BLOCK_ROWS):
        block = library.spectra[first : first + _BLOCK_ROWS]
        averaged[first : first + _BLOCK_ROWS] = np.add.reduceat(block, starts[:-1], axis=1, dtype=np.float64)
    averaged /= np.diff(starts)
    if library.quantity == "reflectance":
        return -np.log10(np.maximum(averaged, REFLECTANCE_FLOOR))
    return averaged
