"""Files that are whole or absent: written beside, flushed, renamed."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

UNFINISHED = ".unfinished-"
"""Begins the name of a file that is being written; a kill may leave one, which counts for nothing."""


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, then rename it onto `path`; on any error nothing is left behind."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        error.filename = str(path)  # whoever reads the message knows no other name
        raise
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""

    def write(beside: Path) -> None:
        beside.write_bytes(content)

    write_with(path, write)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
