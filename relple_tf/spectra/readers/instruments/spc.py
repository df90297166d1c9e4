"""Thermo/Galactic GRAMS files (`.spc`), new format.

Layout: Galactic Industries, "Universal Data Format Specification" (GSPC_UDF). No library is used: spc-io 0.2.1 scales
a single spectrum by the exponent of the subfile, not of the header (values wrong by a power of 2), reads neither
big-endian files nor spectra in arbitrary order, and needs pydantic.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.instruments.spectrum import damaged, not_a_quantity, scan_table, stated_quantity
from relple_tf.spectra.readers.table_file import ScanTable, check_columns

FORM = "Galactic SPC"
_HEADER = "4BIddI4BI9s9sH32s130s30s2I2BHf48sfIfB187s"
_SUBFILE = "BbHfffIIf4s"
_BYTE_ORDER = {0x4B: "<", 0x4C: ">"}
_OLD = 0x4D
_SHORT, _MULTIPLE, _LABELS, _OWN_AXES, _AXIS = 0x01, 0x04, 0x20, 0x40, 0x80
"""Bits of the first byte: 16-bit values, several spectra, labels as text, an axis per spectrum, a stored axis."""
_DERIVATIVE = 1 << 4
"""Bit of `fmods`: derivative functions were applied."""
_FLOAT = -128
"""Exponent of values that are stored as floating point."""
_AXES = {1: ("cm-1", 1.0), 2: ("nm", 1000.0), 3: ("nm", 1.0)}
"""`fxtype` -> unit and the factor that converts to it; 2 is micrometres."""
_AXIS_LABELS = {
    **dict.fromkeys(("nm", "nanometers", "nanometer", "wavelength(nm)", "wavelength(nanometers)"), _AXES[3]),
    **dict.fromkeys(("cm-1", "wavenumber(cm-1)", "wavenumbers(cm-1)", "wavenumber"), _AXES[1]),
}
_VALUES = {2: "absorbance", 3: "Kubelka-Munk", 10: "log(1/R)", 129: "reflectance"} | {
    0: "arbitrary intensity",
    1: "an interferogram",
    4: "counts",
    5: "volts",
    11: "percent without a quantity",
    12: "intensity",
    13: "relative intensity",
    14: "energy",
    128: "transmittance",
    130: "a single beam",
    131: "emission",
    255: "the energy of a reference",
}
"""`fytype` -> name."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SpcFile:
    """Content of a file, as stored."""

    axis: Floats
    """(bands,)."""
    axis_type: int
    spectra: Floats
    """(n, bands)."""
    value_type: int
    labels: tuple[str, ...]
    """Labels of both axes, if the file replaces the names of the types; else empty."""
    derivative: bool


def is_spc(head: bytes, suffix: str) -> bool:
    """Whether the second byte is a known version; NUL characters exclude text files."""
    return len(head) > 1 and head[1] in (*_BYTE_ORDER, _OLD) and (b"\0" in head[:64] or suffix == ".spc")


def read_spc(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read absorbance or reflectance; several spectra must share an axis.

    Raises:
        InputError: the file is damaged or of the old format, or contains another quantity or no axis in nm or cm-1.
    """
    file = parse_spc(path, limits)
    x_label, y_label = (*file.labels, "", "")[:2]
    axis = _AXIS_LABELS.get("".join(x_label.lower().split())) if x_label else _AXES.get(file.axis_type)
    if axis is None:
        raise InputError(
            f"{path}: expected an axis in nm, micrometres or cm-1, got {x_label or f'type {file.axis_type}'} ({FORM}); "
            "set the unit of the axis in the software of the instrument, or export the spectra as CSV"
        )
    label = y_label or _VALUES.get(file.value_type, f"type {file.value_type}")
    if file.derivative:
        raise not_a_quantity(path, FORM, f"a derivative of {label}")
    quantity, factor = stated_quantity(path, FORM, label)
    count, notes = len(file.spectra), list[str]()
    if factor != 1:
        notes.append("reflectance in percent was divided by 100")
    names = [""]
    if count > 1:
        # The number stands first: a number at the end of a name marks replicate scans of a sample.
        names = [f"spectrum {number} of {path.stem}" for number in range(1, count + 1)]
        notes.append(f"{count} spectra without sample names are named by their number in the file")
    unit, scale = axis
    return scan_table(path, FORM, file.axis * scale, unit, file.spectra * factor, quantity, names, notes)


def parse_spc(path: Path, limits: LimitsConfig) -> SpcFile:
    """Read a file as stored, without a check of its quantity.

    Raises:
        InputError: the file is damaged, of the old format, or its spectra have different axes.
    """
    content = path.read_bytes()
    if content[1:2] == bytes([_OLD]):
        raise InputError(f"{path}: a {FORM} file of the old format (before 1996); save it again in GRAMS, or as CSV")
    order = _BYTE_ORDER[content[1]]
    header = struct.unpack_from(order + _HEADER, content)
    flags, points, first, last, count = header[0], *header[4:8]
    exponent = struct.unpack("b", bytes([header[3]]))[0]
    if not flags & _OWN_AXES:
        check_columns(path, points, limits)
    at = struct.calcsize(order + _HEADER)
    axis = np.empty(0)
    if flags & _AXIS and not flags & _OWN_AXES:
        axis, at = _floats(path, content, at, points, order)
    elif not flags & _OWN_AXES:
        axis = np.linspace(first, last, points)
    spectra = list[Floats]()
    for number in range(count if flags & _MULTIPLE else 1):
        subfile = struct.unpack_from(order + _SUBFILE, content, at)
        at += struct.calcsize(order + _SUBFILE)
        if flags & _OWN_AXES:
            points = subfile[6]
            own, at = _floats(path, content, at, points, order)
            if number and not np.array_equal(own, axis):
                raise InputError(
                    f"{path}: spectrum {number + 1} has another axis than spectrum 1 ({FORM}); save each spectrum as a "
                    "file, or export them as CSV on one axis"
                )
            axis = own
        scale = subfile[1] if flags & _MULTIPLE else exponent
        if _FLOAT in (exponent, scale):
            values, at = _floats(path, content, at, points, order)
        else:
            form, bits = ("i2", 16) if flags & _SHORT else ("i4", 32)
            values, at = _numbers(path, content, at, points, order + form)
            values = values * 2.0 ** (scale - bits)
        spectra.append(values)
    if not spectra:
        raise damaged(path, FORM, "no spectrum")
    labels = header[18].decode("latin-1").split("\0")[:2] if flags & _LABELS else []
    return SpcFile(
        axis=axis,
        axis_type=header[8],
        spectra=np.array(spectra),
        value_type=header[9],
        labels=tuple(label.strip() for label in labels),
        derivative=bool(header[20] & _DERIVATIVE),
    )


def _floats(path: Path, content: bytes, at: int, count: int, order: str) -> tuple[Floats, int]:
    return _numbers(path, content, at, count, order + "f4")


def _numbers(path: Path, content: bytes, at: int, count: int, form: str) -> tuple[Floats, int]:
    """(count,) numbers at a position, and the position after them."""
    end = at + count * np.dtype(form).itemsize
    if end > len(content):
        raise damaged(path, FORM, f"{len(content)} bytes, but its values end at {end}")
    return np.frombuffer(content[at:end], dtype=form).astype(np.float64), end
