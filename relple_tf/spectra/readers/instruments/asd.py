"""ASD FieldSpec files (`.asd`), versions 6 to 8.

The layout is that of "ASD File Format version 8" (ASD Inc., Indico), as far as spectra need it. No library is used:
specdal needs matplotlib and reads doubles only, pyASDReader returned NaN for five of seven files.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.instruments.spectrum import damaged, not_a_quantity, scan_table
from relple_tf.spectra.readers.table_file import ScanTable, check_columns

VERSIONS = (b"as6", b"as7", b"as8")
"""The first bytes of files that may contain a reference."""
OLDER_VERSIONS = (b"ASD", b"as2", b"as3", b"as4", b"as5")
FORM = "ASD FieldSpec"
_HEADER_BYTES = 484
_TYPES = (
    *("raw counts", "reflectance", "radiance", "values without unit", "irradiance", "a quality index"),
    *("transmittance", "values of unknown type", "absorbance"),
)
"""Content of the spectrum by `data_type`, byte 186."""
_NUMBERS = {0: "<f4", 1: "<i4", 2: "<f8"}
"""Type of a number by `data_format`, byte 199."""
_LARGEST_REFLECTANCE = 2.0
"""Values with a larger median are counts: the instrument also stores counts under the type reflectance."""

Floats = npt.NDArray[np.float64]


def is_asd(head: bytes, suffix: str) -> bool:
    """Whether the file starts like an ASD file; `ASD` may also start a text file."""
    return head[:3] in VERSIONS or (head[:3] in OLDER_VERSIONS and (suffix == ".asd" or b"\0" in head))


def read_asd(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read reflectance (counts of the target / counts of the white reference) or absorbance.

    Raises:
        InputError: the file is damaged, of an older version, contains another quantity, or has no reference.
    """
    content = path.read_bytes()
    if content[:3] in OLDER_VERSIONS:
        raise InputError(
            f"{path}: expected version as6, as7 or as8, got {content[:3].decode()} ({FORM}); export the spectrum as "
            "reflectance in text form (ViewSpec Pro: ASCII export)"
        )
    if len(content) < _HEADER_BYTES:
        raise damaged(path, FORM, f"{len(content)} bytes, fewer than the {_HEADER_BYTES} of a header")
    kind, number = content[186], content[199]
    first, step = struct.unpack_from("<2f", content, 191)
    bands = struct.unpack_from("<H", content, 204)[0]
    if kind >= len(_TYPES) or number not in _NUMBERS or not bands or not step > 0:
        raise damaged(path, FORM, f"type {kind}, number format {number}, {bands} bands, step {step:g} nm")
    check_columns(path, bands, limits)
    target = _numbers(path, content, _HEADER_BYTES, bands, _NUMBERS[number])
    wavelengths = first + step * np.arange(bands)
    if _TYPES[kind] == "absorbance":
        return scan_table(path, FORM, wavelengths, "nm", target, "absorbance")
    if _TYPES[kind] == "reflectance" and np.median(target) <= _LARGEST_REFLECTANCE:
        return scan_table(path, FORM, wavelengths, "nm", target, "reflectance")
    if _TYPES[kind] not in ("raw counts", "reflectance"):
        raise not_a_quantity(path, FORM, _TYPES[kind])
    reference = _reference(path, content, bands, _NUMBERS[number])
    if not reference.any() or np.median(target) <= _LARGEST_REFLECTANCE:
        raise InputError(
            f"{path}: expected counts of the target and of the white reference, got a target only ({FORM}); save the "
            "scans after a white reference, or export reflectance"
        )
    with np.errstate(all="ignore"):
        reflectance = target / reference
    notes = ["reflectance was computed as counts of the target / counts of the white reference in the file"]
    return scan_table(path, FORM, wavelengths, "nm", reflectance, "reflectance", notes=notes)


def counts(path: Path) -> tuple[Floats, Floats]:
    """Target and reference as stored, (bands,) each, in the unit of the file."""
    content = path.read_bytes()
    bands, form = struct.unpack_from("<H", content, 204)[0], _NUMBERS[content[199]]
    return _numbers(path, content, _HEADER_BYTES, bands, form), _reference(path, content, bands, form)


def _reference(path: Path, content: bytes, bands: int, form: str) -> Floats:
    """(bands,) reference, which follows a flag, two times and a description of variable length."""
    start = _HEADER_BYTES + bands * np.dtype(form).itemsize
    if len(content) < start + 20:
        raise damaged(path, FORM, "it ends before the reference")
    description = struct.unpack_from("<H", content, start + 18)[0]
    return _numbers(path, content, start + 20 + description, bands, form)


def _numbers(path: Path, content: bytes, start: int, count: int, form: str) -> Floats:
    length = count * np.dtype(form).itemsize
    if start + length > len(content):
        raise damaged(path, FORM, f"{len(content)} bytes, but the spectrum ends at {start + length}")
    return np.frombuffer(content[start : start + length], dtype=form).astype(np.float64)
