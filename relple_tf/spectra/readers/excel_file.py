"""Read Excel workbooks (`.xlsx`) by openpyxl (MIT), row by row, within the limits of the config.

openpyxl rather than python-calamine: calamine allocates the rectangle that encloses all cells, so a file of two cells
in opposite corners ends the process.
"""

import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, band_names
from relple_tf.spectra.readers.columns import name_some
from relple_tf.spectra.readers.table_file import (
    LONGEST_CELL,
    ScanTable,
    check_columns,
    check_unpacked,
    quoted,
    shortened,
)
from relple_tf.spectra.readers.table_forms import find_form, named_columns, table_from_rows

_ZIP = b"PK\x03\x04"
_SNIFFED_ROWS = 100
_MOST_CELLS = 20_000_000
"""Cells of a sheet: all are in memory as text. 20 million are 5,000 scans of 4,000 bands."""


def is_excel(head: bytes, suffix: str) -> bool:
    """Whether the file is a ZIP archive with the names of a workbook, or has its extension."""
    return head.startswith(_ZIP) and (suffix in (".xlsx", ".xlsm") or b"xl/" in head)


def excel_rows(path: Path, limits: LimitsConfig) -> list[list[str]]:
    """Rows of the sheet that `excel_sheet` chooses."""
    return excel_sheet(path, limits)[0]


def excel_sheet(path: Path, limits: LimitsConfig) -> tuple[list[list[str]], tuple[str, ...]]:
    """Rows of the first sheet with enough columns for a spectrum, else of the first with two rows and two columns.

    Numbers keep all digits, whole numbers have no decimal point, dates are ISO 8601 text, formulas are their stored
    results, and empty cells are ''. Blank rows are left out. All rows have the same length.

    Returns:
        The rows, and notes that name the sheet and the ignored sheets.

    Raises:
        InputError: openpyxl is not installed, the file is damaged or larger than the limits, or no sheet is a table.
    """
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            f"{path}: Excel files need openpyxl: pip install 'relple-tf[instruments]', or save the sheet as CSV"
        ) from None
    tables = dict[str, list[list[str]]]()
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        check_unpacked(path, unpacked, path.stat().st_size, limits)
        # openpyxl does not close a file that it opened if it is damaged.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of styles and menus that it does not keep
            workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            try:
                for sheet in workbook.worksheets:
                    sheet.reset_dimensions()  # the stored size of a sheet may be wrong
                    rows = _rows(path, sheet.iter_rows(values_only=True), limits)
                    if len(rows) > 1 and len(rows[0]) > 1:
                        tables[sheet.title] = rows
                    if len(rows) > 1 and len(rows[0]) >= MINIMUM_BANDS:
                        break
                names = workbook.sheetnames
            finally:
                workbook.close()
    except (InputError, OSError):
        raise
    except Exception as error:  # openpyxl raises many types for a damaged file
        reason = shortened(f"{type(error).__name__}: {error}".splitlines()[0])
        raise InputError(f"{path}: damaged Excel file ({reason}); save it again, or as CSV") from None
    if not tables:
        raise InputError(
            f"{path}: no sheet has at least two rows and two columns (sheets: {name_some(names)}); expected a header "
            "and one scan per row"
        )
    chosen = next((name for name, rows in tables.items() if len(rows[0]) >= MINIMUM_BANDS), next(iter(tables)))
    others = [name for name in names if name != chosen]
    notes = [f"file format: Excel workbook, sheet {quoted(chosen)}"]
    if others:
        notes.append(f"other sheets were ignored ({name_some(others, 3)})")
    return tables[chosen], tuple(notes)


def read_excel(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read a table of scans, in any form of `table_from_rows`, or a table of laboratory values without bands.

    Raises:
        InputError: as in `excel_rows` and `table_from_rows`, or two columns have the same name.
    """
    rows, notes = excel_sheet(path, limits)
    if find_form(path, rows[:_SNIFFED_ROWS]) or len(band_names(rows[0])) >= MINIMUM_BANDS:
        scans = table_from_rows(path, rows, limits)
        return replace(scans, notes=(*notes, *scans.notes))
    header, *cells = rows
    names = {position: name.strip() for position, name in enumerate(header) if name.strip()}
    return ScanTable(
        texts=named_columns(path, names, cells),
        axis=np.empty(0),
        axis_unit="nm",
        spectra=np.empty((len(cells), 0), dtype=np.float32),
        notes=notes,
    )


def _rows(path: Path, rows: Iterable[tuple[object, ...]], limits: LimitsConfig) -> list[list[str]]:
    """Rows of a sheet as text, padded to the widest row; trailing empty cells are removed."""
    table, width, cells = list[list[str]](), 0, 0
    for number, row in enumerate(rows, start=1):
        if number > limits.table_rows:
            raise InputError(
                f"{path}: more than {limits.table_rows:,} rows; divide the table, or raise limits.table_rows"
            )
        texts = [_text(value) for value in row]
        while texts and not texts[-1]:
            texts.pop()
        check_columns(path, len(texts), limits)
        if max(map(len, texts), default=0) > LONGEST_CELL:
            raise InputError(f"{path}: a cell of row {number} has more than {LONGEST_CELL:,} characters; shorten it")
        cells += len(texts)
        if cells > _MOST_CELLS:
            raise InputError(f"{path}: more than {_MOST_CELLS:,} cells; save the table as CSV or Parquet")
        if texts:
            table.append(texts)
            width = max(width, len(texts))
    return [texts + [""] * (width - len(texts)) for texts in table]


def _text(value: object) -> str:
    """A cell as text, as in a CSV."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value).strip()
