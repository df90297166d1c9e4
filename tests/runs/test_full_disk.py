"""On a full or read-only disk, earlier files stay unchanged, and the error names the path that the user gave."""

import errno
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import pytest

from relple_tf.artefacts.outputs import OutputFile, check_folder
from relple_tf.atomic_files import name_in_errors, temporary_folder, write_bytes, write_text, write_with
from relple_tf.errors import InputError

ROOT = Path(__file__).parents[2]
TOO_MUCH = bytes(1 << 20)


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount disks")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def output(path):
    return OutputFile(path=path, is_replaceable=lambda path: True)


def save_model(path):
    inputs = keras.Input((200,))
    keras.Model(inputs, keras.layers.Dense(200)(inputs)).save(path)


WRITERS = {
    "bytes": lambda path: write_bytes(path, TOO_MUCH),
    "a Keras model": lambda path: write_with(path, save_model),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_earlier_file_and_names_it(write, disk):
    path = disk / "model.keras"
    write_text(path, "earlier")
    with pytest.raises(OSError, match="No space left") as full:
        write(path)
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "earlier"
    assert [file.name for file in disk.iterdir()] == ["model.keras"]


def test_the_error_of_a_full_disk_behind_a_link_names_the_link(disk, tmp_path):
    (tmp_path / "p.csv").symlink_to(disk / "p.csv")

    def fill():
        with output(tmp_path / "p.csv").opened() as file:
            file.write(TOO_MUCH.decode())

    with pytest.raises(OSError, match="No space left") as full:
        fill()
    assert full.value.filename == str(tmp_path / "p.csv")
    assert list(disk.iterdir()) == []


def test_the_error_of_a_full_disk_for_temporary_files_names_its_folder(disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(disk))

    def fill():
        with temporary_folder() as folder:
            (folder / "job.npz").write_bytes(TOO_MUCH)

    with pytest.raises(OSError, match="No space left") as full:
        fill()
    assert full.value.filename == str(disk)
    assert list(disk.iterdir()) == []


def test_a_read_only_disk_is_refused_before_any_work(disk):
    write_text(disk / "p.csv", "earlier")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for check in (check_folder, lambda path: output(path).check()):
        with pytest.raises(InputError, match="read-only file system") as refused:
            check(disk / "new")
        assert str(disk / "new") in str(refused.value)
    with pytest.raises(OSError, match="Read-only") as refused:
        write_text(disk / "p.csv", "new")
    assert refused.value.filename == str(disk / "p.csv")


def test_a_file_that_grows_too_large_is_named(tmp_path):
    """The limit applies to the process, so no small disk is needed."""
    path = tmp_path / "p.csv"
    code = (
        "import sys\nfrom pathlib import Path\nfrom relple_tf.command_line import run\n"
        "from relple_tf.atomic_files import write_text\n"
        "run(lambda arguments: write_text(Path(arguments[0]), 'x' * 9999), sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {path}: File too large; correct that, or give another --out\n"
    assert list(tmp_path.iterdir()) == []


def raised(error, path, temporary):
    with pytest.raises(OSError) as caught, name_in_errors(path, temporary):  # noqa: PT011
        raise error
    return caught.value


def test_only_write_errors_get_the_name_of_the_file(tmp_path):
    path, temporary = tmp_path / "out", tmp_path / ".unfinished-out"
    for name in (temporary, temporary / "deep" / "file", None):
        error = raised(OSError(errno.ENOSPC, "No space left on device", name and str(name)), path, temporary)
        assert error.filename == str(path)
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "soils.csv"))
    assert raised(missing, path, temporary) is missing
    # An error without a file name that is not a write error, such as too many processes, is not changed.
    nameless = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    assert raised(nameless, path, temporary) is nameless


def test_a_write_error_that_a_library_only_quotes_gets_the_name_too(tmp_path):
    """h5py quotes the error number in its message."""
    quoted = OSError("Can't write data (file write failed: filename = '/x', errno = 28, error message = 'No space')")
    error = raised(quoted, tmp_path / "out", tmp_path)
    assert (error.errno, error.filename) == (errno.ENOSPC, str(tmp_path / "out"))
