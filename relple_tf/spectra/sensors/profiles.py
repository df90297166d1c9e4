"""Sensor grids: the spectra of a library as another instrument would have measured them."""

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

Floats = npt.NDArray[np.float64]

SPACINGS = ("wavelength", "wavenumber")
"""What is uniform along a grid that is given by its ends: nm, or cm-1 as in Fourier-transform spectrometers."""
POSSIBLE_NM = (100.0, 30_000.0)
"""Ultraviolet to mid-infrared; a profile in micrometres or cm-1 lies outside or is refused by its order."""
MOST_BANDS = 20_000
SAME_NM = 1e-3
"""Two grids that differ by less everywhere are one: band names are often rounded to so much."""

_KEYS = ("host", "source", "quantity", "start_nm", "stop_nm", "count", "spacing", "wavelengths_nm", "fwhm_nm")
_AT = "fwhm_at_nm"
_SIGMAS = 6.0
"""Half-width of the window in which a Gaussian is summed, in its SD: 2e-9 of its area lies outside."""
_FWHM_PER_SD = 2 * math.sqrt(2 * math.log(2))
_ROWS = 1024
"""Spectra that are converted at a time, so that memory does not grow with the library."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensor:
    """An instrument's own grid and resolution."""

    name: str
    """Of the profile, or the path of the file."""
    host: str
    """The instrument, and what carries it."""
    source: str
    """Where grid and resolution come from."""
    quantity: str
    """What the instrument gives out, one of QUANTITIES."""
    wavelengths_nm: Floats
    """(bands,), ascending."""
    fwhm_nm: Floats | None
    """(bands,) full width at half maximum of a band's response; None: not known."""


def profile_names() -> tuple[str, ...]:
    """The profiles of the package, in order."""
    return tuple(sorted(item.name.removesuffix(".toml") for item in _folder().iterdir() if _is_profile(item)))


def read_sensor(name: str) -> Sensor:
    """The profile of that name, or the one in the TOML file of that path.

    A profile has `host`, `source`, `quantity`; the grid as `start_nm`, `stop_nm`, `count` and `spacing` (one of
    SPACINGS; `wavelength` where it is left out), or as `wavelengths_nm`; and the resolution as `fwhm_nm`, one number or
    one for each band, or one for each of the wavelengths in `fwhm_at_nm`, with straight lines between and the outer
    values beyond. Without `fwhm_nm` the resolution is not known.

    Raises:
        InputError: there is no such profile or file, or a key of it is unknown, missing or impossible.
    """
    known = profile_names()
    place: Traversable = _folder().joinpath(f"{name}.toml") if name in known else Path(name).expanduser()
    if not place.is_file():
        raise InputError(
            f"data.sensor: no profile and no file {name!r}; profiles are {', '.join(known)}; any other sensor is the "
            "path of a TOML file with start_nm, stop_nm, count, fwhm_nm, quantity, host, source"
        )
    return _Profile(str(place), read_toml(place, "give a profile that can be read")).sensor(name)


def on_sensor(library: SpectralLibrary, sensor: Sensor, start_nm: float = 0.0, stop_nm: float = 0.0) -> SpectralLibrary:
    """The library as `sensor` would have measured it: its bands, its resolution, its quantity.

    A band averages light, so Gaussians of the sensor's FWHM are laid over reflectance, also where library and sensor
    hold absorbance: the mean of a logarithm is not the logarithm of the mean. Where the library's own resolution is
    known, because its grid is that of a profile, Gaussians have the difference in quadrature,
    sqrt(FWHM_sensor^2 - FWHM_library^2), and none where the library is the coarser one, whose detail nothing brings
    back. Elsewhere the library's resolution is taken as 0, so the result is a little coarser than the sensor. Beyond
    the library's ends, its last values count on.

    Args:
        start_nm, stop_nm: Only the sensor's bands in between, which are all that the model then reads of a scan; 0 is
            the sensor's own end.

    Raises:
        InputError: the library does not cover the sensor's bands in that range.
    """
    inside = (sensor.wavelengths_nm >= start_nm - 1e-6) & (sensor.wavelengths_nm <= (stop_nm or np.inf) + 1e-6)
    own_nm, wanted_nm = library.wavelengths_nm, sensor.wavelengths_nm[inside]
    _check_cover(library, sensor, wanted_nm, start_nm, stop_nm)
    own = _same_grid(own_nm)
    fwhm_nm, how = _missing_fwhm(sensor, inside, own_nm, own)
    turned = "" if library.quantity == sensor.quantity else f" turned from {library.quantity}"
    notes = (
        f"sensor {sensor.name}: {len(wanted_nm)} of its {len(sensor.wavelengths_nm)} bands, "
        f"{wanted_nm[0]:g}..{wanted_nm[-1]:g} nm, {sensor.quantity}{turned}; {sensor.host}",
        how,
    )
    same_nm = len(own_nm) == len(wanted_nm) and np.abs(own_nm - wanted_nm).max() < SAME_NM
    unchanged = same_nm and not fwhm_nm.any()
    if unchanged and library.quantity == sensor.quantity:
        spectra = library.spectra
    else:
        weights = None if unchanged else band_weights(own_nm, wanted_nm, fwhm_nm)
        blocks = [library.spectra[row : row + _ROWS] for row in range(0, len(library), _ROWS)]
        spectra = np.concatenate([_seen(block, library.quantity, sensor.quantity, weights) for block in blocks])
    return replace(
        library,
        spectra=spectra,
        wavelengths_nm=wanted_nm,
        quantity=sensor.quantity,
        notes=(*library.notes, *notes),
    ).checked()


def band_weights(own_nm: Floats, wanted_nm: Floats, fwhm_nm: Floats) -> csr_array:
    """What each band of a sensor takes from each band of a library.

    A spectrum is the polygon through its values, and a sensor's band the integral of polygon times Gaussian, in closed
    form: with R(a) = E max(X - a, 0) for X normal around the band, the hat of library band j has the weight
    (R_j-1 - R_j) / (nm_j - nm_j-1) - (R_j - R_j+1) / (nm_j+1 - nm_j). So any grids go together, constants stay
    constant everywhere, straight lines straight away from the ends, and FWHM 0 is linear interpolation.

    Args:
        own_nm: (m,) ascending wavelengths of the library; beyond its ends the last values count on.
        wanted_nm: (bands,) centres of the sensor's bands.
        fwhm_nm: (bands,) full widths at half maximum, 0 or more.

    Returns:
        (bands, m), no weight below 0, rows that sum to 1.
    """
    columns, values, ends = [], [], [0]
    for centre, sd in zip(wanted_nm, fwhm_nm / _FWHM_PER_SD, strict=True):
        first = max(int(np.searchsorted(own_nm, centre - _SIGMAS * sd, side="right")) - 1, 0)
        last = min(int(np.searchsorted(own_nm, centre + _SIGMAS * sd)), len(own_nm) - 1)
        above = centre - own_nm[first : last + 1]
        if sd > 0:
            density = np.exp(-0.5 * (above / sd) ** 2) / math.sqrt(2 * math.pi)
            mean_above = above * ndtr(above / sd) + sd * density
        else:
            mean_above = np.maximum(above, 0.0)
        # Share of the Gaussian that lies right of a place in the gap, averaged over the gap.
        right = np.concatenate([[1.0], np.diff(mean_above) / np.diff(above), [0.0]])
        weights = np.maximum(right[:-1] - right[1:], 0.0)
        columns.append(np.arange(first, last + 1))
        values.append(weights / weights.sum())
        ends.append(ends[-1] + len(weights))
    return csr_array(
        (np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=(len(wanted_nm), len(own_nm))
    )


def _seen(
    spectra: npt.NDArray[np.float32], quantity: str, wanted: str, weights: csr_array | None
) -> npt.NDArray[np.float32]:
    """(n, m) in `quantity` -> (n, bands) in `wanted`; averaged as reflectance, where there is anything to average."""
    light = spectra.astype(np.float64)
    if quantity == "absorbance":
        light = 10.0**-light
    if weights is not None:
        light = (weights @ light.T).T
    if wanted == "absorbance":
        light = -np.log10(np.maximum(light, REFLECTANCE_FLOOR))
    return light.astype(np.float32)


def _check_cover(library: SpectralLibrary, sensor: Sensor, wanted_nm: Floats, start_nm: float, stop_nm: float) -> None:
    """Refuse bands that nothing can be learned about, and name the way out."""
    low, high = float(library.wavelengths_nm[0]), float(library.wavelengths_nm[-1])
    first, last = sensor.wavelengths_nm[[0, -1]]
    common = sensor.wavelengths_nm[(sensor.wavelengths_nm >= low - 1e-6) & (sensor.wavelengths_nm <= high + 1e-6)]
    ranges = f"sensor {sensor.name} covers {first:g}..{last:g} nm, {library.source} {low:g}..{high:g} nm"
    if len(common) < 2:
        raise InputError(f"{ranges}: too little in common; train on a library that was scanned over the sensor's range")
    if len(wanted_nm) < 2:
        raise InputError(
            f"{ranges}: front_end.start_nm={start_nm:g} and stop_nm={stop_nm:g} leave {len(wanted_nm)} of its bands; "
            "widen them"
        )
    if wanted_nm[0] < low - 1e-6 or wanted_nm[-1] > high + 1e-6:
        ways = []
        if wanted_nm[0] < low - 1e-6:
            ways.append(f"--set front_end.start_nm={math.ceil(low * 10) / 10:g}")
        if wanted_nm[-1] > high + 1e-6:
            ways.append(f"--set front_end.stop_nm={math.floor(high * 10) / 10:g}")
        raise InputError(
            f"{ranges}: what was not scanned cannot be learned; {' '.join(ways)} models the sensor's bands in common"
        )


def _missing_fwhm(
    sensor: Sensor, inside: npt.NDArray[np.bool_], own_nm: Floats, own: Sensor | None
) -> tuple[Floats, str]:
    """(bands,) FWHM of the Gaussians that make the library as coarse as the sensor, and what was taken for granted."""
    wanted_nm = sensor.wavelengths_nm[inside]
    if sensor.fwhm_nm is None:
        return np.zeros(len(wanted_nm)), (
            f"sensor {sensor.name}: its resolution is not known, so the spectra were interpolated and keep their own"
        )
    wanted = sensor.fwhm_nm[inside]
    if own is None or own.fwhm_nm is None:
        return wanted, (
            f"the spectra were averaged, as reflectance, by Gaussians of {_span(wanted)} nm FWHM; the library's own "
            "resolution is not known and was taken as 0"
        )
    before = np.interp(wanted_nm, own_nm, own.fwhm_nm)
    missing = np.sqrt(np.maximum(wanted**2 - before**2, 0.0))
    note = f"the library's grid is that of sensor {own.name}, so its resolution was taken as {_span(before)} nm FWHM"
    if missing.any():
        note += (
            f", and averaged, as reflectance, by Gaussians of {_span(missing)} nm to the sensor's {_span(wanted)} nm"
        )
    if coarser := int(np.sum(before > wanted)):
        note += f"; {coarser} bands stay coarser than the sensor's"
    return missing, note


def _span(values_nm: Floats) -> str:
    low, high = f"{values_nm.min():.3g}", f"{values_nm.max():.3g}"
    return low if low == high else f"{low}..{high}"


def _same_grid(wavelengths_nm: Floats) -> Sensor | None:
    """The profile of the package whose grid this is."""
    for sensor in map(read_sensor, profile_names()):
        grid = sensor.wavelengths_nm
        if len(grid) == len(wavelengths_nm) and np.abs(grid - wavelengths_nm).max() < SAME_NM:
            return sensor
    return None


def _folder() -> Traversable:
    return resources.files("relple_tf.spectra.sensors")


def _is_profile(item: Traversable) -> bool:
    return item.name.endswith(".toml")


class _Profile:
    """The table of a profile, read key by key; every refusal names file and key."""

    def __init__(self, place: str, table: dict[str, Any]) -> None:
        self.place, self.table = place, table

    def sensor(self, name: str) -> Sensor:
        if unknown := [key for key in self.table if key not in (*_KEYS, _AT)]:
            raise self.refusal(unknown[0], f"is unknown; a profile has {', '.join((*_KEYS, _AT))}")
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
                raise self.refusal(by_ends[0], "stands beside wavelengths_nm; keep one of the two")
            listed = self.numbers("wavelengths_nm", self.possible)
            if len(listed) < 2 or np.any(np.diff(listed) <= 0):
                raise self.refusal("wavelengths_nm", "must hold at least 2 wavelengths, strictly ascending")
            return listed
        start, stop = (self.number(key, self.given(key), self.possible) for key in ("start_nm", "stop_nm"))
        if stop <= start:
            raise self.refusal("stop_nm", f"must lie above start_nm {start:g}, got {stop:g}")
        count = self.given("count")
        if type(count) is not int or not 2 <= count <= MOST_BANDS:
            raise self.refusal("count", f"must be a whole number from 2 to {MOST_BANDS}, got {count!r}")
        if self.text("spacing", SPACINGS, "wavelength") == "wavelength":
            return np.linspace(start, stop, count)
        per_cm = np.linspace(1e7 / start, 1e7 / stop, count)
        return 1e7 / per_cm

    def fwhm(self, wavelengths_nm: Floats) -> Floats | None:
        """(bands,); None where the profile does not say."""
        if "fwhm_nm" not in self.table:
            if _AT in self.table:
                raise self.refusal(_AT, "stands without fwhm_nm")
            return None
        if not isinstance(self.table["fwhm_nm"], list):
            if _AT in self.table:
                raise self.refusal(_AT, "needs fwhm_nm as a list, one number for each of its wavelengths")
            return np.full(len(wavelengths_nm), self.number("fwhm_nm", self.table["fwhm_nm"], self.width))
        widths, places = self.numbers("fwhm_nm", self.width), wavelengths_nm
        if _AT in self.table:
            places = self.numbers(_AT, self.possible)
            if np.any(np.diff(places) <= 0):
                raise self.refusal(_AT, "must be strictly ascending")
        if len(widths) != len(places) or not len(widths):
            raise self.refusal("fwhm_nm", f"has {len(widths)} numbers for {len(places)} wavelengths")
        return np.interp(wavelengths_nm, places, widths)

    def given(self, key: str) -> Any:
        if key not in self.table:
            raise self.refusal(key, "is missing")
        return self.table[key]

    def text(self, key: str, known: tuple[str, ...] = (), default: str = "") -> str:
        value = self.table.get(key, default) if default else self.given(key)
        if not isinstance(value, str) or not value.strip() or (known and value not in known):
            wanted = f"is one of {', '.join(known)}" if known else "is a text that is not empty"
            raise self.refusal(key, f"{wanted}; got {value!r}")
        return value

    def numbers(self, key: str, check: Callable[[float], str]) -> Floats:
        values = self.given(key)
        if not isinstance(values, list):
            raise self.refusal(key, f"must be a list of numbers, got {values!r}")
        return np.array([self.number(key, value, check) for value in values], dtype=np.float64)

    def number(self, key: str, value: object, check: Callable[[float], str]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(key, f"must be a number, got {value!r}")
        if wrong := check(float(value)):
            raise self.refusal(key, f"{wrong}, got {value:g}")
        return float(value)

    @staticmethod
    def possible(value: float) -> str:
        low, high = POSSIBLE_NM
        return "" if low <= value <= high else f"must be a wavelength in nm, {low:g}..{high:g}"

    @staticmethod
    def width(value: float) -> str:
        return "" if 0 < value <= 1000 else "must be a width in nm, above 0 and at most 1000"

    def refusal(self, key: str, what: str) -> InputError:
        return InputError(f"{self.place}: {key} {what}")
