"""Spectra Vista (SVC, formerly GER) files (`.sig`): text with wavelength, reference, target and percent reflectance.

Layout as in files of the HR-1024i and in specdal (MIT), which is not used because it knows two units only.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.instruments.spectrum import damaged, scan_table
from relple_tf.spectra.readers.instruments.text import number_columns, text_lines
from relple_tf.spectra.readers.table_file import ScanTable, check_columns

SVC = (b"/*** Spectra Vista SIG Data", b"///GER SIGNATUR FILE///")
"""The first bytes of a file."""
FORM = "SVC/GER"
_DETECTORS = 3
"""Silicon and two InGaAs detectors."""

Floats = npt.NDArray[np.float64]


def read_svc(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read the column of reflectance in percent; in an overlap of two detectors, each is kept up to its centre.

    Raises:
        InputError: the file is damaged, or has no column of reflectance.
    """
    lines = text_lines(path, FORM)
    start = next((index for index, line in enumerate(lines) if line.strip().lower() == "data="), None)
    if start is None:
        raise damaged(path, FORM, "no line 'data='")
    check_columns(path, len(lines) - start, limits)
    columns = number_columns(path, FORM, lines, start + 1)
    if columns.shape[1] != 4:
        raise InputError(
            f"{path}: expected wavelength, reference, target and reflectance in percent, got {columns.shape[1]} "
            f"columns ({FORM}); export reflectance with a reference"
        )
    kept, cuts = without_overlap(columns[:, 0])
    if cuts is None:
        raise damaged(path, FORM, "its wavelengths rise and fall")
    notes = ["reflectance in percent was divided by 100"]
    if cuts:
        places = ", ".join(f"{cut:.1f}" for cut in cuts)
        notes.append(
            f"detectors overlap: {len(kept) - kept.sum()} bands were removed, so that one detector ends and the next "
            f"starts at the centre of the overlap ({places} nm)"
        )
    return scan_table(path, FORM, columns[kept, 0], "nm", columns[kept, 3] / 100, "reflectance", notes=notes)


def without_overlap(wavelengths: Floats) -> tuple[npt.NDArray[np.bool_], list[float] | None]:
    """Choose bands so that wavelengths ascend.

    Args:
        wavelengths: (bands,), ascending within each detector.

    Returns:
        (bands,) true where a band is kept, and the cuts in nm; None instead of the cuts if there are more detectors
        than an instrument has.
    """
    kept = np.ones(len(wavelengths), dtype=bool)
    ends = np.flatnonzero(np.diff(wavelengths) <= 0)
    if len(ends) >= _DETECTORS:
        return kept, None
    cuts = [float(wavelengths[end] + wavelengths[end + 1]) / 2 for end in ends]
    for end, cut in zip(ends, cuts, strict=True):
        position = np.arange(len(wavelengths))
        kept &= np.where(position <= end, wavelengths <= cut, wavelengths > cut)
    return kept, cuts
