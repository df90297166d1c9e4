"""Laws of the run folder and of atomic files."""

import dataclasses
import errno
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from relple_tf import atomic_files as files
from relple_tf.atomic_files import UNFINISHED, sha256, write_bytes, write_text, write_with
from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.runs import folder as runs
from relple_tf.runs.folder import FILES, RunFolder, data_hash, open_run, write_json
from relple_tf.training.checkpoint import load_state, save_state


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.keras"
    write_text(path, "earlier")
    return path


def other_files(path):
    return sorted(other.name for other in path.parent.iterdir() if other != path)


def test_a_written_file_has_its_content_and_is_readable_by_all_users(file):
    write_bytes(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    write_text(file, "pH ü")
    assert file.read_text(encoding="utf-8") == "pH ü"
    assert file.stat().st_mode & 0o777 == 0o644
    assert other_files(file) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failed_write_leaves_the_earlier_file_and_no_temporary_file(file, error):
    def write(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_with(file, write)
    assert file.read_text() == "earlier"
    assert other_files(file) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_the_end_leaves_the_earlier_file_and_no_temporary_file(file, call, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = files.os if call == "fsync" else files.Path
    monkeypatch.setattr(owner, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(file, "new")
    assert file.read_text() == "earlier"
    assert other_files(file) == []


def test_the_temporary_file_has_the_suffix_and_folder_of_the_file(file):
    paths = []
    write_with(file, lambda temporary: paths.append(temporary))
    assert paths[0].suffix == ".keras"
    assert paths[0].parent == file.parent
    assert paths[0].name.startswith(".")


def test_sha256_equals_hashlib(file):
    assert sha256(file) == hashlib.sha256(b"earlier").hexdigest()


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(path=tmp_path / "run")
    folder.begin(Config())
    for name in FILES - {"config.toml"}:
        write_text(folder.path / name, "{}")
    write_text(folder.path / "checkpoint.npz", "state")
    return folder


def test_a_run_is_absent_then_started_then_complete(run, tmp_path):
    absent = RunFolder(path=tmp_path / "other")
    assert (absent.is_started, absent.is_complete) == (False, False)
    assert (run.is_started, run.is_complete) == (True, False)
    run.finish()
    assert (run.is_started, run.is_complete) == (True, True)
    assert not (run.path / "checkpoint.npz").exists()
    run.verify()


def test_the_manifest_lists_every_file_except_itself_and_the_checkpoints(run):
    run.finish()
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert set(manifest) == FILES == {path.name for path in run.path.iterdir()} - {"manifest.json"}
    assert manifest["metrics.json"] == {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}


def test_a_changed_file_is_named(run):
    run.finish()
    (run.path / "metrics.json").write_text("[]")
    with pytest.raises(InputError, match=r"metrics\.json: SHA-256 differs from the manifest"):
        run.verify()


def test_a_file_of_another_size_is_refused_before_it_is_read(run, monkeypatch):
    run.finish()
    (run.path / "card.json").write_text("{ }")  # the first file in the manifest
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read"))
    with pytest.raises(InputError, match=r"card\.json: expected 2 bytes, received 3"):
        run.verify()


def test_a_missing_file_is_named(run):
    run.finish()
    (run.path / "config.toml").unlink()
    with pytest.raises(InputError, match=r"config\.toml: No such file"):
        run.verify()


ENTRY = {"sha256": "0" * 64, "bytes": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("{}", "expected an object with 1 or more keys"),
        (json.dumps({"card.json": "0" * 64}), "written by a version before 0.2"),
        (json.dumps({"card.json": ENTRY}), "expected an entry for config.toml"),
        (json.dumps({"card.json": ENTRY | {"bytes": -2}}), "card.json.bytes: expected an integer from 0"),
        (json.dumps({"card.json": {"bytes": 2}}), "card.json.sha256: expected a SHA-256 .* received nothing"),
        (json.dumps({"../card.json": ENTRY}), "each a plain name"),
        (json.dumps({"/etc/passwd": ENTRY}), "each a plain name"),
        ('{"card.json": 1, "card.json": 1}', "a key occurs twice"),
        ("[" * 200_000, "RecursionError"),
        (b"\xff\xfe{}", "UnicodeDecodeError"),
    ],
)
def test_a_damaged_manifest_is_named(run, content, message):
    run.finish()
    (run.path / "manifest.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"manifest.json: .*{message}"):
        run.verify()


def test_a_run_does_not_start_in_the_folder_of_another_run(tmp_path):
    first, second = open_folder(tmp_path / "run"), open_folder(tmp_path / "run")
    first.begin(replace(Config(), training__seed=1))
    with pytest.raises(InputError, match="another run has just started here"):
        second.begin(replace(Config(), training__seed=2))
    assert "seed = 1" in (tmp_path / "run" / "config.toml").read_text()


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / f"{UNFINISHED}x.toml").write_text("half")
    folder = open_folder(tmp_path)
    with folder.exclusive():
        folder.begin(Config())
    assert {path.name for path in tmp_path.iterdir()} == {"config.toml"}


def test_a_complete_run_loses_its_checkpoints_and_no_other_file(run):
    """A kill after the manifest is written and before the checkpoints are removed leaves both."""
    run.finish()
    before = {path.name for path in run.path.iterdir()}
    state = {"checkpoint.npz", "fold-1.npz", "fold-12.npz", f"{UNFINISHED}x.json"}
    others = {"fold-one.npz", "fold-.npz", "fold-1.npz.txt", "checkpoint.npz.bak", "notes.txt"}
    for name in state | others:
        (run.path / name).touch()
    with run.exclusive():
        pass
    assert {path.name for path in run.path.iterdir()} == before | others


def test_an_interrupted_run_keeps_its_checkpoints(run):
    (run.path / "fold-1.npz").touch()
    with run.exclusive():
        pass
    assert {"checkpoint.npz", "fold-1.npz"} <= {path.name for path in run.path.iterdir()}


def test_one_process_at_a_time_works_in_a_folder(run):
    same_path = RunFolder(path=run.path)
    with run.exclusive():
        for other in (run, same_path):
            with (
                pytest.raises(InputError, match="another command is at work in this folder") as refused,
                other.exclusive(),
            ):
                pass
            assert str(run.path) in str(refused.value)
    with run.exclusive():
        pass


def test_the_lock_of_a_folder_ends_with_its_process(run):
    script = (
        "import os, pathlib, sys\nfrom relple_tf.runs.folder import RunFolder\n"
        "with RunFolder(path=pathlib.Path(sys.argv[1])).exclusive():\n"
        "    print('locked', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, run.path], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="another command is at work"), run.exclusive():
            pass
        holder.kill()
        holder.wait()
        with run.exclusive():
            pass


def test_a_folder_that_was_removed_and_created_again_is_not_locked_twice(tmp_path, monkeypatch):
    """Another process may remove a folder after this process opens it and before it locks it."""
    path = tmp_path / "run"
    path.mkdir()
    lock = runs.fcntl.flock

    def lock_after_removal(handle, how):
        path.rmdir()
        path.mkdir()
        lock(handle, how)

    monkeypatch.setattr(runs.fcntl, "flock", lock_after_removal)
    with pytest.raises(InputError, match="another command is at work"), runs.locked(path):
        pass


def test_a_run_can_start_on_a_file_system_without_locks(tmp_path, monkeypatch):
    def unsupported(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(runs.fcntl, "flock", unsupported)
    with runs.locked(tmp_path):
        pass


def test_an_empty_folder_is_removed_with_its_new_parents(tmp_path):
    (tmp_path / "old").mkdir()
    folder = open_folder(tmp_path / "old" / "new" / "run")
    with folder.exclusive():
        assert folder.path.is_dir()
    assert list((tmp_path / "old").iterdir()) == []
    with folder.exclusive():
        folder.begin(Config())
    assert folder.is_started
    with open_folder(tmp_path / "old" / "new" / "empty").exclusive():
        pass
    assert folder.is_started


def test_a_damaged_checkpoint_is_named(tmp_path):
    state = tmp_path / "checkpoint.npz"
    save_state(state, {"best": [np.zeros(3)]}, {"best_epoch": 0, "fingerprint": "a1"})
    content = state.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"PK" + content[2:-30]):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.npz: damaged .*; delete it"):
            load_state(state, "a1")


def test_a_checkpoint_of_other_data_is_refused_and_its_folder_named(tmp_path):
    state = tmp_path / "fold-1.npz"
    save_state(state, {}, {"fingerprint": "a1"})
    with pytest.raises(InputError, match="the data or their split changed since this run was interrupted") as refused:
        load_state(state, "a2")
    assert str(tmp_path) in str(refused.value)
    assert load_state(state, "a1") == ({}, {"fingerprint": "a1"})


def test_an_interrupted_run_and_a_folder_without_a_run_have_different_messages(run, tmp_path):
    with pytest.raises(InputError, match="was interrupted; finish it with --resume"):
        run.verify()
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder(path=tmp_path).verify()


def open_folder(path, *, resume=False, config=None):
    return open_run(path, "name", config or Config(), resume=resume)


def test_a_new_or_empty_folder_is_opened_without_writing(tmp_path):
    assert open_folder(tmp_path / "new").path == tmp_path / "new"
    assert open_folder(tmp_path).path == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_refusals_name_the_folder_and_the_remedy(run, tmp_path):
    cases = {
        "contains an interrupted run; add --resume": (run.path, {}),
        "is not this command's configuration; resume with --config": (
            run.path,
            {"resume": True, "config": replace(Config(), model__levels=1)},
        ),
        "contains no run to resume": (tmp_path / "none", {"resume": True}),
        "contains other files": (tmp_path, {}),
        "is a file": (run.path / "metrics.json", {}),
    }
    for message, (path, options) in cases.items():
        with pytest.raises(InputError, match=message) as refused:
            open_folder(path, **options)
        assert str(path) in str(refused.value)
    assert open_folder(run.path, resume=True).path == run.path
    run.finish()
    with pytest.raises(InputError, match="already contains a run; give another --out"):
        open_folder(run.path)


def test_runs_without_out_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = open_folder(None)
    assert str(first.path) == "runs/name-1"
    with pytest.raises(InputError, match="contains no run to resume"):
        open_folder(None, resume=True)
    first.begin(Config())
    RunFolder(path=first.path.with_name("name-9")).begin(Config())
    RunFolder(path=first.path.with_name("name-other-12")).begin(Config())
    assert open_folder(None).path.name == "name-10"
    assert open_folder(None, resume=True).path.name == "name-9"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_json_refuses_nan_and_infinity(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"rmse": float(number)})
    assert list(tmp_path.iterdir()) == []


def test_data_hash_changes_with_all_data_that_training_uses(library):
    def changed(**changes):
        return data_hash(dataclasses.replace(library, **changes))

    spectra = library.spectra.copy()
    spectra[3, 4] += 1e-6
    targets = {name: values.copy() for name, values in library.targets.items()}
    targets["OC_g_kg"][0] += 1e-9
    hashes = {
        data_hash(library),
        changed(spectra=spectra),
        changed(targets=targets),
        changed(wavelengths_nm=library.wavelengths_nm + 1),
        changed(ids=np.char.add(library.ids, "x")),
        changed(targets=dict(zip(("a", "b"), library.targets.values(), strict=True))),
    }
    groups, coordinates = np.char.add("field", library.ids), np.zeros((len(library), 2))
    hashes |= {changed(groups=groups), changed(groups=groups[::-1]), changed(coordinates=coordinates)}
    hashes |= {changed(coordinates=coordinates + 1)}
    assert len(hashes) == 10
    assert changed(notes=("a note",), source="elsewhere") in hashes


def test_a_manifest_of_a_version_before_0_2_is_refused_by_version(tmp_path):
    """It held a SHA-256 per file and no size."""
    (tmp_path / "manifest.json").write_text(json.dumps({"card.json": "0" * 64, "model.keras": "1" * 64}))
    with pytest.raises(InputError, match=r"before 0\.2; train the run again"):
        RunFolder(path=tmp_path).verify()
