"""Read files of runs, bundles, comparisons and searches, which may be damaged or hostile, or refuse them in one line.

A hash shows that a file has not changed since the hash was computed; a person who changes a file can also change its
hash. Therefore no link or device is opened, nothing is unpacked before its size is checked, and content is checked
before it is used (`artefacts.schema`). These checks cannot detect a plausible but wrong number.
"""

import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError

LARGEST_FILE_BYTES = 1 << 32
"""4 GiB: arrays of the largest library."""
LARGEST_JSON_BYTES = 1 << 25
"""32 MiB; the parsed objects need twenty times as much memory."""
LARGEST_ARRAYS_BYTES = 1 << 34
"""16 GiB unpacked: 1,000,000 spectra of 4,200 bands."""
LARGEST_DIRECTORY_BYTES = 1 << 22
"""4 MiB, about 40,000 entries: `zipfile` creates an object for each entry before anything else."""


@contextmanager
def readable(path: Path, remedy: str) -> Iterator[None]:
    """Replace every exception of a block that reads a file by one InputError.

    The block must only read `path`, because every exception counts as damage of that file.

    Args:
        path: The file.
        remedy: What to do about a damaged file; ends the message.

    Raises:
        InputError: names the file, the error and the remedy.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or short(error)}; {remedy}") from error
    except Exception as error:  # Keras, h5py, NumPy and LiteRT raise exceptions of any type
        raise InputError(f"{path}: damaged ({short(f'{type(error).__name__}: {error}')}); {remedy}") from error


def short(value: object, length: int = 160) -> str:
    """Format a value as one printable line of limited length, for messages."""
    text = " ".join(str(value)[: 4 * length].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= length else f"{text[:length]}..."


@contextmanager
def opened(path: Path, remedy: str, most_bytes: int = LARGEST_FILE_BYTES) -> Iterator[io.BufferedReader]:
    """Open a regular file of limited size; links, devices, pipes and folders are refused without opening them.

    Args:
        path: The file.
        remedy: What to do about a file that is refused; ends the message.
        most_bytes: Largest size of the file.

    Raises:
        InputError: the file is missing, is not a regular file, or is too large.
    """
    with readable(path, remedy):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InputError(f"{path}: expected a regular file, received a link, device, pipe or folder; {remedy}")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123
        size = os.fstat(handle).st_size
        if size > most_bytes:
            raise InputError(f"{path}: expected at most {most_bytes:,} bytes, received {size:,}; {remedy}")
        yield file


def read_bytes(path: Path, remedy: str, most_bytes: int = LARGEST_FILE_BYTES) -> bytes:
    """Read a regular file.

    Raises:
        InputError: see `opened`.
    """
    with opened(path, remedy, most_bytes) as file, readable(path, remedy):
        # Files in /proc have size 0 but are not empty; nothing is read beyond the size.
        return file.read(os.fstat(file.fileno()).st_size)


def read_json(path: Path, remedy: str) -> Any:
    """Read and parse a JSON file; errors as in `opened` and `parse_json`."""
    return parse_json(read_bytes(path, remedy, LARGEST_JSON_BYTES), path, remedy)


def parse_json(content: bytes, path: Path, remedy: str, *, nan: bool = False) -> Any:
    """Parse JSON in UTF-8.

    Args:
        content: The text.
        path: File of the text, for messages.
        remedy: What to do about a damaged file; ends the message.
        nan: Accept NaN and infinity, which `json` writes by default.

    Raises:
        InputError: the text is not JSON, repeats a key, is nested too deep, or contains NaN or infinity without `nan`.
    """

    def refuse(number: str) -> float:
        raise ValueError(f"expected a number, received {number}")

    with readable(path, remedy):
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=None if nan else refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return unique


def read_arrays(path: Path, remedy: str, most_bytes: int = LARGEST_ARRAYS_BYTES) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz file.

    Args:
        path: The file.
        remedy: What to do about a damaged file; ends the message.
        most_bytes: Largest total size of the unpacked arrays.

    Returns:
        Name -> array, in the order of the file.

    Raises:
        InputError: see `opened`; or the file is not .npz, is larger than `most_bytes` when unpacked, or contains Python
            objects, which could run code.
    """
    with opened(path, remedy) as file, readable(path, remedy):
        check_archive(file, most_bytes)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def check_archive(file: io.BufferedReader, most_bytes: int) -> None:
    """Check the unpacked size that a ZIP archive declares; `zipfile` unpacks no more than this.

    Raises:
        ValueError: the directory or the unpacked entries are too large.
    """
    if (size := _directory_bytes(file)) > LARGEST_DIRECTORY_BYTES:
        raise ValueError(f"expected a directory of at most {LARGEST_DIRECTORY_BYTES:,} bytes, received {size:,}")
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > most_bytes:
        raise ValueError(f"expected at most {most_bytes:,} unpacked bytes, received {size:,}")
    file.seek(0)


def _directory_bytes(file: io.BufferedReader) -> int:
    """Size of the directory of a ZIP archive without comment (APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 98))
    tail = file.read(98).rjust(98, b"\0")
    large, locator, plain = tail[:56], tail[56:76], tail[76:]
    if plain[:4] != b"PK\5\6":
        raise ValueError("expected a ZIP archive without comment")
    if locator[:4] != b"PK\6\7":
        return int(struct.unpack_from("<L", plain, 12)[0])
    if large[:4] != b"PK\6\6":
        raise ValueError("the end record of the ZIP archive is misplaced")
    return int(struct.unpack_from("<Q", large, 40)[0])
