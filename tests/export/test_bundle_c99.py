"""C99 models of a bundle: built by gcc and clang without a warning, they repeat Keras on golden and test scans."""

import ctypes
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from bundle_fixtures import (  # noqa: F401
    C99_INT16,
    FLOAT32,
    IGNORE_WARNINGS,
    assembled,
    exit_code,
    fixture_c_bundle,
    fixture_conversions,
    fixture_trained,
)
from c_library import CC, STRICT

from export import bundle
from export.bundling import assembly
from export.c.project import folder_of
from export.runtime.soil_scan import SoilScan, read_scans
from export.verify import c_source
from relple_tf.prediction.runs import to_model_input
from relple_tf.spectra.library import SpectralLibrary

pytestmark = [*IGNORE_WARNINGS, pytest.mark.skipif(CC is None, reason="no C compiler")]

SANITISED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
MODELS = {"c99": "c99", "c99_int16": "src"}
"""Recipe -> folder of its model."""
INVALID = 2
"""First status of an invalid scan."""


@pytest.fixture
def c_folder(c_bundle, tmp_path):
    """A copy of the folder `c` in which a test may build."""
    return shutil.copytree(c_bundle / "c", tmp_path / "c")


def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


def passes_the_self_test(done):
    return done.returncode == 0 and re.search(r"^(\d+) of \1 golden scans pass$", done.stdout, re.MULTILINE)


def test_every_placeholder_is_filled(c_bundle):
    # A placeholder is a dollar and a name; make and CMake have other characters after a dollar.
    files = [path for path in (c_bundle / "c").rglob("*") if path.is_file()]
    assert not [path for path in files if re.search(r"\$[a-z_]", path.read_text())]


@pytest.mark.parametrize("model", MODELS.values())
def test_make_host_and_the_self_test_pass_with_a_c_compiler_alone(c_folder, model):
    built = run(["make", "host", f"MODEL={model}"], cwd=c_folder)
    assert (built.returncode, built.stderr) == (0, "")
    assert passes_the_self_test(run([c_folder / "selftest"]))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("model", MODELS.values())
def test_no_warning_and_no_finding_of_the_sanitizers(c_folder, compiler, model):
    sources = ["selftest.c", f"{model}/soil_model.c"]
    built = run([compiler, *STRICT, *SANITISED, "-I", model, "-o", "selftest", *sources, "-lm"], cwd=c_folder)
    assert (built.returncode, built.stderr) == (0, "")
    done = run([c_folder / "selftest"])
    assert passes_the_self_test(done)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"(golden_tolerance\[SOIL_TARGETS\] = {)[^}]*", r"\g<1>1e-12f, 1e-12f"),
        (r'(\{"train [^"]*", )0, 0, 0', r"\g<1>1, 0, 0"),
        (r'(\{"nan", )1', r"\g<1>0"),
    ],
    ids=["value", "status", "invalid"],
)
def test_the_self_test_fails_if_a_result_differs(c_folder, pattern, replacement):
    golden = (c_folder / "golden.h").read_text()
    changed = re.sub(pattern, replacement, golden, count=2)
    assert changed != golden
    (c_folder / "golden.h").write_text(changed)
    assert run(["make", "host"], cwd=c_folder).returncode == 0
    done = run([c_folder / "selftest"])
    assert done.returncode == 1
    assert "FAIL" in done.stdout


@pytest.mark.parametrize("model", MODELS.values())
def test_a_model_calls_mathematics_and_memory_copies_only(c_folder, model):
    run([CC, "-std=c99", "-O2", "-c", "-o", "model.o", f"{model}/soil_model.c"], cwd=c_folder)
    undefined = set(re.findall(r"^\s+U _?(\w+)$", run(["nm", "model.o"], cwd=c_folder).stdout, re.MULTILINE))
    assert undefined <= {"expf", "logf", "log10f", "sqrtf", "memcpy", "memset", "__stack_chk_fail"}
    # Sections of variables: all memory that changes belongs to the caller.
    sizes = run(["size", "model.o"], cwd=c_folder).stdout.splitlines()[1].split()
    assert sizes[2] == "0"
    assert "double" not in (c_folder / model / "soil_model.c").read_text()


class Device:
    """A model as a shared library."""

    def __init__(self, folder, targets, bands, work_floats, prefix="soil"):
        library = folder / f"{prefix}.so"
        run([CC, *STRICT, "-shared", "-fPIC", "-o", library, *folder.glob("*.c"), "-lm"])
        self.c, self.prefix = ctypes.CDLL(str(library)), prefix

        class Result(ctypes.Structure):
            _fields_ = (
                *(("status", ctypes.c_int), ("value", ctypes.c_float * targets)),
                *(("low", ctypes.c_float * targets), ("high", ctypes.c_float * targets)),
                *(("t2", ctypes.c_float), ("q", ctypes.c_float)),
            )

        self.result, self.bands = Result(), bands
        self.work = (ctypes.c_float * work_floats)()

    def estimate(self, scan):
        values = (ctypes.c_float * self.bands)(*scan)
        status = getattr(self.c, f"{self.prefix}_estimate")(values, self.work, ctypes.byref(self.result))
        assert status == self.result.status
        return self.result

    def keeps(self, target, need):
        return self.c.soil_keep(ctypes.byref(self.result), target, ctypes.c_float(need))

    def interpolated(self, nm, values):
        """The scan at the wavelengths of the model; None if the device refuses the wavelengths."""
        count, scan = len(nm), (ctypes.c_float * self.bands)()
        device_nm = (ctypes.c_float * count)(*nm)
        if self.c.soil_check_wavelengths(device_nm, count):
            return None
        self.c.soil_interpolate(device_nm, (ctypes.c_float * count)(*values), count, scan)
        return np.array(scan, "float32")


@pytest.fixture(scope="module", params=MODELS)
def recipe(request):
    return request.param


@pytest.fixture(scope="module")
def card(c_bundle):
    return json.loads((c_bundle / "card.json").read_text())


def device_of(c_bundle, card, recipe, folder):
    model = shutil.copytree(c_bundle / "c" / MODELS[recipe], folder / recipe)
    facts = card["c"]["models"][recipe]
    return Device(model, len(card["targets"]), len(card["input"]["wavelengths_nm"]), facts["work_bytes"] // 4)


@pytest.fixture(scope="module")
def device(c_bundle, card, recipe, tmp_path_factory):
    return device_of(c_bundle, card, recipe, tmp_path_factory.mktemp("device"))


def test_an_estimate_is_that_of_soil_scan(c_bundle, device, trained, recipe):
    reference = SoilScan(c_bundle, "float32")
    tolerance = {"c99": 1e-3, "c99_int16": 2e-2}[recipe]
    for scan in trained.test_scans:
        result, expected = device.estimate(scan), reference.estimate(scan)
        assert ("ok", "outside")[result.status] == expected.status
        for at, (name, value) in enumerate(expected.values.items()):
            atol = tolerance * np.nanstd(trained.test_values[name])
            received = [result.value[at], result.low[at], result.high[at]]
            np.testing.assert_allclose(received, [value, *expected.intervals[name]], rtol=1e-3, atol=atol)
        np.testing.assert_allclose([result.t2, result.q], [expected.t2, expected.q], rtol=0.02)


def test_decisions_are_those_of_soil_scan(c_bundle, device, trained):
    reference, kept = SoilScan(c_bundle, "float32"), set()
    for scan in trained.test_scans:
        result, expected = device.estimate(scan), reference.estimate(scan)
        for at, target in enumerate(reference.targets):
            low, high = expected.intervals[target]
            half_width = max(expected.values[target] - low, high - expected.values[target])
            for need in (0.9 * half_width, 1.1 * half_width):
                decision = reference.decisions(expected, {target: need})[target]
                assert device.keeps(at, need) == (decision == "keep")
                kept.add(decision)
    assert kept == {"keep", "send"}
    assert result.status == 0
    assert not device.keeps(-1, 1e9)
    assert not device.keeps(len(reference.targets), 1e9)


def test_an_invalid_scan_has_no_number(device, trained):
    scan = trained.test_scans[0].copy()
    assert device.estimate(scan).status < INVALID
    for spoilt in (np.full_like(scan, 0.5), 100 * scan, np.where(np.arange(len(scan)) == 3, np.nan, scan)):
        result = device.estimate(spoilt)
        assert result.status >= INVALID
        assert np.isnan([*result.value, *result.low, *result.high, result.t2, result.q]).all()
        assert not device.keeps(0, 1e9)


def test_an_estimate_depends_on_no_earlier_scan(device, trained):
    first = list(device.estimate(trained.test_scans[0]).value)
    device.work[:] = [np.nan] * len(device.work)
    device.estimate(trained.test_scans[1])
    assert list(device.estimate(trained.test_scans[0]).value) == first


@pytest.mark.parametrize("shift_nm", [1.0, -1.0, 19.0])
def test_other_wavelengths_give_the_scan_that_predict_reads(device, card, trained, shift_nm):
    nm = np.array(card["input"]["wavelengths_nm"])
    library = SpectralLibrary(
        source="shifted",
        spectra=trained.test_scans[:3],
        wavelengths_nm=nm + shift_nm,
        quantity=card["input"]["quantity"],
        targets={},
        ids=trained.test_ids[:3],
    )
    expected, _ = to_model_input(library, card | {"input": trained.card["input"]})
    for scan, ready in zip(library.spectra, expected.spectra, strict=True):
        interpolated = device.interpolated(nm + shift_nm, scan)
        np.testing.assert_allclose(interpolated, ready, rtol=0, atol=1e-5)
        keras = trained.outputs(ready[None])
        result = device.estimate(interpolated)
        for at, target in enumerate(card["targets"]):
            atol = 0.02 * np.nanstd(trained.test_values[target])
            np.testing.assert_allclose(result.value[at], keras[target][0], rtol=1e-3, atol=atol)


def refuses(nm, card):
    """Whether soil_scan.py refuses a table with these wavelengths."""
    from export.runtime.soil_scan import Bands, SoilScanError

    lines = iter([",".join(map(repr, map(float, nm))) + "\n", ",".join(["0.5"] * len(nm)) + "\n", ""])
    table = type("Table", (), {"readline": lambda self, size: next(lines)})()
    try:
        next(read_scans(table, Bands.of(card)))
    except SoilScanError:
        return True
    return False


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        (lambda nm: nm, False),
        (lambda nm: nm[nm > nm[0]], False),
        (lambda nm: nm[3:], True),
        (lambda nm: nm[:-3], True),
        (lambda nm: nm[np.abs(nm - nm[30]) > 45], True),
        (lambda nm: np.arange(nm[0] - 5, nm[-1] + 5, 3.7), False),
        (lambda nm: np.append(nm, 3000), False),
    ],
    ids=["equal", "end held", "start missing", "end missing", "gap", "finer", "longer"],
)
def test_wavelengths_are_refused_by_the_rule_of_soil_scan(device, card, change, is_refused):
    nm = change(np.array(card["input"]["wavelengths_nm"]))
    assert refuses(nm, card) == is_refused
    assert (device.interpolated(nm, np.full(len(nm), 0.5)) is None) == is_refused


def test_descending_or_missing_wavelengths_are_refused(device, card):
    nm = np.array(card["input"]["wavelengths_nm"])
    for wrong in (nm[::-1], nm[:1], np.where(np.arange(len(nm)) == 5, np.nan, nm), np.repeat(nm, 2)):
        assert device.interpolated(wrong, np.full(len(wrong), 0.5)) is None


def test_two_bundles_link_into_one_program(trained, conversions, c_bundle, tmp_path):
    assembly.assemble(
        trained.folder, (FLOAT32, C99_INT16), assembly.Budget(), tmp_path / "other",
        notify=lambda message: None, show=lambda card: None, c_prefix="farm2",
    )  # fmt: skip
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "soil_model.h"\n#include "farm2_model.h"\n'
        "static float scan[SOIL_BANDS], work[SOIL_WORK_FLOATS + FARM2_WORK_FLOATS];\n"
        "int main(void)\n{\n    soil_result first;\n    farm2_result second;\n"
        "    return soil_estimate(scan, work, &first) != SOIL_FLAT"
        " || farm2_estimate(scan, work, &second) != FARM2_FLAT;\n}\n"
    )
    folders = c_bundle / "c" / "src", tmp_path / "other" / "c" / "src"
    sources = [tmp_path / "main.c", folders[0] / "soil_model.c", folders[1] / "farm2_model.c"]
    include = [word for folder in folders for word in ("-I", folder)]
    built = run([CC, *STRICT, *include, "-o", tmp_path / "main", *sources, "-lm"])
    assert (built.returncode, built.stderr) == (0, "")
    assert run([tmp_path / "main"]).returncode == 0
    assert passes_the_self_test(
        run(["sh", "-c", "make host && ./selftest"], cwd=shutil.copytree(tmp_path / "other" / "c", tmp_path / "c"))
    )


def test_the_card_states_sizes_errors_and_how_they_were_found(c_bundle, card):
    reports = json.loads((c_bundle / "verification.json").read_text())["variants"]
    for recipe, facts in card["c"]["models"].items():
        source = (c_bundle / facts["folder"] / "soil_model.c").read_text()
        header = (c_bundle / facts["folder"] / "soil_model.h").read_text()
        assert int(re.search(r"WORK_FLOATS (\d+)", header)[1]) * 4 == facts["work_bytes"]
        tables = re.findall(r"static const (\w+) table_\d+\[(\d+)\]", source)
        value_bytes = {"float": 4, "int16_t": 2, "uint16_t": 2}
        assert sum(value_bytes[kind] * int(count) for kind, count in tables) == facts["table_bytes"]
        for target, figures in reports[recipe]["runtimes"]["C"]["targets"].items():
            assert facts["largest_error_sd"][target] == figures["largest_error_sd"]
        assert facts["verified_with"].endswith("-std=c99 -O2")
        assert f"| {recipe} | {facts['folder']} |" in (c_bundle / "card.md").read_text()
    assert card["c"]["models"]["c99_int16"]["table_bytes"] < 0.85 * card["c"]["models"]["c99"]["table_bytes"]
    assert re.search(r"^c99_int16 +c/src ", bundle.c_table(card), re.MULTILINE)


def test_without_a_compiler_numpy_verifies_and_the_card_says_so(trained, conversions, c_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    shown = []
    assembled(trained, tmp_path / "bundle", (FLOAT32, C99_INT16), shown=shown)
    (card,) = shown
    facts = card["c"]["models"]["c99_int16"]
    assert facts["verified_with"] == c_source.NO_COMPILER
    with_compiler = json.loads((c_bundle / "card.json").read_text())["c"]["models"]["c99_int16"]
    for target, error in facts["largest_error_sd"].items():
        assert error == pytest.approx(with_compiler["largest_error_sd"][target], rel=0.2, abs=1e-4)


def test_c_recipes_need_a_tflite(tmp_path, capsys):
    assert exit_code(bundle.main, tmp_path, "--recipes", "c99,c99_int16") == 2
    assert "expected a .tflite too, received C recipes only; add float32" in capsys.readouterr().err
    assert exit_code(bundle.main, tmp_path, "--c-prefix", "9soil") == 2
    assert "--c-prefix: expected lower-case letters" in capsys.readouterr().err


def test_the_smallest_model_is_that_of_the_libraries():
    assert [folder_of(name, ("c99", "c99_int16")) for name in ("c99", "c99_int16")] == ["c99", "src"]
    assert folder_of("c99", ("c99",)) == "src"
