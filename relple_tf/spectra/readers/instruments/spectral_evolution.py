"""Spectral Evolution files (`.sed`; PSR, RS, SR instruments): a header, the names of the columns, and the columns.

Layout as in files of the PSR+ and in specdal (MIT), which is not used because it read one of four files.
"""

from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.spectra.readers.columns import name_some
from relple_tf.spectra.readers.instruments.spectrum import damaged, not_a_quantity, scan_table, stated_quantity
from relple_tf.spectra.readers.instruments.text import number_columns, text_lines
from relple_tf.spectra.readers.table_file import ScanTable, check_columns

FORM = "Spectral Evolution"
_REFLECTANCES = ("reflect. %", "reflect. [1.0]", "tgt./ref. %", "tgt./ref. [1.0]")
"""Columns of reflectance, in the order of preference."""
_RATIOS = (
    ("rad. (target)", "rad. (ref.)"),
    ("norm. dn (target)", "norm. dn (ref.)"),
)
"""Columns of target and reference, in lower case."""


def is_spectral_evolution(head: bytes, suffix: str) -> bool:
    """Whether the first lines are those of the header."""
    start = head.lstrip()
    return start.startswith(b"Comment:") and (suffix == ".sed" or b"\nChannels:" in start or b"\nDetectors:" in start)


def read_spectral_evolution(path: Path, limits: LimitsConfig) -> ScanTable:
    """Read the column of reflectance, or compute it from target and reference.

    Raises:
        InputError: the file is damaged, or contains neither reflectance nor a pair of target and reference.
    """
    lines = text_lines(path, FORM)
    start = next((index for index, line in enumerate(lines) if line.strip() == "Data:"), None)
    if start is None or start + 1 == len(lines):
        raise damaged(path, FORM, "no line 'Data:' with the names of the columns below it")
    check_columns(path, len(lines) - start, limits)
    names = [name.strip().lower() for name in lines[start + 1].split("\t") if name.strip()]
    columns = number_columns(path, FORM, lines, start + 2, len(names))
    _check_count(path, lines[:start], len(columns))
    if "wvl" not in names:
        raise damaged(path, FORM, f"no column Wvl; the columns are {name_some(names)}")
    wavelengths = columns[:, names.index("wvl")]
    for name in _REFLECTANCES:
        if name in names:
            quantity, factor = stated_quantity(path, FORM, name)
            notes = ["reflectance in percent was divided by 100"] if factor != 1 else []
            values = columns[:, names.index(name)] * factor
            return scan_table(path, FORM, wavelengths, "nm", values, quantity, notes=notes)
    for target, reference in _RATIOS:
        if target in names and reference in names:
            with np.errstate(all="ignore"):
                ratio = columns[:, names.index(target)] / columns[:, names.index(reference)]
            notes = [f"reflectance was computed as {target} / {reference}"]
            return scan_table(path, FORM, wavelengths, "nm", ratio, "reflectance", notes=notes)
    raise not_a_quantity(path, FORM, f"only {name_some(names)}")


def _check_count(path: Path, header: list[str], count: int) -> None:
    """Compare the number of bands with the number in the header."""
    for line in header:
        key, _, text = line.partition(":")
        if key.strip() == "Channels" and text.strip().isdigit() and int(text) != count:
            raise damaged(path, FORM, f"{count} bands, but its header states {text.strip()}")
