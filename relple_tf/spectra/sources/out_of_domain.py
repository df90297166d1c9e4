"""Simulated scans of what is no soil or not scanned as one, to test whether a model knows what it does not know.

Each kind is what a handheld spectrometer really meets: its own white reference, nothing at all, the file of another
sensor, a detector at its limit, a window half on the soil, a leaf, a bag. Positions of bands are those of the
literature named below; strengths are chosen so that spectra look like published ones. Nothing is taken from the spectra
that a model learned from.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.library import REFLECTANCE_RANGE
from relple_tf.spectra.sources.simulated import Bands, absorption_curves, scanned_soils

Floats = npt.NDArray[np.float64]

READ_NOISE, SHOT_NOISE = 5e-4, 1e-3
"""SD of the reflectance of one scan: of the electronics, and of the light where R is 1; the latter goes as sqrt(R)."""

SENSOR_RANGES_NM = ((400.0, 1000.0), (900.0, 1700.0), (1350.0, 2500.0), (350.0, 2500.0))
"""Silicon, InGaAs, a MEMS interferometer and a spectrometer of three detectors."""
_LIKE_NM = 500.0
"""A range whose two ends together are nearer to the model's than this is no other sensor."""

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
"""Constituent -> centre in nm, strength, SD in nm on the short and on the long side. Water in absorption per cm, as
pure water has it (Hale & Querry 1973, Appl. Opt. 12, 555-563); pigments, cellulose, lignin and protein as K over S of a
typical leaf (Curran 1989, Remote Sens. Environ. 30, 271-278; 1730 nm: Elvidge 1990, Int. J. Remote Sens. 11,
1775-1795)."""

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


def foreign_scans(kind: str, wavelengths_nm: Floats, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Draw scans of one kind, the same for the same seed.

    Args:
        kind: One of KINDS.
        wavelengths_nm: (bands,), ascending, two at least, within 350..2600.
        count: Number of scans.
        seed: Seed of everything drawn; kinds draw from streams of their own.

    Returns:
        (count, bands) reflectance, within REFLECTANCE_RANGE.
    """
    rng = np.random.default_rng([seed, *kind.encode()])
    reflectance = KINDS[kind](wavelengths_nm, count, rng).clip(*REFLECTANCE_RANGE)
    noise_sd = np.sqrt(READ_NOISE**2 + SHOT_NOISE**2 * reflectance)
    reflectance += noise_sd * rng.standard_normal(reflectance.shape)
    return reflectance.clip(*REFLECTANCE_RANGE).astype(np.float32)


def _white_reference(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """The white reference against itself: 1, but for a lamp that drifts and a tile that is not quite clean."""
    level, tilt = rng.uniform(0.985, 1.015, (count, 1)), rng.uniform(-0.005, 0.005, (count, 1))
    return level + tilt * _place(wavelengths_nm)


def _dark_scan(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Nothing before the window, or the lamp off: stray light, more of it at one end."""
    stray, tilt = rng.uniform(0.001, 0.008, (count, 1)), rng.uniform(-0.5, 0.5, (count, 1))
    return stray * (1 + tilt * _place(wavelengths_nm))


def _other_sensor(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Soils as another sensor has them, its bands read as if they were the model's; the sensors in turn.

    The place of a band among the others is kept, as when a file of the right number of columns has the wrong header.
    """
    first, last = wavelengths_nm[0], wavelengths_nm[-1]
    others = [(low, high) for low, high in SENSOR_RANGES_NM if abs(low - first) + abs(high - last) > _LIKE_NM]
    read = np.empty((count, len(wavelengths_nm)))
    for turn, (low, high) in enumerate(others):
        rows = read[turn :: len(others)]
        rows[:] = _soils(low + (high - low) * (wavelengths_nm - first) / (last - first), len(rows), rng)
    return read


def _saturated(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Soils scanned too long or in the sun, where the detector is full, over a white reference that was not.

    The reference is darker at the ends of the range, where lamps are dim, so the ceiling rises there.
    """
    ceiling = rng.uniform(0.9, 1.1, (count, 1)) * (1 + 0.3 * _place(wavelengths_nm) ** 2)
    return np.minimum(rng.uniform(2.5, 5, (count, 1)) * _soils(wavelengths_nm, count, rng), ceiling)


def _soil_half_covered(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """The window partly on the soil and partly on its white dish: reflectances add by area."""
    covered = rng.uniform(0.3, 0.7, (count, 1))
    return covered * _soils(wavelengths_nm, count, rng) + (1 - covered) * rng.uniform(0.8, 0.95, (count, 1))


def _plant_leaf(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Stacks of leaves, fresh ones (rows 0, 2, ...) and dead dry ones in turn.

    Reflectance of a thick stack after Kubelka and Munk, as for the soils, behind a cuticle that mirrors 3 %.
    """
    fresh = np.arange(count) % 2 == 0
    curves = absorption_curves(wavelengths_nm, LEAF_BANDS)
    typical = {"water": (0.11, 0.003), "pigment": (1.0, 0.02), "dry_matter": (0.25, 1.0), "tannin": (0.02, 1.0)}
    ratio = 0.12 * np.exp(0.2 * rng.standard_normal((count, 1))) * np.ones_like(wavelengths_nm)
    for name, (if_fresh, if_dry) in typical.items():
        amount = np.where(fresh, if_fresh, if_dry) * np.exp(0.25 * rng.standard_normal(count))
        ratio += amount[:, None] * curves[name]
    inside = 1 + ratio - np.sqrt(ratio * (ratio + 2))
    return _held(0.03 + 0.97 * inside, wavelengths_nm, rng)


def _plastic(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Bags, bottles and boxes: polyethylene, polypropylene, PET in turn, of 0.3 to 4 mm, over something pale.

    Light passes the sheet twice (Beer and Lambert); 4 % is mirrored at its surface, as an index of 1.5 makes it.
    """
    curves = absorption_curves(wavelengths_nm, PLASTIC_BANDS)
    per_mm = np.stack(list(curves.values()))[np.arange(count) % len(curves)]
    thickness_mm = np.clip(np.exp(0.6 * rng.standard_normal((count, 1))), 0.3, 4)
    backing = rng.uniform(0.5, 0.9, (count, 1))
    return _held(0.04 + 0.96 * backing * 10 ** (-2 * thickness_mm * per_mm), wavelengths_nm, rng)


KINDS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "white_reference": _white_reference,
    "dark_scan": _dark_scan,
    "other_sensor": _other_sensor,
    "saturated": _saturated,
    "soil_half_covered": _soil_half_covered,
    "plant_leaf": _plant_leaf,
    "plastic": _plastic,
}
"""Kind -> (wavelengths in nm, count, draw) -> (count, bands) reflectance before the noise of the detector."""


def _held(reflectance: Floats, wavelengths_nm: Floats, rng: np.random.Generator) -> Floats:
    """Held by hand: distance and angle scale a scan by some percent, and the more so at one end."""
    scale, tilt = rng.standard_normal((2, len(reflectance), 1))
    held: Floats = reflectance * np.exp(0.05 * scale + 0.02 * tilt * _place(wavelengths_nm))
    return held


def _soils(wavelengths_nm: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Simulated soils of a seed that the draw gives, (count, bands)."""
    return scanned_soils(wavelengths_nm, count, int(rng.integers(2**31)))[0].astype(np.float64)


def _place(wavelengths_nm: Floats) -> Floats:
    """-1 and 1 at the ends of 350..2500 nm, whatever the grid."""
    return (wavelengths_nm - 1425) / 1075
