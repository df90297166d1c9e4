"""Check `--out` before any work starts, and again at the moment of writing.

A rename replaces whatever has that name: a device node, a link, the table that the command reads. Therefore no file is
renamed before these checks. Imports nothing slow.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from relple_tf.atomic_files import atomic_file, name_in_errors, write_bytes
from relple_tf.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a disk",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def check_folder(path: Path, inputs: Sequence[Path] = ()) -> Path:
    """Check that a command may create a folder at this path, or write into it.

    Args:
        path: `--out`.
        inputs: Folders that the command reads; it must not write into them.

    Returns:
        The target of a symbolic link; `path` itself if it is not a link.

    Raises:
        InputError: the path is not a folder, is an input or in an input, or cannot be written.
    """
    real = _resolved(path)
    if path.is_symlink() and not real.exists():
        raise InputError(f"--out {path}: a symbolic link to {real}, which does not exist; give the name of a folder")
    if real.exists() and not real.is_dir():
        raise InputError(f"--out {path}: is {_kind(real)}; give the name of a folder")
    _check_apart(path, real, inputs)
    _check_writable(path, real if real.exists() else real.parent)
    return real if path.is_symlink() else path


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that a command writes to `--out`.

    A symbolic link stays, and its target is written. A character device, a pipe and the file that is standard output
    are written directly. Any other file is written under a temporary name and renamed.
    """

    path: Path
    """`--out`."""
    is_replaceable: Callable[[Path], bool]
    """Whether a regular file is an earlier result of this command."""
    inputs: tuple[Path, ...] = ()
    """Files that the command reads, and folders from which it reads files."""

    def check(self) -> None:
        """Check that the file may be written.

        Raises:
            InputError: the path is an input, is not a file that this command may replace, or cannot be written.
        """
        real = _resolved(self.path)
        _check_apart(self.path, real, self.inputs)
        if self.is_direct:
            return
        if self.path.exists():
            if not self.path.is_file():
                raise InputError(f"--out {self.path}: is {_kind(self.path)}; give the name of a file")
            if self.path.stat().st_size and not self.is_replaceable(self.path):
                raise InputError(
                    f"--out {self.path}: is a file that this command did not write; remove it or give another name"
                )
        if not real.parent.is_dir():
            raise InputError(f"--out {self.path}: give the name of a file in a folder that exists")
        _check_writable(self.path, real.parent)

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """Open the file for text; an ordinary file gets its name at the end, and only if no error occurs.

        Raises:
            InputError: see `check`.
            OSError: the file cannot be written; the error names `path`.
        """
        self.check()
        with name_in_errors(self.path, _resolved(self.path)):
            if self._is_standard_output():
                with os.fdopen(os.dup(1), "w", encoding="utf-8", newline="") as file:
                    yield file
            elif self.is_direct:
                with self.path.open("w", encoding="utf-8", newline="") as file:
                    yield file
            else:
                with (
                    atomic_file(_resolved(self.path)) as temporary,
                    temporary.open("w", encoding="utf-8", newline="") as file,
                ):
                    yield file

    def write(self, content: bytes) -> None:
        """Write a file that is not text, as an atomic file.

        Raises:
            InputError: see `check`.
            OSError: the file cannot be written; the error names `path`.
        """
        self.check()
        with name_in_errors(self.path, _resolved(self.path)):
            if self.is_direct:
                self.path.write_bytes(content)
            else:
                write_bytes(_resolved(self.path), content)

    @property
    def is_direct(self) -> bool:
        """Whether the file is written in place, because a rename would replace a device or pipe."""
        if self._is_standard_output():
            return True
        mode = self.path.stat().st_mode if self.path.exists() else 0
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)

    def _is_standard_output(self) -> bool:
        """Whether the path is the file of standard output, as /dev/stdout is."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(1))
        except OSError:
            return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:
        raise InputError(f"--out {path}: symbolic links form a loop; give another name") from None


def _kind(path: Path) -> str:
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "not a regular file")


def _check_apart(path: Path, real: Path, inputs: Sequence[Path]) -> None:
    """Refuse an input of the command, under any name, and any path inside an input folder."""
    for source in inputs:
        if not source.exists():
            continue
        folder = source.resolve()
        if path.exists() and path.samefile(source):
            raise InputError(f"--out {path}: is {source}, which this command reads; give another name")
        if folder.is_dir() and folder in real.parents:
            raise InputError(f"--out {path}: lies in {source}, which this command reads; give a path outside it")


def _check_writable(path: Path, folder: Path) -> None:
    """Refuse a folder that cannot be written or created; `folder` need not exist."""
    nearest = next(ancestor for ancestor in (folder, *folder.parents) if ancestor.exists())
    if not nearest.is_dir():
        raise InputError(f"--out {path}: {nearest} is {_kind(nearest)}; give a name in a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
        reason = "read-only file system" if read_only else "no permission to write"
        raise InputError(f"--out {path}: {reason} in {nearest}; give another name")
