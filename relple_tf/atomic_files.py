"""Atomic files: written under a temporary name, flushed to disk, renamed. Imports nothing slow."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from relple_tf.csv_text import csv_text

if TYPE_CHECKING:
    import pandas as pd

UNFINISHED = ".unfinished-"
"""Prefix of the name of a file that is being written; files that a killed process left are ignored and removed."""

_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EROFS}
"""Error numbers of a write to an open file; Python does not add a file name to them."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Create a temporary file in the folder of `path`, and rename it to `path` at the end; on any error, remove it.

    Yields:
        Path of the temporary file.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    with name_in_errors(path, path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            flush_to_disk(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_to_disk(path.parent)


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with the path of a temporary file, then rename this file to `path`; on any error, remove it."""
    with atomic_file(path) as temporary:
        write(temporary)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` as an atomic file."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` in UTF-8 as an atomic file."""
    write_bytes(path, content.encode())


def write_table(path: Path, frame: "pd.DataFrame", float_format: str | None = None) -> None:
    """Write a table as CSV (`csv_text`) as an atomic file."""
    write_text(path, csv_text(frame, float_format))


@contextmanager
def name_in_errors(path: Path, temporary: Path) -> Iterator[None]:
    """Make write errors name `path`, which the user gave, instead of a temporary file.

    Args:
        path: The path that the user gave.
        temporary: An error that names this file or folder, or a file in it, becomes an error about `path`; so does a
            write error without a file name.

    Raises:
        OSError: has the error number of the operating system, also if a library only quotes it in its message.
    """
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None and (quoted := re.search(r"errno\W+(\d+)", str(error), re.IGNORECASE)):
            number = int(quoted[1])
        if error.filename is None:
            about_path = number in _WRITE_ERRORS
        else:
            file, temporary = Path(os.fsdecode(error.filename)).absolute(), temporary.absolute()
            about_path = file == temporary or temporary in file.parents
        if number is None or not about_path:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder, removed at the end; write errors name its parent folder, which TMPDIR selects."""
    parent = Path(tempfile.gettempdir())
    with name_in_errors(parent, parent), tempfile.TemporaryDirectory() as name:
        yield Path(name)


def flush_to_disk(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
