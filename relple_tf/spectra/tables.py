"""Spectral tables, one scan per row (CSV, Parquet; LUCAS, OSSL), read into a SpectralLibrary."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.columns import band_columns, find_column, name_some, names_coordinate
from relple_tf.spectra.coordinates import read_coordinates
from relple_tf.spectra.csv_text import neutral
from relple_tf.spectra.files import cell_name, read_cells, read_layout
from relple_tf.spectra.lab import read_targets, select_targets
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.quantity import settle_quantity
from relple_tf.spectra.replicates import average_replicates

_PARTS = {
    **dict.fromkeys(("train", "training", "cal", "calibration"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_IS_TRAIN = {
    **dict.fromkeys(("1", "1.0", "true"), "train"),
    **dict.fromkeys(("0", "0.0", "false"), "test"),
}

Texts = Mapping[str, Sequence[str]]
Names = npt.NDArray[np.str_]


def read_table(path: Path, data: DataConfig) -> SpectralLibrary:
    """Scans with laboratory values, groups, coordinates and the declared split.

    Args:
        path: CSV (`,` `;` or tab, decimal point or comma, also gzip) or Parquet; one scan per row.
        data: Targets, quantity, id and group columns to read, and what becomes of replicate scans.

    Raises:
        InputError: the file, a row, a cell or a target is unsound; the message names it and the way
            out.
    """
    if asked := [name for name in data.targets if names_coordinate(name)]:
        raise InputError(
            f"{path}: data.targets names {asked[0]!r}, which is where a sample was taken; name what was measured on it"
        )
    scans, texts = _read(path, data)
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


def read_scans(path: Path, id_column: str = "", fallback_quantity: str = "auto") -> SpectralLibrary:
    """Scans alone, for prediction: laboratory values, groups and parts are not looked at.

    Args:
        path: As in `read_table`.
        id_column: Column of the ids, where the table has it; else a known name is looked for.
        fallback_quantity: What the scans are, where neither the column names nor a rule tells.

    Raises:
        InputError: the file, a row or a band is unsound; the message names it and the way out.
    """
    known = id_column if id_column in read_layout(path).header else ""
    return _read(path, DataConfig(id_column=known), fallback_quantity)[0].checked()


def read_parts(path: Path, ids: Names) -> tuple[Names, str]:
    """Look up the part of every scan in a split file.

    Args:
        path: A table with a column `split`, `part`, `set` or `train`, and one that holds the ids.
        ids: (n,) ids of the scans; matched as text.

    Returns:
        (n,), `train`, `validation` or `test`, and which column was taken for the ids.

    Raises:
        InputError: the file declares no split, no column holds all ids, two columns hold them and disagree, or one id
            is in two parts.
    """
    layout = read_layout(path)
    texts = read_cells(layout, (), range(len(layout.header))).texts
    column, parts = _declared_parts(str(path), texts)
    if parts is None:
        raise InputError(
            f"{path}: declares no split; it needs a column split, part or train; it has {name_some(layout.header)}"
        )
    wanted = set(ids.tolist())
    # A file that this program wrote holds some ids with an apostrophe before them.
    by_cell = {neutral(identity): identity for identity in wanted} | {identity: identity for identity in wanted}
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


def _read(
    path: Path, data: DataConfig, fallback_quantity: str = "auto"
) -> tuple[SpectralLibrary, dict[str, list[str]]]:
    """The unchecked library without laboratory values, and the columns that are not bands."""
    layout = read_layout(path)
    source, header = str(path), layout.header
    bands = band_columns(source, header)
    spectral = {*bands.positions, *bands.ignored}
    others = [position for position, name in enumerate(header) if name and position not in spectral]
    id_column = find_column(source, [header[position] for position in others], "id", data.id_column)
    id_position = header.index(id_column) if id_column else None
    cells = read_cells(layout, bands.positions, others, id_position)
    ids, id_notes = _ids(cells.texts, id_column, len(cells.bands))
    spectra, quantity, quantity_notes = settle_quantity(
        source, cells.bands, bands.wavelengths_nm, data.quantity, bands.quantity, fallback_quantity
    )
    library = SpectralLibrary(
        source=source,
        spectra=spectra,
        wavelengths_nm=bands.wavelengths_nm,
        quantity=quantity,
        targets={},
        ids=ids,
        notes=(*bands.notes, *id_notes, *quantity_notes),
    )
    return library, cells.texts


def _ids(texts: Texts, column: str, rows: int) -> tuple[Names, list[str]]:
    numbered = [f"row{row}" for row in range(1, rows + 1)]
    if not column:
        note = f"no id column found (data.id_column): rows are named row1 to row{rows}"
        return np.array(numbered), [note]
    ids = np.array([identity or number for identity, number in zip(texts[column], numbered, strict=True)])
    notes = [f"ids are column {column}"]
    if empty := list(texts[column]).count(""):
        notes.append(f"{empty} rows without an id are named by their row number")
    if replicates := rows - len(np.unique(ids)):
        notes.append(f"{replicates} rows repeat an id: they are replicate scans of one sample")
    return ids, notes


def _groups(source: str, texts: Texts, ids: Names, given: str) -> tuple[Names | None, list[str]]:
    column = find_column(source, list(texts), "group", given)
    if not column:
        return None, []
    if not given and len(set(texts[column])) == 1:
        only = texts[column][0]
        return None, [f"column {column} was not taken as group: all rows are {only!r}"]
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
                    f"{where} is {cell!r}, no part; a part is {', '.join(words)}; correct it or rename the column"
                )
        return column, np.array([words[cell.lower()] for cell in texts[column]])
    return "", None
