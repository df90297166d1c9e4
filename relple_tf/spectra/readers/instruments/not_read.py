"""Formats that are recognised and refused, each with the way to export its spectra."""

from pathlib import Path

from relple_tf.errors import InputError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of an OLE document: Excel 97 to 2003, Shimadzu, Unscrambler."""
ZIP = b"PK\x03\x04"
_BY_SUFFIX = {
    ".nir": ("a FOSS/WinISI spectra file", "in WinISI or ISIscan, export it as text (CSV)"),
    ".cal": ("a FOSS/WinISI calibration file", "in WinISI, export its spectra as text (CSV)"),
    ".sam": ("a VIAVI MicroNIR sample file", "in MicroNIR Pro, export the samples as CSV"),
    ".unsb": ("an Unscrambler project", "in The Unscrambler, use File > Export > ASCII or Excel"),
    ".da": ("a FOSS Vision file", "in Vision, export it as JCAMP-DX or text"),
    ".spa": ("a Thermo OMNIC file", "in OMNIC, save it as SPC, JCAMP-DX or CSV"),
    ".xls": ("an Excel 97-2003 workbook", "save it as .xlsx or CSV"),
    ".xlsb": ("an Excel binary workbook", "save it as .xlsx or CSV"),
    ".ods": ("an OpenDocument table", "save it as .xlsx or CSV"),
    ".mat": ("a MATLAB file", "write it as CSV, one scan per row, named by wavelength"),
}
"""Extension of a binary file -> what it is, and how to export it."""


def is_not_read(head: bytes, suffix: str) -> bool:
    """Whether the file is binary and of a known kind that no reader reads."""
    return head.startswith((OLE, ZIP)) or (suffix in _BY_SUFFIX and b"\0" in head)


def refuse_by_name(path: Path) -> InputError:
    """The error for a file that `is_not_read` recognised."""
    with path.open("rb") as file:
        start = file.read(len(OLE))
    kind, export = _BY_SUFFIX.get(path.suffix.lower(), ("", ""))
    if not kind and start == OLE:
        kind, export = "an OLE document (Excel 97-2003, Shimadzu, Unscrambler)", "save it as .xlsx or export it as CSV"
    if not kind:
        kind, export = "a ZIP archive, not an Excel workbook", "unpack it and give the table or the folder of scans"
    return InputError(f"{path}: expected a table or a spectrum in an open format, got {kind}; {export}")
