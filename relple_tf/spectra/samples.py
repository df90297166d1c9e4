"""Which rows are scans of one sample: by name, or by laboratory values and spectrum."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.near_scans import NearScans, Pair, are_near, near_scans
from relple_tf.spectra.readers.table_file import shortened
from relple_tf.spectra.scan_names import link_by_name, numbered_stems

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

OVERRIDE = "--set data.samples=id links rows of equal id only"
NAME_COLUMN = "if they are scans of one sample, name the column of samples with --set data.id_column=..."


def link_samples(
    library: SpectralLibrary, values: Mapping[str, Floats] | None = None, names: Sequence[Sequence[str]] = ()
) -> SpectralLibrary:
    """Link the rows that are scans of one sample; rows of equal id are linked already.

    Rows are linked by name (`relple_tf.spectra.scan_names`), or if all measured values are equal, at least two, and the
    spectra are nearly equal (`relple_tf.spectra.near_scans`).

    Args:
        library: Rows, not yet checked. `features` are not linked.
        values: Property -> (n,) values as written, NaN where not measured; None: the targets of the library.
        names: Further columns that may name the samples, n cells each.

    Returns:
        The library with `samples`, if rows were linked: the first id of each sample. Notes: what was linked, with the
        setting that links by id only, and what looks like scans of one sample but was not linked. A warning if
        different samples have the same spectrum.
    """
    columns = list((library.targets if values is None else values).values())
    if library.quantity == "features" or not columns:
        return library
    laboratory = np.column_stack(columns)
    ids: Indices = np.unique(library.ids, return_inverse=True)[1]
    name_pairs, doubt = link_by_name(library.ids.tolist(), names, laboratory)
    by_name = _joined(ids, name_pairs)
    near = near_scans(library, laboratory, by_name)
    samples = _joined(by_name, near.pairs)
    notes = (
        *_link_notes(library, ids, by_name, "equal laboratory values and names that differ in the number of the scan"),
        *_link_notes(library, by_name, samples, "equal laboratory values (all measured ones) and nearly equal spectra"),
        *([f"{doubt}; {NAME_COLUMN}"] if doubt else []),
        *_apart_notes(library, samples, near),
    )
    first = np.unique(samples, return_index=True)[1]
    return replace(
        library,
        samples=None if len(first) == len(np.unique(ids)) else library.ids[first][samples],
        notes=(*library.notes, *notes),
        warnings=(*library.warnings, *_copies(library, samples)),
    )


def link_numbered_scans(library: SpectralLibrary) -> SpectralLibrary:
    """Link rows whose names differ only in the number of the scan and whose spectra are nearly equal.

    For scans without laboratory values, of which `link_samples` links rows of equal id only. A form of names numbers
    scans if in more than half of its stems all spectra are nearly equal (`are_near`); in `field_1` to `field_60`, one
    stem, they are not. Rows of the other stems, and noisy replicates, stay different samples.

    Returns:
        The library with `samples`, if rows were linked, and a note on the stems that were linked or not.
    """
    before: Indices = np.unique(library.sample_labels, return_inverse=True)[1]
    pairs: list[Pair] = []
    apart: list[Pair] = []
    for stems in numbered_stems(library.ids.tolist()):
        near = are_near(library, stems)
        numbers_scans = 2 * sum(near) > len(stems)
        for rows, is_near in zip(stems, near, strict=True):
            if numbers_scans and is_near:
                pairs += pairwise(rows)
            else:
                apart.append((rows[0], rows[1]))
    after = _joined(before, pairs)
    notes = []
    if count := int(before.max() - after.max()):
        reason = "names that differ in the number of the scan and nearly equal spectra"
        notes += _link_notes(library, before, after, reason)
    if apart and not count:
        notes.append(
            f"ids such as {_both(library, apart[0])} count as different samples, because the spectra of such names "
            "differ; give scans of one sample the same id"
        )
    library = replace(library, notes=(*library.notes, *notes))
    if not count:
        return library
    first = np.unique(after, return_index=True)[1]
    return replace(library, samples=library.sample_labels[first][after])


def _joined(groups: Indices, pairs: Sequence[Pair]) -> Indices:
    """(n,) numbers of the groups after those of each pair of rows are joined; numbered by their first row."""
    if not pairs:
        return groups
    first, second = np.array(pairs).T
    count = groups.max() + 1
    links = coo_array((np.ones(len(pairs)), (groups[first], groups[second])), shape=(count, count))
    joined: Indices = connected_components(links, directed=False)[1][groups].astype(np.intp)
    return joined


def _link_notes(library: SpectralLibrary, before: Indices, after: Indices, reason: str) -> list[str]:
    """Number of rows and samples that a rule linked, and an example."""
    parts = np.unique(np.column_stack([after, before]), axis=0)[:, 0]
    linked = np.flatnonzero(np.bincount(parts) > 1)
    if not linked.size:
        return []
    example = np.flatnonzero(after == after[np.flatnonzero(np.isin(after, linked))[0]])
    names = " and ".join(shortened(str(name)) for name in list(dict.fromkeys(library.ids[example].tolist()))[:2])
    return [
        f"{np.isin(after, linked).sum()} rows are scans of {len(linked)} samples by {reason}, such as {names}; no "
        f"split divides a sample; {OVERRIDE}"
    ]


def _apart_notes(library: SpectralLibrary, samples: Indices, near: NearScans) -> list[str]:
    """Rows that agree in laboratory values but count as different soils."""
    notes = []
    if near.nearest_apart is not None:
        distance, pair = near.nearest_apart
        apart = [rows for rows in near.sets if len(np.unique(samples[rows])) > 1]
        if apart:
            notes.append(
                f"{sum(map(len, apart))} rows agree with another soil in all laboratory values, but not in their "
                f"spectrum: they count as different soils (nearest: {_both(library, pair)}, RMS difference of SNV "
                f"spectra {distance:.3f}); {NAME_COLUMN}"
            )
    if near.single:
        notes.append(
            f"{len(near.single)} pairs of rows agree in their only laboratory value and nearly in their spectrum, such "
            f"as {_both(library, near.single[0])}: they count as different soils, because a single value proves "
            f"nothing; {NAME_COLUMN}"
        )
    return notes


def _copies(library: SpectralLibrary, samples: Indices) -> list[str]:
    """A warning if rows of different samples have the same spectrum."""
    first: dict[bytes, int] = {}
    copies = []
    for row, spectrum in enumerate(library.spectra):
        other = first.setdefault(sha256(spectrum.tobytes()).digest(), row)
        if samples[other] != samples[row]:
            copies.append((other, row))
    if not copies:
        return []
    return [
        f"{len(copies)} rows have the spectrum of another soil, such as {_both(library, copies[0])}: their names and "
        "laboratory values do not show that they are one sample; correct or remove the copies"
    ]


def _both(library: SpectralLibrary, pair: Pair) -> str:
    return " and ".join(shortened(str(library.ids[row])) for row in pair)
