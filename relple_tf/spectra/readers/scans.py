"""Read a table of scans to predict, of any length: checked as a whole, then read in chunks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.checks.quantity import Declared, Quantity
from relple_tf.spectra.checks.scans import NAMED, assess
from relple_tf.spectra.checks.summary import ScanSummary
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.cells import BLOCK_ROWS
from relple_tf.spectra.readers.folders import source_layout
from relple_tf.spectra.readers.tables import DEFAULT_LIMITS, ScanColumns, scan_columns

BAR_DELAY_S = 1.0
"""The progress bar appears after this time."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive rows of a table of scans."""

    ids: npt.NDArray[np.str_]
    """(n,) of all rows."""
    scans: npt.NDArray[np.str_] | None
    """(n,) names of the scans of all rows; None without such a column."""
    usable: npt.NDArray[np.bool_]
    """(n,) false for scans that cannot be soils."""
    library: SpectralLibrary
    """The usable rows, without laboratory values, groups and parts; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Scans:
    """A table of scans, checked by `open_scans`."""

    columns: ScanColumns
    quantity: Quantity
    """Quantity and scale of the numbers of the table."""
    count: int
    bad: Mapping[int, str]
    """Row, from 0 -> why its scan cannot be a soil."""
    notes: tuple[str, ...]
    """Conversions, sorting and assumptions of the reader, one sentence each."""
    warnings: tuple[str, ...]
    """Doubts about the scans, one sentence each."""

    def __len__(self) -> int:
        return self.count

    def chunks(self, rows: int) -> Iterator[Chunk]:
        """Yield the scans in order, `rows` at a time.

        Raises:
            InputError: the file has changed since `open_scans` read it.
        """
        first, columns = 0, self.columns
        for cells in columns.blocks(rows):
            numbers = np.arange(first, first + cells.rows)
            usable = ~np.isin(numbers, list(self.bad))
            ids, scans = columns.ids(cells.texts, first + 1, cells.rows), columns.scans(cells.texts, first + 1)
            library = SpectralLibrary(
                source=str(columns.layout.path),
                spectra=cells.bands[usable] / np.float32(self.quantity.scale),
                wavelengths_nm=columns.bands.wavelengths_nm,
                quantity=self.quantity.name,
                targets={},
                ids=ids[usable],
                scans=None if scans is None else scans[usable],
                row_numbers=numbers[usable] + 1,
            )
            yield Chunk(ids=ids, scans=scans, usable=usable, library=library.checked() if usable.any() else library)
            first += cells.rows
        if first != self.count:
            raise InputError(f"{columns.layout.path}: the file changed while it was read; run the prediction again")


def open_scans(
    path: Path,
    id_column: str = "",
    fallback_quantity: str = "auto",
    limits: LimitsConfig = DEFAULT_LIMITS,
    model_scale: float = 0.0,
) -> Scans:
    """Read a table of scans once, to determine its quantity and to check it.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet with one scan per row, or a folder of
            such files and instrument files.
        id_column: Column of the ids, if the table has it; else known names are searched.
        fallback_quantity: Quantity of the scans, if neither the column names nor a feature decide.
        limits: Limits on the size of the table.
        model_scale: `data.scale` of the run that predicts; 0: none.

    Raises:
        InputError: the file or a band is invalid, the scans are not raw scans in one quantity, or none can be a soil.
    """
    layout = source_layout(path, limits, id_column)
    columns = scan_columns(layout, id_column if id_column in layout.header else "")
    summary = ScanSummary(columns.bands.wavelengths_nm)
    bad_cells: dict[int, str] = {}
    distinct: set[str] = set()
    nameless = count = 0
    with tqdm(desc="checking", unit=" scans", delay=BAR_DELAY_S, disable=None) as bar:
        for cells in columns.blocks(BLOCK_ROWS):
            if columns.id_column:
                distinct.update(columns.ids(cells.texts, count + 1, cells.rows).tolist())
                nameless += cells.texts[columns.id_column].count("")
            bad_cells |= {count + row: message for row, message in cells.bad.items()}
            summary.add(cells.bands)
            count += cells.rows
            bar.update(cells.rows)
    declared = Declared(
        stated=columns.quantity,
        fallback=fallback_quantity,
        model_scale=model_scale,
        ambiguous_order=columns.question,
    )
    assessment = assess(str(path), summary, declared, bad_cells)
    if len(assessment.bad) == count:
        raise InputError(next(iter(assessment.bad.values())))
    reasons = [reason.removeprefix(f"{path}: ") for reason in assessment.bad.values()]
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    invalid = (f"status invalid: {'; '.join(reasons[:NAMED])}{more}",) if reasons else ()
    return Scans(
        columns=columns,
        quantity=assessment.quantity,
        count=count,
        bad=assessment.bad,
        notes=(*columns.notes, *columns.id_notes(count, nameless, len(distinct)), *assessment.notes),
        warnings=(*assessment.warnings, *invalid),
    )
