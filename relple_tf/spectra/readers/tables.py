"""Read spectral tables, one scan per row (CSV, Parquet; LUCAS, OSSL), into a SpectralLibrary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.csv_text import escape_formula
from relple_tf.errors import InputError
from relple_tf.spectra.checks.finding import CheckResult, refuse, warnings
from relple_tf.spectra.checks.laboratory import laboratory_results
from relple_tf.spectra.checks.quantity import Declared
from relple_tf.spectra.checks.scans import Assessment, assess, check_share
from relple_tf.spectra.checks.statistic_rows import statistic_rows
from relple_tf.spectra.checks.summary import ScanSummary
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.axis_checks import AMBIGUOUS_ORDER
from relple_tf.spectra.readers.cells import BLOCK_ROWS, read_blocks, read_cells, read_layout
from relple_tf.spectra.readers.columns import (
    BandColumns,
    band_columns,
    find_column,
    name_some,
    names_coordinate,
    sample_columns,
)
from relple_tf.spectra.readers.folders import source_layout
from relple_tf.spectra.readers.laboratory_columns import NO_VALUES, LaboratoryTable, read_targets, select_targets
from relple_tf.spectra.readers.laboratory_table import join_laboratory
from relple_tf.spectra.readers.measured_values import measured_values
from relple_tf.spectra.readers.table_file import Cells, Layout, cell_name, quoted, shortened
from relple_tf.spectra.replicates import average_replicates
from relple_tf.spectra.samples import link_numbered_scans, link_samples
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
UNDECLARED = Declared()
"""No model states the quantity and the scale of the scans."""

Texts = Mapping[str, Sequence[str]]
Names = npt.NDArray[np.str_]


def read_table(
    path: Path, data: DataConfig, limits: LimitsConfig = DEFAULT_LIMITS, *, laboratory: bool = True, select: bool = True
) -> SpectralLibrary:
    """Read scans with laboratory values, groups, coordinates and the declared split.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet with one scan per row, or a folder of
            such files and instrument files.
        data: Table of laboratory values, targets, quantity, id and group columns to read, and the treatment of
            replicate scans.
        limits: Limits on the size of the table.
        laboratory: Whether to read laboratory values; `False` for a table without them.
        select: Whether to leave out targets with too few values to train on, and refuse a table without others.

    Raises:
        NoLaboratoryValuesError: `data.targets` is empty, and no column holds a known target.
        InputError: the file, a row, a cell or a target is invalid; the message names it and a remedy.
    """
    if coordinate_targets := [name for name in data.targets if names_coordinate(name)]:
        raise InputError(
            f"{path}: data.targets names {coordinate_targets[0]!r}, a coordinate; name a measured property"
        )
    scans, texts, assessment, header = _read(path, data, limits)
    source = str(path)
    if data.lab:
        scans, texts = _with_laboratory(scans, texts, data, limits)
        source, header = f"{path} with {data.lab}", (*header, *texts)
    values = read_targets(source, texts, scans.ids, data, header) if laboratory else NO_VALUES
    groups, group_notes = _groups(source, texts, scans.ids, data.group_column)
    coordinates, coordinate_notes = read_coordinates(source, texts, scans.ids)
    parts, part_notes = _parts(source, texts, scans.ids)
    library = replace(
        scans,
        targets=values.targets,
        groups=groups,
        coordinates=coordinates,
        parts=parts,
        notes=(*scans.notes, *values.notes, *group_notes, *coordinate_notes, *part_notes),
        warnings=(*scans.warnings, *values.warnings),
    )
    library = _checked_rows(library, texts, assessment.bad, values, data)
    if data.replicates == "average":
        library = average_replicates(library.checked())
    return (select_targets(library, data) if laboratory and select else library).checked()


def read_scans(
    path: Path, data: DataConfig, limits: LimitsConfig = DEFAULT_LIMITS, declared: Declared = UNDECLARED
) -> SpectralLibrary:
    """Read scans without laboratory values; scans that cannot be soils are dropped by name, whatever their number.

    Scans of one sample are linked by id, by the laboratory values of the table, if it has any, and by names
    (`link_numbered_scans`).

    Args:
        path: As for `read_table`.
        data: `id_column` is used if the table has it; `group_column` is read if it is given, and an empty cell stays
            empty.
        limits: Limits on the size of the table.
        declared: `fallback` and `model_scale` of the model that reads the scans.

    Raises:
        InputError: the file or a band is invalid, there is no column `group_column`, or no scan can be a soil.
    """
    if data.id_column and data.id_column not in source_layout(path, limits, data.id_column).header:
        data = replace(data, id_column="")
    library, texts, assessment, _ = _read(path, data, limits, declared)
    if data.group_column:
        column = find_column(str(path), list(texts), "group", data.group_column)
        _check_names(str(path), column, texts[column])
        library = replace(library, groups=np.array(texts[column], dtype=str))
    library = _checked_rows(library, texts, assessment.bad, NO_VALUES, data, may_refuse=False).checked()
    return link_numbered_scans(library) if data.samples == "auto" else library


def _checked_rows(
    library: SpectralLibrary,
    texts: Texts,
    bad_scans: Mapping[int, str],
    laboratory: LaboratoryTable,
    data: DataConfig,
    *,
    may_refuse: bool = True,
) -> SpectralLibrary:
    """Drop bad scans and rows of statistics, link the scans of each sample, check the laboratory values.

    With `may_refuse`, too many bad rows refuse the table (`check_share`).
    """
    source, bad = library.source, dict(bad_scans)
    statistics = statistic_rows(library.ids, library.targets)
    for finding in statistics:
        for row in finding.rows:
            bad.setdefault(row, f"{source}: row {row + 1} ({shortened(str(library.ids[row]))}): {finding.message}")
    if may_refuse:
        check_share(source, bad, len(library), data.bad_scans)
    sound = ~np.isin(np.arange(len(library)), list(bad))
    library = without_bad_scans(library, bad)
    if data.samples == "auto":
        values = {name: column[sound] for name, column in ({**laboratory.targets, **measured_values(texts)}).items()}
        names = [list(compress(texts[name], sound)) for name in sample_columns(list(texts))]
        library = link_samples(library, values, names)
    results = [CheckResult(name="rows of statistics by name or laboratory values", findings=statistics)]
    if library.targets:
        columns = {name: values[sound] for name, values in laboratory.columns.items()}
        results += laboratory_results(library, columns)
    findings = [finding for result in results for finding in result.findings]
    refuse(source, findings)
    return replace(library, warnings=(*library.warnings, *warnings(findings)), checks=(*library.checks, *results))


def _with_laboratory(
    scans: SpectralLibrary, texts: Texts, data: DataConfig, limits: LimitsConfig
) -> tuple[SpectralLibrary, dict[str, list[str]]]:
    """Join the table `data.lab`; the names of the scans become `scans` if that table names their samples."""
    id_column = find_column(scans.source, list(texts), "id", data.id_column)
    joined = join_laboratory(scans.source, scans.ids.tolist(), texts, id_column, data, limits)
    scans = replace(scans, notes=(*scans.notes, *joined.notes))
    if joined.samples is not None:
        _check_names(data.lab, "sample", joined.samples)
        scans = replace(scans, ids=np.array(joined.samples), scans=scans.ids)
    return scans, joined.texts


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
    scan_column: str = ""
    """Column of the names of the scans, beside the column of samples; empty: there is none."""

    @property
    def quantity(self) -> str:
        """Quantity that the file or the names of the bands state; empty if neither does."""
        return self.layout.quantity or self.bands.quantity

    @property
    def question(self) -> str:
        """Message for bands that may be nm or cm-1; empty if their unit is clear."""
        if not self.bands.ambiguous_order:
            return ""
        lowest, highest = self.bands.wavelengths_nm[[0, -1]].tolist()
        return AMBIGUOUS_ORDER.format(lowest=lowest, highest=highest)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the format of the file and on the bands."""
        return (*self.layout.notes, *self.bands.notes)

    @property
    def id_position(self) -> int | None:
        """Position of the id column in the header; None without one."""
        return self.layout.header.index(self.id_column) if self.id_column else None

    def blocks(self, rows: int) -> Iterator[Cells]:
        """Bands, ids and names of scans, `rows` rows at a time; errors as in `read_blocks`."""
        others = [self.layout.header.index(name) for name in (self.id_column, self.scan_column) if name]
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

    def scans(self, texts: Texts, first_row: int) -> Names | None:
        """Names of the scans of rows that start at row `first_row` of the table, '' where empty; None without a column.

        Raises:
            InputError: a name is too long.
        """
        if not self.scan_column:
            return None
        _check_names(str(self.layout.path), self.scan_column, texts[self.scan_column], first_row)
        return np.array(texts[self.scan_column], dtype=str)

    def id_notes(self, rows: int, nameless: int, distinct: int) -> list[str]:
        """Notes on the ids.

        Args:
            rows: Number of rows.
            nameless: Number of rows with an empty id.
            distinct: Number of distinct ids.
        """
        scan_notes = [f"the names of the scans are column {self.scan_column}"] if self.scan_column else []
        if not self.id_column:
            return [f"no id column found (data.id_column): rows are named row1 to row{rows}", *scan_notes]
        notes = [f"the ids are column {self.id_column}", *scan_notes]
        if nameless:
            notes.append(f"{nameless} rows without an id are named by row number")
        if replicates := rows - distinct:
            notes.append(f"{replicates} rows repeat an id: they are replicate scans of one sample")
        return notes


def scan_columns(layout: Layout, id_column: str = "") -> ScanColumns:
    """Find the columns of bands, ids and names of scans.

    Args:
        layout: Layout of the table.
        id_column: Column of the ids; empty searches for a known name.

    Raises:
        InputError: the table has no bands, invalid bands, or no column `id_column`.
    """
    source = str(layout.path)
    bands = band_columns(source, layout.header, layout.hint)
    others = [layout.header[position] for position in _other_columns(layout, bands)]
    column = find_column(source, others, "id", id_column)
    scan_column = find_column(source, [name for name in others if name != column], "scan")
    return ScanColumns(layout=layout, bands=bands, id_column=column, scan_column=scan_column)


def _other_columns(layout: Layout, bands: BandColumns) -> list[int]:
    """Positions of the named columns that are not spectral."""
    spectral = {*bands.positions, *bands.ignored}
    return [position for position, name in enumerate(layout.header) if name and position not in spectral]


def without_bad_scans(library: SpectralLibrary, bad: Mapping[int, str]) -> SpectralLibrary:
    """Drop these rows (row, from 0 -> reason) by name."""
    if not bad:
        return library
    parts = [""] * len(library) if library.parts is None else library.parts.tolist()
    dropped = tuple((str(library.ids[row]), parts[row], reason) for row, reason in sorted(bad.items()))
    kept = library.rows(~np.isin(np.arange(len(library)), list(bad)))
    return replace(kept, dropped=(*library.dropped, *dropped))


def _read(
    path: Path, data: DataConfig, limits: LimitsConfig, model: Declared = UNDECLARED
) -> tuple[SpectralLibrary, Texts, Assessment, tuple[str, ...]]:
    """The library without laboratory values; cells of the columns that are not bands; bad scans; names of columns."""
    apart = [Path(data.lab).expanduser()] if data.lab else []
    layout = source_layout(path, limits, data.id_column, apart)
    columns = scan_columns(layout, data.id_column)
    bands, source = columns.bands, str(path)
    cells = read_cells(layout, bands.positions, _other_columns(layout, bands), columns.id_position)
    spectra, rows = cells.bands, len(cells.bands)
    ids = columns.ids(cells.texts, 1, rows)
    nameless = cells.texts[columns.id_column].count("") if columns.id_column else 0
    summary = ScanSummary(bands.wavelengths_nm)
    for start in range(0, rows, BLOCK_ROWS):
        summary.add(spectra[start : start + BLOCK_ROWS])
    declared = replace(
        model, quantity=data.quantity, stated=columns.quantity, scale=data.scale, ambiguous_order=columns.question
    )
    assessment = assess(source, summary, declared, cells.bad, lambda row: f"row {row + 1} ({shortened(str(ids[row]))})")
    spectra /= np.float32(assessment.quantity.scale)
    library = SpectralLibrary(
        source=source,
        spectra=spectra,
        wavelengths_nm=bands.wavelengths_nm,
        quantity=assessment.quantity.name,
        targets={},
        ids=ids,
        scans=columns.scans(cells.texts, 1),
        notes=(*columns.notes, *columns.id_notes(rows, nameless, len(np.unique(ids))), *assessment.notes),
        warnings=assessment.warnings,
        checks=assessment.checks,
    )
    return library, cells.texts, assessment, layout.header


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
    prefix = "alone:"
    while any(group.startswith(prefix) for group in texts[column]):
        prefix = f"_{prefix}"
    groups = np.array([group or f"{prefix}{identity}" for group, identity in zip(texts[column], ids, strict=True)])
    notes = [f"the groups are column {column}, {len(np.unique(groups))} groups"]
    if empty := list(texts[column]).count(""):
        notes.append(f"{empty} rows without a group are grouped by sample only")
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
