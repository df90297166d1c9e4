"""Golden vectors and predictions of a bundle: every runtime repeats what the card and golden.json record."""

import hashlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from bundle_fixtures import (  # noqa: F401
    IGNORE_WARNINGS,
    exit_code,
    fixture_card,
    fixture_conversions,
    fixture_folder,
    fixture_golden,
    fixture_plain,
    fixture_trained,
)
from chromium import Chromium, needs_chromium

from export.recipes import RECIPES
from export.runtime.soil_scan import SoilScan
from export.verify import golden as golden_vectors
from export.verify.runtimes import RUNTIMES
from relple_tf import predict
from relple_tf.config import SimulatedConfig
from relple_tf.prediction.runs import predict_table
from relple_tf.prediction.saved import load
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.sources.simulated import simulate

(TFLM,) = (runtime for runtime in RUNTIMES if runtime.name == "TFLM")

pytestmark = list(IGNORE_WARNINGS)


def test_golden_scans_span_the_domain_and_include_impossible_scans(trained, golden):
    facts, arrays = golden
    kinds = [case["name"].split()[0] for case in facts["cases"]]
    assert kinds.count("train") == kinds.count("test") == 4
    assert kinds[8:] == ["nan", "infinite", "constant", "percent", "dark", "white"]
    for part, rows in (("train", slice(0, 4)), ("test", slice(4, 8))):
        t2 = trained.outputs(trained.train_scans if part == "train" else trained.test_scans)["T2"]
        golden_t2 = arrays["keras/T2"][rows]
        assert (golden_t2[0], golden_t2[3]) == pytest.approx((t2.min(), t2.max()), rel=1e-5)
    for case, scan in zip(facts["cases"], arrays["scans"], strict=True):
        in_json = np.array([np.nan if value is None else value for value in case["scan"]], "float32")
        np.testing.assert_array_equal(in_json, np.where(np.isfinite(scan), scan, np.nan))


def test_golden_estimates_are_repeated_and_keep_their_tolerance(folder, golden):
    facts, arrays = golden
    for variant, recorded in facts["variants"].items():
        device = SoilScan(folder, variant)
        for case, scan, expected in zip(facts["cases"], arrays["scans"], recorded["estimates"], strict=True):
            assert json.loads(json.dumps(device.estimate(scan).as_dict())) == expected
            if case["name"] in ("dark scan", "white reference"):
                assert expected["status"] == "outside"
            if case["name"] in ("nan", "infinite", "constant", "percent"):
                assert expected["status"] == "invalid"
                assert case["keras"] is None
                assert expected["values"] is None
            else:
                for target, tolerance in recorded["tolerance"].items() if expected["status"] == "ok" else ():
                    assert abs(expected["values"][target] - case["keras"][target]) <= tolerance
                for name in ("T2", "Q"):
                    limit = device.card["domain"]["limits"][name]
                    tolerance = facts["distance_tolerance"] * max(limit, case["keras"][name])
                    assert abs(expected[name] - case["keras"][name]) <= tolerance


@needs_chromium
def test_the_page_repeats_the_golden_scans_in_a_browser(folder, golden, trained, tmp_path):
    facts, _ = golden
    browser = Chromium(tmp_path / "profile")
    try:
        browser.open(folder / "soil_scan.html")
        scans = [case["scan"] for case in facts["cases"]]
        received = browser.apply(
            "scans => scans.map(scan => estimate(FACTS, MODEL, Float32Array.from(scan, value => value ?? NaN)))", scans
        )
    finally:
        browser.close()
    expected = facts["variants"]["float32"]["estimates"]
    assert [result["status"] for result in received] == [result["status"] for result in expected]
    tolerances = golden_vectors.tolerances(trained, RECIPES["float32"])
    compared = 0
    for result, case in zip(received, facts["cases"], strict=True):
        if result["status"] == "ok":
            for target, tolerance in tolerances.items():
                assert abs(result["values"][target] - case["keras"][target]) <= tolerance
            compared += 1
    assert compared >= 6


def repeat_golden(folder, *flags):
    script = [sys.executable, folder / "soil_scan.py", folder, "--golden", *flags]
    return subprocess.run(script, capture_output=True, text=True, check=False)


def altered(folder, tmp_path, alter):
    """A copy of a bundle with an altered golden.json under its new hash; also the name of the first variant."""
    copy = shutil.copytree(folder, tmp_path / "bundle")
    facts = json.loads((copy / "golden.json").read_text())
    variant = next(iter(facts["variants"]))
    alter(facts, variant)
    content = json.dumps(facts)
    (copy / "golden.json").write_text(content)
    sums = (copy / "SHA256SUMS").read_text()
    old_hash = hashlib.sha256((folder / "golden.json").read_bytes()).hexdigest()
    (copy / "SHA256SUMS").write_text(sums.replace(old_hash, hashlib.sha256(content.encode()).hexdigest()))
    return copy, variant


def test_soil_scan_repeats_the_golden_scans_of_every_variant(folder, golden):
    facts, _ = golden
    child = repeat_golden(folder)
    assert child.returncode == 0
    lines = child.stdout.splitlines()
    assert len(lines) == len(facts["variants"])
    for line, name in zip(lines, facts["variants"], strict=True):
        assert line.startswith(f"{name}: 14 golden scans have the recorded status, 14 of them to the last bit; ")


@pytest.mark.parametrize("target", ["pH", "OC_g_kg", "T2", "Q"])
@pytest.mark.parametrize("fraction", [0.9, 1.1])
def test_the_largest_difference_from_keras_is_a_fraction_of_the_tolerance(folder, tmp_path, target, fraction):
    """Every value of Keras is set to the recorded value, and a single value to a known difference from it."""

    def alter(facts, variant):
        recorded = facts["variants"][variant]
        limits = json.loads((folder / "card.json").read_text())["domain"]["limits"]
        for case, estimate in zip(facts["cases"], recorded["estimates"], strict=True):
            if case["keras"]:
                case["keras"] = {**estimate["values"], "T2": estimate["T2"], "Q": estimate["Q"]}
        tolerance = recorded["tolerance"] | {
            name: facts["distance_tolerance"] * max(limit, facts["cases"][2]["keras"][name])
            for name, limit in limits.items()
        }
        # Downwards: the tolerance of T2 and Q grows with a value above the limit.
        facts["cases"][2]["keras"][target] -= fraction * tolerance[target]

    copy, variant = altered(folder, tmp_path, alter)
    child = repeat_golden(copy, "--variant", variant)
    if fraction > 1:
        assert child.returncode == 2
        assert f"{target} of golden scan train" in child.stderr
    else:
        assert child.stdout.endswith(f"; the largest difference is {fraction:.0%} of the tolerance\n")


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda facts, name: facts["cases"][2]["keras"].update({"pH": 99.0}), "pH of golden scan train"),
        (lambda facts, name: facts["cases"][3]["keras"].update({"T2": -9.0}), "T2 of golden scan train"),
        (
            lambda facts, name: facts["variants"][name]["estimates"][13]["values"].update({"pH": 99.0}),
            "pH of golden scan white reference",
        ),
        (lambda facts, name: facts["cases"][13]["keras"].update({"pH": 99.0, "T2": -9.0}), "T2 of golden scan white"),
        (
            lambda facts, name: facts["variants"][name]["estimates"][8].update(status="ok"),
            "status of golden scan nan: expected ok, received invalid",
        ),
    ],
)
def test_a_golden_scan_that_does_not_repeat_is_reported_in_one_line(folder, tmp_path, alter, message):
    copy, variant = altered(folder, tmp_path, alter)
    child = repeat_golden(copy, "--variant", variant)
    assert child.returncode == 2
    # LiteRT logs on the same stream that it made a delegate.
    assert child.stderr.splitlines()[-1].startswith(f"error: {variant}: {message}")
    assert "Traceback" not in child.stderr


def test_golden_arrays_hold_the_outputs_of_every_variant(golden):
    facts, arrays = golden
    possible = np.array([case["keras"] is not None for case in facts["cases"]])
    for variant, recorded in facts["variants"].items():
        for name in ("OC_g_kg", "pH", "T2", "Q"):
            values = arrays[f"{variant}/litert/{name}"]
            assert values.dtype == np.float32
            np.testing.assert_array_equal(np.isfinite(values), possible)
            for value, estimate in zip(values[possible], np.array(recorded["estimates"])[possible], strict=True):
                assert float(value) == {**estimate["values"], **estimate}[name]


@pytest.mark.skipif(TFLM.available() is not None, reason="tflite-micro is not installed")
def test_golden_outputs_of_tflm_are_nearly_those_of_litert(trained, folder, golden, plain):
    """An export records them if it verifies with TFLM, which the bundle of these tests does not."""
    _, arrays = golden
    devices = {variant: SoilScan(folder, variant) for variant in plain}
    _, content = golden_vectors.vectors(trained, devices, RECIPES, plain)
    with np.load(io.BytesIO(content)) as with_tflm:
        for name in ("OC_g_kg", "pH", "T2", "Q"):
            for variant, tolerance in (("float32", 1e-4), ("int8", 0.01)):
                tflm, litert = with_tflm[f"{variant}/tflm/{name}"], arrays[f"{variant}/litert/{name}"]
                # Q holds the eighth power of a difference.
                rtol = max(tolerance, 1e-3) if name == "Q" else tolerance
                np.testing.assert_allclose(tflm, litert, rtol=rtol, atol=tolerance)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A table of eight scans with ids."""
    library = simulate(SimulatedConfig(soils=8, step_nm=20, seed=4))
    frame = pd.DataFrame(library.spectra, columns=[f"{nm:g}" for nm in library.wavelengths_nm])
    frame.insert(0, "id", [f"s{row}" for row in range(len(frame))])
    path = tmp_path_factory.mktemp("scans") / "scans.csv"
    frame.to_csv(path, index=False)
    return path


def test_predict_gives_the_same_table_for_a_bundle_and_its_run(trained, folder, scans, capsys):
    capsys.readouterr()
    assert exit_code(predict.main, folder, scans) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    expected, _ = predict_table(RunFolder(path=trained.folder), scans)
    assert list(table) == list(expected)
    for column in table:
        if table[column].dtype.kind == "f":
            np.testing.assert_allclose(table[column], expected[column], rtol=1e-3)
        else:
            assert list(table[column]) == list(expected[column])


@pytest.mark.parametrize(("low_nm", "high_nm"), [(0.0, 0.0004), (7.3, 19.0), (20.0, 38.9)])
def test_run_bundle_and_soil_scan_agree_on_scans_that_end_inside_the_range(
    trained, folder, scans, tmp_path, low_nm, high_nm
):
    assert json.loads((folder / "card.json").read_text())["input"]["end_tolerance_nm"] == [40.0, 40.0]
    frame = pd.read_csv(scans).set_index("id")
    bands = frame.columns.to_numpy(float)
    nm = bands + np.random.default_rng(0).uniform(-5, 5, len(bands))
    nm[0], nm[-1] = bands[0] + low_nm, bands[-1] - high_nm
    nm = np.sort(nm[(nm >= nm[0]) & (nm <= nm[-1])])
    table = tmp_path / "moved.csv"
    moved = pd.DataFrame([np.interp(nm, bands, scan) for scan in frame.to_numpy()], frame.index, map(repr, nm.tolist()))
    moved.to_csv(table)
    of_run, notes = predict_table(RunFolder(path=trained.folder), table)
    of_bundle, of_arrays = load(folder).predict(table), load(trained.folder).predict(moved, wavelengths_nm=nm)
    script = [sys.executable, folder / "soil_scan.py", folder, table, "--json"]
    child = subprocess.run(script, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    held = [note for note in notes if "is held" in note]
    assert len(held) == int(low_nm > 0) + int(high_nm > 0)
    assert [line for line in child.stderr.splitlines() if "is held" in line] == [f"note: {note}" for note in held]
    for target in ("OC_g_kg", "pH"):
        np.testing.assert_array_equal(of_arrays[target], of_run[target])
        np.testing.assert_allclose(of_bundle[target], of_run[target], rtol=1e-3)
        # The same file and the same input, run by the same runtime.
        np.testing.assert_allclose([line["values"][target] for line in lines], of_bundle[target], rtol=1e-6)
    assert [line["status"] for line in lines] == list(of_bundle["status"]) == list(of_run["status"])


def test_ids_come_from_the_id_column_of_the_run(trained, folder, scans, tmp_path, capsys):
    frame = pd.read_csv(scans)
    ids = [f"L{row}" for row in range(len(frame))]
    table = tmp_path / "scans.csv"
    frame[[column for column in frame if column != "id"]].assign(lab=ids).to_csv(table, index=False)
    for model in (trained.folder, folder):
        capsys.readouterr()
        assert exit_code(predict.main, model, table) == 0
        assert list(pd.read_csv(io.StringIO(capsys.readouterr().out))["id"]) == ids
    script = [sys.executable, folder / "soil_scan.py", folder, table, "--json"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids


def test_predict_refuses_a_changed_bundle(folder, scans, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("card.json", "float32.tflite", "SHA256SUMS"):
        (copy / name).write_bytes((folder / name).read_bytes())
    content = bytearray((copy / "float32.tflite").read_bytes())
    content[99] ^= 1
    (copy / "float32.tflite").write_bytes(content)
    assert exit_code(predict.main, copy, scans) == 2
    assert "float32.tflite: SHA-256" in capsys.readouterr().err
    (copy / "float32.tflite").unlink()
    assert exit_code(predict.main, copy, scans) == 2
    assert "float32.tflite: missing" in capsys.readouterr().err


def test_predict_asks_for_the_missing_hashes_of_a_bundle(folder, scans, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "SHA256SUMS").unlink()
    assert exit_code(predict.main, copy, scans) == 2
    assert "copy/SHA256SUMS: missing; copy the bundle again" in capsys.readouterr().err
    (copy / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    assert exit_code(predict.main, copy, scans) == 2
    assert "SHA256SUMS: line 1: expected a SHA-256" in capsys.readouterr().err


def test_run_bundle_and_soil_scan_decide_alike(trained, folder, scans, tmp_path, capsys):
    """The needs are half widths of the scans themselves; a scan has a cell that is not a number."""
    table = pd.read_csv(scans, dtype=str)
    table.loc[3, table.columns[5]] = "wet"
    path = tmp_path / "scans.csv"
    table.to_csv(path, index=False)
    predicted, _ = predict_table(RunFolder(path=trained.folder), path)
    reach = {
        name: np.maximum(predicted[name] - predicted[f"{name}_low"], predicted[f"{name}_high"] - predicted[name])
        for name in ("OC_g_kg", "pH")
    }
    for row in (0, 2, 5):
        # A thousandth more: run and bundle differ in the last digits.
        needs = {name: float(f"{1.001 * widths[row]:.6g}") for name, widths in reach.items()}
        text = ",".join(f"{name}={need!r}" for name, need in needs.items())
        decided = {}
        for model in (trained.folder, folder):
            capsys.readouterr()
            assert exit_code(predict.main, model, path, "--need", text) == 0
            decided[model] = pd.read_csv(io.StringIO(capsys.readouterr().out))
        script = [sys.executable, folder / "soil_scan.py", folder, path, "--json", "--need", text]
        child = subprocess.run(script, capture_output=True, text=True, check=True)
        lines = [json.loads(line) for line in child.stdout.splitlines()]
        in_python = load(folder).predict(path, need=needs)
        for name, need in needs.items():
            kept = (predicted["status"] == "ok") & (reach[name] <= need)
            words = np.where(kept, "keep", "send").tolist()
            assert words[3] == "send"
            assert decided[trained.folder][f"{name}_decision"].tolist() == words
            assert decided[folder][f"{name}_decision"].tolist() == words
            assert in_python[f"{name}_decision"].tolist() == words
            assert [line["decisions"][name] for line in lines] == words


def test_the_bundle_card_repeats_the_curve_of_the_run(trained, card):
    for name, facts in trained.card["targets"].items():
        assert facts["need_curve"]
        assert card["targets"][name]["need_curve"] == facts["need_curve"]
