"""Find the form of a table of text cells: lines before the header, one scan per row or bands in rows, units, commas."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM, band_names, look_like_axis, monotonic
from relple_tf.spectra.readers.bands_in_rows import (
    axis_column,
    axis_unit,
    has_known_column,
    read_bands_in_rows,
    with_units,
)
from relple_tf.spectra.readers.columns import band_columns
from relple_tf.spectra.readers.table_file import ScanTable, check_columns, float32, quoted
from relple_tf.spectra.readers.text_file import COMMA_NUMBER, fit, with_point
from relple_tf.spectra.readers.unit_row import read_units

_POINT_NUMBER = re.compile(r"\s*[+-]?\d*\.\d+(?:[eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}[.,]\d{3}\s*")
_SNIFFED_ROWS = 20
_LARGEST_FRACTION = 1.5
"""Largest reflectance as a fraction, of a scan brighter than its reference."""
_COMMENT = ("#", "***", "//")


@dataclass(frozen=True, kw_only=True)
class Form:
    """Form of a table of text cells."""

    header: tuple[str, ...]
    """Column names, stripped, with the units of a row of units."""
    header_row: int
    """Row of the header, from 0, blank rows not counted."""
    first_row: int
    """First row under the header and its units."""
    axis: int | None = None
    """Position of the column of wavelengths of a table with bands in rows; None for one scan per row."""
    decimal_comma: bool = False
    quantity: str = ""
    scale: float = 1.0
    """Divisor of the bands: 100 if the row of units states percent."""
    notes: tuple[str, ...] = ()
    hint: str = ""
    """What the table looks like, if no bands are found."""


def table_from_rows(path: Path, rows: Sequence[Sequence[str]], limits: LimitsConfig) -> ScanTable:
    """Read scans from a small table of text cells (a sheet, a text file): one scan per row, or bands in rows.

    Args:
        path: Path of the file, for messages and for the name of a single scan.
        rows: Cells of each row; blank rows are ignored.
        limits: Limits on the size of the table.

    Raises:
        InputError: no bands are found, the form is ambiguous, or a row has cells without a column name.
    """
    filled = [list(row) for row in rows if any(map(str.strip, row))]
    if not filled:
        raise InputError(f"{path}: the file is empty; expected a header and one scan per row")
    form = find_form(path, filled) or plain_form(path, filled)
    if form.axis is not None:
        return bands_in_rows(path, form, iter(filled), limits)
    check_columns(path, len(form.header), limits)
    bands = band_columns(str(path), form.header, form.hint)
    cells = [fit(path, number, row, form.header) for number, row in enumerate(filled[form.first_row :], start=1)]
    if form.decimal_comma:
        cells = [[with_point(cell) for cell in row] for row in cells]
    # The order of ambiguous names is kept, and they stay without a unit, for the check of the spectra.
    positions = bands.positions[::-1] if bands.ambiguous_order else bands.positions
    axis = bands.wavelengths_nm[::-1] if bands.ambiguous_order else bands.wavelengths_nm
    spectra = np.array([[float32(row[position]) for position in positions] for row in cells], dtype=np.float32)
    spectral = {*bands.positions, *bands.ignored}
    others = [position for position, name in enumerate(form.header) if name and position not in spectral]
    return ScanTable(
        texts=named_columns(path, {position: form.header[position] for position in others}, cells),
        axis=axis,
        axis_unit="" if bands.ambiguous_order else "nm",
        spectra=spectra.reshape(len(cells), len(positions)) / np.float32(form.scale),
        quantity=form.quantity or bands.quantity,
        notes=(*form.notes, *(note for note in bands.notes if not (bands.ambiguous_order and "sorted" in note))),
    )


def named_columns(path: Path, names: dict[int, str], cells: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Column name -> its cells.

    Raises:
        InputError: two columns have the same name.
    """
    columns: dict[str, list[str]] = {}
    for position, name in names.items():
        if name in columns:
            raise InputError(f"{path}: column {quoted(name)} occurs twice; rename or remove the duplicates")
        columns[name] = [row[position].strip() for row in cells]
    return columns


def bands_in_rows(path: Path, form: Form, rows: Iterator[list[str]], limits: LimitsConfig) -> ScanTable:
    """Turn a table with bands in rows; `rows` starts at row 0 of the file."""
    assert form.axis is not None
    under: Iterator[list[str]] = islice(rows, form.first_row, None)
    if form.decimal_comma:
        under = ([with_point(cell) for cell in row] for row in under)
    return read_bands_in_rows(path, form.header, form.axis, under, limits, form.notes)


def find_form(path: Path, rows: Sequence[list[str]], decimal_comma: bool = True) -> Form | None:
    """Find the header of a table of scans in its first rows; None if there is none.

    Args:
        path: Path of the file, for messages.
        rows: The first rows, without blank rows.
        decimal_comma: Whether numbers may have a decimal comma: not if commas separate cells.

    Raises:
        InputError: the header and the first column both look like wavelengths, or thousands separators look like
            decimal commas.
    """
    column = axis_column(rows)
    header_row = _row_of_bands(rows)
    if header_row is None or column is None or column.header_row > header_row:
        position = column.position if column and header_row is None else None
        header_row = column.header_row if column and header_row is None else header_row
        return None if header_row is None else _form(path, rows, header_row, position, decimal_comma)
    if column.stated and not monotonic(look_like_axis(rows[header_row])):
        # The samples are named by numbers, in any order.
        return _form(path, rows, column.header_row, column.position, decimal_comma)
    if column.stated or not rows[header_row][0].strip():
        raise InputError(
            f"{path}: the first row and the first column both look like wavelengths; name the first column id if each "
            "row is a scan, or put a letter before the names of the samples (S1100) if each column is a scan"
        )
    return _form(path, rows, header_row, None, decimal_comma)


def plain_form(path: Path, rows: Sequence[list[str]], decimal_comma: bool = True) -> Form:
    """The form of a table in which no bands are found: its header is the first row that is not a title."""
    header_row = 0
    while header_row + 1 < len(rows) and _before_header(rows[header_row], rows[header_row + 1]):
        header_row += 1
    return _form(path, rows, header_row, None, decimal_comma)


def has_decimal_comma(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether numbers have a decimal comma; `rows` are the first rows under the header.

    Raises:
        InputError: a comma or a point separates thousands, because the other one is the decimal sign.
    """
    commas = [(row, cell) for row in rows for cell in enumerate(row) if COMMA_NUMBER.fullmatch(cell[1])]
    if not commas:
        return False
    points = [(row, cell) for row in rows for cell in enumerate(row) if _POINT_NUMBER.fullmatch(cell[1])]
    for found, others in ((commas, points), (points, commas)):
        if found and others and all(_THOUSANDS.fullmatch(cell) for _, (_, cell) in found):
            row, (position, cell) = found[0]
            name = header[position] if position < len(header) else ""
            raise InputError(
                f"{path}: row {next(index for index, each in enumerate(rows, start=1) if each is row)}, column "
                f"{quoted(name)} is {quoted(cell.strip())}: its comma or point may separate thousands, because other "
                "numbers have the other decimal sign; write all numbers without thousands separators"
            )
    return True


def _form(path: Path, rows: Sequence[Sequence[str]], header_row: int, axis: int | None, decimal_comma: bool) -> Form:
    header = tuple(name.strip() for name in rows[header_row])
    under = rows[header_row + 1 : header_row + 2 + _SNIFFED_ROWS]
    units = read_units(str(path), header, under[0]) if under and axis is None else None
    above = read_units(str(path), header, rows[header_row - 1]) if header_row and axis is None and not units else None
    unread = header_row - (1 if above else 0)
    notes = [f"{unread} line{'s' if unread > 1 else ''} before the header not read"] if unread else []
    units_of_scan = with_units(header, axis, under[0]) if under and axis is not None else None
    first = header_row + (2 if units or units_of_scan else 1)
    sniffed = under[1:] if units else under[:_SNIFFED_ROWS]
    comma = decimal_comma and has_decimal_comma(path, header, sniffed)
    units = units or above
    if units and units.scale != 1 and sniffed:
        _check_percent(path, header, sniffed, comma)
    return Form(
        header=units.header if units else units_of_scan or header,
        header_row=header_row,
        first_row=first,
        axis=axis,
        decimal_comma=comma,
        quantity=units.quantity if units else "",
        scale=units.scale if units else 1.0,
        notes=(*notes, *(units.notes if units else ())),
        hint=_hint(rows),
    )


def _check_percent(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], comma: bool) -> None:
    """Raise InputError if the row of units states percent, but the spectra are fractions."""
    bands = [position for position, band in band_names(header).items() if band.number >= RANGE_NM[0]]
    cells = (row[position] for row in rows for position in bands if position < len(row))
    numbers = [number for cell in cells if isfinite(number := float32(with_point(cell) if comma else cell))]
    if numbers and max(numbers) <= _LARGEST_FRACTION:
        raise InputError(
            f"{path}: the row of units states percent, but the spectra do not exceed {max(numbers):.3g}; delete the "
            "row of units, or write the spectra in percent"
        )


def _row_of_bands(rows: Sequence[Sequence[str]]) -> int | None:
    """The first row with band names; the rows before it must be comments or much shorter."""
    if look_like_axis(rows[0]):
        return 0
    widest = max(map(_filled, rows))
    for index, row in enumerate(rows):
        numbers = look_like_axis(row)
        if numbers and monotonic(numbers):
            return index
        if not _comment(row) and _filled(row) > widest // 2:
            return None
    return None


def _before_header(row: Sequence[str], following: Sequence[str]) -> bool:
    """Whether a row above `following` is a comment or a title, not a header."""
    comment = _comment(row) and len(row) != len(following)
    return comment or (_filled(row) == 1 and _filled(following) > 1)


def _comment(row: Sequence[str]) -> bool:
    return row[0].lstrip().startswith(_COMMENT)


def _filled(row: Sequence[str]) -> int:
    """Number of different cells: a row above the header may repeat `spectra` over every band."""
    return len({cell.strip() for cell in row} - {""})


def _hint(rows: Sequence[Sequence[str]]) -> str:
    """What a table without band names looks like, and what to do; empty if nothing is known."""
    first = [row[0] for row in rows[1:]]
    numbers = look_like_axis(first)
    if numbers and monotonic(numbers) and not has_known_column(rows[0]):
        return (
            "the first column looks like wavelengths: if each row is a band, name the first column wavelength_nm (or "
            "wavenumber) and every other column by its sample, in the first line"
        )
    if len(rows[0]) == 1 and look_like_axis(rows[0][0].split()):
        return "the columns look separated by spaces: separate them by commas, semicolons or tabs"
    if any(axis_unit(name) for name in rows[0]):
        return "the table looks long, with a row for each band of each scan: turn it so that each row is a scan"
    if sum(isfinite(float32(with_point(cell))) for cell in rows[0]) >= MINIMUM_BANDS:
        return "the first line looks like a scan: add a line with the names of the columns above it"
    return ""
