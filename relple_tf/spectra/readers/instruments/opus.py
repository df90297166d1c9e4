"""Bruker OPUS files (`.0`, `.1`, ...), read by brukeropus (MIT)."""

import io
import struct
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from relple_tf.errors import InputError
from relple_tf.spectra.readers.instruments.spectrum import damaged, not_a_quantity, scan_table
from relple_tf.spectra.readers.table_file import ScanTable

OPUS = b"\n\n\xfe\xfe"
"""The first bytes of an OPUS file."""
FORM = "Bruker OPUS"
_QUANTITIES = {"a": "absorbance", "r": "reflectance"}
"""Key of a spectrum in brukeropus -> quantity, in the order of preference."""


def read_opus(path: Path) -> ScanTable:
    """Read the absorbance or reflectance of an OPUS file, or compute reflectance from its two single beams.

    Raises:
        InputError: brukeropus is not installed, the file is damaged, or it has no near-infrared absorbance or
            reflectance.
    """
    try:
        from brukeropus.file import (  # type: ignore[import-untyped]
            Data,
            FileBlock,
            pair_data_and_status_blocks,
            parse_directory,
            parse_header,
        )
    except ImportError:
        raise InputError(
            f"{path}: OPUS files need brukeropus: pip install 'relple-tf[instruments]', or export the spectrum as text"
        ) from None
    content = path.read_bytes()
    with redirect_stdout(io.StringIO()):  # brukeropus prints what it cannot interpret
        _, start, most, _ = parse_header(content)
        if not 24 <= start < len(content) or most < 1:
            raise damaged(path, FORM, "no directory")
        blocks = [
            FileBlock(content, block_type=kind, size=size, start=at)
            for kind, size, at in parse_directory(content[start : start + 12 * most])
        ]
        for block in blocks:
            if (block.is_param() and _walks(block.bytes)) or block.is_data():
                block.parse()
        texts = {key: text for block in blocks if block.is_sm_param() for key, text in (block.data or {}).items()}
        complete = [block for block in blocks if block.data is not None and not block.parse_error]
        # A status block without a number of points would stop the pairing of all others.
        complete = [block for block in complete if not block.is_data_status() or "npt" in block.data]
        pairs = pair_data_and_status_blocks(complete)
        spectra: dict[str, Any] = {}
        for data, status in pairs:
            key = data.get_data_key().removesuffix("_c")
            if key not in spectra and not data.type[4] and 0 < status.data["npt"] <= len(data.data):
                spectra[key] = Data(data, status, key=key, vel=0)
    if not spectra.keys() & _QUANTITIES.keys() and (cut := [block for block in blocks if _is_cut(block, content)]):
        raise damaged(path, FORM, f"{len(content)} bytes, but its {cut[0].get_label()} ends after them")
    labels = sorted({block.get_label() for block in blocks if block.is_data() or block.is_data_series()})
    return _table(path, spectra, str(texts.get("snm", "")), labels)


def _table(path: Path, spectra: dict[str, Any], sample: str, labels: list[str]) -> ScanTable:
    """The first spectrum that is absorbance or reflectance, else the ratio of the single beams."""
    for key, quantity in _QUANTITIES.items():
        if spectrum := spectra.get(key):
            axis, unit = _axis(path, spectrum)
            return scan_table(path, FORM, axis, unit, spectrum.y, quantity, [sample])
    target, reference = spectra.get("sm"), spectra.get("rf")
    # With a stored transmittance, the ratio of the single beams would be transmittance too.
    if target and reference and not spectra.keys() & {"t", "km", "atr", "ra", "e", "pas"}:
        axis, unit = _axis(path, target)
        if len(target.x) == len(reference.x) and np.allclose(target.x, reference.x):
            with np.errstate(all="ignore"):
                ratio = target.y.astype(float) / reference.y
            notes = ["reflectance was computed as single beam of the sample / single beam of the reference"]
            return scan_table(path, FORM, axis, unit, ratio, "reflectance", [sample], notes)
    if not labels:
        raise damaged(path, FORM, "no spectrum")
    raise not_a_quantity(path, FORM, "only " + ", ".join(labels))


def _axis(path: Path, spectrum: Any) -> tuple[Any, str]:
    """Axis and its unit; micrometres as nm."""
    unit = spectrum.params["dxu"]
    if unit == "WN":
        return spectrum.x, "cm-1"
    if unit == "MI":
        return 1000 * spectrum.x, "nm"
    raise InputError(f"{path}: expected an axis in cm-1 or micrometres, got {unit!r} ({FORM}); export it in cm-1")


def _is_cut(block: Any, content: bytes) -> bool:
    end: int = block.start + block.size
    return end > len(content)


def _walks(content: bytes) -> bool:
    """Whether the sizes in a block of parameters lead to its end; brukeropus would follow a negative size forever."""
    at = 0
    while at + 8 <= len(content) and content[at : at + 3] != b"END":
        size = struct.unpack_from("<h", content, at + 6)[0]
        if size < 0:
            return False
        at += 8 + 2 * size
    return True
