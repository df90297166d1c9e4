"""The files of a folder of scans."""

import re
from collections.abc import Collection
from pathlib import Path

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError

DOCUMENTS = re.compile(
    r"|\.(txt|md|rst|log|ini|pdf|docx?|odt|rtf|html?|xml|json|toml|ya?ml|pptx?|png|jpe?g|gif|bmp|tiff?|svg|mp4|zip|7z|py|r"
    r"|db|lnk|bak)"
)
"""Suffixes of files that contain no spectra if they cannot be read; '' is a name without suffix, such as LICENSE."""

_RESULTS = ("manifest.json", "card.json", "SHA256SUMS", "config.toml")
"""Files that the commands write into their folders."""
_SUFFIX = re.compile(r"(?<=.)\.(?:[A-Za-z]\w{0,7}|\d{1,3})$")


def scan_name(file_name: str) -> str:
    """Name of a file without its suffix: `S1` for `S1.asd`, `S1.0` and `S1.csv.gz`."""
    return _SUFFIX.sub("", file_name.removesuffix(".gz"))


def suffix(path: Path) -> str:
    """Suffix of a file in lower case, without `.gz`; empty without one."""
    match = _SUFFIX.search(path.name.removesuffix(".gz"))
    return match[0].lower() if match else ""


def list_files(path: Path, limits: LimitsConfig, apart: Collection[Path]) -> tuple[list[Path], list[str]]:
    """List the files of a folder to read, and the names of its subfolders, both sorted.

    Args:
        path: The folder.
        limits: Limits on the number of files and the bytes of all files together.
        apart: Files that are not listed.

    Raises:
        InputError: the folder cannot be read, is a run or a bundle, or exceeds the limits.
    """
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "~$")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give the path of a folder of scans") from None
    if results := [name for name in _RESULTS if (path / name).is_file()]:
        raise InputError(
            f"{path}: expected a folder of scans, received the folder of a run or bundle (it contains {results[0]}); "
            "give the path of the scans"
        )
    if len(entries) > limits.table_rows:
        raise InputError(
            f"{path}: {len(entries):,} files, more than {limits.table_rows:,}; divide the folder, or raise "
            "limits.table_rows"
        )
    left_out = {file.resolve() for file in apart}
    files, folders, size = [], [], 0
    for entry in entries:
        if entry.is_dir():
            folders.append(entry.name)
        elif not left_out or entry.resolve() not in left_out:
            files.append(entry)
            size += entry.lstat().st_size
    if size > limits.table_gb * 1e9:
        raise InputError(
            f"{path}: {size:,} bytes, more than {limits.table_gb:g} GB; divide the folder, or raise limits.table_gb"
        )
    return files, folders
