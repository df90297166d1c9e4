"""Read a folder of scans: every file of the folder, joined to one table in memory."""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.progress import tqdm
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS
from relple_tf.spectra.readers.cells import read_cells, read_layout
from relple_tf.spectra.readers.columns import (
    BandColumns,
    band_columns,
    count_band_names,
    find_column,
    name_some,
)
from relple_tf.spectra.readers.folder_files import DOCUMENTS, list_files, scan_name, suffix
from relple_tf.spectra.readers.table_file import Cells, Layout, ScanTable, memory_layout, quoted

SAMPLE = "sample"
"""Column of the names of the scans, where no file has a column of sample names."""
FILE_COLUMNS = ("file", "scan_file")
"""Names for the column of file names; the second is used if a file has a column of the first name."""

_SAME_NM = 1e-6
"""Largest difference, in nm, of wavelengths that count as equal; wavenumbers are converted within 1e-12."""
_MOST_NAMES = 10
_MOST_NOTES = 20
_KEPT_HEADERS = 16
_BAR_DELAY_S = 1.0
"""The progress bar appears after this time."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """The scans of a file."""

    name: str
    id_column: str
    """Column of the sample names in the file; empty without one."""
    ids: list[str]
    texts: Mapping[str, list[str]]
    """Name of each other column -> cells."""
    spectra: npt.NDArray[np.float32]
    """(n, bands) on the wavelengths of the first file."""


@dataclass(kw_only=True)
class _Reader:
    """Reads the files of a folder one after the other."""

    limits: LimitsConfig
    id_column: str
    first: Path | None = None
    """The first file with spectra."""
    first_nm: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    bands: dict[tuple[str, ...], BandColumns] = field(default_factory=dict)
    """Headers of the last files; files of one instrument have the same."""
    quantities: dict[str, list[Path]] = field(default_factory=dict)
    """Stated quantity, empty if none is stated -> files."""
    notes: dict[str, list[Path]] = field(default_factory=dict)
    """Note -> files."""
    moved: list[Path] = field(default_factory=list)
    """Files that were interpolated to the wavelengths of the first."""
    most_moved_nm: float = 0.0

    def read(self, path: Path) -> _File | None:
        """Read a file; None if it contains no spectra.

        Raises:
            InputError: the file is damaged, or its bands or a cell are invalid.
        """
        layout = read_layout(path, self.limits)
        is_known = layout.header in self.bands
        if not is_known and layout.table is None and count_band_names(layout.header) < MINIMUM_BANDS:
            return None
        bands = self._band_columns(layout)
        spectral = {*bands.positions, *bands.ignored}
        others = [position for position, name in enumerate(layout.header) if name and position not in spectral]
        names = [layout.header[position] for position in others]
        id_column = find_column(str(path), names, "id", self.id_column if self.id_column in names else "")
        id_position = layout.header.index(id_column) if id_column else None
        cells = read_cells(layout, bands.positions, others, id_position)
        for note in (*(layout.table.notes if layout.table else ()), *bands.notes):
            self.notes.setdefault(note, []).append(path)
        stated = layout.table.quantity if layout.table else ""
        self.quantities.setdefault(stated or bands.quantity, []).append(path)
        return _File(
            name=path.name,
            id_column=id_column,
            ids=_ids(path, cells, id_column),
            texts={name: column for name, column in cells.texts.items() if name != id_column},
            spectra=self._on_first_grid(path, bands.wavelengths_nm, cells.bands),
        )

    def _band_columns(self, layout: Layout) -> BandColumns:
        if layout.header not in self.bands:
            if len(self.bands) == _KEPT_HEADERS:
                self.bands.clear()
            self.bands[layout.header] = band_columns(str(layout.path), layout.header)
        return self.bands[layout.header]

    def _on_first_grid(
        self, path: Path, nm: npt.NDArray[np.float64], spectra: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Interpolate spectra to the wavelengths of the first file; beyond the ends, the end value is held.

        Raises:
            InputError: the wavelengths differ by more than half a step.
        """
        if self.first is None:
            self.first, self.first_nm = path, nm
        expected = self.first_nm
        differences = np.abs(nm - expected) if len(nm) == len(expected) else np.array([np.inf])
        if (differences <= _SAME_NM).all():
            return spectra
        if not np.all(differences <= np.gradient(expected) / 2):
            raise InputError(
                f"{path}: expected the bands of {self.first.name} within half a step "
                f"({len(expected)} bands, {expected[0]:.10g}..{expected[-1]:.10g} nm), received {len(nm)} bands, "
                f"{nm[0]:.10g}..{nm[-1]:.10g} nm; keep the scans of each instrument in a folder of their own"
            )
        self.moved.append(path)
        self.most_moved_nm = max(self.most_moved_nm, float(differences.max()))
        return np.stack([np.interp(expected, nm, spectrum) for spectrum in spectra]).astype(np.float32)

    def all_notes(self) -> Iterator[str]:
        """Notes on the files; a note that holds for many files is given once."""
        count = sum(map(len, self.quantities.values()))
        for note, files in list(self.notes.items())[:_MOST_NOTES]:
            yield note if len(files) == count else f"{_named(files)}: {note}"
        if (more := len(self.notes) - _MOST_NOTES) > 0:
            yield f"{more} further notes on single files are not shown"
        if self.moved and self.first:
            yield (
                f"bands of {_named(self.moved)} differ by up to {self.most_moved_nm:.3g} nm from those of "
                f"{self.first.name}: interpolated to those"
            )

    def quantity(self, folder: Path) -> tuple[str, list[str]]:
        """The quantity that every file states, empty if some state none; and notes.

        Raises:
            InputError: the files state different quantities.
        """
        stated = [quantity for quantity in self.quantities if quantity]
        if len(stated) > 1:
            parts = " and ".join(f"{quantity} in {_named(self.quantities[quantity])}" for quantity in stated[:2])
            raise InputError(f"{folder}: expected one quantity, received {parts}; put them into two folders")
        if stated and "" in self.quantities:
            return "", [
                f"{_named(self.quantities[stated[0]])} state {stated[0]}, {_named(self.quantities[''])} state no "
                "quantity: it is determined from the spectra of all files"
            ]
        return (stated or [""])[0], []


def source_layout(path: Path, limits: LimitsConfig, id_column: str = "", apart: Collection[Path] = ()) -> Layout:
    """Layout of a table or an instrument file, or of all scans of a folder; arguments and errors as in `read_folder`.

    Raises:
        InputError: see `read_layout` and `read_folder`.
    """
    return read_folder(path, limits, id_column, apart) if path.is_dir() else read_layout(path, limits)


def read_folder(path: Path, limits: LimitsConfig, id_column: str = "", apart: Collection[Path] = ()) -> Layout:
    """Read every file of a folder, sorted by name, and join the scans to one table in memory.

    Hidden files, lock files of Excel (`~$`) and subfolders are not read. A file without spectra is named in a note. A
    file that cannot be read refuses the folder, unless it is a document (see DOCUMENTS).

    The name of a scan is the cell of the file's column of sample names. Without such a column it is the name of the
    file without suffix, followed by `:row2` for the second of several rows. The column `file` contains the name of
    the file.

    Args:
        path: The folder.
        limits: Limits on each file, and on the number of files and rows and the bytes of all files together.
        id_column: Column of the sample names, in files that have it; else known names are searched.
        apart: Files in the folder that are not read, such as the table of laboratory values.

    Returns:
        The joined table on the wavelengths of the first file, in nm, ascending.

    Raises:
        InputError: the folder contains no spectra, is a run or a bundle, or exceeds the limits; a file is damaged; or
            files differ in bands by more than half a step, or in the quantity that they state.
    """
    files, subfolders = list_files(path, limits, apart)
    reader = _Reader(limits=limits, id_column=id_column)
    read: deque[_File] = deque()
    without: list[Path] = []
    errors: dict[Path, InputError] = {}
    rows = 0
    for file in tqdm(files, desc="reading", unit=" files", delay=_BAR_DELAY_S, disable=None):
        try:
            scans = reader.read(file)
        except InputError as error:
            if not (file.is_file() and DOCUMENTS.fullmatch(suffix(file))):
                raise
            errors[file] = error
            scans = None
        if scans is None:
            without.append(file)
            continue
        read.append(scans)
        rows += len(scans.ids)
        if rows > limits.table_rows:
            raise InputError(
                f"{path}: more than {limits.table_rows:,} scans; divide the folder, or raise limits.table_rows"
            )
    spectral = {suffix(Path(scans.name)) for scans in read}
    for file in errors:
        if suffix(file) in spectral:  # for example one damaged .txt among text exports
            raise errors[file]
    if not read:
        received = f"{_named(without)} without" if without else "none"
        below = f"; subfolders are not read: {name_some(subfolders, _MOST_NAMES)}" if subfolders else ""
        raise InputError(f"{path}: expected at least one file with spectra, received {received}{below}")
    quantity, quantity_notes = reader.quantity(path)
    notes = [f"{len(read)} files with spectra, {rows} scans"]
    if without:
        notes.append(f"not read, because they contain no spectra: {name_some([f.name for f in without], _MOST_NAMES)}")
    if subfolders:
        notes.append(f"subfolders are not read: {name_some(subfolders, _MOST_NAMES)}")
    texts, id_notes = _texts(path, read, id_column)
    table = ScanTable(
        texts=texts,
        axis=reader.first_nm,
        axis_unit="nm",
        spectra=_joined(read, rows, len(reader.first_nm)),
        quantity=quantity,
        notes=(*notes, *reader.all_notes(), *quantity_notes, *id_notes),
    )
    return memory_layout(path, table, limits)


def _ids(path: Path, cells: Cells, id_column: str) -> list[str]:
    """Names of the scans of a file."""
    stem = scan_name(path.name)
    numbered = [stem] if cells.rows == 1 else [f"{stem}:row{row}" for row in range(1, cells.rows + 1)]
    if not id_column:
        return numbered
    return [cell or number for cell, number in zip(cells.texts[id_column], numbered, strict=True)]


def _texts(path: Path, files: Collection[_File], id_column: str) -> tuple[dict[str, list[str]], list[str]]:
    """Columns of all files, '' where a file lacks a column; and notes on the names of the scans."""
    used = Counter(file.id_column for file in files)
    named = [column for column in used if column]
    name = id_column if id_column in named else (named or [SAMPLE])[0]
    others = dict.fromkeys(column for file in files for column in file.texts)
    if name in others:
        other = next(column for column in named if column != name)
        raise InputError(
            f"{path}: some files name their samples in column {quoted(name)}, others in {quoted(other)}; rename the "
            "columns, or give data.id_column"
        )
    file_column = next((column for column in FILE_COLUMNS if column not in others), FILE_COLUMNS[-1])
    texts: dict[str, list[str]] = {column: [] for column in (name, file_column, *others)}
    for file in files:
        texts[name] += file.ids
        texts[file_column] += [file.name] * len(file.ids)
        for column in others:
            texts[column] += file.texts.get(column, [""] * len(file.ids))
    notes = []
    if used[""]:
        which = "the scans" if not named else f"the scans of {used['']} files"
        notes.append(f"{which} are named by their files, without suffix")
    if len(named) > 1:
        counts = ", ".join(f"{column} in {used[column]} files" for column in named)
        notes.append(f"column {name} contains the names of the samples: {counts}")
    return texts, notes


def _joined(files: deque[_File], rows: int, bands: int) -> npt.NDArray[np.float32]:
    """(rows, bands) spectra of all files; empties `files`, because both copies would need twice the memory."""
    spectra = np.empty((rows, bands), np.float32)
    start = 0
    while files:
        block = files.popleft().spectra
        spectra[start : start + len(block)] = block
        start += len(block)
    return spectra


def _named(files: Sequence[Path]) -> str:
    """Names of files for a note: the first three, and the number of the others."""
    return name_some([file.name for file in files], 3)
