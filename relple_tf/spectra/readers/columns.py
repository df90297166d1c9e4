"""Column names: identify bands, ids, groups, coordinates and the declared split."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.readers.axis_checks import (
    refuse_band_numbers,
    refuse_micrometres,
    refuse_stray_number,
    refuse_twins,
)
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM, BandName, band_names
from relple_tf.spectra.readers.table_file import quoted, shortened

_LONGEST_PLAIN_NM = 3500.0
"""If bare numbers start in the range and exceed this, they are mid-infrared wavenumbers, not nm."""

_NAME_BANDS = (
    "name each band column by its wavelength in nm (1100, X1100, 1100nm, spc.1100, scan_nir.1100_ref) or wavenumber "
    "(wn_5400)"
)

_SAMPLES = (
    *("samplename", "samplecode", "samplelabel", "ssn", "id", "sampleid", "pointid"),
    *("idlayeruuidtxt", "idsamplelocalc", "idlayerlocalc", "soilid", "labid", "sampleno", "samplenumber", "sample"),
)
"""Columns of sample names, the first has precedence: NeoSpectra, ProxiScout, MicroNIR and SCiO (`Sample Name`,
`sampleName`, `sample_id`), ICRAF (`SSN`), LUCAS (`sample.ID`, `POINT_ID`), OSSL. `sample` is last: beside another name
it may be the number of a sample within a plot. All of these columns link scans whose laboratory values agree."""
_SCAN_IDS = (
    *("scanid", "scanname", "scanuuid", "idscanuuidc", "idscanlocalc", "uuid"),
    *("spectrumid", "spectrumname", "filename", "file"),
)
"""Columns of unique scan names; they are the ids of a table without a column of samples."""
_SCANS = (*_SCAN_IDS, "scan", "scanno", "scannumber", "spectrum", "replicate", "rep", "id")
"""Columns of scan names beside the column of ids; some number the scans of each sample."""
_IDS = (*_SAMPLES, *_SCAN_IDS)
_GROUPS = (
    *("group", "groups", "groupid", "field", "fieldid", "site", "siteid", "profile", "profileid"),
    *("farm", "farmid", "plot", "plotid", "idlocationolctxt"),
)
_COORDINATES = (
    *(("longitudepointwgs84dd", "latitudepointwgs84dd"), ("gpslong", "gpslat"), ("thlong", "thlat")),
    *(("longitude", "latitude"), ("lon", "lat"), ("long", "lat")),
)
"""Longitude and latitude columns: OSSL, LUCAS (position of the surveyor, then of the grid point), common names."""
_PARTS = ("split", "part", "set")
_TRAIN = ("train", "istrain")


@dataclass(frozen=True, kw_only=True)
class BandColumns:
    """The band columns of a table."""

    positions: tuple[int, ...]
    """Positions in the header, by ascending wavelength."""
    wavelengths_nm: npt.NDArray[np.float64]
    """(bands,), strictly ascending."""
    ignored: frozenset[int]
    """Positions of spectral columns that are ignored: mid-infrared, or outside RANGE_NM."""
    quantity: str
    """`reflectance` or `absorbance` if the names declare it (`_ref`, `_abs`), else empty."""
    notes: tuple[str, ...]
    ambiguous_order: bool = False
    """The names are numbers that descend, without a unit: nm or cm-1. They were read as nm; unless the water bands of
    the spectra prove it, refuse the table with `axis_checks.AMBIGUOUS_ORDER`."""


def band_columns(source: str, header: Sequence[str], hint: str = "") -> BandColumns:
    """Find the band columns: a number in nm, bare or with a known affix, or a marked wavenumber.

    Accepted names: see `band_name`. If all bare numbers exceed RANGE_NM, they are wavenumbers.

    Args:
        source: Name of the table, for messages.
        header: Column names.
        hint: What the table looks like, for the message on missing bands.

    Raises:
        InputError: there are fewer than MINIMUM_BANDS, two bands have the same wavelength, reflectance and absorbance
            are mixed, or the names cannot be the wavelengths of a sensor: band numbers, micrometres without a unit, a
            second block of the same bands, a number among bands in equal steps that is not one of them.
    """
    names = band_names(header)
    refuse_band_numbers(source, header, names)
    refuse_micrometres(source, header, names)
    wavelengths, units = _wavelengths(source, names)
    inside = [position for position, nm in wavelengths.items() if RANGE_NM[0] <= nm <= RANGE_NM[1]]
    if len(inside) < MINIMUM_BANDS:
        raise InputError(
            f"{source}: expected at least {MINIMUM_BANDS} band columns between {RANGE_NM[0]:g} and {RANGE_NM[1]:g} nm, "
            f"got {len(inside)}; {hint or _NAME_BANDS}; the columns are {name_some(header)}"
        )
    ordered = sorted(inside, key=wavelengths.__getitem__)
    for first, second in pairwise(ordered):
        if wavelengths[first] == wavelengths[second]:
            raise InputError(
                f"{source}: columns {quoted(header[first])} and {quoted(header[second])} are both "
                f"{wavelengths[first]:g} nm; remove either"
            )
    wavelengths_nm = np.array([wavelengths[position] for position in ordered])
    refuse_twins(source, header, ordered, wavelengths_nm.tolist())
    refuse_stray_number(source, header, names, inside)
    declared = {names[position].quantity for position in ordered} - {""}
    if len(declared) > 1:
        raise InputError(f"{source}: some band columns end in _ref and others in _abs; keep only one quantity")
    mir = [position for position, name in enumerate(header) if name.lower().startswith("scan_mir")]
    kept = set(inside)
    outside = [position for position in wavelengths if position not in kept]
    bare = [wavelengths[position] for position in inside if units[position] == "bare"]
    return BandColumns(
        positions=tuple(ordered),
        wavelengths_nm=wavelengths_nm,
        ignored=frozenset((*mir, *outside)),
        quantity=next(iter(declared), ""),
        notes=tuple(_notes(header, units, inside, ordered, outside, mir)),
        ambiguous_order=len(bare) > 1 and all(first > second for first, second in pairwise(bare)),
    )


def count_band_names(header: Sequence[str]) -> int:
    """Number of columns whose name is that of a band, at any wavelength."""
    return len(band_names(header))


def find_column(source: str, header: Sequence[str], kind: str, given: str = "") -> str:
    """Name of the column of `kind` (`id`, `scan`, `group`, `part` or `train`); empty if there is none.

    Args:
        source: Name of the table, for messages.
        header: Column names to search.
        kind: Content of the column.
        given: Column name from the config; empty searches for a known name.

    Raises:
        InputError: the given column is not in the table.
    """
    if given:
        if given not in header:
            raise InputError(
                f"{source}: data.{kind}_column is {given!r}, but there is no such column; "
                f"the columns apart from the bands are {name_some(header)}"
            )
        return given
    known_names = {"id": _IDS, "scan": _SCANS, "group": _GROUPS, "part": _PARTS, "train": _TRAIN}[kind]
    columns = _by_normalised_name(header)
    return next((columns[name] for name in known_names if name in columns), "")


def find_coordinates(header: Sequence[str]) -> tuple[str, str] | None:
    """The columns of longitude and latitude, by known names in any case; None unless both exist."""
    columns = _by_normalised_name(header)
    pairs = ((columns.get(longitude), columns.get(latitude)) for longitude, latitude in _COORDINATES)
    return next(((longitude, latitude) for longitude, latitude in pairs if longitude and latitude), None)


def names_coordinate(name: str) -> bool:
    """Whether a column of this name contains longitudes or latitudes."""
    return any(normalised in pair for normalised in _by_normalised_name([name]) for pair in _COORDINATES)


def sample_columns(header: Sequence[str]) -> list[str]:
    """All columns that may name the sample of a scan; `find_column` returns the one that names the rows."""
    columns = _by_normalised_name(header)
    return [columns[name] for name in _SAMPLES if name in columns]


def names_role(name: str) -> bool:
    """Whether a column of this name contains the sample, scan, group, coordinates or part of a row."""
    known_names = {
        *_IDS,
        *_SCANS,
        *_GROUPS,
        *_PARTS,
        *_TRAIN,
        *(coordinate for pair in _COORDINATES for coordinate in pair),
    }
    return not known_names.isdisjoint(_by_normalised_name([name]))


def name_some(header: Sequence[str], most: int = 20) -> str:
    """Column names for a one-line message: the first `most`, and the number of the others."""
    named = [name for name in header if name]
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return (", ".join(map(shortened, named[:most])) or "nameless") + more


def _by_normalised_name(header: Sequence[str]) -> dict[str, str]:
    """Name reduced to lower-case letters and digits -> first column with this name."""
    columns: dict[str, str] = {}
    for name in header:
        columns.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), name)
    return columns


def _wavelengths(source: str, names: Mapping[int, BandName]) -> tuple[dict[int, float], dict[int, str]]:
    """For each band column: position -> wavelength in nm, position -> unit of its number."""
    wavelengths = {position: band.number for position, band in names.items()}
    units = {position: band.unit for position, band in names.items()}
    bare = [wavelengths[position] for position, unit in units.items() if unit == "bare"]
    if bare and min(bare) > RANGE_NM[1]:
        units = {position: "cm-1" if unit == "bare" else unit for position, unit in units.items()}
    elif len([nm for nm in bare if nm > _LONGEST_PLAIN_NM]) >= MINIMUM_BANDS:
        raise InputError(
            f"{source}: band columns run from {min(bare):g} to {max(bare):g}, which are neither wavelengths in nm nor "
            "wavenumbers of a NIR sensor; keep the columns of 350..2600 nm, or name wavenumbers wn_5400"
        )
    for position, unit in units.items():
        if unit == "cm-1" and wavelengths[position] > 0:
            wavelengths[position] = 1e7 / wavelengths[position]
        elif unit == "um":
            wavelengths[position] = round(1000 * wavelengths[position], 6)
    return wavelengths, units


def _notes(
    header: Sequence[str],
    units: dict[int, str],
    inside: Sequence[int],
    ordered: Sequence[int],
    outside: Sequence[int],
    mir: Sequence[int],
) -> list[str]:
    notes = []
    if any(units[position] == "cm-1" for position in inside):
        first, last = header[inside[0]], header[inside[-1]]
        notes.append(f"bands {first} to {last} are wavenumbers (cm-1), converted to nm (1e7 / cm-1)")
    if any(units[position] == "um" for position in inside):
        notes.append("bands in micrometres were converted to nm")
    if list(inside) != list(ordered):
        notes.append("band columns were sorted by ascending wavelength")
    if outside:
        names = name_some([header[position] for position in outside], 3)
        limits = f"{RANGE_NM[0]:g}..{RANGE_NM[1]:g} nm"
        notes.append(f"{len(outside)} bands outside {limits} were ignored ({names})")
    if mir:
        notes.append(f"{len(mir)} mid-infrared columns (scan_mir) were ignored")
    return notes
