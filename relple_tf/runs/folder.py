"""The run folder: the config is written first, then checkpoints of the training, then the results and the manifest.

A folder with a manifest is a complete run. A folder with a config but without a manifest is an interrupted run.
Every file is written under a temporary name and renamed, so a kill or a full disk leaves earlier files unchanged.
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
from relple_tf.artefacts.schema import NAME, OBJECT, SHA256, check, integer, named
from relple_tf.atomic_files import UNFINISHED, name_in_errors, sha256, write_text
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
"""Files of every complete run, without the manifest."""
OPTIONAL_FILES = {DATA}
"""Present unless `run.keep_data` was false."""

REMEDY = "restore it or train the run again"
"""What to do about a damaged file of a run; ends the message of an error."""

MANIFEST_RULES = {
    "": named(NAME),
    "*": OBJECT,
    "*.sha256": SHA256,
    "*.bytes": integer(0, 1 << 50),
}


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The folder of a run."""

    path: Path
    resumed: bool = False
    """Whether an interrupted run is resumed here."""

    @property
    def is_complete(self) -> bool:
        """Whether training has ended and every file is written."""
        return (self.path / MANIFEST).exists()

    @property
    def is_started(self) -> bool:
        """Whether the folder contains a run, complete or interrupted."""
        return self.is_complete or (self.path / CONFIG).exists()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder for this process; create it if it does not exist, and remove it at the end if it is empty.

        Unfinished files that a killed process left are removed.

        Raises:
            InputError: another process works in the folder.
        """
        check_folder(self.path)
        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with name_in_errors(self.path, created[-1] if created else self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            self.clear()
            try:
                yield
            finally:
                with suppress(OSError):  # at the first folder that is not empty
                    for folder in created:
                        folder.rmdir()

    def begin(self, config: Config) -> None:
        """Create the folder and write the config.

        Raises:
            InputError: another run has started here since `open_run` checked the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_started:
            raise InputError(f"{self.path}: another run has just started here; give another --out")
        write_text(self.path / CONFIG, to_toml(config))

    def clear(self) -> None:
        """Remove unfinished files, and the checkpoints of a complete run."""
        for path in list(self.path.rglob(f"{UNFINISHED}*")):
            if path.is_file():
                path.unlink()
        if self.is_complete:
            remove_checkpoints(self.path)

    def finish(self) -> None:
        """Complete the run: write the manifest with size and hash of every file, then remove the checkpoints."""
        write_manifest(self.path, FILES | {name for name in OPTIONAL_FILES if (self.path / name).exists()})
        self.clear()

    def verify(self) -> None:
        """Check the files of a complete run against its manifest.

        Raises:
            InputError: the folder contains no complete run, or a file is missing or differs from the manifest.
        """
        if not self.is_complete:
            state = "the run was interrupted; finish it with --resume" if self.is_started else "not a run folder"
            raise InputError(f"{self.path}: no {MANIFEST}: {state}")
        manifest = read_json(self.path / MANIFEST, REMEDY)
        if isinstance(manifest, dict) and manifest and all(isinstance(entry, str) for entry in manifest.values()):
            raise InputError(f"{self.path / MANIFEST}: written by a version before 0.2; train the run again")
        check(manifest, MANIFEST_RULES, self.path / MANIFEST, REMEDY)
        if missing := sorted(FILES - set(manifest)):
            raise InputError(f"{self.path / MANIFEST}: expected an entry for {missing[0]}, received none; {REMEDY}")
        for name, expected in manifest.items():
            file = self.path / name
            with opened(file, REMEDY) as content:
                if (size := os.fstat(content.fileno()).st_size) != expected["bytes"]:
                    raise InputError(f"{file}: expected {expected['bytes']:,} bytes, received {size:,}; {REMEDY}")
                if hashlib.file_digest(content, "sha256").hexdigest() != expected["sha256"]:
                    raise InputError(
                        f"{file}: SHA-256 differs from the manifest: the file changed after training; {REMEDY}"
                    )


def open_run(path: Path | None, name: str, config: Config, *, resume: bool) -> RunFolder:
    """Choose and check the folder of a run, without writing to it.

    Args:
        path: `--out`; None selects `runs/{name}-N` with the next free N, or with `resume` the largest N in use.
        name: Name of the run without `--out`.
        config: With `resume`, it must be equal to the config in the folder.
        resume: Resume an interrupted run.

    Raises:
        InputError: the folder contains other files; it contains a run and `resume` is false; or it contains no run,
            or a run with another config, and `resume` is true.
    """
    folder = RunFolder(path=path or _numbered(Path("runs"), name, resume=resume), resumed=resume)
    check_folder(folder.path)
    if resume:
        if not folder.is_started:
            raise InputError(f"{folder.path}: contains no run to resume; leave out --resume to start a run")
        if read_config(folder.path / CONFIG) != config:
            raise InputError(
                f"{folder.path}: its {CONFIG} is not this command's configuration; resume with "
                f"--config {folder.path / CONFIG}"
            )
    elif folder.is_complete:
        raise InputError(f"{folder.path}: already contains a run; give another --out")
    elif folder.is_started:
        raise InputError(f"{folder.path}: contains an interrupted run; add --resume, or give another --out")
    elif folder.path.is_dir() and not all(p.name.startswith(UNFINISHED) and p.is_file() for p in folder.path.iterdir()):
        raise InputError(f"{folder.path}: contains other files; give a new or empty folder to --out")
    return folder


def holds_only(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder has a config, and no files except those of `names` and unfinished ones."""
    if not (folder / CONFIG).is_file():
        return False
    return all(path.name in names or path.name.startswith(UNFINISHED) for path in folder.iterdir())


@contextmanager
def resumable(folder: RunFolder, command: str, flags: str = "", *, notify: Callable[[str], None]) -> Iterator[None]:
    """Lock a folder; on an interruption, print the command that resumes the work.

    Args:
        folder: From `open_run`.
        command: The command without flags.
        flags: Flags to repeat in addition to `--out` and `--resume`.
        notify: Prints a line to the user.

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
    """Lock a folder; the operating system releases the lock when the process ends, also after a kill.

    On a file system without locks, such as some network file systems, every process gets access.

    Args:
        folder: An existing folder; not a symbolic link if `out` is given.
        out: The path that the user gave, for messages; by default `folder`.

    Raises:
        InputError: another process has locked the folder.
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
        # The previous owner of the lock may have removed or renamed the folder; then this lock protects nothing.
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
    """Read the config in the folder of a run, comparison or search.

    Raises:
        InputError: it is not a regular file or not TOML, or contains an unknown key or an invalid value.
    """
    with opened(file, REMEDY):
        return from_toml(file)


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the manifest: size and SHA-256 of the named files. The folder is then complete."""
    files = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)}
    write_json(folder / MANIFEST, files)


def write_json(path: Path, content: Any) -> None:
    """Write standard JSON, which has no NaN and no infinity.

    Raises:
        ValueError: `content` contains NaN or an infinity.
    """
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def data_hash(library: SpectralLibrary) -> str:
    """SHA-256 of the data of a run: wavelengths, spectra, quantity, laboratory values, ids.

    Groups, samples and coordinates are included if the library has them, because they determine the split and the
    folds; so are the names of scans.
    """
    digest = hashlib.sha256()
    coordinates = () if library.coordinates is None else (library.coordinates,)
    for array in (library.wavelengths_nm, library.spectra, *library.targets.values(), *coordinates):
        digest.update(np.ascontiguousarray(array).data)
    groups = [] if library.groups is None else library.groups.tolist()
    digest.update("\n".join([library.quantity, *library.targets, *library.ids.tolist(), *groups]).encode())
    for name, labels in (("samples", library.samples), ("scans", library.scans)):
        if labels is not None:
            digest.update("\n".join(["", name, *labels.tolist()]).encode())
    return digest.hexdigest()
