"""Laws of `--out`: only an earlier result of the same command is replaced."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from relple_tf import predict
from relple_tf.artefacts.outputs import OutputFile, check_folder
from relple_tf.errors import InputError
from relple_tf.models.domain import STATUSES
from relple_tf.predict import holds_predictions

RESULT = "id,pH,pH_low,pH_high,status\na,6.5,6,7,ok\n"
ROOT = Path(__file__).parents[2]


def output(path, *inputs):
    return OutputFile(path=path, is_replaceable=holds_predictions, inputs=inputs)


def write(path, *inputs, text=RESULT):
    with output(path, *inputs).opened() as file:
        file.write(text)


def names(folder):
    return {path.name for path in folder.iterdir()}


def refused(path, *inputs):
    """The error line; check and write refuse with the same line, and the folder does not change."""
    before = names(path.parent)
    with pytest.raises(InputError) as checked:
        output(path, *inputs).check()
    with pytest.raises(InputError) as written:
        write(path, *inputs)
    assert str(checked.value) == str(written.value)
    assert "\n" not in str(checked.value)
    assert str(path) in str(checked.value)
    assert names(path.parent) == before
    return str(checked.value)


def test_a_new_file_and_an_earlier_result_are_written(tmp_path):
    write(tmp_path / "p.csv")
    write(tmp_path / "p.csv", text=RESULT + "b,5,4,6,outside\n")
    assert (tmp_path / "p.csv").read_text() == RESULT + "b,5,4,6,outside\n"
    (tmp_path / "empty.csv").touch()
    write(tmp_path / "empty.csv")
    assert names(tmp_path) == {"p.csv", "empty.csv"}


OTHER_FILES = {
    "notes": b"remember the milk\n",
    "a library": b"id,pH,1000,1010,status\na,6.5,0.1,0.2,ok\n",
    "laboratory values": b"id,pH,status\na,6.5,accepted\n",
    "a library of named bands": b"id,X1000,X1010,status\na,0.1,0.2,ok\n",
    "another order": b"pH,id,status\n6.5,a,ok\n",
    "no target": b"id,status\na,ok\n",
    "an interval without its target": b"id,OC,pH_low,pH_high,status\n",
    "nothing in the first row": b"\n\n",
    "bytes": bytes(range(256)) * 300,
    "a mark before the header": b"\xef\xbb\xbf" + RESULT.encode(),
}


@pytest.mark.parametrize("content", OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_that_is_not_a_result_is_kept(content, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    assert "is a file that this command did not write" in refused(path)
    assert path.read_bytes() == content


def test_a_result_is_recognised_by_its_header(tmp_path):
    for text in ("id,pH,status\n", RESULT, RESULT.replace("\n", "\r\n"), 'id,pH,status\n"a,\nb",6.5,outside\n'):
        (tmp_path / "p.csv").write_bytes(text.encode())
        assert holds_predictions(tmp_path / "p.csv")
    assert predict.STATUSES == STATUSES


@pytest.mark.parametrize("name", ["link.csv", "chain.csv"])
def test_a_link_stays_and_its_target_is_written(name, tmp_path):
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "p.csv"
    (tmp_path / "link.csv").symlink_to(Path("data") / "p.csv")
    (tmp_path / "chain.csv").symlink_to("link.csv")
    for text in (RESULT, RESULT + "b,5,4,6,ok\n"):  # first the target does not exist, then it is a result
        write(tmp_path / name, text=text)
        assert target.read_text() == text
        assert not target.is_symlink()
    assert (tmp_path / "link.csv").readlink() == Path("data") / "p.csv"
    assert (tmp_path / "chain.csv").readlink() == Path("link.csv")
    assert names(tmp_path / "data") == {"p.csv"}
    target.write_text("mine")
    refused(tmp_path / name)
    assert target.read_text() == "mine"


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "symbolic links" in refused(tmp_path / "a")
    with pytest.raises(InputError, match="symbolic links"):
        check_folder(tmp_path / "a")


def test_a_pipe_is_written_into_and_stays(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_text()))
    reader.start()
    write(path)
    reader.join(60)
    assert received == [RESULT]
    assert stat.S_ISFIFO(path.lstat().st_mode)
    assert names(tmp_path) == {"pipe"}


def test_a_character_device_is_written_into_and_stays(tmp_path):
    path = tmp_path / "null"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can create device nodes")
    (tmp_path / "link").symlink_to("null")
    for device in (path, tmp_path / "link"):
        try:
            write(device)
        except PermissionError:
            pytest.skip("this file system does not open devices")
        assert stat.S_ISCHR(path.lstat().st_mode)
    assert names(tmp_path) == {"null", "link"}


def test_the_null_device_can_be_the_output():
    before = os.lstat("/dev/null")
    write(Path("/dev/null"))
    assert os.lstat("/dev/null").st_ino == before.st_ino


def test_a_disk_a_socket_and_a_folder_are_refused(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    assert "is a folder" in refused(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("socket")
        assert "is a socket" in refused(tmp_path / "socket")
        assert stat.S_ISSOCK((tmp_path / "socket").lstat().st_mode)
    with contextlib.suppress(PermissionError):
        os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
        assert "is a disk" in refused(tmp_path / "disk")


def test_an_input_is_refused_under_every_name(tmp_path):
    """Also if the input has the header of a result."""
    table, run = tmp_path / "soils.csv", tmp_path / "run"
    table.write_text(RESULT)
    run.mkdir()
    (run / "predictions.csv").write_text(RESULT)
    (tmp_path / "hard.csv").hardlink_to(table)
    (tmp_path / "link.csv").symlink_to(table)
    (tmp_path / "linked_run").symlink_to(run)
    for name in ("soils.csv", "hard.csv", "link.csv"):
        assert "which this command reads" in refused(tmp_path / name, run, table)
    for name in ("run/new.csv", "run/predictions.csv", "linked_run/new.csv", "linked_run/predictions.csv"):
        assert "lies in" in refused(tmp_path / name, run, table)
    assert table.read_text() == (run / "predictions.csv").read_text() == RESULT


@pytest.mark.parametrize("kind", ["pipe", "file", "device"])
@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1"])
def test_standard_output_is_written_under_its_name(kind, name, tmp_path):
    """Also if a shell appends standard output to a file, which a rename would replace."""
    script = (
        "import sys; from pathlib import Path; from relple_tf.artefacts.outputs import OutputFile\n"
        "print('before')\nsys.stdout.flush()\n"
        f"out = OutputFile(path=Path({name!r}), is_replaceable=lambda path: False)\n"
        "with out.opened() as file: file.write('text')\n"
    )
    command = [sys.executable, "-c", script]
    log = tmp_path / "log"
    log.write_text("first\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if kind == "pipe":
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        assert done.stdout == "before\ntext"
    elif kind == "file":
        with log.open("a") as file:
            subprocess.run(command, stdout=file, check=True, env=environment)
        assert log.read_text() == "first\nbefore\ntext"
    else:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
        assert stat.S_ISCHR(Path("/dev/null").lstat().st_mode)


def test_a_failed_write_leaves_only_the_earlier_result(tmp_path):
    path = tmp_path / "p.csv"
    write(path)

    def interrupted():
        with output(path).opened() as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == RESULT
    assert names(tmp_path) == {"p.csv"}


def test_a_file_that_another_program_writes_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "p.csv"
    out = output(path)
    out.check()
    path.write_text("mine")
    with pytest.raises(InputError, match="did not write"), out.opened():
        pass
    assert path.read_text() == "mine"


# Folders.


def test_a_folder_may_be_new_or_exist_or_be_the_target_of_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert check_folder(tmp_path / "there") == tmp_path / "there"
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert check_folder(tmp_path / "link") == (tmp_path / "there").resolve()
    assert names(tmp_path) == {"there", "link"}


def test_a_path_that_is_not_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_file").symlink_to("file")
    (tmp_path / "to_nothing").symlink_to("nothing")
    cases = {
        "file": "a file",
        "pipe": "a pipe",
        "to_file": "a file",
        "to_nothing": "does not exist",
        "file/run": "a file",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as refusal:
            check_folder(tmp_path / name)
        assert str(tmp_path / name) in str(refusal.value)
    with pytest.raises(InputError, match="a device"):
        check_folder(Path("/dev/null"))
    assert names(tmp_path) == {"file", "pipe", "to_file", "to_nothing"}


def test_an_input_folder_is_not_written_into(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("run", "run/bundle"):
        with pytest.raises(InputError, match="which this command reads"):
            check_folder(tmp_path / name, [tmp_path / "run"])
    check_folder(tmp_path / "run-bundle", [tmp_path / "run"])


def test_a_folder_without_write_permission_is_refused(tmp_path, monkeypatch):
    """Permissions do not apply to root, so the answer of the operating system is replaced."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for check in (check_folder, lambda path: output(path).check()):
        with pytest.raises(InputError, match="no permission to write") as refusal:
            check(tmp_path / "new")
        assert str(tmp_path / "new") in str(refusal.value)


# The commands.

WRITES_A_FOLDER = {
    "relple_tf.train": [],
    "relple_tf.compare": [],
    "tuning.search": [],
    "export.bundle": ["run"],
}


@pytest.mark.parametrize("module", [*WRITES_A_FOLDER, "relple_tf.predict"])
def test_commands_refuse_an_invalid_out_before_they_import_tensorflow(module, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "scans.csv").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to("nothing")
    arguments, outs = WRITES_A_FOLDER.get(module), ["pipe", "nowhere", "scans.csv", "scans.csv/run"]
    if arguments is None:
        arguments, outs = ["run", "scans.csv"], ["run", "scans.csv", "run/p.csv", "scans.csv/p.csv", "none/p.csv"]
    before = {path: path.lstat()[:7] for path in tmp_path.iterdir()}  # without the times
    for out in outs:
        code = (
            "import sys, importlib\nfrom relple_tf.command_line import run\n"
            f"try:\n    run(importlib.import_module({module!r}).main)\n"
            "finally:\n    assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--out", out],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: --out {out}: ")
        assert done.stderr.count("\n") == 1
    assert {path: path.lstat()[:7] for path in tmp_path.iterdir()} == before
