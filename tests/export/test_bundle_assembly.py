"""Writing a bundle: the complete bundle appears or nothing does, and each refusal is one line with a remedy."""

import errno
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_fixtures import (  # noqa: F401
    IGNORE_WARNINGS,
    INT8,
    assembled,
    exit_code,
    fixture_conversions,
    fixture_folder,
    fixture_trained,
    names_in,
)

from export import bundle
from export.budget import Budget
from export.bundling import assembly
from export.runtime.soil_scan import SoilScan, SoilScanError
from relple_tf import predict
from relple_tf.errors import InputError
from relple_tf.runs.folder import locked

pytestmark = list(IGNORE_WARNINGS)


def is_empty(folder):
    return list(folder.iterdir()) == []


def test_a_variant_above_its_tolerance_is_refused_with_target_and_error(trained, conversions, tmp_path):
    strict = replace(INT8, largest_error=1e-9)
    with pytest.raises(InputError, match=r"int8: OC_g_kg on LiteRT .* above the tolerance 1e-09") as refusal:
        assembled(trained, tmp_path / "bundle", (strict,))
    assert "\n" not in str(refusal.value)
    assert is_empty(tmp_path)


def test_an_export_whose_golden_scans_do_not_repeat_leaves_no_file(trained, conversions, tmp_path, monkeypatch):
    monkeypatch.setattr(assembly.golden, "tolerances", lambda trained, recipe: dict.fromkeys(trained.targets, 0.0))
    with pytest.raises(InputError, match=r"int8: \w+ of golden scan train .* within 0, .*; leave int8 out"):
        assembled(trained, tmp_path / "bundle", (INT8,))
    assert is_empty(tmp_path)


def test_a_budget_that_no_variant_fits_leaves_no_file_but_shows_the_table(trained, conversions, tmp_path):
    shown = []
    with pytest.raises(InputError, match=r"no variant fits; nearest is int8: flash [\d,]+ > 1,000;"):
        assembled(trained, tmp_path / "bundle", (INT8,), Budget(flash_bytes=1000), shown)
    assert is_empty(tmp_path)
    (card,) = shown
    assert re.search(r"int8 .* flash [\d,]+ > 1,000$", bundle.table(card), re.MULTILINE)


def test_a_bundle_replaces_no_file(trained, conversions, folder, tmp_path):
    before = {name: (folder / name).read_bytes() for name in names_in(folder)}
    with pytest.raises(InputError, match="already holds a bundle"):
        assembled(trained, folder)
    assert {name: (folder / name).read_bytes() for name in names_in(folder)} == before
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to("nothing")
    refusals = {
        tmp_path: "already holds other files",
        tmp_path / "file": "is a file",
        tmp_path / "nowhere": "a symbolic link to .*nothing, which does not exist",
        tmp_path / "none" / "bundle": "in a folder that exists",
        trained.folder / "bundle": "lies in .*, which this command reads",
        trained.folder: "is .*, which this command reads",
    }
    for out, message in refusals.items():
        with pytest.raises(InputError, match=message):
            assembly.check_out(out, trained.folder)


def test_a_bundle_is_written_into_an_empty_folder_behind_a_link(trained, conversions, folder, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assembled(trained, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names_in(tmp_path / "disk") == names_in(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link"}


def test_an_interrupted_export_leaves_no_file(trained, conversions, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "measured_accuracy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            assembled(trained, tmp_path / "bundle", (INT8,))
    assert is_empty(tmp_path)


def test_the_files_of_a_killed_export_are_never_a_bundle(trained, conversions, tmp_path, monkeypatch, capsys):
    """Copies the folder each time its hashes are complete, as a kill at this moment would leave it."""
    copies, original = [], assembly.seal

    def seal(folder, card):
        original(folder, card)
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(folder, copies[-1])

    monkeypatch.setattr(assembly, "seal", seal)
    assembled(trained, tmp_path / "bundle")
    assert len(copies) == 3
    assert names_in(copies[-1]) - {assembly.UNFINISHED_SUMS} == names_in(tmp_path / "bundle") - {"SHA256SUMS"}
    (tmp_path / "scans.csv").write_text("id,1100\na,0.5\n")
    for copy in copies:
        with pytest.raises(SoilScanError, match="give the folder of a bundle"):
            SoilScan(copy)
        assert exit_code(predict.main, copy, tmp_path / "scans.csv") == 2
        assert re.search(r"no manifest\.json|SHA256SUMS: missing", capsys.readouterr().err)


def test_an_export_removes_the_files_of_a_killed_export_and_no_others(trained, conversions, tmp_path):
    leftover = tmp_path / ".unfinished-bundle"
    (leftover / "c").mkdir(parents=True)
    for name in ("c/soil_scan.c", "card.json", "not_of_a_bundle.txt"):
        (leftover / name).write_text("of a killed export")
    (leftover / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / ".unfinished-other").mkdir()
    assembled(trained, tmp_path / "bundle", (INT8,))
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "mine", ".unfinished-other"}
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert not any(
        b"of a killed export" in (tmp_path / "bundle" / name).read_bytes() for name in names_in(tmp_path / "bundle")
    )


def test_two_exports_of_a_bundle_exclude_each_other(trained, conversions, tmp_path):
    tmp = tmp_path / ".unfinished-bundle"
    tmp.mkdir()
    (tmp / "card.json").write_text("half")
    with locked(tmp):
        with pytest.raises(InputError, match="another command is at work") as refusal:
            assembled(trained, tmp_path / "bundle", (INT8,))
        assert str(refusal.value).startswith(f"{tmp_path / 'bundle'}: ")
        assert (tmp / "card.json").read_text() == "half"
        with assembly.unfinished(tmp_path / "other", tmp_path / "other") as other:
            assert is_empty(other)


def test_an_error_of_a_full_disk_names_the_requested_bundle(trained, conversions, tmp_path, monkeypatch):
    def full(scan, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(scan.folder / "card.json"))

    monkeypatch.setattr(assembly, "measured_accuracy", full)
    with pytest.raises(OSError, match="No space left") as refusal:
        assembled(trained, tmp_path / "bundle", (INT8,))
    assert refusal.value.filename == str(tmp_path / "bundle")
    assert is_empty(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipes", "int4"], "--recipes int4 is unknown"),
        (["--budget", "none.toml"], "none.toml: No such file"),
        (["--recipe"], "flags are"),
    ],
)
def test_the_command_refuses_wrong_arguments_before_it_imports_tensorflow(tmp_path, arguments, message):
    script = (
        "import sys\nfrom relple_tf.command_line import run\nfrom export.bundle import main\n"
        "try:\n    run(main)\nfinally:\n    assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, tmp_path, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(bundle.__file__).parent.parent,
    )
    assert child.returncode == 2
    assert message in child.stderr
    assert child.stderr.count("\n") == 1
