"""Sensor profiles, and conversion of a library to the grid and resolution of a sensor."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import ndtr

from relple_tf.config_text import read_toml
from relple_tf.errors import InputError
from relple_tf.spectra.library import QUANTITIES, REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.range_ends import SAME_NM, end_tolerance_nm, held_ends, missed_ends, nm_text

Floats = npt.NDArray[np.float64]

SPACINGS = ("wavelength", "wavenumber")
"""Uniform quantity of a grid given by its ends: nm, or cm-1 as in Fourier-transform spectrometers."""
POSSIBLE_NM = (100.0, 30_000.0)
"""Ultraviolet to mid-infrared; a profile in micrometres or cm-1 is out of range or not ascending."""
MOST_BANDS = 20_000

_KEYS = ("host", "source", "quantity", "start_nm", "stop_nm", "count", "spacing", "wavelengths_nm", "fwhm_nm")
_AT = "fwhm_at_nm"
_SIGMAS = 6.0
"""Half-width of the window in which a Gaussian is summed, in units of its SD: 2e-9 of its area lies outside."""
_FWHM_PER_SD = 2 * math.sqrt(2 * math.log(2))
_ROWS = 1024
"""Spectra converted at a time, so that memory does not grow with the library."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensor:
    """Grid, resolution and quantity of an instrument."""

    name: str
    """Name of the profile, or path of the file."""
    host: str
    """The instrument or device."""
    source: str
    """Reference for grid and resolution."""
    quantity: str
    """Quantity of the exported spectra, one of QUANTITIES."""
    wavelengths_nm: Floats
    """(bands,), ascending."""
    fwhm_nm: Floats | None
    """(bands,) full width at half maximum of the response of a band, in nm; None: unknown."""


def profile_names() -> tuple[str, ...]:
    """Names of the profiles of the package, sorted."""
    return tuple(sorted(item.name.removesuffix(".toml") for item in _folder().iterdir() if _is_profile(item)))


def read_sensor(name: str) -> Sensor:
    """Read a profile of the package by name, or a TOML file by its path.

    Keys of a profile: `host`, `source`, `quantity`; the grid as `start_nm`, `stop_nm`, `count` and `spacing` (one of
    SPACINGS, default `wavelength`), or as `wavelengths_nm`; the resolution as `fwhm_nm`, either a single number, a list
    with a number for each band, or a list with a number for each wavelength in `fwhm_at_nm` (linear interpolation
    between these wavelengths, constant beyond). Without `fwhm_nm` the resolution is unknown.

    Raises:
        InputError: the profile or file does not exist, or a key is unknown, missing or impossible.
    """
    names = profile_names()
    path: Traversable = _folder().joinpath(f"{name}.toml") if name in names else Path(name).expanduser()
    if not path.is_file():
        raise InputError(
            f"data.sensor: no profile and no file {name!r}; profiles are {', '.join(names)}; for any other sensor, "
            "give the path of a TOML file with start_nm, stop_nm, count, fwhm_nm, quantity, host, source"
        )
    return _Profile(str(path), read_toml(path, "give a profile that can be read")).sensor(name)


def on_sensor(library: SpectralLibrary, sensor: Sensor, start_nm: float = 0.0, stop_nm: float = 0.0) -> SpectralLibrary:
    """Convert a library to the bands, the resolution and the quantity of `sensor`.

    A sensor band averages light. So the spectra are convolved with Gaussians as reflectance, also where library and
    sensor hold absorbance: the mean of a logarithm is not the logarithm of the mean. If the library has the grid of a
    profile with known resolution, the FWHM of the Gaussians is sqrt(FWHM_sensor^2 - FWHM_library^2), and 0 where the
    library is coarser than the sensor, because lost detail cannot be restored. Otherwise the resolution of the library
    is taken as 0, so the result is slightly coarser than the sensor. Beyond the ends of the library, its first and
    last values are held; there, a sensor band may lie beyond by the larger spacing of sensor and library at this end.

    Args:
        start_nm, stop_nm: Range of the sensor bands to keep, the only bands that the model then reads from a scan; 0 is
            the end of the range of the sensor.

    Raises:
        InputError: the library does not cover the bands of the sensor in this range.
    """
    inside = (sensor.wavelengths_nm >= start_nm - SAME_NM) & (sensor.wavelengths_nm <= (stop_nm or np.inf) + SAME_NM)
    library_nm, sensor_nm = library.wavelengths_nm, sensor.wavelengths_nm[inside]
    _check_cover(library, sensor, sensor_nm, start_nm, stop_nm)
    fwhm_nm, resolution_note = _missing_fwhm(sensor, inside, _same_grid(library_nm))
    converted = "" if library.quantity == sensor.quantity else f" converted from {library.quantity}"
    notes = (
        f"sensor {sensor.name}: {len(sensor_nm)} of its {len(sensor.wavelengths_nm)} bands, "
        f"{sensor_nm[0]:g}..{sensor_nm[-1]:g} nm, {sensor.quantity}{converted}; {sensor.host}",
        *held_ends(library_nm, sensor_nm, f"sensor {sensor.name}"),
        resolution_note,
    )
    same_nm = len(library_nm) == len(sensor_nm) and np.abs(library_nm - sensor_nm).max() < SAME_NM
    unchanged = same_nm and not fwhm_nm.any()
    if unchanged and library.quantity == sensor.quantity:
        spectra = library.spectra
    else:
        weights = None if unchanged else band_weights(library_nm, sensor_nm, fwhm_nm)
        blocks = [library.spectra[row : row + _ROWS] for row in range(0, len(library), _ROWS)]
        spectra = np.concatenate([_convert(block, library.quantity, sensor.quantity, weights) for block in blocks])
    return replace(
        library,
        spectra=spectra,
        wavelengths_nm=sensor_nm,
        quantity=sensor.quantity,
        notes=(*library.notes, *notes),
    ).checked()


def band_weights(library_nm: Floats, sensor_nm: Floats, fwhm_nm: Floats) -> csr_array:
    """Weight of each library band in each sensor band.

    A spectrum is the piecewise linear function through its values, and a sensor band is the integral of this function
    times a Gaussian, in closed form: with R(a) = E max(X - a, 0) for X normal around the band, the hat function of
    library band j has the weight (R_j-1 - R_j) / (nm_j - nm_j-1) - (R_j - R_j+1) / (nm_j+1 - nm_j). So any two grids
    can be combined, constants are preserved everywhere, straight lines are preserved away from the ends, and FWHM 0 is
    linear interpolation.

    Args:
        library_nm: (m,) ascending wavelengths of the library; the first and last values continue beyond the ends.
        sensor_nm: (bands,) centres of the sensor bands.
        fwhm_nm: (bands,) full widths at half maximum, 0 or more.

    Returns:
        (bands, m), weights of 0 or more, rows that sum to 1.
    """
    columns, values, ends = [], [], [0]
    for centre, sd in zip(sensor_nm, fwhm_nm / _FWHM_PER_SD, strict=True):
        first = max(int(np.searchsorted(library_nm, centre - _SIGMAS * sd, side="right")) - 1, 0)
        last = min(int(np.searchsorted(library_nm, centre + _SIGMAS * sd)), len(library_nm) - 1)
        above = centre - library_nm[first : last + 1]
        if sd > 0:
            density = np.exp(-0.5 * (above / sd) ** 2) / math.sqrt(2 * math.pi)
            mean_above = above * ndtr(above / sd) + sd * density
        else:
            mean_above = np.maximum(above, 0.0)
        # Fraction of the Gaussian to the right of a wavelength in the gap, averaged over the gap.
        right = np.concatenate([[1.0], np.diff(mean_above) / np.diff(above), [0.0]])
        weights = np.maximum(right[:-1] - right[1:], 0.0)
        columns.append(np.arange(first, last + 1))
        values.append(weights / weights.sum())
        ends.append(ends[-1] + len(weights))
    return csr_array(
        (np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=(len(sensor_nm), len(library_nm))
    )


def _convert(
    spectra: npt.NDArray[np.float32], quantity: str, wanted: str, weights: csr_array | None
) -> npt.NDArray[np.float32]:
    """(n, m) in `quantity` -> (n, bands) in `wanted`; with `weights`, bands are averaged as reflectance."""
    light = spectra.astype(np.float64)
    if quantity == "absorbance":
        light = 10.0**-light
    if weights is not None:
        light = (weights @ light.T).T
    if wanted == "absorbance":
        light = -np.log10(np.maximum(light, REFLECTANCE_FLOOR))
    return light.astype(np.float32)


def _check_cover(library: SpectralLibrary, sensor: Sensor, sensor_nm: Floats, start_nm: float, stop_nm: float) -> None:
    """Raise InputError if the library does not cover the sensor bands; the message names the remedy."""
    low, high = library.wavelengths_nm[[0, -1]]
    first, last = sensor.wavelengths_nm[[0, -1]]
    ranges = (
        f"sensor {sensor.name} covers {nm_text(first)}..{nm_text(last)} nm, {library.source} "
        f"{nm_text(low)}..{nm_text(high)} nm"
    )
    if np.sum((sensor.wavelengths_nm >= low - SAME_NM) & (sensor.wavelengths_nm <= high + SAME_NM)) < 2:
        raise InputError(
            f"{ranges}: the ranges do not overlap enough; train on a library that covers the range of the sensor"
        )
    if len(sensor_nm) < 2:
        raise InputError(
            f"{ranges}: front_end.start_nm={start_nm:g} and stop_nm={stop_nm:g} leave {len(sensor_nm)} of its bands; "
            "widen the range"
        )
    tolerance_nm = end_tolerance_nm(sensor_nm, library.wavelengths_nm)
    if missed := missed_ends(library.wavelengths_nm, sensor_nm, tolerance_nm):
        options = []
        if sensor_nm[0] < low - tolerance_nm[0] - SAME_NM:
            options.append(f"--set front_end.start_nm={math.ceil(low * 10) / 10:g}")
        if sensor_nm[-1] > high + tolerance_nm[1] + SAME_NM:
            options.append(f"--set front_end.stop_nm={math.floor(high * 10) / 10:g}")
        raise InputError(f"{ranges}: the library misses {missed}; use {' '.join(options)} to model the common bands")


def _missing_fwhm(sensor: Sensor, inside: npt.NDArray[np.bool_], library_sensor: Sensor | None) -> tuple[Floats, str]:
    """(bands,) FWHM of the Gaussians that reduce the library to the resolution of the sensor, and a note."""
    sensor_nm = sensor.wavelengths_nm[inside]
    if sensor.fwhm_nm is None:
        return np.zeros(len(sensor_nm)), (
            f"sensor {sensor.name}: its resolution is unknown, so the spectra were only interpolated"
        )
    wanted = sensor.fwhm_nm[inside]
    if library_sensor is None or library_sensor.fwhm_nm is None:
        return wanted, (
            f"the spectra were averaged, as reflectance, by Gaussians of {_span(wanted)} nm FWHM; the resolution of "
            "the library is unknown and was taken as 0"
        )
    before = np.interp(sensor_nm, library_sensor.wavelengths_nm, library_sensor.fwhm_nm)
    missing = np.sqrt(np.maximum(wanted**2 - before**2, 0.0))
    note = (
        f"the library has the grid of sensor {library_sensor.name}, so its resolution was taken as {_span(before)} nm "
        "FWHM"
    )
    if missing.any():
        note += (
            f", and reduced, as reflectance, by Gaussians of {_span(missing)} nm to {_span(wanted)} nm, the sensor's"
        )
    if coarser := int(np.sum(before > wanted)):
        note += f"; {coarser} bands stay coarser than those of the sensor"
    return missing, note


def _span(values_nm: Floats) -> str:
    low, high = f"{values_nm.min():.3g}", f"{values_nm.max():.3g}"
    return low if low == high else f"{low}..{high}"


def _same_grid(wavelengths_nm: Floats) -> Sensor | None:
    """The profile of the package with these bands, each within half of the local spacing; None if there is none.

    Single devices differ in their calibration by a fraction of a band. The number of bands and both ends must agree, so
    another instrument is unlikely, and only the known resolution depends on the result.
    """
    for sensor in map(read_sensor, profile_names()):
        grid = sensor.wavelengths_nm
        if len(grid) == len(wavelengths_nm) and np.all(np.abs(grid - wavelengths_nm) <= np.gradient(grid) / 2):
            return sensor
    return None


def _folder() -> Traversable:
    return resources.files("relple_tf.spectra.sensors")


def _is_profile(item: Traversable) -> bool:
    return item.name.endswith(".toml")


class _Profile:
    """The TOML table of a profile, read key by key; every error names file and key."""

    def __init__(self, path: str, table: dict[str, Any]) -> None:
        self.path, self.table = path, table

    def sensor(self, name: str) -> Sensor:
        if unknown := [key for key in self.table if key not in (*_KEYS, _AT)]:
            raise self.error(unknown[0], f"is unknown; the keys of a profile are {', '.join((*_KEYS, _AT))}")
        wavelengths_nm = self.grid()
        return Sensor(
            name=name,
            host=self.text("host"),
            source=self.text("source"),
            quantity=self.text("quantity", QUANTITIES),
            wavelengths_nm=wavelengths_nm,
            fwhm_nm=self.fwhm(wavelengths_nm),
        )

    def grid(self) -> Floats:
        """(bands,) ascending wavelengths."""
        by_ends = [key for key in ("start_nm", "stop_nm", "count", "spacing") if key in self.table]
        if "wavelengths_nm" in self.table:
            if by_ends:
                raise self.error(by_ends[0], "conflicts with wavelengths_nm; remove either")
            listed = self.numbers("wavelengths_nm", self.possible)
            if len(listed) < 2 or np.any(np.diff(listed) <= 0):
                raise self.error("wavelengths_nm", "must hold at least 2 wavelengths, strictly ascending")
            return listed
        start, stop = (self.number(key, self.given(key), self.possible) for key in ("start_nm", "stop_nm"))
        if stop <= start:
            raise self.error("stop_nm", f"must be above start_nm {start:g}, got {stop:g}")
        count = self.given("count")
        if type(count) is not int or not 2 <= count <= MOST_BANDS:
            raise self.error("count", f"must be a whole number from 2 to {MOST_BANDS}, got {count!r}")
        if self.text("spacing", SPACINGS, "wavelength") == "wavelength":
            return np.linspace(start, stop, count)
        per_cm = np.linspace(1e7 / start, 1e7 / stop, count)
        return 1e7 / per_cm

    def fwhm(self, wavelengths_nm: Floats) -> Floats | None:
        """(bands,) FWHM in nm; None if the profile has none."""
        if "fwhm_nm" not in self.table:
            if _AT in self.table:
                raise self.error(_AT, "needs fwhm_nm, which is missing")
            return None
        if not isinstance(self.table["fwhm_nm"], list):
            if _AT in self.table:
                raise self.error(_AT, "needs fwhm_nm as a list with a number for each of its wavelengths")
            return np.full(len(wavelengths_nm), self.number("fwhm_nm", self.table["fwhm_nm"], self.width))
        widths, centres = self.numbers("fwhm_nm", self.width), wavelengths_nm
        if _AT in self.table:
            centres = self.numbers(_AT, self.possible)
            if np.any(np.diff(centres) <= 0):
                raise self.error(_AT, "must be strictly ascending")
        if len(widths) != len(centres) or not len(widths):
            raise self.error("fwhm_nm", f"has {len(widths)} numbers for {len(centres)} wavelengths")
        return np.interp(wavelengths_nm, centres, widths)

    def given(self, key: str) -> Any:
        if key not in self.table:
            raise self.error(key, "is missing")
        return self.table[key]

    def text(self, key: str, allowed: tuple[str, ...] = (), default: str = "") -> str:
        value = self.table.get(key, default) if default else self.given(key)
        if not isinstance(value, str) or not value.strip() or (allowed and value not in allowed):
            expected = " or ".join(allowed) if allowed else "a text that is not empty"
            raise self.error(key, f"must be {expected}, got {value!r}")
        return value

    def numbers(self, key: str, check: Callable[[float], str]) -> Floats:
        values = self.given(key)
        if not isinstance(values, list):
            raise self.error(key, f"must be a list of numbers, got {values!r}")
        return np.array([self.number(key, value, check) for value in values], dtype=np.float64)

    def number(self, key: str, value: object, check: Callable[[float], str]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, got {value!r}")
        if failure := check(float(value)):
            raise self.error(key, f"{failure}, got {value:g}")
        return float(value)

    @staticmethod
    def possible(value: float) -> str:
        low, high = POSSIBLE_NM
        return "" if low <= value <= high else f"must be a wavelength in nm, {low:g}..{high:g}"

    @staticmethod
    def width(value: float) -> str:
        return "" if 0 < value <= 1000 else "must be a width in nm, above 0 and at most 1000"

    def error(self, key: str, description: str) -> InputError:
        return InputError(f"{self.path}: {key} {description}")
