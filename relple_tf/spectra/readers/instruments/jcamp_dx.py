"""JCAMP-DX files (`.jdx`, `.dx`), read by jcamp (MIT)."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.instruments.spectrum import damaged, scan_table, stated_quantity
from relple_tf.spectra.readers.instruments.text import decoded
from relple_tf.spectra.readers.table_file import ScanTable, check_columns

FORM = "JCAMP-DX"
_LONGEST_LINE = 1000
"""Characters of a line of values; the standard allows 80. jcamp repeats parts of a line, so a long line is slow."""
_POINTS = re.compile(r"(?im)^##\s*NPOINTS\s*=\s*([^\s$]*)")
_DERIVATIVE = re.compile(r"DERIVATIVE|INTERFEROGRAM|PEAK|ASSIGNMENT", re.IGNORECASE)
_AXES = {
    **dict.fromkeys(("1/cm", "cm-1", "cm^-1", "wavenumbers", "wavenumber"), ("cm-1", 1.0)),
    **dict.fromkeys(("nanometers", "nanometer", "nm"), ("nm", 1.0)),
    **dict.fromkeys(("micrometers", "micrometer", "um", "microns"), ("nm", 1000.0)),
}
"""`XUNITS` -> unit and the factor that converts to it."""


def is_jcamp(head: bytes, suffix: str) -> bool:
    """Whether the file starts with a labelled record, comments skipped."""
    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    record = next((line for line in lines if not line.startswith(b"$$")), b"").upper()
    return record.startswith(b"##") and (suffix in (".jdx", ".dx", ".jcm") or b"TITLE" in record or b"JCAMP" in record)


def read_jcamp(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read one spectrum, or several spectra on one axis.

    Raises:
        InputError: jcamp is not installed, the file is damaged or contains no near-infrared absorbance or reflectance.
    """
    try:
        import jcamp  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            f"{path}: JCAMP-DX files need jcamp: pip install 'relple-tf[instruments]', or export the spectrum as CSV"
        ) from None
    text = decoded(path.read_bytes())
    for points in _POINTS.findall(text):
        if not points.isdigit():
            raise damaged(path, FORM, f"##NPOINTS={points}")
        check_columns(path, int(points), limits)
    lines = [line.partition("$$")[0] for line in text.splitlines()]
    if max(map(len, lines), default=0) > _LONGEST_LINE:
        raise damaged(path, FORM, f"a line of more than {_LONGEST_LINE} characters")
    if not any(line.upper().startswith("##END") for line in lines):
        raise damaged(path, FORM, "no ##END=")
    complaints = io.StringIO()
    with redirect_stdout(complaints):  # jcamp prints failed checks of its values
        content = jcamp.read(lines)
    if complaint := complaints.getvalue().splitlines():
        raise damaged(path, FORM, complaint[0])
    blocks = [block for block in content.get("children", [content]) if len(block["y"])]
    if not blocks:
        raise damaged(path, FORM, "no ##XYDATA= with values; export it in the form (X++(Y..Y))")
    return _table(path, blocks)


def _table(path: Path, blocks: list[dict[str, Any]]) -> ScanTable:
    first = blocks[0]
    for block in blocks:
        if len(block["y"]) != int(block.get("npoints", len(block["y"]))) or len(block["y"]) != len(block["x"]):
            raise damaged(path, FORM, f"{len(block['y'])} values, but ##NPOINTS={block.get('npoints')}")
        if not np.array_equal(block["x"], first["x"]) or _units(block) != _units(first):
            raise InputError(f"{path}: its spectra have different axes or units ({FORM}); save each spectrum as a file")
        kind = str(block.get("data type", block.get("datatype", "")))
        if _DERIVATIVE.search(kind) or "peak table" in block:
            raise InputError(
                f"{path}: expected a spectrum, got {kind or 'a peak table'} ({FORM}); export absorbance or reflectance"
            )
    x_unit, y_unit = _units(first)
    if x_unit not in _AXES:
        raise InputError(
            f"{path}: expected an axis in 1/CM, NANOMETERS or MICROMETERS, got {first.get('xunits')!r} ({FORM}); "
            "export the spectrum with one of these"
        )
    unit, scale = _AXES[x_unit]
    samples = [str(block.get("title", "")) for block in blocks]
    values = np.array([block["y"] for block in blocks], dtype=float)
    # The range is checked first: a mid-infrared file is not to be converted to reflectance and tried again.
    scan_table(path, FORM, scale * first["x"], unit, values, "")
    quantity, factor = stated_quantity(path, FORM, y_unit)
    notes = ["reflectance in percent was divided by 100"] if factor != 1 else []
    return scan_table(path, FORM, scale * first["x"], unit, factor * values, quantity, samples, notes)


def _units(block: dict[str, Any]) -> tuple[str, str]:
    """Units of both axes, in lower case."""
    return str(block.get("xunits", "")).strip().lower(), str(block.get("yunits", "")).strip().lower()
