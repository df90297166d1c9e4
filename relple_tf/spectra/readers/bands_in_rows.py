"""Read tables with bands in rows: the first column contains wavelengths, each other column a scan."""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM, band_name, monotonic
from relple_tf.spectra.readers.columns import find_column, names_role
from relple_tf.spectra.readers.laboratory_names import meaning
from relple_tf.spectra.readers.single_scan import scan_quantity, single_scan
from relple_tf.spectra.readers.table_file import ScanTable, check_columns, float32, quoted
from relple_tf.spectra.readers.text_file import fit

_UNITS = {
    "nm": r"nm|nanomet(?:er|re)s?",
    "um": r"um|µm|μm|microns?|micromet(?:er|re)s?",
    "cm-1": r"cm ?\^?-? ?1|1/cm|cm⁻¹",
}
_WORDS = re.compile(
    r"(?P<word>wave(?: ?lengths?)?|wl|lambda|wave ?numbers?|wn|bands?)?"
    + r"[ ._]*[(\[]?(?:in )?(?:"
    + "|".join(f"(?P<u{index}>{pattern})" for index, pattern in enumerate(_UNITS.values()))
    + r")?[)\]]?"
)
_PLAUSIBLE = ((300.0, 2700.0), (RANGE_NM[1], 12_600.0))
"""Wavelengths in nm, and wavenumbers in cm-1, of a column without a name."""
_MICROMETRES = 3.0
_INDEX = {"", "index", "no", "no.", "nr", "#", "Unnamed: 0"}
"""Names of a column of row numbers before the wavelengths."""


@dataclass(frozen=True, kw_only=True)
class AxisColumn:
    """Position of the wavelengths of a table with bands in rows."""

    header_row: int
    position: int
    stated: bool
    """Whether the name of the column states wavelengths or wavenumbers."""


def axis_column(rows: Sequence[Sequence[str]]) -> AxisColumn | None:
    """Find the column of wavelengths in the first rows of a table; None if there is none.

    The column has a name such as `Wavelength (nm)`, or is the first and has none.
    """
    for index, row in enumerate(rows):
        for position, cell in enumerate(row[:2]):
            if axis_unit(cell) is None or any(name.strip() not in _INDEX for name in row[:position]):
                continue
            numbers = _numbers(rows[index + 1 :], position)
            if len(numbers) >= MINIMUM_BANDS and any(name.strip() for name in row[position + 1 :]):
                return AxisColumn(header_row=index, position=position, stated=True)
    numbers = _numbers(rows, 0)
    plausible = any(all(low <= number <= high for number in numbers) for low, high in _PLAUSIBLE)
    if len(numbers) < MINIMUM_BANDS or not plausible or not monotonic(numbers):
        return None
    first = next(index for index, row in enumerate(rows) if band_name(row[0]))
    start = first
    while start and len(rows[start - 1]) >= len(rows[first]) - 1 and _filled(rows[start - 1]) > 1:
        start -= 1
    names = [name.strip() for name in rows[start]]
    if start == first or names[0] or has_known_column(names):
        return None
    return AxisColumn(header_row=start, position=0, stated=False)


def has_known_column(header: Sequence[str]) -> bool:
    """Whether a name is that of an id, a group, a coordinate or a laboratory value, so that each row is a sample."""
    return any(names_role(name) or meaning(name, lucas=True) for name in header if name)


def axis_unit(name: str) -> str | None:
    """`nm`, `um` or `cm-1` if the name of a column states it; `wavelength` or `bare`; None for another column."""
    text = name.strip().lower().replace("_", " ")
    match = _WORDS.fullmatch(text)
    if not text or not match:
        return None
    word = (match["word"] or "").replace(" ", "")
    unit = next((unit for index, unit in enumerate(_UNITS) if match[f"u{index}"]), "")
    if unit or not word:
        return unit or None
    return "cm-1" if word.startswith(("waven", "wn")) else "bare" if word.startswith("band") else "wavelength"


def with_units(header: Sequence[str], position: int, row: Sequence[str]) -> tuple[str, ...] | None:
    """The header with the units of the row under it (`[nm]`, `[counts]`, `[%]`); None if it is not a row of units."""
    if position >= len(row) or axis_unit(row[position]) not in _UNITS:
        return None
    names = list(header)
    for column in range(position, min(len(names), len(row))):
        unit = row[column].strip().strip("[]()")
        if unit and (column == position or scan_quantity(names[column])):
            names[column] = f"{names[column]} ({unit})"
    return tuple(names)


def read_bands_in_rows(
    path: Path,
    header: Sequence[str],
    position: int,
    rows: Iterator[list[str]],
    limits: LimitsConfig,
    notes: Sequence[str] = (),
) -> ScanTable:
    """Turn a table with bands in rows, row by row.

    A row whose wavelength is text is a column of the turned table (`pH`). If all columns are quantities of a single
    scan (absorbance, reference and sample signal), the scan is absorbance, else reflectance, else sample / reference.

    Args:
        path: Path of the file, for messages and for the name of a single scan.
        header: Column names.
        position: Position of the wavelengths in a row.
        rows: Cells of the rows under the header.
        limits: Limits on the size of the table.
        notes: Notes on the format of the file.

    Raises:
        InputError: a column with values has no name, the wavelengths are out of order, a single scan has no
            reference, or the table is too large.
    """
    columns = range(position + 1, len(header))
    quantities = {column: scan_quantity(header[column]) for column in columns if header[column]}
    single = bool(quantities) and all(quantities.values())
    if not single and any(name in ("absorbance", "reflectance") for name, _ in filter(None, quantities.values())):
        raise InputError(
            f"{path}: each row is a band, but the columns are neither all samples nor all quantities of one scan: "
            f"{', '.join(quoted(header[column]) for column in list(quantities)[:8])}; keep the wavelengths and the "
            "columns of the samples, or one column of reflectance or absorbance"
        )
    axis, values, units = array("d"), array("f"), set()
    texts: dict[str, list[str]] = {}
    ignored = 0
    used = [column for column in columns if header[column]]
    for number, cells in enumerate(rows, start=1):
        name = cells[position].strip() if position < len(cells) else ""
        band = band_name(name)
        # Instruments write further tables under a scan: they end the spectrum.
        ended = single and len(quantities) > 1 and (ignored or (not band and len(axis)))
        if ended or not any(map(str.strip, cells[position + 1 :])):
            ignored += 1
            continue
        cells = fit(path, number, cells + [""] * (0 if band else len(header) - len(cells)), header)
        for column in columns:
            if cells[column].strip() and not header[column]:
                raise InputError(f"{path}: column {column + 1} has values, but no name; name it by its sample")
        if band:
            axis.append(band.number)
            units.add(band.unit)
            values.extend(map(float32, (cells[column] for column in used)))
            check_columns(path, len(axis) + len(texts), limits)
        elif not name or name in texts:
            problem = "occurs twice" if name else "has no name"
            raise InputError(f"{path}: the row of laboratory values {quoted(name)} {problem}; rename or remove it")
        else:
            texts[name] = [cells[column].strip() for column in used]
    if len(used) > limits.table_rows:
        raise InputError(f"{path}: more than {limits.table_rows:,} scans; divide the table, or raise limits.table_rows")
    _check_order(path, axis)
    spectra = np.frombuffer(values, dtype=np.float32).reshape(len(axis), len(used)).T
    numbers, unit = _in_unit(path, header[position], np.array(axis), units)
    table = ScanTable(
        texts=texts,
        axis=numbers,
        axis_unit=unit,
        spectra=np.ascontiguousarray(spectra),
        notes=(*notes, *([f"{ignored} lines without a wavelength or without values were not read"] if ignored else [])),
    )
    names = [header[column] for column in used]
    return single_scan(path, table, names) if single else _turned(table, names)


def _check_order(path: Path, axis: Sequence[float]) -> None:
    """Raise InputError for wavelengths out of order: a laboratory value may be named by a number, such as a year."""
    if monotonic(axis):
        return
    ascending = np.sign(np.diff(axis)).sum() >= 0
    ordered = (first < second if ascending else first > second for first, second in pairwise(axis))
    wrong = next(index for index, right in enumerate(ordered, start=1) if not right)
    raise InputError(
        f"{path}: each row is a band, but {axis[wrong]:g} follows {axis[wrong - 1]:g}: the wavelengths must ascend or "
        "descend; if a row is a laboratory value, add a word to its name, and remove repeated wavelengths"
    )


def _turned(table: ScanTable, names: Sequence[str]) -> ScanTable:
    note = f"each row is a band: the table was turned, {len(names)} columns are scans"
    key = "column" if find_column("", list(table.texts), "id") else "id"
    counted = [str(number) for number in range(len(names))], [str(number) for number in range(1, len(names) + 1)]
    texts = dict(table.texts) if key == "column" and list(names) in counted else {key: list(names), **table.texts}
    return replace(table, texts=texts, notes=(*table.notes, note))


def _in_unit(
    path: Path, name: str, axis: npt.NDArray[np.float64], units: set[str]
) -> tuple[npt.NDArray[np.float64], str]:
    """The axis, and its unit for ScanTable: stated by the name of the column or by the cells, else empty."""
    stated = {axis_unit(name) or "bare", *units} - {"bare", "wavelength"}
    if len(stated) > 1:
        raise InputError(f"{path}: the wavelengths have several units: {', '.join(sorted(stated))}; keep one")
    unit = next(iter(stated), "")
    if unit == "um":
        return np.round(1000 * axis, 6), "nm"
    # `Wavelength` alone excludes wavenumbers, but not micrometres, which `band_columns` refuses by name.
    if not unit and axis_unit(name) == "wavelength" and axis.size and axis.max() > _MICROMETRES:
        unit = "nm"
    return axis, unit


def _numbers(rows: Sequence[Sequence[str]], position: int) -> list[float]:
    cells = (row[position] for row in rows if len(row) > max(1, position))
    return [band.number for cell in cells if (band := band_name(cell))]


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell.strip())
