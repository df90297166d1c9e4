"""Numbers of each scan that the checks read, added block by block, so that a table need not be in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Wavelengths = npt.NDArray[np.float64]

ANCHORS = 12
"""Bands, evenly spaced by number, whose values are kept for every scan: they describe its level and shape."""
WIDEST_GAP_NM = 15.0
"""Maximum distance in nm between a point of a spectral feature and the band used for it."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A spectral feature that is opposite in reflectance and absorbance."""

    name: str
    """Where it is, for messages."""
    points_nm: tuple[float, ...]
    """Left shoulder, centre and right shoulder of a band of water; or two points between which soil reflectance
    rises."""

    def bands(self, wavelengths_nm: Wavelengths) -> list[int]:
        """The band nearest to each point; empty if a point is not covered."""
        bands = [int(np.argmin(np.abs(wavelengths_nm - nm))) for nm in self.points_nm]
        covered = np.abs(wavelengths_nm[bands] - self.points_nm) <= WIDEST_GAP_NM
        return bands if covered.all() else []

    def depth(self, spectra: Floats, wavelengths_nm: Wavelengths) -> Floats:
        """(n,) positive where a scan is like reflectance: its dip below the shoulders, or its rise."""
        at_nm, values = wavelengths_nm[self.bands(wavelengths_nm)], spectra[:, self.bands(wavelengths_nm)]
        if len(at_nm) == 2:
            return values[:, 1] - values[:, 0]
        weight = np.float32((at_nm[1] - at_nm[0]) / (at_nm[2] - at_nm[0]))
        return (1 - weight) * values[:, 0] + weight * values[:, 2] - values[:, 1]


WATER_1914 = Feature(name="the water band near 1914 nm", points_nm=(1860.0, 1914.0, 2010.0))
"""Combination band of water. It dips in the reflectance of each of the 2,860 scans of NIRsoil, LimeSoDa, datsoilspc,
datEPO, Tavares, Uganda, OSSL and corn that cover it, and peaks in their absorbance (no exception)."""
WATER_1414 = Feature(name="the water band near 1414 nm", points_nm=(1340.0, 1414.0, 1520.0))
"""First overtone of OH. Dips in all of these sets but 24 % of Uganda (sloping scans of peat) and 2 % of NIRsoil."""
RISE = Feature(name="the rise from 450 to 800 nm", points_nm=(450.0, 800.0))
"""Iron oxides and organic matter absorb most in the blue, so the reflectance of soil rises towards the red."""
FEATURES = (WATER_1914, WATER_1414, RISE)
"""In the order in which they decide."""

_COLUMNS: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
    ("low", lambda scans: scans.min(axis=1)),
    ("high", lambda scans: scans.max(axis=1)),
    ("mean", lambda scans: scans.mean(axis=1, dtype=np.float64)),
    ("square", lambda scans: np.einsum("ij,ij->i", scans, scans, dtype=np.float64) / scans.shape[1]),
    ("zeros", lambda scans: _longest_zeros(scans)),
    ("noise", lambda scans: _noise(scans)),
)


class ScanSummary:
    """Numbers of each scan. A scan with a missing value has NaN in all of them.

    Args:
        wavelengths_nm: (bands,), ascending.
    """

    def __init__(self, wavelengths_nm: Wavelengths) -> None:
        self.wavelengths_nm = wavelengths_nm
        self.features = tuple(feature for feature in FEATURES if feature.bands(wavelengths_nm))
        self.anchor_bands = np.unique(np.linspace(0, len(wavelengths_nm) - 1, ANCHORS).round().astype(int))
        self._blocks: dict[str, list[Floats]] = {name: [] for name, _ in _COLUMNS}
        self._blocks |= {feature.name: [] for feature in self.features} | {"anchors": []}
        self._joined: dict[str, Floats] = {}
        self.lowest = np.full(len(wavelengths_nm), np.inf, np.float32)
        """(bands,) smallest value of each band, over the scans without missing values."""
        self.highest = np.full(len(wavelengths_nm), -np.inf, np.float32)
        """(bands,) largest value of each band."""

    def add(self, spectra: Floats) -> None:
        """Add the next scans, (n, bands)."""
        self._joined = {}
        missing = ~np.isfinite(spectra).all(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            values = {name: number(spectra) for name, number in _COLUMNS}
            values |= {feature.name: feature.depth(spectra, self.wavelengths_nm) for feature in self.features}
        complete = spectra[~missing]
        self.lowest = np.minimum(self.lowest, complete.min(axis=0, initial=np.inf))
        self.highest = np.maximum(self.highest, complete.max(axis=0, initial=-np.inf))
        values["anchors"] = spectra[:, self.anchor_bands]
        for name, column in values.items():
            with np.errstate(over="ignore"):  # infinite, and so out of range
                # A copy, so that the block of the table can be freed.
                narrow = np.array(column, dtype=np.float32)
            narrow[missing] = np.nan
            self._blocks[name].append(narrow)

    def __len__(self) -> int:
        return len(self["low"])

    def __getitem__(self, name: str) -> Floats:
        """Numbers by name, in the order of the scans.

        (n,) lowest (`low`) and highest (`high`) value, `mean`, mean `square`, longest run of exact `zeros` in bands,
        SD of the `noise`, depth of a feature by its name; (n, anchors) `anchors`.
        """
        if name not in self._joined:
            blocks = self._blocks[name]
            shape = (0, len(self.anchor_bands)) if name == "anchors" else (0,)
            self._joined[name] = np.concatenate(blocks) if blocks else np.empty(shape, np.float32)
        return self._joined[name]


def _longest_zeros(scans: Floats) -> Floats:
    """(n,) length of the longest run of exact zeros in each scan."""
    longest = np.zeros(len(scans), np.float32)
    for row in np.flatnonzero((scans == 0).any(axis=1)):
        edges = np.diff(np.concatenate([[0], scans[row] == 0, [0]]).astype(np.int8))
        longest[row] = np.max(np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1))
    return longest


def _noise(scans: Floats) -> Floats:
    """(n,) SD of uncorrelated noise, from second differences; too large where bands are far apart."""
    differences = np.diff(scans, 2, axis=1)
    variance: Floats = np.einsum("ij,ij->i", differences, differences, dtype=np.float64) / max(differences.shape[1], 1)
    noise: Floats = np.sqrt(variance / 6)
    return noise
