"""Simulated out-of-domain scans, to test whether the domain statistics of a model detect them.

Each kind occurs with a handheld spectrometer: a scan of the white reference, a dark scan, the file of another sensor, a
saturated detector, a window half on the soil, a leaf, a plastic bag. Band positions are from the literature cited
below; band strengths are chosen so that the spectra look like published spectra. No training spectra are used.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.library import REFLECTANCE_RANGE
from relple_tf.spectra.sources.simulated import Bands, absorption_curves, scanned_soils

Floats = npt.NDArray[np.float64]

READ_NOISE, SHOT_NOISE = 5e-4, 1e-3
"""SD of the reflectance of a scan: read noise, and shot noise at R = 1; shot noise is proportional to sqrt(R)."""

SENSOR_RANGES_NM = ((400.0, 1000.0), (900.0, 1700.0), (1350.0, 2500.0), (350.0, 2500.0))
"""Silicon, InGaAs, a MEMS interferometer and a spectrometer with three detectors."""
_LIKE_NM = 500.0
"""A sensor counts as another sensor if the ends of its range differ by more than this in total from the model's."""

LEAF_BANDS: dict[str, Bands] = {
    "water": (
        *((970, 0.4, 22, 30), (1195, 1.0, 35, 60), (1450, 27, 35, 75), (1500, 5, 60, 150), (1790, 4, 50, 60)),
        *((1935, 110, 28, 60), (2000, 20, 50, 150), (2900, 470, 220, 220)),
    ),
    "pigment": ((430, 40, 60, 45), (480, 30, 40, 30), (550, 6, 60, 60), (640, 12, 30, 25), (675, 30, 20, 18)),
    "dry_matter": (
        *((1120, 0.02, 25, 30), (1200, 0.05, 30, 40), (1490, 0.14, 45, 70), (1690, 0.05, 18, 20), (1730, 0.08, 16, 20)),
        *((1780, 0.06, 20, 25), (1820, 0.05, 20, 25), (1940, 0.1, 30, 40), (2060, 0.1, 25, 25), (2100, 0.3, 35, 45)),
        *((2180, 0.08, 25, 25), (2270, 0.28, 25, 22), (2340, 0.34, 25, 25), (2480, 0.5, 60, 60)),
    ),
    "tannin": ((350, 6, 1, 160),),
}
"""Constituent -> centre in nm, strength, SD in nm on the short and on the long side. Water: absorption per cm of pure
water (Hale & Querry 1973, Appl. Opt. 12, 555-563). Pigments, cellulose, lignin and protein: K over S of a typical leaf
(Curran 1989, Remote Sens. Environ. 30, 271-278; 1730 nm: Elvidge 1990, Int. J. Remote Sens. 11, 1775-1795)."""

PLASTIC_BANDS: dict[str, Bands] = {
    "polyethylene": (
        *(
            (930, 0.008, 14, 14),
            (1215, 0.08, 14, 16),
            (1395, 0.04, 12, 10),
            (1415, 0.045, 10, 14),
            (1540, 0.02, 25, 25),
        ),
        *((1728, 0.6, 10, 12), (1764, 0.45, 10, 14), (2310, 1.8, 12, 12), (2350, 1.5, 12, 16), (2420, 0.6, 40, 90)),
    ),
    "polypropylene": (
        *((910, 0.008, 14, 14), (1195, 0.08, 14, 20), (1395, 0.05, 12, 12), (1705, 0.35, 12, 10), (1726, 0.45, 10, 14)),
        *((1764, 0.25, 14, 18), (2280, 1.2, 14, 14), (2310, 1.1, 14, 14), (2390, 0.9, 30, 90)),
    ),
    "polyethylene_terephthalate": (
        *((1130, 0.04, 10, 12), (1415, 0.03, 12, 14), (1660, 0.35, 10, 10), (1730, 0.12, 20, 20), (1910, 0.12, 18, 18)),
        *((2130, 0.5, 14, 14), (2180, 0.35, 16, 16), (2260, 0.4, 16, 16), (2345, 0.6, 20, 20), (2450, 0.5, 30, 40)),
    ),
}
"""Polymer -> bands as above, strength in absorbance per mm: overtones and combinations of CH2, CH3, aromatic CH and, at
1910 nm, C=O (Burns & Ciurczak, eds., Handbook of Near-Infrared Analysis, 3rd ed. 2008; Workman & Weyer 2007, Practical
Guide to Interpretive Near-Infrared Spectroscopy)."""


def out_of_domain_scans(kind: str, wavelengths_nm: Floats, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Simulate scans of one kind, reproducible by seed.

    Args:
        kind: One of KINDS.
        wavelengths_nm: (bands,), ascending, at least two, within 350..2600.
        count: Number of scans.
        seed: Seed of all random draws; each kind has a separate random stream.

    Returns:
        (count, bands) reflectance, within REFLECTANCE_RANGE.
    """
    rng = np.random.default_rng([seed, *kind.encode()])
    reflectance = KINDS[kind](wavelengths_nm, count, rng).clip(*REFLECTANCE_RANGE)
    noise_sd = np.sqrt(READ_NOISE**2 + SHOT_NOISE**2 * reflectance)
    reflectance += noise_sd * rng.standard_normal(reflectance.shape)
    return reflectance.clip(*REFLECTANCE_RANGE).astype(np.float32)


def _white_reference(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """The white reference measured against itself: 1, except for lamp drift and a slightly dirty tile."""
    level, tilt = rng.uniform(0.985, 1.015, (count, 1)), rng.uniform(-0.005, 0.005, (count, 1))
    return level + tilt * _scaled_position(wavelengths_nm)


def _dark_scan(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """No sample in front of the window, or the lamp off: stray light, stronger at one end."""
    stray, tilt = rng.uniform(0.001, 0.008, (count, 1)), rng.uniform(-0.5, 0.5, (count, 1))
    return stray * (1 + tilt * _scaled_position(wavelengths_nm))


def _other_sensor(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Soils scanned by another sensor, its bands read as the model's bands; the sensors in turn.

    The relative position of a band in the range is kept, as in a file with the right number of columns but the wrong
    header.
    """
    first, last = wavelengths_nm[0], wavelengths_nm[-1]
    others = [(low, high) for low, high in SENSOR_RANGES_NM if abs(low - first) + abs(high - last) > _LIKE_NM]
    misread = np.empty((count, len(wavelengths_nm)))
    for index, (low, high) in enumerate(others):
        rows = misread[index :: len(others)]
        rows[:] = _soils(low + (high - low) * (wavelengths_nm - first) / (last - first), len(rows), rng)
    return misread


def _saturated(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Soils scanned with a saturated detector (integration too long, or sunlight) and a valid white reference.

    The white reference signal is weaker at the ends of the range, where lamps are dim, so the ceiling rises there.
    """
    ceiling = rng.uniform(0.9, 1.1, (count, 1)) * (1 + 0.3 * _scaled_position(wavelengths_nm) ** 2)
    return np.minimum(rng.uniform(2.5, 5, (count, 1)) * _soils(wavelengths_nm, count, rng), ceiling)


def _soil_half_covered(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """The window partly on the soil and partly on its white dish: reflectance is the mean weighted by area."""
    covered = rng.uniform(0.3, 0.7, (count, 1))
    return covered * _soils(wavelengths_nm, count, rng) + (1 - covered) * rng.uniform(0.8, 0.95, (count, 1))


def _plant_leaf(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Stacks of leaves, fresh (rows 0, 2, ...) and dry (rows 1, 3, ...).

    Reflectance of a thick stack by the theory of Kubelka and Munk, as for the soils, below a cuticle that reflects 3 %.
    """
    fresh = np.arange(count) % 2 == 0
    curves = absorption_curves(wavelengths_nm, LEAF_BANDS)
    typical = {"water": (0.11, 0.003), "pigment": (1.0, 0.02), "dry_matter": (0.25, 1.0), "tannin": (0.02, 1.0)}
    ratio = 0.12 * np.exp(0.2 * rng.standard_normal((count, 1))) * np.ones_like(wavelengths_nm)
    for name, (if_fresh, if_dry) in typical.items():
        amount = np.where(fresh, if_fresh, if_dry) * np.exp(0.25 * rng.standard_normal(count))
        ratio += amount[:, None] * curves[name]
    inside = 1 + ratio - np.sqrt(ratio * (ratio + 2))
    return _handheld(0.03 + 0.97 * inside, wavelengths_nm, rng)


def _plastic(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Sheets of polyethylene, polypropylene and PET in turn, 0.3 to 4 mm thick, over a pale background.

    Light passes the sheet twice (Beer and Lambert); its surface reflects 4 %, as for a refractive index of 1.5.
    """
    curves = absorption_curves(wavelengths_nm, PLASTIC_BANDS)
    per_mm = np.stack(list(curves.values()))[np.arange(count) % len(curves)]
    thickness_mm = np.clip(np.exp(0.6 * rng.standard_normal((count, 1))), 0.3, 4)
    backing = rng.uniform(0.5, 0.9, (count, 1))
    return _handheld(0.04 + 0.96 * backing * 10 ** (-2 * thickness_mm * per_mm), wavelengths_nm, rng)


KINDS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "white_reference": _white_reference,
    "dark_scan": _dark_scan,
    "other_sensor": _other_sensor,
    "saturated": _saturated,
    "soil_half_covered": _soil_half_covered,
    "plant_leaf": _plant_leaf,
    "plastic": _plastic,
}
"""Kind -> function (wavelengths in nm, count, generator) -> (count, bands) reflectance without detector noise."""


def _handheld(reflectance: Floats, wavelengths_nm: Floats, rng: np.random.Generator) -> Floats:
    """Apply handheld variation: distance and angle scale a scan by a few percent, more at one end."""
    scale, tilt = rng.standard_normal((2, len(reflectance), 1))
    varied: Floats = reflectance * np.exp(0.05 * scale + 0.02 * tilt * _scaled_position(wavelengths_nm))
    return varied


def _soils(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """(count, bands) reflectance of simulated soils, with a seed drawn from `rng`."""
    return scanned_soils(wavelengths_nm, count, int(rng.integers(2**31)))[0].astype(np.float64)


def _scaled_position(wavelengths_nm: Floats) -> Floats:
    """(bands,) wavelength scaled to -1 at 350 nm and 1 at 2500 nm, independent of the grid."""
    return (wavelengths_nm - 1425) / 1075
