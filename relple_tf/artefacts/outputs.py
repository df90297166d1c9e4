"""Where a command may write: `--out` is checked before any work starts, and again at the moment of writing.

A rename replaces whatever has the name: a device node, a link, the table that the command reads. So nothing is renamed
onto a name before these checks. Imports nothing slow.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from relple_tf.atomic_files import naming, whole
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
    """Check that a command may make, or fill, a folder of this name.

    Args:
        path: `--out`.
        inputs: Folders that the command reads; it writes into none of them.

    Returns:
        The folder that a symbolic link leads to; `path` itself where it is no link.

    Raises:
        InputError: something else has the name, or the folder cannot be written.
    """
    real = _behind_links(path)
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

    A symbolic link stays, and the file that it leads to is written. A character device, a pipe and the file that is
    standard output are written directly. Any other file is written beside and renamed.
    """

    path: Path
    """`--out`."""
    is_replaceable: Callable[[Path], bool]
    """Whether a regular file is an earlier result of this command."""
    inputs: tuple[Path, ...] = ()
    """Files that the command reads; folders of which it reads files."""

    def check(self) -> None:
        """Check that the file may be written.

        Raises:
            InputError: the name belongs to something that is not to be written, or its folder cannot be written.
        """
        real = _behind_links(self.path)
        _check_apart(self.path, real, self.inputs)
        if self._is_direct():
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
        """Open the file for text; it gets its name at the end, and only where nothing fails before.

        Raises:
            InputError: as by `check`.
            OSError: the file cannot be written; the error names `path`.
        """
        self.check()
        with naming(self.path, _behind_links(self.path)):
            if self._is_standard_output():
                with os.fdopen(os.dup(1), "w", encoding="utf-8", newline="") as file:
                    yield file
            elif self._is_direct():
                with self.path.open("w", encoding="utf-8", newline="") as file:
                    yield file
            else:
                with (
                    whole(_behind_links(self.path)) as beside,
                    beside.open("w", encoding="utf-8", newline="") as file,
                ):
                    yield file

    def _is_direct(self) -> bool:
        """Whether the file is written where it is: a rename would replace the device or pipe."""
        if self._is_standard_output():
            return True
        mode = self.path.stat().st_mode if self.path.exists() else 0
        return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)

    def _is_standard_output(self) -> bool:
        """Whether the name leads to what standard output leads to, as /dev/stdout does."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(1))
        except OSError:
            return False


def _behind_links(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:
        raise InputError(f"--out {path}: symbolic links that lead to each other; give another name") from None


def _kind(path: Path) -> str:
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "no regular file")


def _check_apart(path: Path, real: Path, inputs: Sequence[Path]) -> None:
    """Refuse an input of the command, by whatever name, and what lies in a folder of its input."""
    for source in inputs:
        if not source.exists():
            continue
        folder = source.resolve()
        if path.exists() and path.samefile(source):
            raise InputError(f"--out {path}: is {source}, which this command reads; give another name")
        if folder.is_dir() and folder in real.parents:
            raise InputError(f"--out {path}: lies in {source}, which this command reads; give a place outside it")


def _check_writable(path: Path, folder: Path) -> None:
    """Refuse a place where nothing can be written; `folder` need not exist."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise InputError(f"--out {path}: {nearest} is {_kind(nearest)}; give a name in a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
        reason = "read-only file system" if read_only else "no permission to write"
        raise InputError(f"--out {path}: {reason} in {nearest}; give another name")
