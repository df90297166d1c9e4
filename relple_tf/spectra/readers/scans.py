"""Read a table of scans to predict, of any length: validated as a whole, then read in chunks."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary, impossible_scans
from relple_tf.spectra.readers.cells import BLOCK_ROWS
from relple_tf.spectra.readers.folders import source_layout
from relple_tf.spectra.readers.quantity import Quantity, QuantityCounts, determine_quantity
from relple_tf.spectra.readers.tables import DEFAULT_LIMITS, ScanColumns, scan_columns

BAR_DELAY_S = 1.0
"""The progress bar appears after this time."""


@dataclass(frozen=True, kw_only=True)
class Scans:
    """A table of scans, validated by `open_scans`."""

    columns: ScanColumns
    quantity: Quantity
    """Quantity and scale of the numbers of the table."""
    count: int
    notes: tuple[str, ...]
    """Conversions, sorting and assumptions of the reader, one sentence each."""

    def __len__(self) -> int:
        return self.count

    def chunks(self, rows: int) -> Iterator[SpectralLibrary]:
        """Yield the scans in order, `rows` at a time, without laboratory values, groups and parts.

        Raises:
            InputError: the file has changed since `open_scans` read it.
        """
        first_row, columns = 1, self.columns
        for cells in columns.blocks(rows):
            self.quantity.scale(cells.bands)
            yield SpectralLibrary(
                source=str(columns.layout.path),
                spectra=cells.bands,
                wavelengths_nm=columns.bands.wavelengths_nm,
                quantity=self.quantity.name,
                targets={},
                ids=columns.ids(cells.texts, first_row, len(cells.bands)),
                first_row=first_row,
            ).checked()
            first_row += len(cells.bands)
        if first_row != self.count + 1:
            raise InputError(f"{columns.layout.path}: the file changed while it was read; run the prediction again")


def open_scans(
    path: Path, id_column: str = "", fallback_quantity: str = "auto", limits: LimitsConfig = DEFAULT_LIMITS
) -> Scans:
    """Read a table of scans once, to determine its quantity and to validate it.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet with one scan per row, or a folder of
            such files and instrument files.
        id_column: Column of the ids, if the table has it; else known names are searched.
        fallback_quantity: Quantity of the scans, if neither the column names nor a rule decide.
        limits: Limits on the size of the table.

    Raises:
        InputError: the file, a row or a band is invalid; the message names it and a remedy.
    """
    layout = source_layout(path, limits, id_column)
    columns = scan_columns(layout, id_column if id_column in layout.header else "")
    counts = QuantityCounts(columns.bands.wavelengths_nm)
    lowest, highest = array("f"), array("f")
    distinct: set[str] = set()
    nameless = 0
    with tqdm(desc="checking", unit=" scans", delay=BAR_DELAY_S, disable=None) as bar:
        for cells in columns.blocks(BLOCK_ROWS):
            if columns.id_column:
                distinct.update(columns.ids(cells.texts, counts.scans + 1, len(cells.bands)).tolist())
                nameless += cells.texts[columns.id_column].count("")
            counts.add(cells.bands)
            lowest.extend(cells.bands.min(axis=1))
            highest.extend(cells.bands.max(axis=1))
            bar.update(len(cells.bands))
    quantity = determine_quantity(str(path), counts, "auto", columns.quantity, fallback_quantity)
    id_notes = columns.id_notes(counts.scans, nameless, len(distinct))
    scans = Scans(
        columns=columns,
        quantity=quantity,
        count=counts.scans,
        notes=(*columns.notes, *id_notes, *quantity.notes),
    )
    ends = np.array([lowest, highest], dtype=np.float32)
    quantity.scale(ends)
    if impossible_scans(ends[0], ends[1], quantity.name).any():
        for _ in scans.chunks(BLOCK_ROWS):
            pass  # `chunks` raises at the first impossible scan and names its band
    return scans
