"""Files of runs, bundles, comparisons and searches, which may be damaged or hostile: read, or refused in one line.

A hash shows that a file is the one that was sealed, not who sealed it: whoever alters a file can alter its hash too. So
no link or device is opened, nothing is unpacked before its size is known, and content is checked before it is used
(`training.schema`). What such a check cannot see is a plausible number in the place of another.
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
"""32 MiB; as objects they take twenty times as much memory."""
LARGEST_ARRAYS_BYTES = 1 << 34
"""16 GiB unpacked: 1,000,000 spectra of 4,200 bands."""
LARGEST_DIRECTORY_BYTES = 1 << 22
"""4 MiB, 40,000 members: `zipfile` makes an object of each before anything else."""


@contextmanager
def readable(path: Path, way_out: str) -> Iterator[None]:
    """Refuse a damaged file in one line, whatever error its content leads to.

    Only for what reads `path`: any error counts as the file's.

    Args:
        path: The file.
        way_out: What to do about it.

    Raises:
        InputError: naming file, error and way out.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or short(error)}; {way_out}") from error
    except Exception as error:  # Keras, h5py, NumPy and LiteRT raise whatever they stumble on
        raise InputError(f"{path}: damaged ({short(f'{type(error).__name__}: {error}')}); {way_out}") from error


def short(value: object, length: int = 160) -> str:
    """A value in one printable line of limited length, for messages."""
    text = " ".join(str(value)[: 4 * length].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= length else f"{text[:length]}..."


@contextmanager
def opened(path: Path, way_out: str, most_bytes: int = LARGEST_FILE_BYTES) -> Iterator[io.BufferedReader]:
    """Open a regular file of limited size; links, devices, pipes and folders are refused unopened.

    Raises:
        InputError: it is missing, of another kind, or too large.
    """
    with readable(path, way_out):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InputError(f"{path}: expected a regular file, received a link, device, pipe or folder; {way_out}")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:  # noqa: PTH123
        size = os.fstat(handle).st_size
        if size > most_bytes:
            raise InputError(f"{path}: expected at most {most_bytes:,} bytes, received {size:,}; {way_out}")
        yield file


def read_bytes(path: Path, way_out: str, most_bytes: int = LARGEST_FILE_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        InputError: as of `opened`.
    """
    with opened(path, way_out, most_bytes) as file, readable(path, way_out):
        # Files of /proc say that they are empty.
        return file.read(os.fstat(file.fileno()).st_size)


def read_json(path: Path, way_out: str) -> Any:
    """What a JSON file holds; errors as of `opened` and `parsed`."""
    return parsed(read_bytes(path, way_out, LARGEST_JSON_BYTES), path, way_out)


def parsed(content: bytes, path: Path, way_out: str, *, nan: bool = False) -> Any:
    """What JSON in UTF-8 holds.

    Args:
        content: The text.
        path: Where it is from.
        way_out: What to do if it is damaged.
        nan: Take NaN and infinity for numbers, which `json` writes unless told otherwise.

    Raises:
        InputError: it is no JSON, has a key twice, is nested too deep, or holds a number that is none.
    """

    def refuse(number: str) -> float:
        raise ValueError(f"{number} is no number")

    with readable(path, way_out):
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=None if nan else refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def read_arrays(path: Path, way_out: str, most_bytes: int = LARGEST_ARRAYS_BYTES) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz by name, in the order in which they were given; never an object, which could be code.

    Args:
        path: The file.
        way_out: What to do if it is damaged.
        most_bytes: Of all arrays, unpacked.

    Raises:
        InputError: as of `opened`; it is no .npz, unpacks to more than `most_bytes`, or holds an object.
    """
    with opened(path, way_out) as file, readable(path, way_out):
        check_archive(file, most_bytes)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def check_archive(file: io.BufferedReader, most_bytes: int) -> None:
    """Look whether the ZIP in `file` unpacks to a limited size: `zipfile` reads no more than what it declares.

    Raises:
        ValueError: its directory or its members are too large.
    """
    if (size := _directory_bytes(file)) > LARGEST_DIRECTORY_BYTES:
        raise ValueError(f"a directory of {size:,} bytes, expected at most {LARGEST_DIRECTORY_BYTES:,}")
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > most_bytes:
        raise ValueError(f"unpacks to {size:,} bytes, expected at most {most_bytes:,}")
    file.seek(0)


def _directory_bytes(file: io.BufferedReader) -> int:
    """Size of the directory of a ZIP without comment (APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 98))
    tail = file.read(98).rjust(98, b"\0")
    large, locator, plain = tail[:56], tail[56:76], tail[76:]
    if plain[:4] != b"PK\5\6":
        raise ValueError("no ZIP archive, or one with a comment")
    if locator[:4] != b"PK\6\7":
        return int(struct.unpack_from("<L", plain, 12)[0])
    if large[:4] != b"PK\6\6":
        raise ValueError("a ZIP archive whose end is out of place")
    return int(struct.unpack_from("<Q", large, 40)[0])
