"""Read CSV files, plain or gzip, within the limits of the config; other forms of text tables are turned in memory."""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.table_file import Cells, Layout, check_columns, float32, memory_layout, quoted
from relple_tf.spectra.readers.table_forms import Form, bands_in_rows, find_form, plain_form
from relple_tf.spectra.readers.text_file import WINDOWS, first_lines, fit, rows_of, text_encoding, with_point

_SEPARATORS = "\t;,|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t ]*\r?\n?', re.IGNORECASE)


def csv_layout(path: Path, limits: LimitsConfig) -> Layout:
    """Detect the encoding, the separator, the form and the columns of a file.

    A table with bands in rows is turned in memory.

    Raises:
        InputError: the file is empty, or larger than the limits, or its form is ambiguous.
    """
    encoding = text_encoding(path, limits)
    lines = first_lines(path, encoding, limits)
    notes = ["the file is not UTF-8: names were read as Windows-1252 text"] if encoding == WINDOWS else []
    if not lines:
        raise InputError(f"{path}: the file is empty; expected a header and one scan per row")
    declared = _declared_separator(path, lines[0])
    skipped = 1 if declared else 0
    separator, form = _separator_and_form(path, lines[skipped:], declared)
    rows = islice(rows_of(path, encoding, separator, limits), skipped, None)
    if form is None:  # a blank table, or an error that reading raises
        next(rows, None)
        raise InputError(f"{path}: the file is empty; expected a header and one scan per row")
    if form.axis is not None:
        table = bands_in_rows(path, form, rows, limits)
        layout = memory_layout(path, table, limits)
    else:
        header = next(islice(rows, form.header_row, None))
        check_columns(path, len(header), limits)
        layout = Layout(
            path=path,
            limits=limits,
            header=form.header,
            separator=separator,
            decimal_comma=form.decimal_comma,
            encoding=encoding,
            first_row=skipped + form.first_row,
            scale=form.scale,
            quantity=form.quantity,
            notes=form.notes,
            hint=form.hint,
        )
    return replace(layout, notes=(*notes, *layout.notes))


def csv_blocks(
    layout: Layout, bands: Sequence[int], others: Sequence[int], id_position: int | None, rows: int
) -> Iterator[Cells]:
    """Read the rows of a CSV file; see `relple_tf.spectra.readers.cells.read_blocks`."""
    table = rows_of(layout.path, layout.encoding, layout.separator, layout.limits)
    numbered = enumerate(islice(table, layout.first_row, None), start=1)
    while True:
        numbers, count = array("f"), 0
        texts: dict[int, list[str]] = {position: [] for position in others}
        bad: dict[int, str] = {}
        for row, cells in islice(numbered, rows):
            cells = fit(layout.path, row, cells, layout.header)
            spectrum, problem = _spectrum(layout, row, cells, bands, id_position)
            numbers += spectrum
            if problem:
                bad[count] = problem
            for position, column in texts.items():
                column.append(_with_point(layout, cells[position]).strip())
            count += 1
        if not count:
            return
        spectra = np.frombuffer(numbers, dtype=np.float32).reshape(count, len(bands))
        if layout.scale != 1:
            spectra = spectra / np.float32(layout.scale)
        yield Cells(rows=count, bands=spectra, texts=layout.named(texts), bad=bad)


def _spectrum(
    layout: Layout, row: int, cells: Sequence[str], bands: Sequence[int], id_position: int | None
) -> tuple["array[float]", str]:
    """Band cells of a row as float32, and a message on the first that is not a finite number; empty if all are."""
    texts = [cells[position] for position in bands]
    if layout.decimal_comma:
        texts = [_with_point(layout, text) for text in texts]
    try:
        spectrum = array("f", map(float, texts))
    except ValueError:
        spectrum = array("f", map(float32, texts))
    if (bad := np.flatnonzero(~np.isfinite(np.frombuffer(spectrum, dtype=np.float32)))).size:
        identity = "" if id_position is None else cells[id_position].strip()
        return spectrum, layout.bad_band(row, identity, bands[bad[0]], texts[bad[0]])
    return spectrum, ""


def _with_point(layout: Layout, cell: str) -> str:
    return with_point(cell) if layout.decimal_comma else cell


def _separator_and_form(path: Path, lines: Sequence[str], declared: str) -> tuple[str, Form | None]:
    """The first separator with which the lines are a table of scans, and the form of the table.

    Separators are tried in the order of their number in the first line that contains any, on a tie first tab, then
    semicolon: in `id;1100,5;1101,5` the comma is a decimal comma. Without scans the first one is used.
    """
    if not lines:
        return declared or ",", None
    line = next((line for line in lines if not set(_SEPARATORS).isdisjoint(line)), "")
    separators = declared or sorted(_SEPARATORS, key=lambda separator: -line.count(separator))
    for separator in separators:
        rows = _preview(lines, separator)
        if rows and (form := find_form(path, rows, separator != ",")):
            return separator, form
    rows = _preview(lines, separators[0])
    return separators[0], plain_form(path, rows, separators[0] != ",") if rows else None


def _preview(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Rows of the first lines that are not blank; up to the first error, which reading the file raises again."""
    rows = []
    try:
        for cells in csv.reader(lines, delimiter=separator):
            if any(map(str.strip, cells)):
                rows.append(cells)
    except csv.Error:
        pass
    return rows


def _declared_separator(path: Path, line: str) -> str:
    """The separator of a first line `sep=;`, which Excel reads; empty without such a line."""
    match = _SEPARATOR_LINE.fullmatch(line)
    if match and match[1] not in "\t;,|":
        raise InputError(
            f"{path}: the first line declares the separator {quoted(match[1])}; save the table with ; , or tab between "
            "its cells"
        )
    return match[1] if match else ""
