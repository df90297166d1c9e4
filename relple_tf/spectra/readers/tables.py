"""Spectral tables, one scan per row (CSV, Parquet; LUCAS, OSSL), read into a SpectralLibrary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.csv_text import escape_formula
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.cells import read_blocks, read_cells, read_layout
from relple_tf.spectra.readers.columns import BandColumns, band_columns, find_column, name_some, names_coordinate
from relple_tf.spectra.readers.laboratory_columns import read_targets, select_targets
from relple_tf.spectra.readers.quantity import QuantityCounts, settle_quantity
from relple_tf.spectra.readers.table_file import Cells, Layout, cell_name, quoted
from relple_tf.spectra.replicates import average_replicates
from relple_tf.spectra.splitting.coordinates import read_coordinates

_PARTS = {
    **dict.fromkeys(("train", "training", "cal", "calibration"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_IS_TRAIN = {
    **dict.fromkeys(("1", "1.0", "true"), "train"),
    **dict.fromkeys(("0", "0.0", "false"), "test"),
}

_LONGEST_NAME = 200
"""Characters of an id or a group; NumPy keeps those of a table all as long as the longest."""

DEFAULT_LIMITS = LimitsConfig()

Texts = Mapping[str, Sequence[str]]
Names = npt.NDArray[np.str_]


def read_table(path: Path, data: DataConfig, limits: LimitsConfig = DEFAULT_LIMITS) -> SpectralLibrary:
    """Scans with laboratory values, groups, coordinates and the declared split.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet; one scan per row.
        data: Targets, quantity, id and group columns to read, and what becomes of replicate scans.
        limits: How large the table may be.

    Raises:
        InputError: the file, a row, a cell or a target is unsound; the message names it and the way
            out.
    """
    if asked := [name for name in data.targets if names_coordinate(name)]:
        raise InputError(
            f"{path}: data.targets names {asked[0]!r}, which is where a sample was taken; name what was measured on it"
        )
    scans, texts = _read(path, data, limits)
    targets, notes = read_targets(str(path), texts, scans.ids, data)
    groups, group_notes = _groups(str(path), texts, scans.ids, data.group_column)
    coordinates, place_notes = read_coordinates(str(path), texts, scans.ids)
    parts, part_notes = _parts(str(path), texts, scans.ids)
    library = SpectralLibrary(
        source=scans.source,
        spectra=scans.spectra,
        wavelengths_nm=scans.wavelengths_nm,
        quantity=scans.quantity,
        targets=targets,
        ids=scans.ids,
        groups=groups,
        coordinates=coordinates,
        parts=parts,
        notes=(*scans.notes, *notes, *group_notes, *place_notes, *part_notes),
    )
    if data.replicates == "average":
        library = average_replicates(library.checked())
    return select_targets(library, data).checked()


def read_parts(path: Path, ids: Names, limits: LimitsConfig = DEFAULT_LIMITS) -> tuple[Names, str]:
    """Look up the part of every scan in a split file.

    Args:
        path: A table with a column `split`, `part`, `set` or `train`, and one that holds the ids.
        ids: (n,) ids of the scans; matched as text.
        limits: How large the table may be.

    Returns:
        (n,), `train`, `validation` or `test`, and which column was taken for the ids.

    Raises:
        InputError: the file declares no split, no column holds all ids, two columns hold them and disagree, or one id
            is in two parts.
    """
    layout = read_layout(path, limits)
    texts = read_cells(layout, (), _split_columns(layout)).texts
    column, parts = _declared_parts(str(path), texts)
    if parts is None:
        raise InputError(
            f"{path}: declares no split; it needs a column split, part or train; it has {name_some(layout.header)}"
        )
    wanted = set(ids.tolist())
    # A file that this program wrote holds some ids with an apostrophe before them.
    by_cell = {escape_formula(identity): identity for identity in wanted} | {identity: identity for identity in wanted}
    texts = {name: [by_cell.get(cell, cell) for cell in cells] for name, cells in texts.items()}
    shares = {name: len(wanted.intersection(texts[name])) for name in texts if name != column}
    if not shares or max(shares.values()) < len(wanted):
        best = max(shares, key=lambda name: shares[name], default="")
        missing = next(identity for identity in ids.tolist() if not best or identity not in texts[best])
        raise InputError(
            f"{path}: no column holds all {len(wanted)} ids; {best!r} holds {shares.get(best, 0)}, but not {missing}; "
            "add them or remove their scans"
        )
    whole = [name for name, share in shares.items() if share == len(wanted)]
    known = find_column(str(path), whole, "id")
    found = {name: _parts_by_id(path, name, texts[name], parts, wanted) for name in ([known] if known else whole)}
    key, by_id = next(iter(found.items()))
    for other, other_by_id in found.items():
        if other_by_id != by_id:
            raise InputError(f"{path}: columns {key!r} and {other!r} both hold the ids and disagree; remove one")
    return np.array([by_id[identity] for identity in ids.tolist()]), f"split file: ids are its column {key}"


def _parts_by_id(path: Path, column: str, cells: Sequence[str], parts: Names, wanted: set[str]) -> dict[str, str]:
    """Id -> part, by one column of a split file."""
    known: dict[str, str] = {}
    for identity, part in zip(cells, parts.tolist(), strict=True):
        if identity in wanted and known.setdefault(identity, part) != part:
            raise InputError(
                f"{path}: id {identity} of column {column!r} is in {known[identity]} and in {part}; keep one"
            )
    return known


@dataclass(frozen=True, kw_only=True)
class ScanColumns:
    """The columns of a table that hold scans and their ids."""

    layout: Layout
    bands: BandColumns
    id_column: str
    """Empty: rows are numbered."""

    @property
    def id_position(self) -> int | None:
        """Position of the id column in the header; None without one."""
        return self.layout.header.index(self.id_column) if self.id_column else None

    def blocks(self, rows: int) -> Iterator[Cells]:
        """Bands and ids of the table, `rows` rows at a time; errors are those of `read_blocks`."""
        others = () if self.id_position is None else (self.id_position,)
        return read_blocks(self.layout, self.bands.positions, others, self.id_position, rows)

    def ids(self, texts: Texts, first_row: int, rows: int) -> Names:
        """Ids of `rows` rows, the first of them being row `first_row` of the table.

        Raises:
            InputError: an id is too long.
        """
        numbered = [f"row{row}" for row in range(first_row, first_row + rows)]
        if not self.id_column:
            return np.array(numbered)
        cells = texts[self.id_column]
        _check_names(str(self.layout.path), self.id_column, cells, first_row)
        return np.array([identity or number for identity, number in zip(cells, numbered, strict=True)])

    def id_notes(self, rows: int, nameless: int, distinct: int) -> list[str]:
        """What ids were taken.

        Args:
            rows: Number of rows.
            nameless: Rows with an empty id.
            distinct: Different ids.
        """
        if not self.id_column:
            return [f"no id column found (data.id_column): rows are named row1 to row{rows}"]
        notes = [f"ids are column {self.id_column}"]
        if nameless:
            notes.append(f"{nameless} rows without an id are named by their row number")
        if replicates := rows - distinct:
            notes.append(f"{replicates} rows repeat an id: they are replicate scans of one sample")
        return notes


def scan_columns(layout: Layout, id_column: str = "") -> ScanColumns:
    """Find the columns of scans and ids.

    Args:
        layout: Of the table.
        id_column: Column of the ids; empty looks for a known name.

    Raises:
        InputError: the table has no bands, or unsound ones, or no column `id_column`.
    """
    source = str(layout.path)
    bands = band_columns(source, layout.header)
    beside = [layout.header[position] for position in _beside(layout, bands)]
    return ScanColumns(layout=layout, bands=bands, id_column=find_column(source, beside, "id", id_column))


def _beside(layout: Layout, bands: BandColumns) -> list[int]:
    """Positions of the named columns that are not spectral."""
    spectral = {*bands.positions, *bands.ignored}
    return [position for position, name in enumerate(layout.header) if name and position not in spectral]


def _read(path: Path, data: DataConfig, limits: LimitsConfig) -> tuple[SpectralLibrary, dict[str, list[str]]]:
    """The unchecked library without laboratory values, and the columns that are not bands."""
    layout = read_layout(path, limits)
    columns = scan_columns(layout, data.id_column)
    bands, source = columns.bands, str(path)
    cells = read_cells(layout, bands.positions, _beside(layout, bands), columns.id_position)
    spectra, rows = cells.bands, len(cells.bands)
    ids = columns.ids(cells.texts, 1, rows)
    nameless = cells.texts[columns.id_column].count("") if columns.id_column else 0
    counts = QuantityCounts(bands.wavelengths_nm)
    counts.add(spectra)
    quantity = settle_quantity(source, counts, data.quantity, bands.quantity)
    quantity.scale(spectra)
    library = SpectralLibrary(
        source=source,
        spectra=spectra,
        wavelengths_nm=bands.wavelengths_nm,
        quantity=quantity.name,
        targets={},
        ids=ids,
        notes=(*bands.notes, *columns.id_notes(rows, nameless, len(np.unique(ids))), *quantity.notes),
    )
    return library, cells.texts


def _split_columns(layout: Layout) -> Sequence[int]:
    """Positions of the columns of a split file, less the bands where it is the table of the scans itself."""
    try:
        bands = band_columns(str(layout.path), layout.header)
    except InputError:
        return range(len(layout.header))
    return _beside(layout, bands)


def _check_names(source: str, column: str, cells: Sequence[str], first_row: int = 1) -> None:
    """Refuse ids and groups that are no names."""
    for row, cell in enumerate(cells, start=first_row):
        if len(cell) > _LONGEST_NAME:
            raise InputError(
                f"{cell_name(source, row, '', column)} has {len(cell):,} characters, more than {_LONGEST_NAME}; "
                "shorten it, or name another column"
            )


def _groups(source: str, texts: Texts, ids: Names, given: str) -> tuple[Names | None, list[str]]:
    column = find_column(source, list(texts), "group", given)
    if not column:
        return None, []
    if not given and len(set(texts[column])) == 1:
        return None, [f"column {column} was not taken as group: all rows are {quoted(texts[column][0])}"]
    _check_names(source, column, texts[column])
    groups = np.array([group or f"alone:{identity}" for group, identity in zip(texts[column], ids, strict=True)])
    notes = [f"groups are column {column}, {len(np.unique(groups))} of them"]
    if empty := list(texts[column]).count(""):
        notes.append(f"{empty} rows without a group stand alone")
    return groups, notes


def _parts(source: str, texts: Texts, ids: Names) -> tuple[Names | None, list[str]]:
    column, parts = _declared_parts(source, texts, ids)
    return parts, [f"column {column} declares the split"] if parts is not None else []


def _declared_parts(source: str, texts: Texts, ids: Names | None = None) -> tuple[str, Names | None]:
    """The column that declares a split, and the part of each row; `ids` are for messages."""
    for kind, words in (("part", _PARTS), ("train", _IS_TRAIN)):
        column = find_column(source, list(texts), kind)
        if not column:
            continue
        for row, cell in enumerate(texts[column]):
            if cell.lower() not in words:
                where = cell_name(source, row + 1, "" if ids is None else str(ids[row]), column)
                raise InputError(
                    f"{where} is {quoted(cell)}, no part; a part is {', '.join(words)}; correct it or rename the column"
                )
        return column, np.array([words[cell.lower()] for cell in texts[column]])
    return "", None
