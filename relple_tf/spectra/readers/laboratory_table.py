"""Join a table of laboratory values to scans by the name of the sample."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relple_tf.config import DataConfig, LimitsConfig
from relple_tf.csv_text import escape_formula
from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS
from relple_tf.spectra.readers.cells import read_cells, read_layout
from relple_tf.spectra.readers.columns import (
    count_band_names,
    find_column,
    name_some,
    names_coordinate,
)
from relple_tf.spectra.readers.folders import SAMPLE
from relple_tf.spectra.readers.laboratory_names import looks_like_lucas, meaning
from relple_tf.spectra.readers.sample_names import match_names, normalised_name, stem_key
from relple_tf.spectra.readers.table_file import quoted, shortened

_MOST_NAMES = 10

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Scans joined with a laboratory table."""

    texts: dict[str, list[str]]
    """Column name -> n cells, of both tables; '' where a scan has no row in the laboratory table."""
    samples: list[str] | None
    """n names of the samples, if the laboratory table divides the scans into other samples than their names."""
    notes: tuple[str, ...]


def join_laboratory(
    source: str, ids: Sequence[str], texts: Texts, id_column: str, data: DataConfig, limits: LimitsConfig
) -> Joined:
    """Add the columns of the table `data.lab` to the scans: laboratory values, groups, coordinates, declared split.

    A scan belongs to the laboratory row with exactly its name, or with the name of its file (column `file`). For the
    remaining scans the names are compared without regard to case, blanks and the suffix of a file, if the name stands
    for a single name on both sides; then without the number of a scan (`sample_stem`), unless the laboratory table
    itself contains such numbers. Other scans have empty cells. Near matches are suggested in a note, never joined.

    Scans of one laboratory row are scans of one sample. If the laboratory table names the scans, and has a further
    column of sample names (such as `file` and `sample`), that column names the samples.

    Args:
        source: Name of the scans, for messages.
        ids: (n,) names of the scans.
        texts: Column name -> n cells, of the scans.
        id_column: Column of the names of the scans; empty without one.
        data: `lab` and `id_column` are read, and `targets`, whose names may not occur in both tables.
        limits: Limits on the size of the laboratory table.

    Raises:
        InputError: the laboratory table has bands, no column with names of scans, several such columns, or two
            different rows of one name; no scan has a row; or both tables contain the same target.
    """
    path = Path(data.lab).expanduser()
    table = _read(path, limits)
    names = [name.strip() for name in ids]
    # Files written by this program contain some names with a leading apostrophe (`escape_formula`).
    escaped = {escape_formula(name): name for name in names}
    table = {column: [escaped.get(cell, cell) for cell in cells] for column, cells in table.items()}
    column = _name_column(path, source, table, names, list(texts.get("file", ())), (data.id_column, id_column))
    rows, notes = _rows_by_name(path, column, table)
    rows_of_scans, join_notes = match_names(path, names, list(texts.get("file", ())), list(rows))
    added = {name: [rows[row][name] if row else "" for row in rows_of_scans] for name in table if name != column}
    kept, added = _without_conflicts(path, source, texts, added, rows_of_scans, data.targets)
    found = sum(map(bool, rows_of_scans))
    first = f"{path}: {found} of {len(names)} scans have a row; the names of the samples are column {column}"
    samples, sample_notes = _samples(path, names, rows_of_scans, added)
    return Joined(texts=kept | added, samples=samples, notes=(first, *notes, *join_notes, *sample_notes))


def _read(path: Path, limits: LimitsConfig) -> dict[str, list[str]]:
    """Column name -> cells of the laboratory table."""
    layout = read_layout(path, limits)
    if (bands := count_band_names(layout.header)) >= MINIMUM_BANDS:
        raise InputError(
            f"{path}: expected a table of laboratory values (data.lab) without bands, received {bands} bands; give "
            "scans with laboratory values as --data"
        )
    table = read_cells(layout, (), [position for position, name in enumerate(layout.header) if name]).texts
    if not table:
        raise InputError(f"{path}: expected a header with the names of the columns, received empty names; add them")
    return table


def _name_column(
    path: Path, source: str, table: Texts, names: Sequence[str], files: Sequence[str], given: Sequence[str]
) -> str:
    """The column of the laboratory table that contains the names of the scans.

    Args:
        path: Path of the laboratory table.
        source: Name of the scans, for messages.
        table: Column name -> cells of the laboratory table.
        names: Names of the scans.
        files: Names of the files of the scans; may be empty.
        given: Columns to prefer, if they exist, before the known names.
    """
    keys = {normalised_name(name) for name in (*names, *files)}
    counts = _counts(table, keys)
    if not any(counts.values()):
        counts = _counts(table, {stem_key(name) for name in names})
    same = next((name for name in given if counts.get(name)), "")
    if same:
        return same
    known = find_column(str(path), list(table), "id")
    # Numbers of samples also occur among laboratory values and coordinates.
    others = [name for name in table if counts[name] and not meaning(name, lucas=True) and not names_coordinate(name)]
    if counts.get(known):
        others = [known, *(name for name in others if counts[name] > counts[known])]
    if not others:
        column = next((name for name in given if name in table), "") or known or next(iter(table))
        raise InputError(
            f"{path}: no sample name of {source} was found; the scans are {_examples(names)}, column {quoted(column)} "
            f"contains {_examples(table[column])}; give the samples the same names in both"
        )
    if len(others) > 1:
        first, second = others[:2]
        wanted = next((name for name in given if name), SAMPLE)
        raise InputError(
            f"{path}: columns {quoted(first)} and {quoted(second)} contain {counts[first]} and {counts[second]} names "
            f"of {source}; rename the column of sample names {quoted(wanted)}, or remove the other"
        )
    return others[0]


def _counts(table: Texts, keys: set[str]) -> dict[str, int]:
    """Column -> number of `keys` among its normalised cells."""
    return {column: len(keys.intersection(map(normalised_name, cells))) for column, cells in table.items()}


def _rows_by_name(path: Path, column: str, table: Texts) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Name of a sample -> column name -> cell; and notes.

    A cell that is empty in one row of a name may be filled in another.

    Raises:
        InputError: two rows of a name differ in a cell.
    """
    rows: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    cells = table[column]
    nameless = [str(number) for number, cell in enumerate(cells, start=1) if not cell]
    for number, name in enumerate(cells, start=1):
        if not name:
            continue
        row = {other: table[other][number - 1] for other in table if other != column}
        earlier = rows.setdefault(name, row)
        for other, cell in row.items():
            if cell and earlier[other] and not _equal(cell, earlier[other]):
                raise InputError(
                    f"{path}: rows {first[name]} and {number} are both {shortened(name)} in column {quoted(column)}, "
                    f"but column {quoted(other)} is {quoted(earlier[other])} and {quoted(cell)}; keep a single row of "
                    "a sample"
                )
            earlier[other] = earlier[other] or cell
        first.setdefault(name, number)
    notes = []
    if nameless:
        notes.append(f"{path}: rows without a sample name were left out: {name_some(nameless, _MOST_NAMES)}")
    if repeated := len(cells) - len(nameless) - len(rows):
        notes.append(f"{path}: {repeated} rows repeat a sample with the same values")
    return rows, notes


def _without_conflicts(
    path: Path, source: str, texts: Texts, added: dict[str, list[str]], rows: Sequence[str], targets: Collection[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Columns of the scans and of the laboratory table, without columns that the other table contains as well.

    Raises:
        InputError: both tables contain values of a target, or different cells under the same name.
    """
    lucas = looks_like_lucas([*texts, *added])
    kept = {name: list(cells) for name, cells in texts.items()}
    left = dict(added)
    for name in added:
        known = meaning(name, lucas=lucas)
        same = [
            other
            for other in kept
            if other == name or (known and (found := meaning(other, lucas=lucas)) and found.target == known.target)
        ]
        for other in same:
            is_target = known is not None or name in targets
            if not any(kept[other]):
                del kept[other]
            elif is_target or any(
                row and not _equal(cell, scanned)
                for row, cell, scanned in zip(rows, added[name], kept[other], strict=True)
            ):
                what = known.target if known else "different values"
                raise InputError(
                    f"{path}: column {quoted(name)} and column {quoted(other)} of {source} both contain {what}; "
                    "remove or rename either"
                )
            else:
                del left[name]
    return kept, left


def _samples(path: Path, names: Sequence[str], rows: Sequence[str], added: Texts) -> tuple[list[str] | None, list[str]]:
    """Names of the samples, if they divide the scans in another way than the names of the scans; and a note."""
    samples = [row or name for row, name in zip(rows, names, strict=True)]
    # Other ids, such as that of the laboratory, do not name samples.
    column = find_column(str(path), [name for name in added if name.lower().startswith("sample")], "id")
    if column:
        named = [cell or sample for cell, sample in zip(added[column], samples, strict=True)]
        if len(set(named)) < len(set(samples)):
            samples = named
        else:
            column = ""
    count = len(set(samples))
    if count == len(set(names)) == len(set(zip(names, samples, strict=True))):
        return None, []
    where = f"column {column}" if column else "its rows"
    return samples, [f"{path}: the samples are {where}: {len(names)} scans of {count} samples"]


def _equal(first: str, second: str) -> bool:
    """Whether two cells are the same text or the same number."""
    try:
        return first == second or float(first) == float(second)
    except ValueError:
        return False


def _examples(names: Sequence[str]) -> str:
    return name_some(list(dict.fromkeys(name for name in names if name)), 3)
