"""Files that are whole or absent: written beside, flushed, renamed. Imports nothing slow."""

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
"""Begins the name of a file that is being written; a kill may leave one, which counts for nothing."""

_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EROFS}
"""Errors of a write to an open file, which name no file."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the name of a file beside `path`, which is renamed onto `path` at the end; on any error nothing is left.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    with naming(path, path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            synchronise(beside)
            beside.chmod(0o644)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        synchronise(path.parent)


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, then rename it onto `path`; on any error nothing is left behind."""
    with whole(path) as beside:
        write(beside)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with whole(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def write_table(path: Path, frame: "pd.DataFrame", float_format: str | None = None) -> None:
    """Write a table as CSV (`csv_text`), whole or not at all."""
    write_text(path, csv_text(frame, float_format))


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Let the errors of writing name `path`, which the user asked for, and no temporary file.

    Args:
        path: What the user asked for.
        temporary: An error that names this file or folder, or something in it, is an error about `path`; so is an
            error of writing that names nothing.

    Raises:
        OSError: with the number of the operating system's error, also where a library only quotes it in its message.
    """
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None and (quoted := re.search(r"errno\W+(\d+)", str(error), re.IGNORECASE)):
            number = int(quoted[1])
        if error.filename is None:
            about_path = number in _OF_WRITING
        else:
            named, temporary = Path(os.fsdecode(error.filename)).absolute(), temporary.absolute()
            about_path = named == temporary or temporary in named.parents
        if number is None or not about_path:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder; an error of writing names the folder that it lies in, which TMPDIR chooses."""
    place = Path(tempfile.gettempdir())
    with naming(place, place), tempfile.TemporaryDirectory() as name:
        yield Path(name)


def synchronise(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
