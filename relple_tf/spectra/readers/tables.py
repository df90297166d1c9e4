"""Read spectral tables, one scan per row (CSV, Parquet; LUCAS, OSSL), into a SpectralLibrary."""

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
from relple_tf.spectra.readers.quantity import QuantityCounts, determine_quantity
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
"""Maximum number of characters of an id or a group; a NumPy array stores all texts at the longest length."""

DEFAULT_LIMITS = LimitsConfig()

Texts = Mapping[str, Sequence[str]]
Names = npt.NDArray[np.str_]


def read_table(path: Path, data: DataConfig, limits: LimitsConfig = DEFAULT_LIMITS) -> SpectralLibrary:
    """Read scans with laboratory values, groups, coordinates and the declared split.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet; one scan per row.
        data: Targets, quantity, id and group columns to read, and the treatment of replicate scans.
        limits: Limits on the size of the table.

    Raises:
        InputError: the file, a row, a cell or a target is invalid; the message names it and a remedy.
    """
    if coordinate_targets := [name for name in data.targets if names_coordinate(name)]:
        raise InputError(
            f"{path}: data.targets names {coordinate_targets[0]!r}, a coordinate; name a measured property"
        )
    scans, texts = _read(path, data, limits)
    targets, notes = read_targets(str(path), texts, scans.ids, data)
    groups, group_notes = _groups(str(path), texts, scans.ids, data.group_column)
    coordinates, coordinate_notes = read_coordinates(str(path), texts, scans.ids)
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
        notes=(*scans.notes, *notes, *group_notes, *coordinate_notes, *part_notes),
    )
    if data.replicates == "average":
        library = average_replicates(library.checked())
    return select_targets(library, data).checked()


def read_parts(path: Path, ids: Names, limits: LimitsConfig = DEFAULT_LIMITS) -> tuple[Names, str]:
    """Read the part of every scan from a split file.

    Args:
        path: A table with a column `split`, `part`, `set` or `train`, and a column with the ids.
        ids: (n,) ids of the scans; matched as text.
        limits: Limits on the size of the table.

    Returns:
        (n,) `train`, `validation` or `test`, and a note that names the id column.

    Raises:
        InputError: the file declares no split, no column contains all ids, two columns contain them and disagree, or
            an id is in two parts.
    """
    layout = read_layout(path, limits)
    texts = read_cells(layout, (), _split_columns(layout)).texts
    column, parts = _declared_parts(str(path), texts)
    if parts is None:
        raise InputError(
            f"{path}: expected a column split, part or train that declares the split, got {name_some(layout.header)}"
        )
    wanted = set(ids.tolist())
    # Files written by this program contain some ids with a leading apostrophe (`escape_formula`).
    by_cell = {escape_formula(identity): identity for identity in wanted} | {identity: identity for identity in wanted}
    texts = {name: [by_cell.get(cell, cell) for cell in cells] for name, cells in texts.items()}
    matches = {name: len(wanted.intersection(texts[name])) for name in texts if name != column}
    if not matches or max(matches.values()) < len(wanted):
        best = max(matches, key=lambda name: matches[name], default="")
        missing = next(identity for identity in ids.tolist() if not best or identity not in texts[best])
        raise InputError(
            f"{path}: no column contains all {len(wanted)} ids; {best!r} contains {matches.get(best, 0)}, but not "
            f"{missing}; add the missing ids or remove their scans"
        )
    complete = [name for name, count in matches.items() if count == len(wanted)]
    id_column = find_column(str(path), complete, "id")
    candidates = [id_column] if id_column else complete
    parts_by_column = {name: _parts_by_id(path, name, texts[name], parts, wanted) for name in candidates}
    key, by_id = next(iter(parts_by_column.items()))
    for other, other_by_id in parts_by_column.items():
        if other_by_id != by_id:
            raise InputError(f"{path}: columns {key!r} and {other!r} both contain the ids but disagree; remove either")
    return np.array([by_id[identity] for identity in ids.tolist()]), f"split file: the ids are column {key}"


def _parts_by_id(path: Path, column: str, cells: Sequence[str], parts: Names, wanted: set[str]) -> dict[str, str]:
    """Id -> part, with the ids from `column` of a split file."""
    by_id: dict[str, str] = {}
    for identity, part in zip(cells, parts.tolist(), strict=True):
        if identity in wanted and by_id.setdefault(identity, part) != part:
            raise InputError(
                f"{path}: id {identity} of column {column!r} is in {by_id[identity]} and in {part}; keep only one part"
            )
    return by_id


@dataclass(frozen=True, kw_only=True)
class ScanColumns:
    """The columns of a table with scans and their ids."""

    layout: Layout
    bands: BandColumns
    id_column: str
    """Empty: the rows are numbered."""

    @property
    def quantity(self) -> str:
        """Quantity that the file or the names of the bands state; empty if neither does."""
        return self.layout.quantity or self.bands.quantity

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the format of the file and on the bands."""
        return (*self.layout.notes, *self.bands.notes)

    @property
    def id_position(self) -> int | None:
        """Position of the id column in the header; None without one."""
        return self.layout.header.index(self.id_column) if self.id_column else None

    def blocks(self, rows: int) -> Iterator[Cells]:
        """Bands and ids of the table, `rows` rows at a time; errors as in `read_blocks`."""
        others = () if self.id_position is None else (self.id_position,)
        return read_blocks(self.layout, self.bands.positions, others, self.id_position, rows)

    def ids(self, texts: Texts, first_row: int, rows: int) -> Names:
        """Ids of `rows` rows, starting at row `first_row` of the table.

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
        """Notes on the ids.

        Args:
            rows: Number of rows.
            nameless: Number of rows with an empty id.
            distinct: Number of distinct ids.
        """
        if not self.id_column:
            return [f"no id column found (data.id_column): rows are named row1 to row{rows}"]
        notes = [f"the ids are column {self.id_column}"]
        if nameless:
            notes.append(f"{nameless} rows without an id are named by row number")
        if replicates := rows - distinct:
            notes.append(f"{replicates} rows repeat an id: they are replicate scans of one sample")
        return notes


def scan_columns(layout: Layout, id_column: str = "") -> ScanColumns:
    """Find the columns of scans and ids.

    Args:
        layout: Layout of the table.
        id_column: Column of the ids; empty searches for a known name.

    Raises:
        InputError: the table has no bands, invalid bands, or no column `id_column`.
    """
    source = str(layout.path)
    bands = band_columns(source, layout.header, layout.hint)
    others = [layout.header[position] for position in _other_columns(layout, bands)]
    return ScanColumns(layout=layout, bands=bands, id_column=find_column(source, others, "id", id_column))


def _other_columns(layout: Layout, bands: BandColumns) -> list[int]:
    """Positions of the named columns that are not spectral."""
    spectral = {*bands.positions, *bands.ignored}
    return [position for position, name in enumerate(layout.header) if name and position not in spectral]


def _read(path: Path, data: DataConfig, limits: LimitsConfig) -> tuple[SpectralLibrary, dict[str, list[str]]]:
    """The library without laboratory values, not yet checked, and the cells of the columns that are not bands."""
    layout = read_layout(path, limits)
    columns = scan_columns(layout, data.id_column)
    bands, source = columns.bands, str(path)
    cells = read_cells(layout, bands.positions, _other_columns(layout, bands), columns.id_position)
    spectra, rows = cells.bands, len(cells.bands)
    ids = columns.ids(cells.texts, 1, rows)
    nameless = cells.texts[columns.id_column].count("") if columns.id_column else 0
    counts = QuantityCounts(bands.wavelengths_nm)
    counts.add(spectra)
    quantity = determine_quantity(source, counts, data.quantity, columns.quantity)
    quantity.scale(spectra)
    library = SpectralLibrary(
        source=source,
        spectra=spectra,
        wavelengths_nm=bands.wavelengths_nm,
        quantity=quantity.name,
        targets={},
        ids=ids,
        notes=(*columns.notes, *columns.id_notes(rows, nameless, len(np.unique(ids))), *quantity.notes),
    )
    return library, cells.texts


def _split_columns(layout: Layout) -> Sequence[int]:
    """Positions of the columns of a split file, without the bands if the file is the table of scans."""
    try:
        bands = band_columns(str(layout.path), layout.header)
    except InputError:
        return range(len(layout.header))
    return _other_columns(layout, bands)


def _check_names(source: str, column: str, cells: Sequence[str], first_row: int = 1) -> None:
    """Raise InputError for ids and groups that are too long for a name."""
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
        return None, [f"column {column} was not read as group: all rows are {quoted(texts[column][0])}"]
    _check_names(source, column, texts[column])
    groups = np.array([group or f"alone:{identity}" for group, identity in zip(texts[column], ids, strict=True)])
    notes = [f"the groups are column {column}, {len(np.unique(groups))} groups"]
    if empty := list(texts[column]).count(""):
        notes.append(f"{empty} rows without a group are grouped by id only")
    return groups, notes


def _parts(source: str, texts: Texts, ids: Names) -> tuple[Names | None, list[str]]:
    column, parts = _declared_parts(source, texts, ids)
    return parts, [f"column {column} declares the split"] if parts is not None else []


def _declared_parts(source: str, texts: Texts, ids: Names | None = None) -> tuple[str, Names | None]:
    """The column that declares a split, and the part of each row; `ids` are used in messages."""
    for kind, words in (("part", _PARTS), ("train", _IS_TRAIN)):
        column = find_column(source, list(texts), kind)
        if not column:
            continue
        for row, cell in enumerate(texts[column]):
            if cell.lower() not in words:
                where = cell_name(source, row + 1, "" if ids is None else str(ids[row]), column)
                raise InputError(
                    f"{where}: expected a part ({', '.join(words)}), got {quoted(cell)}; correct it or rename the "
                    "column"
                )
        return column, np.array([words[cell.lower()] for cell in texts[column]])
    return "", None
