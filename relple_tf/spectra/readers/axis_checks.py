"""Refuse columns whose names cannot be the wavelengths of a sensor."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM, BandName, counters, monotonic
from relple_tf.spectra.readers.table_file import quoted

Numbers = npt.NDArray[np.float64]

AMBIGUOUS_ORDER = (
    "the band names descend from {highest:g} to {lowest:g} without a unit, so they may be wavelengths in nm or "
    "wavenumbers in cm-1, and the spectra do not show which; rename the columns: 1100nm for nm, wn_5400 for cm-1"
)
"""Message for a table with `BandColumns.ambiguous_order` in which no water band proves nm."""

_MICROMETRES = (0.3, 3.0)
_TWIN_NM = 0.11
"""Distance of the bands of a second block: pandas renames the second `1300` to `1300.1`."""
_COUNTED = re.compile(r"(v|var|variable|f|feature|col|column|b|c|ch|channel|pixel|p|pc|unnamed:)[ ._]?(\d+)")
_RENAMED = re.compile(r"(.+)\.[1-9]")
_YEARS = (1900, 2100)


def refuse_band_numbers(source: str, header: Sequence[str], names: Mapping[int, BandName]) -> None:
    """Raise InputError for band numbers (1..n, X1..Xn, V1..Vn) in place of wavelengths.

    Args:
        source: Name of the table, for messages.
        header: Column names.
        names: Position -> band name.
    """
    unstated = [position for position, band in names.items() if band.unit in ("bare", "wavelength")]
    inside = [position for position, band in names.items() if RANGE_NM[0] <= _nm(band) <= RANGE_NM[1]]
    run = counters([names[position].number for position in unstated])
    # A few numbered columns beside real bands (`1` to `12`, then `1100`, `1102`) are not the spectrum.
    if run and (len(inside) < MINIMUM_BANDS or names[unstated[run[1]]].number >= RANGE_NM[0]):
        _refuse_counters(source, header[unstated[run[0]]], header[unstated[run[1]]])
    if len(inside) < MINIMUM_BANDS:
        counted = [(name, match) for name in header if (match := _COUNTED.fullmatch(name.strip().lower()))]
        if run := counters([float(match[2]) for _, match in counted]):
            _refuse_counters(source, counted[run[0]][0], counted[run[1]][0])


def refuse_micrometres(source: str, header: Sequence[str], names: Mapping[int, BandName]) -> None:
    """Raise InputError for numbers that are micrometres, but do not state it."""
    positions = [position for position, band in names.items() if band.unit in ("bare", "wavelength")]
    small = [position for position in positions if _MICROMETRES[0] <= names[position].number <= _MICROMETRES[1]]
    if len(small) < MINIMUM_BANDS or not monotonic([names[position].number for position in small]):
        return
    if any(names[position].number >= RANGE_NM[0] for position in positions):
        return
    first, last = header[small[0]], header[small[-1]]
    if all(re.search(r"\d,\d{3}$", header[position]) for position in small):
        raise InputError(
            f"{source}: band columns {quoted(first)} to {quoted(last)} are micrometres with a decimal comma, or nm "
            "with a thousands separator; rename them: 1100 for nm, 1.1um for micrometres"
        )
    raise InputError(
        f"{source}: band columns {quoted(first)} to {quoted(last)} look like micrometres; rename them by the "
        "wavelength in nm (1100), or state the unit (1.1um)"
    )


def refuse_twins(source: str, header: Sequence[str], ordered: Sequence[int], nm: Sequence[float]) -> None:
    """Raise InputError for a second block of the same bands.

    Args:
        source: Name of the table, for messages.
        header: Column names.
        ordered: Positions of the bands, by ascending wavelength.
        nm: Their wavelengths, strictly ascending.
    """
    columns = {name: position for position, name in enumerate(header) if name}
    bands = {header[position] for position in ordered}
    renamed = [(match[1], name) for name in columns if (match := _RENAMED.fullmatch(name)) and match[1] in bands]
    # `1300.5` beside `1300` is a grid of half nm; `.1` (and `.2`, of a third block) beside whole numbers only is not.
    fractions = {f"{value:.6f}".partition(".")[2].rstrip("0") for value in nm}
    decimals = {name for _, name in renamed if name in bands}
    of_decimals = [(base, name) for base, name in renamed if name not in bands]
    if decimals and fractions <= {"", "1", "2"} and len(decimals) == sum(_fraction(value) for value in nm):
        of_decimals += [pair for pair in renamed if pair[1] in decimals]
    if of_decimals:
        _refuse_twin(source, *of_decimals[0], len(of_decimals))
    gaps = np.diff(nm, prepend=-np.inf, append=np.inf)
    close = (gaps[1:-1] <= _TWIN_NM + 1e-6) & (np.minimum(gaps[:-2], gaps[2:]) > 2 * gaps[1:-1])
    if close.sum() >= MINIMUM_BANDS:
        first = int(np.argmax(close))
        _refuse_twin(source, header[ordered[first]], header[ordered[first + 1]], int(close.sum()))


def refuse_stray_number(
    source: str, header: Sequence[str], names: Mapping[int, BandName], inside: Sequence[int]
) -> None:
    """Raise InputError for another column whose name is a number, such as the year `2022`, among bands in equal steps.

    Args:
        source: Name of the table, for messages.
        header: Column names.
        names: Position -> band name.
        inside: Positions of the bands within RANGE_NM, in the order of the header.
    """
    if len(inside) <= MINIMUM_BANDS or any(names[position].unit != "bare" for position in inside):
        return
    numbers = np.array([names[position].number for position in inside])
    for index in _suspects(numbers, inside):
        position, rest = inside[index], np.delete(numbers, index)
        if not (header[position].isdecimal() and monotonic(rest.tolist())):
            continue
        ascending, number = np.sort(rest), numbers[index]
        step = float(np.median(np.diff(ascending)))
        if not _in_steps(np.diff(ascending), step):
            continue
        within = ascending[0] < number < ascending[-1]
        alone = position - 1 not in inside and position + 1 not in inside
        off_step = within and not _in_steps(np.array([number - ascending[0]]), step)
        if off_step or not monotonic(numbers.tolist()) or (alone and _YEARS[0] <= number <= _YEARS[1]):
            raise InputError(
                f"{source}: column {quoted(header[position])} is not a band of the other {len(rest)}, which run from "
                f"{ascending[0]:g} to {ascending[-1]:g} nm in steps of {step:g} nm; if it is not a band, add a word to "
                "its name; if it is one, place it in order and name it with its unit (1100nm)"
            )


def _suspects(numbers: Numbers, inside: Sequence[int]) -> list[int]:
    """Indices of the few bands that can be strays: beside an irregular step, out of order, or apart from the others."""
    order = np.argsort(numbers)
    steps = np.diff(numbers[order])
    step = float(np.median(steps))
    irregular = [index for index, value in enumerate(steps) if not _in_steps(np.array([value]), step)]
    suspects = {int(order[index + side]) for index in irregular for side in (0, 1)}
    signs = np.sign(np.diff(numbers))
    turns = np.flatnonzero(signs != np.sign(signs.sum() or 1))
    suspects |= {int(index) + side for index in turns for side in (0, 1)}
    positions = np.array(inside)
    apart = np.diff(positions, prepend=-2) > 1
    suspects |= {int(index) for index in np.flatnonzero(apart & np.append(apart[1:], True))}
    return sorted(suspects) if len(suspects) <= 8 else []


def _in_steps(differences: Numbers, step: float) -> bool:
    """Whether all differences are multiples of the step; a missing band is a double step."""
    multiples = differences / step
    return bool(np.all(np.abs(multiples - np.round(multiples)) < 0.02))


def _nm(band: BandName) -> float:
    if band.unit == "cm-1" or (band.unit == "bare" and band.number > RANGE_NM[1]):
        return 1e7 / max(band.number, 1e-9)
    return 1000 * band.number if band.unit == "um" else band.number


def _fraction(value: float) -> bool:
    return value != int(value)


def _refuse_counters(source: str, first: str, last: str) -> None:
    raise InputError(
        f"{source}: columns {quoted(first)} to {quoted(last)} look like band numbers, not wavelengths in nm; name each "
        "band column by its wavelength in nm (1100) or its wavenumber (wn_5400)"
    )


def _refuse_twin(source: str, first: str, second: str, count: int) -> None:
    raise InputError(
        f"{source}: columns {quoted(first)} and {quoted(second)} are the same band in two blocks ({count} pairs); keep "
        "one block"
    )
