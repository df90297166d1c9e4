"""The run folder: config first, then the state of training, at the end the results and the manifest.

A folder with a manifest is a run; one with a config but no manifest is a run that was cut off.
Every file is written beside and renamed, so a kill or a full disk leaves earlier files whole.
One process at a time works in a folder.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relple_tf.artefacts.outputs import check_folder
from relple_tf.artefacts.reading import opened, read_json
from relple_tf.artefacts.schema import NAME, OBJECT, SHA256, check, named, whole
from relple_tf.atomic_files import UNFINISHED, naming, sha256, write_text
from relple_tf.config import Config
from relple_tf.config_text import from_toml, to_toml
from relple_tf.errors import InputError
from relple_tf.runs.stored_data import DATA
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.checkpoint import remove_checkpoints

MANIFEST = "manifest.json"
CONFIG = "config.toml"
FILES = {
    CONFIG,
    "card.json",
    "history.csv",
    "metrics.json",
    "model.keras",
    "outliers.csv",
    "predictions.csv",
    "report.html",
    "split.csv",
}
"""What a complete run holds beside its manifest."""
OPTIONAL_FILES = {DATA}

WAY_OUT = "restore it or train the run again"
"""What to do about a damaged file of a run."""

MANIFEST_RULES = {
    "": named(NAME),
    "*": OBJECT,
    "*.sha256": SHA256,
    "*.bytes": whole(0, 1 << 50),
}


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where one run lives."""

    path: Path
    resumed: bool = False
    """Whether it takes up a run that was cut off."""

    @property
    def is_complete(self) -> bool:
        """Whether training ended and every file is there."""
        return (self.path / MANIFEST).exists()

    @property
    def is_started(self) -> bool:
        """Whether a run, complete or cut off, lives here."""
        return self.is_complete or (self.path / CONFIG).exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Work in the folder alone; make it if there is none, and remove it if it is still empty at the end.

        What a kill left half-written is removed.

        Raises:
            InputError: another process works in the folder.
        """
        check_folder(self.path)
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with naming(self.path, made[-1] if made else self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            self.clear()
            try:
                yield
            finally:
                with suppress(OSError):  # the first that is not empty
                    for folder in made:
                        folder.rmdir()

    def begin(self, config: Config) -> None:
        """Make the folder and write the config.

        Raises:
            InputError: another run began here since `open_run` looked.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_started:
            raise InputError(f"{self.path}: another run began here just now; give another --out")
        write_text(self.path / CONFIG, to_toml(config))

    def clear(self) -> None:
        """Remove what a kill left half-written, and from a complete run the state of its training."""
        for path in list(self.path.rglob(f"{UNFINISHED}*")):
            if path.is_file():
                path.unlink()
        if self.is_complete:
            remove_checkpoints(self.path)

    def finish(self) -> None:
        """Seal the run: write size and hash of every file, then drop the state of training."""
        write_manifest(self.path, FILES | {name for name in OPTIONAL_FILES if (self.path / name).exists()})
        self.clear()

    def verify(self) -> None:
        """Check the files of a complete run against its manifest.

        Raises:
            InputError: this is no run, or a file is missing or not the one that training wrote.
        """
        if not self.is_complete:
            cut_off = "was cut off; finish it with --resume" if self.is_started else "is no run folder"
            raise InputError(f"{self.path}: no {MANIFEST}, so it {cut_off}")
        listed = read_json(self.path / MANIFEST, WAY_OUT)
        check(listed, MANIFEST_RULES, self.path / MANIFEST, WAY_OUT)
        if missing := sorted(FILES - set(listed)):
            raise InputError(f"{self.path / MANIFEST}: does not list {missing[0]}, a file of every run; {WAY_OUT}")
        for name, expected in listed.items():
            file = self.path / name
            with opened(file, WAY_OUT) as content:
                if (size := os.fstat(content.fileno()).st_size) != expected["bytes"]:
                    raise InputError(f"{file}: expected {expected['bytes']:,} bytes, received {size:,}; {WAY_OUT}")
                if hashlib.file_digest(content, "sha256").hexdigest() != expected["sha256"]:
                    raise InputError(
                        f"{file}: SHA-256 is not the manifest's, so it was changed after training; {WAY_OUT}"
                    )


def open_run(path: Path | None, name: str, config: Config, *, resume: bool) -> RunFolder:
    """Find the folder of a run, without writing to it.

    Args:
        path: `--out`; None takes `runs/{name}-N`, the next free N, or the last one to resume.
        name: What the run is called without `--out`.
        config: To be equal to that of the run that is resumed.
        resume: Take up a run that was cut off.

    Raises:
        InputError: the folder holds something else, holds a run and `resume` is off, or holds no
            run and it is on.
    """
    folder = RunFolder(path=path or _numbered(Path("runs"), name, resume=resume), resumed=resume)
    check_folder(folder.path)
    if resume:
        if not folder.is_started:
            raise InputError(f"{folder.path}: holds no run to resume; leave out --resume to start one")
        if read_config(folder.path / CONFIG) != config:
            raise InputError(
                f"{folder.path}: its {CONFIG} is not this command's configuration; resume with "
                f"--config {folder.path / CONFIG}"
            )
    elif folder.is_complete:
        raise InputError(f"{folder.path}: already holds a run; give another --out")
    elif folder.is_started:
        raise InputError(f"{folder.path}: holds a run that was cut off; add --resume, or give another --out")
    elif folder.path.is_dir() and not all(p.name.startswith(UNFINISHED) and p.is_file() for p in folder.path.iterdir()):
        raise InputError(f"{folder.path}: holds other files; give a new or empty folder to --out")
    return folder


def holds_only(folder: Path, names: Collection[str]) -> bool:
    """Whether a run began in a folder, and it holds nothing but files of these names and half-written ones."""
    if not (folder / CONFIG).is_file():
        return False
    return all(path.name in names or path.name.startswith(UNFINISHED) for path in folder.iterdir())


@contextmanager
def resumable(folder: RunFolder, command: str, flags: str = "", *, notify: Callable[[str], None]) -> Iterator[None]:
    """Work in a folder alone, and name the command that continues where the work is interrupted.

    Args:
        folder: From `open_run`.
        command: Without flags.
        flags: To be given again beside `--out` and `--resume`.
        notify: Told how to continue.

    Raises:
        InputError: another process works in the folder.
    """
    with folder.exclusive():
        try:
            yield
        except KeyboardInterrupt:
            if folder.is_started and not folder.is_complete:
                notify(f"interrupted; continue with: {command} --out {folder.path} --resume {flags}".rstrip())
            raise


@contextmanager
def locked(folder: Path, out: Path | None = None) -> Iterator[None]:
    """Hold a folder; the lock ends with the process, however it ends.

    A file system without locks, such as some network file systems, lets every process in.

    Args:
        folder: Exists, and is no symbolic link if it is not what the user named.
        out: What the user named; by default `folder`.

    Raises:
        InputError: another process holds it.
    """
    busy = InputError(f"{out or folder}: another command is at work in this folder; wait for it or give another --out")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if out else 0))
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        except OSError:
            pass
        # Whoever held it before may have removed or renamed it, and this lock would hold what nobody else sees.
        if not folder.exists() or not os.path.samestat(os.fstat(handle), folder.stat()):
            raise busy
        yield
    finally:
        os.close(handle)


def _numbered(parent: Path, name: str, *, resume: bool) -> Path:
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    numbers = [
        int(match.group(1))
        for path in (parent.iterdir() if parent.is_dir() else ())
        if (match := pattern.fullmatch(path.name))
    ]
    last = max(numbers, default=0)
    return parent / f"{name}-{last if resume and last else last + 1}"


def read_config(file: Path) -> Config:
    """A config in the folder of a run, comparison or search.

    Raises:
        InputError: it is no regular file, no TOML, or holds what Config does not know.
    """
    with opened(file, WAY_OUT):
        return from_toml(file)


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write size and SHA-256 of these files of a folder, which makes it complete."""
    facts = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)}
    write_json(folder / MANIFEST, facts)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any reader accepts: no NaN, no infinity.

    Raises:
        ValueError: `content` holds a number that JSON cannot.
    """
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def data_hash(library: SpectralLibrary) -> str:
    """SHA-256 of what a run learns from: wavelengths, spectra, quantity, laboratory values, ids.

    And, where there are any, groups and coordinates, which decide what its folds leave out together.
    """
    digest = hashlib.sha256()
    places = () if library.coordinates is None else (library.coordinates,)
    for array in (library.wavelengths_nm, library.spectra, *library.targets.values(), *places):
        digest.update(np.ascontiguousarray(array).data)
    groups = [] if library.groups is None else library.groups.tolist()
    digest.update("\n".join([library.quantity, *library.targets, *library.ids.tolist(), *groups]).encode())
    return digest.hexdigest()
