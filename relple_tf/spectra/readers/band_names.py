"""Names of band columns: the number, its unit and the quantity in a name such as `X1100`, `wn_5400` or `1350_ref`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

RANGE_NM = (350.0, 2600.0)
"""Range of NIR and vis-NIR soil sensors, with silicon to extended InGaAs detectors."""
MINIMUM_BANDS = 10

_NUMBER = r"(?P<number>\d+(?:[.,]\d+)?)"
_NM = r"[ ._]?[(\[]?nm[)\]]?"
_UM = r"[ ._]?[(\[]?(?:um|µm|μm|microns?)[)\]]?"
_PER_CM = r"(?:cm(?:-|\.|\^-|\*\*-|⁻)?[1¹]|1[/.]cm)"
_BAND = re.compile(
    r"(?:(?P<nm>scan_(?:visnir|nir)[._]|nm[ ._]?)|(?P<wavelength>(?:wl|wavelength|lambda)[ ._]?)"
    r"|(?:(?P<stated>reflectance|refl|ref|absorbance|abs)|bands?|spc|spec|spectr(?:a|um)|nir|visnir|x)[ ._]?"
    r"|(?P<letter>[ra])(?=\d{3,4}(?!\d)))?"
    rf"{_NUMBER}(?:(?P<nm_after>{_NM})|(?P<um>{_UM}))?(?:_(?P<quantity>ref|abs))?"
)
_WAVENUMBER = re.compile(
    rf"(?:x?(?:wn|wavenumber|{_PER_CM})[ ._]?{_NUMBER}(?:[ ._]?{_PER_CM})?"
    rf"|x?(?P<alone>\d+(?:[.,]\d+)?)[ ._]?[(\[]?{_PER_CM}[)\]]?)"
)
_QUANTITIES = {"re": "reflectance", "ab": "absorbance", "": ""}


@dataclass(frozen=True, kw_only=True)
class BandName:
    """A column name that contains a wavelength or a wavenumber."""

    number: float
    unit: str
    """`nm`, `um` or `cm-1` if the name states it; `wavelength` after `wl` and the like; else `bare`."""
    quantity: str = ""
    """`reflectance` or `absorbance` if the name declares it."""
    letter: str = ""
    """`r` or `a` of `R1100` and `A1100`: reflectance or absorbance by habit only, so no quantity."""


def band_name(name: str) -> BandName | None:
    """Number and unit of a band column; None for the name of another column.

    Accepted: `1100`, `1100,5`, `X1100`, `X1100.nm`, `band740`, `R1100`, `spectra.1100`, `wl_1100`, `1100 nm`,
    `1.1um`, `spc.400` (LUCAS), `scan_visnir.1350_ref` (OSSL), `wn_5397.9`, `5397.9 cm-1`, `1/cm 5397.9`.
    """
    text = name.strip().lower()
    if match := _WAVENUMBER.fullmatch(text):
        return BandName(number=_number(match["number"] or match["alone"]), unit="cm-1")
    if not (match := _BAND.fullmatch(text)):
        return None
    unit = "nm" if match["nm"] or match["nm_after"] else "um" if match["um"] else ""
    return BandName(
        number=_number(match["number"]),
        unit=unit or ("wavelength" if match["wavelength"] else "bare"),
        quantity=_QUANTITIES[(match["quantity"] or match["stated"] or "")[:2]],
        letter=match["letter"] or "",
    )


def band_names(header: Sequence[str]) -> dict[int, BandName]:
    """Position -> band name; names such as `A1100` count only if there are at least MINIMUM_BANDS of a letter."""
    names = {position: band for position, name in enumerate(header) if (band := band_name(name))}
    letters = [band.letter for band in names.values()]
    return {
        position: band
        for position, band in names.items()
        if not band.letter or letters.count(band.letter) >= MINIMUM_BANDS
    }


def counters(numbers: Sequence[float]) -> tuple[int, int] | None:
    """Start and end of the first run of at least MINIMUM_BANDS whole numbers in similar steps, from below 190.

    No soil sensor starts below 190 nm, where air absorbs.
    """
    start = 0
    for end in range(1, len(numbers) + 1):
        if end < len(numbers):
            step = numbers[end] - numbers[end - 1]
            first = step if end == start + 1 else numbers[start + 1] - numbers[start]
            if step >= 1 and step % 1 == 0 and first / 2 <= step <= 2 * first:
                continue
        if end - start >= MINIMUM_BANDS and numbers[start] < 190 and numbers[start] == int(numbers[start]):
            return start, end - 1
        # The last number of a run may start the next one.
        start = end - 1 if end - start > 1 and end < len(numbers) and numbers[end] > numbers[end - 1] else end
    return None


def monotonic(numbers: Sequence[float]) -> bool:
    """Whether the numbers strictly ascend or strictly descend."""
    pairs = list(pairwise(numbers))
    return all(first < second for first, second in pairs) or all(first > second for first, second in pairs)


def look_like_axis(header: Sequence[str]) -> list[float]:
    """The numbers of the band names, if at least MINIMUM_BANDS of them are in the range of sensors; else empty."""
    names = list(band_names(header).values())
    numbers = [band.number for band in names]
    if counters(numbers):
        return []
    inside = [
        band
        for band in names
        if RANGE_NM[0] <= band.number <= RANGE_NM[1]
        or band.unit in ("cm-1", "um")
        or (band.unit == "bare" and band.number > RANGE_NM[1])
    ]
    return numbers if len(inside) >= MINIMUM_BANDS else []


def _number(text: str) -> float:
    return float(text.replace(",", "."))
