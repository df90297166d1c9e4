"""Distortions of scans in absorbance: the effects of another lamp, detector, wavelength axis, distance or surface.

A distortion is a function of absorbance (n, bands), wavelengths in nm (bands,), a strength and a random generator. At
strength 0 it returns the scans unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre
from scipy.interpolate import CubicSpline

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

LEVELS = ("mild", "medium", "strong")
"""Names of the three strengths of a distortion."""

WHITE_REFLECTANCE = 0.95
"""Reflectance of the white standard that `mixture` adds."""
HUMP_CENTRE, HUMP_SD = 0.3, 0.15
"""Centre and SD of `hump`, as fractions of the range of wavelengths."""
LEGENDRE_ORDERS = 5
"""Highest order of the polynomials of `random_shape`."""
FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
KERNEL_SDS, KERNEL_POINTS = 4, 81
"""Half-width in SDs, and number of points, of the Gaussian of `broadening`."""


def position(nm: Floats) -> Floats:
    """Position u of each band (bands,): -1 at the first wavelength, 1 at the last."""
    scaled: Floats = 2 * (nm - nm[0]) / (nm[-1] - nm[0]) - 1
    return scaled


def tilt(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Add strength * u."""
    return absorbance + strength * position(nm)


def parabola(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Add strength * u^2."""
    return absorbance + strength * position(nm) ** 2


def sine(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Add one period of a sine of this amplitude."""
    return absorbance + strength * np.sin(np.pi * (position(nm) + 1))


def hump(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Add a Gaussian of this height."""
    fraction = (position(nm) + 1) / 2
    return absorbance + strength * np.exp(-0.5 * ((fraction - HUMP_CENTRE) / HUMP_SD) ** 2)


def random_shape(absorbance: Floats, nm: Floats, strength: float, rng: Rng) -> Floats:
    """Add to each scan a random sum of Legendre polynomials of orders 1 to 5, with this peak (largest magnitude)."""
    polynomials = legendre.legvander(position(nm), LEGENDRE_ORDERS)[:, 1:]
    shapes = rng.uniform(-1, 1, (len(absorbance), LEGENDRE_ORDERS)) @ polynomials.T
    added: Floats = strength * shapes / np.abs(shapes).max(axis=1, keepdims=True)
    return absorbance + added


def gain(absorbance: Floats, _nm: Floats, strength: float, _: Rng) -> Floats:
    """Multiply by 1 + strength."""
    return absorbance * (1 + strength)


def gain_tilt(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Multiply by 1 + strength * u."""
    return absorbance * (1 + strength * position(nm))


def mixture(absorbance: Floats, _nm: Floats, strength: float, _: Rng) -> Floats:
    """Replace this fraction of the surface by a white standard: a mean of reflectances, as in linear unmixing."""
    mixed: Floats = -np.log10((1 - strength) * 10.0**-absorbance + strength * WHITE_REFLECTANCE)
    return mixed


def offset(absorbance: Floats, _nm: Floats, strength: float, _: Rng) -> Floats:
    """Add the strength to all bands; 0.3 is about half the reflectance."""
    return absorbance + strength


def shift(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Read each band `strength` nm above its wavelength; straight lines continue the scan beyond its ends."""
    return _interpolate(CubicSpline(nm, absorbance, axis=1, bc_type="natural"), nm + strength)


def broadening(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Convolve with a Gaussian of this full width at half maximum, in nm: a weighted mean of shifted scans."""
    distances = np.linspace(-KERNEL_SDS, KERNEL_SDS, KERNEL_POINTS)
    weights = np.exp(-0.5 * distances**2)
    spline = CubicSpline(nm, absorbance, axis=1, bc_type="natural")
    total = np.zeros_like(absorbance)
    for distance, weight in zip(distances, weights / weights.sum(), strict=True):
        total += weight * _interpolate(spline, nm + distance * strength / FWHM_PER_SD)
    return total


def _interpolate(spline: CubicSpline, nm: Floats) -> Floats:
    """Values (n, len(nm)) of natural splines at these wavelengths; beyond the ends, on the tangents there."""
    inside = np.clip(nm, *spline.x[[0, -1]])
    values: Floats = spline(inside) + (nm - inside) * spline(inside, 1)
    return values


def step(absorbance: Floats, nm: Floats, strength: float, _: Rng) -> Floats:
    """Add the strength to the upper half of the range, as where the second detector of an instrument begins."""
    return absorbance + strength * (position(nm) > 0)


def noise(absorbance: Floats, _nm: Floats, strength: float, rng: Rng) -> Floats:
    """Add white noise of this SD, independent for each band."""
    return absorbance + rng.normal(0, strength, absorbance.shape)


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """A distortion at three strengths."""

    name: str
    function: Callable[[Floats, Floats, float, Rng], Floats]
    strengths: tuple[float, float, float]
    """In the order of LEVELS: absorbance, or a fraction, or nm."""
    is_smooth: bool = True
    """Whether the added shape changes slowly over the range."""


SHAPE_STRENGTHS = (0.02, 0.05, 0.1)

DISTORTIONS = (
    Distortion(name="tilt", function=tilt, strengths=SHAPE_STRENGTHS),
    Distortion(name="parabola", function=parabola, strengths=SHAPE_STRENGTHS),
    Distortion(name="sine", function=sine, strengths=SHAPE_STRENGTHS),
    Distortion(name="hump", function=hump, strengths=SHAPE_STRENGTHS),
    Distortion(name="legendre", function=random_shape, strengths=SHAPE_STRENGTHS),
    Distortion(name="gain", function=gain, strengths=(0.1, 0.25, 0.5)),
    Distortion(name="gain", function=gain, strengths=(-0.1, -0.25, -0.5)),
    Distortion(name="gain tilt", function=gain_tilt, strengths=(0.05, 0.1, 0.2)),
    Distortion(name="white", function=mixture, strengths=(0.1, 0.2, 0.3)),
    Distortion(name="offset", function=offset, strengths=(0.02, 0.05, 0.3)),
    Distortion(name="shift (nm)", function=shift, strengths=(1, 3, 10), is_smooth=False),
    Distortion(name="broadening (nm)", function=broadening, strengths=(10, 20, 40), is_smooth=False),
    Distortion(name="step", function=step, strengths=(0.002, 0.005, 0.02), is_smooth=False),
    Distortion(name="noise", function=noise, strengths=(0.0002, 0.0005, 0.002), is_smooth=False),
)
