"""The bundle: whole or absent, the same every time, and true in every figure."""

import ctypes
import errno
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from c_library import CC, CXX, NOT_FINITE, OK, OUTSIDE, compiled, distances_in_c, features_in_c

from export import bundle
from export.budget import Budget
from export.bundling import assembly
from export.bundling.metadata import embed, read
from export.bundling.stored_run import load
from export.c.front_end import FrontEnd
from export.c.model import add_method, model_source, ports
from export.convert.conversion import front_end_file, made
from export.convert.flatbuffer import operators, parse
from export.recipes import RECIPES
from export.runtime.soil_scan import SoilScan, SoilScanError
from export.verify import golden as golden_vectors
from export.verify.runtimes import RUNTIMES
from export.verify.verification import verify
from relple_tf import predict
from relple_tf.command_line import run
from relple_tf.config import SimulatedConfig
from relple_tf.errors import InputError
from relple_tf.evaluation.metrics import scores
from relple_tf.prediction.runs import predict_table
from relple_tf.runs.folder import RunFolder, locked
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.train import main as train

(TFLM,) = (runtime for runtime in RUNTIMES if runtime.name == "TFLM")

# What the converter's own dependencies say of themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")

TINY = [
    f"--set={field}"
    for field in (
        "simulated.soils=60",
        "simulated.step_nm=20",
        "data.id_column=lab",
        "training.cv_folds=2",
        "training.workers=1",
        "training.max_epochs=2",
        "training.batch_size=16",
        "front_end.step_nm=40",
        "front_end.derivative_window_nm=120",
        "front_end.whitened_components=5",
        "model.architecture=shared_bottom",
        "model.conv_filters=4",
        "model.conv_kernel=3",
    )
]
# A network of two epochs may cost what it likes; promises are tested below.
FLOAT32, CORE = (replace(RECIPES[name], largest_error=50.0, largest_r2_loss=50.0) for name in ("float32", "int8_core"))
ONE_RUNTIME = tuple(runtime for runtime in RUNTIMES if runtime.name == "LiteRT")
NOT_THE_SAME = {"verification.json", "SHA256SUMS"}
"""The one holds times, the other its hash."""


def call(main, *arguments):
    with pytest.raises(SystemExit) as exit_:
        run(main, [str(argument) for argument in arguments])
    return exit_.value.code


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--preset", "rs_ple_nano", "--data", "simulated", "--targets", "OC_g_kg,pH", *TINY, "--out", folder]
    assert call(train, *arguments) == 0
    return load(folder)


@pytest.fixture(scope="module")
def here(trained):
    """Conversions in this process, which has TensorFlow already, and one runtime; both are tested on their own.

    Gives what was converted, which is not converted again until it is cleared: recipe -> its file without a card.
    """
    converted = {}

    def convert(run, recipe, out, limit_s):
        if recipe.name not in converted:
            converted[recipe.name] = made(trained, recipe)
        out.write_bytes(converted[recipe.name])

    def convert_front_end(run, out, limit_s):
        if "" not in converted:
            converted[""] = front_end_file(trained)
        out.write_bytes(converted[""])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "load", lambda folder: trained)
        patch.setattr(assembly, "convert", convert)
        patch.setattr(assembly, "convert_front_end", convert_front_end)
        patch.setattr(assembly, "verify", partial(verify, runtimes=ONE_RUNTIME))
        yield converted


def assembled(trained, out, recipes=(FLOAT32, CORE), budget=Budget(), shown=None):  # noqa: B008
    show = (lambda card: None) if shown is None else shown.append
    return assembly.assemble(trained.folder, recipes, budget, out, notify=lambda message: None, show=show)


@pytest.fixture(scope="module")
def folder(trained, here, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    assembled(trained, out)
    return out


@pytest.fixture(scope="module")
def card(folder):
    return json.loads((folder / "card.json").read_text())


@pytest.fixture(scope="module")
def plain(here, folder):
    """Variant -> its file as it was converted, without a card."""
    return dict(here)


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def golden(folder):
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        return json.loads((folder / "golden.json").read_text()), dict(arrays)


@pytest.fixture(scope="module")
def as_c(card, plain, tmp_path_factory):
    """Variant -> folder of its model.h and model.cc; of both, though no runtime here runs them on a microcontroller."""
    folders = {}
    for variant, facts in card["variants"].items():
        folders[variant] = tmp_path_factory.mktemp(variant)
        found = model_source(
            plain[variant],
            reads=facts["reads"],
            targets=tuple(card["targets"]),
            arena_bytes=facts["arena_bytes"],
            wavelengths_nm=card["input"]["wavelengths_nm"],
        )
        for name, text in found.items():
            (folders[variant] / name).write_text(text)
    return folders


def test_a_bundle_holds_its_files_and_nothing_else(folder, card, as_c):
    (smallest,) = assembly.in_c(card["variants"])
    assert names_in(folder) == {
        *("float32.tflite", "int8_core.tflite", "front_end.tflite", "soil_scan.py", "verification.json"),
        *("card.json", "card.md", "golden.json", "golden.npz", "SHA256SUMS"),
        *(f"c/{name}.{end}" for name in ("scan", "front_end", "domain", "lab_units") for end in "ch"),
        *(f"c/{smallest}/model.{end}" for end in ("h", "cc")),
    }
    for name in ("model.h", "model.cc"):
        assert (folder / "c" / smallest / name).read_text() == (as_c[smallest] / name).read_text()
    assert {path.name for path in folder.parent.iterdir()} == {"bundle"}


def test_the_scans_of_a_bundle_are_those_that_its_card_counts(folder, card, golden, trained):
    """No other scan of the library stands in any file, as numbers or as text."""
    facts, _ = golden
    soils = [case for case in facts["cases"] if case["name"].partition(" ")[0] in ("train", "test")]
    assert len(soils) == card["golden_soils"]
    assert f"hold {len(soils)} scans of training and test soils" in (folder / "card.md").read_text()
    taken = {case["name"].partition(" ")[2] for case in soils}
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz")
    others = [
        scan for identity, scan in zip(trained.train_ids, trained.train_scans, strict=True) if identity not in taken
    ]
    for scan in others:
        assert scan[:4].tobytes() not in content
        assert ", ".join(map(str, scan[:2])).encode() not in content


def test_sha256sum_finds_every_file_whole(folder):
    assert {line.partition("  ")[2] for line in (folder / "SHA256SUMS").read_text().splitlines()} == (
        names_in(folder) - {"SHA256SUMS"}
    )
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_two_exports_of_one_run_are_the_same_bytes_but_for_times(trained, here, folder, plain, tmp_path):
    here.clear()
    assembled(trained, tmp_path / "again")
    assert names_in(tmp_path / "again") == names_in(folder)
    differing = {
        name for name in names_in(folder) if (folder / name).read_bytes() != (tmp_path / "again" / name).read_bytes()
    }
    assert differing <= NOT_THE_SAME
    reports = [json.loads((path / "verification.json").read_text()) for path in (folder, tmp_path / "again")]
    for report in reports:
        del report["measured"]
        for variant in report["variants"].values():
            for runtime in variant["runtimes"].values():
                del runtime["latency_ms"]
    assert reports[0] == reports[1]


def test_the_card_says_of_the_run_what_the_run_says(trained, card):
    own = trained.card | {"id_column": "lab"}
    learned = ("domain", "model", "relevance", "notes")
    for name in ("source", "simulated", "data_sha256", "soils", "input", "id_column", *learned):
        assert card[name] == own[name]
    for name, facts in card["targets"].items():
        interval = {key: value for key, value in own["targets"][name]["interval"].items() if key != "test"}
        assert facts["interval"] == interval
        assert {key: facts[key] for key in ("unit", "root", "lowest", "highest")} == (
            {key: own["targets"][name][key] for key in ("unit", "root", "lowest", "highest")}
        )
    for key in ("grid_nm", "channels", "views", "whitened_components"):
        assert card["front_end"][key] == own["front_end"][key]


def test_sizes_and_hashes_of_the_card_are_those_of_the_files(folder, card, plain):
    for name, facts in card["variants"].items():
        content = (folder / facts["file"]).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert (facts["model_bytes"], facts["model_sha256"]) == (
            len(plain[name]),
            hashlib.sha256(plain[name]).hexdigest(),
        )
        assert facts["gzip_bytes"] == len(gzip.compress(plain[name], mtime=0))
        found = [operator for operator, _ in operators(parse(content))]
        assert facts["operators"] == {operator: found.count(operator) for operator in sorted(set(found))}
    content = (folder / "front_end.tflite").read_bytes()
    assert card["front_end"]["bytes"] == len(content)
    assert card["front_end"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_flash_is_the_model_and_what_c_needs_beside_it(folder, card, plain):
    float32, core = card["variants"]["float32"], card["variants"]["int8_core"]
    assert float32["flash_bytes"] == len(plain["float32"])
    numbers = 0
    for name in ("front_end", "domain"):
        for kind, values in re.findall(r"static const ([\w ]+) \w+\[.*?= \{(.*?)\};", source(folder, name), re.DOTALL):
            width = {"float": 4, "unsigned short": 2, "unsigned char": 1}[kind]
            numbers += width * len(values.replace("{", " ").replace("}", " ").replace(",", " ").split())
    assert core["flash_bytes"] == len(plain["int8_core"]) + numbers


def source(folder, name):
    return (folder / "c" / f"{name}.c").read_text()


@pytest.mark.parametrize("variant", ["float32", "int8_core"])
def test_accuracy_in_the_card_is_that_of_the_files(trained, folder, card, variant):
    device = SoilScan(folder, variant)
    found = [device.estimate(scan) for scan in trained.test_scans]
    facts = card["variants"][variant]["test"]
    counted = pd.Series([estimate.status for estimate in found]).value_counts()
    assert facts["statuses"] == {status: int(counted.get(status, 0)) for status in ("ok", "outside", "invalid")}
    for target, figures in facts["targets"].items():
        values = np.array([estimate.values[target] for estimate in found])
        measured, keras = trained.test_values[target], trained.test_outputs[target].astype("float64")
        own, reference = scores(measured, values), scores(measured, keras)
        inside = [
            low <= value <= high
            for value, (low, high) in zip(measured, (e.intervals[target] for e in found), strict=True)
        ]
        assert figures == pytest.approx(
            {
                "n": len(measured),
                "r2": own["r2"],
                "rmse": own["rmse"],
                "keras_r2": reference["r2"],
                "keras_rmse": reference["rmse"],
                "largest_error": np.abs(values - keras).max(),
                "rms_error": np.sqrt(np.mean((values - keras) ** 2)),
                "coverage": np.mean(inside),
            },
            rel=1e-9,
        )
        # The same runtime was verified on its own path.
        largest = figures["largest_error"] / np.std(measured)
        assert card["variants"][variant]["largest_error_sd"][target] == pytest.approx(largest, rel=0.02, abs=1e-5)


def test_verification_and_card_agree(folder, card):
    reports = json.loads((folder / "verification.json").read_text())["variants"]
    for name, facts in card["variants"].items():
        report = reports[name]
        assert facts["macs"] == report["macs"]
        assert facts["model_sha256"] == report["sha256"]
        for target, worst in facts["largest_error_sd"].items():
            errors = [found["targets"][target]["largest_error_sd"] for found in report["runtimes"].values()]
            assert worst == max(errors)
        assert facts["runtimes"] == dict.fromkeys(report["runtimes"], "passed")


def test_every_file_carries_the_card(folder, card):
    for file in ("float32.tflite", "int8_core.tflite", "front_end.tflite"):
        told = json.loads(json.dumps(card))
        for facts in (*told["variants"].values(), told["front_end"]):
            # A file cannot hold its own hash.
            facts.pop("bytes", None)
            facts.pop("sha256", None)
        told["variants"] = {name: facts for name, facts in told["variants"].items() if facts["file"] == file}
        assert read((folder / file).read_bytes()) == told


def test_the_card_changes_nothing_else_in_a_file(plain):
    with_card = embed(plain["float32"], {"é": [1, 2.5, None]})
    assert read(with_card) == {"é": [1, 2.5, None]}
    assert read(plain["float32"]) is None
    assert ports(with_card) == ports(plain["float32"])
    one, other = parse(plain["float32"]), parse(with_card)
    for tensor, same in zip(one.subgraphs[0].tensors, other.subgraphs[0].tensors, strict=True):
        data, kept = (model.buffers[t.buffer].data for model, t in ((one, tensor), (other, same)))
        assert (data is None) == (kept is None)
        assert data is None or bytes(data) == bytes(kept)


def test_card_md_names_what_people_ask_for(folder, card):
    text = (folder / "card.md").read_text()
    assert "StoredRun on simulated spectra" in text
    for name, facts in card["variants"].items():
        assert f"| {name} | {facts['file']} | {facts['bytes']:,} |" in text
    for name, figures in card["variants"][card["default_variant"]]["test"]["targets"].items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {figures['r2']:.3f} | {figures['rmse']:.3g} | 90%, held {figures['coverage']:.0%} |" in row


def test_golden_scans_span_the_soils_and_what_is_none(trained, golden):
    facts, arrays = golden
    kinds = [case["name"].split()[0] for case in facts["cases"]]
    assert kinds.count("train") == kinds.count("test") == 4
    assert kinds[8:] == ["nan", "infinite", "constant", "percent", "dark", "white"]
    for part, rows in (("train", slice(0, 4)), ("test", slice(4, 8))):
        t2 = trained.outputs(trained.train_scans if part == "train" else trained.test_scans)["T2"]
        found = arrays["keras/T2"][rows]
        assert (found[0], found[3]) == pytest.approx((t2.min(), t2.max()), rel=1e-5)
    for case, scan in zip(facts["cases"], arrays["scans"], strict=True):
        written = np.array([np.nan if value is None else value for value in case["scan"]], "float32")
        np.testing.assert_array_equal(written, np.where(np.isfinite(scan), scan, np.nan))


def test_golden_estimates_are_repeated_and_keep_their_tolerance(folder, golden):
    facts, arrays = golden
    for variant, told in facts["variants"].items():
        device = SoilScan(folder, variant)
        for case, scan, expected in zip(facts["cases"], arrays["scans"], told["estimates"], strict=True):
            assert json.loads(json.dumps(device.estimate(scan).as_dict())) == expected
            if case["name"] in ("dark scan", "white reference"):
                assert expected["status"] == "outside"
            if case["name"] in ("nan", "infinite", "constant", "percent"):
                assert expected["status"] == "invalid"
                assert case["keras"] is None
                assert expected["values"] is None
            else:
                for target, tolerance in told["tolerance"].items() if expected["status"] == "ok" else ():
                    assert abs(expected["values"][target] - case["keras"][target]) <= tolerance
                for name in ("T2", "Q"):
                    limit = device.card["domain"]["limits"][name]
                    room = facts["distance_tolerance"] * max(limit, case["keras"][name])
                    assert abs(expected[name] - case["keras"][name]) <= room


def repeated(folder, *flags):
    script = [sys.executable, folder / "soil_scan.py", folder, "--golden", *flags]
    return subprocess.run(script, capture_output=True, text=True, check=False)


def test_the_runtime_repeats_its_golden_scans_by_itself(folder, golden):
    facts, _ = golden
    found = repeated(folder)
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert len(lines) == len(facts["variants"])
    for line, (name, told) in zip(lines, facts["variants"].items(), strict=True):
        assert line.startswith(f"{name}: 14 golden scans have the recorded status, 14 of them to the last bit; ")
        shares = [
            abs(estimate["values"][target] - case["keras"][target]) / room
            for case, estimate in zip(facts["cases"], told["estimates"], strict=True)
            if estimate["status"] == "ok"
            for target, room in told["tolerance"].items()
        ]
        limits = SoilScan(folder, name).card["domain"]["limits"]
        shares += [
            abs(estimate[distance] - case["keras"][distance])
            / (facts["distance_tolerance"] * max(limit, case["keras"][distance]))
            for case, estimate in zip(facts["cases"], told["estimates"], strict=True)
            if estimate["values"]
            for distance, limit in limits.items()
        ]
        assert line.endswith(f"; the largest distance is {max(shares):.0%} of what is promised")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda facts, name: facts["cases"][2]["keras"].update({"pH": 99.0}), "pH of golden scan train"),
        (lambda facts, name: facts["cases"][3]["keras"].update({"T2": -9.0}), "T2 of golden scan train"),
        (
            lambda facts, name: facts["variants"][name]["estimates"][13]["values"].update({"pH": 99.0}),
            "pH of golden scan white reference",
        ),
        (lambda facts, name: facts["cases"][13]["keras"].update({"pH": 99.0, "T2": -9.0}), "T2 of golden scan white"),
        (lambda facts, name: facts["variants"][name]["estimates"][8].update(status="ok"), "golden scan nan is invalid"),
    ],
)
def test_what_does_not_repeat_is_told_in_one_line(folder, golden, tmp_path, spoil, said):
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    facts = json.loads((copy / "golden.json").read_text())
    name = next(iter(facts["variants"]))
    spoil(facts, name)
    content = json.dumps(facts)
    (copy / "golden.json").write_text(content)
    sums = (copy / "SHA256SUMS").read_text()
    was = hashlib.sha256((folder / "golden.json").read_bytes()).hexdigest()
    (copy / "SHA256SUMS").write_text(sums.replace(was, hashlib.sha256(content.encode()).hexdigest()))
    found = repeated(copy, "--variant", name)
    assert found.returncode == 2
    # LiteRT says on the same stream that it made a delegate.
    assert found.stderr.splitlines()[-1].startswith(f"error: {name}: {said}")
    assert "Traceback" not in found.stderr


def test_golden_steps_lead_from_one_to_the_next(folder, golden, card):
    facts, arrays = golden
    content = (folder / "int8_core.tflite").read_bytes()
    (source_port,), outputs = ports(content)
    assert {port.dtype for port in (source_port, *outputs)} == {"int8"}
    for row, case in enumerate(facts["cases"]):
        if case["keras"] is None:
            assert np.isnan(arrays["features"][row]).all()
            continue
        stored = np.round(arrays["features"][row] / source_port.scale + source_port.zero_point).clip(-128, 127)
        # A feature may lie on the edge of two steps.
        assert np.abs(arrays["int8_core/input"][row].reshape(stored.shape) - stored).max() <= 1
        for port in outputs:
            steps = arrays[f"int8_core/stored/{port.name}"][row].astype(int)
            real = arrays[f"int8_core/real/{port.name}"][row]
            np.testing.assert_allclose(real, port.scale * (steps - port.zero_point), rtol=1e-6)
        np.testing.assert_array_equal(arrays["float32/input"][row], arrays["scans"][row])


@pytest.mark.skipif(TFLM.available() is not None, reason="tflite-micro is not installed")
def test_golden_outputs_of_tflm_are_those_of_litert_to_a_step(golden, plain, card):
    facts, arrays = golden
    possible = np.array([case["keras"] is not None for case in facts["cases"]])
    found = {}
    for variant in card["variants"]:
        found |= golden_vectors.by_tflm(variant, plain[variant], arrays[f"{variant}/input"], possible)
    for target in card["targets"]:
        steps = found[f"int8_core/tflm/{target}"].astype(int) - arrays[f"int8_core/stored/{target}"].ravel()
        assert np.abs(steps).max() <= 1
        litert = arrays[f"float32/stored/{target}"].ravel()
        np.testing.assert_allclose(found[f"float32/tflm/{target}"], litert, rtol=1e-4, atol=1e-4)
        assert (found[f"float32/tflm/{target}"][~possible] == 0).all()


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_c_goes_from_golden_scan_to_golden_estimate(folder, golden, card, tmp_path):
    facts, arrays = golden
    for path in (folder / "c").glob("*.[ch]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    c = compiled(tmp_path)
    shape, components = arrays["features"].shape[1:], card["front_end"]["whitened_components"]
    estimates = facts["variants"]["int8_core"]["estimates"]
    for row, (case, expected) in enumerate(zip(facts["cases"], estimates, strict=True)):
        status, features = features_in_c(c, arrays["scans"][row], shape, len(card["front_end"]["grid_nm"]))
        if expected["status"] == "invalid":
            assert status >= NOT_FINITE
            continue
        assert status == OK
        tolerance = facts["feature_tolerance"]
        np.testing.assert_allclose(features, arrays["features"][row], rtol=tolerance, atol=tolerance)
        t2, q = distances_in_c(c, features, components)
        for name, distance in (("T2", t2), ("Q", q)):
            limit = card["domain"]["limits"][name]
            assert abs(distance - case["keras"][name]) <= facts["distance_tolerance"] * max(case["keras"][name], limit)
        trust = c.soil_trust(ctypes.c_float(t2), ctypes.c_float(q))
        assert trust == {"ok": OK, "outside": OUTSIDE}[expected["status"]]
        for index, target in enumerate(card["targets"]):
            value = c.soil_to_lab(index, ctypes.c_float(arrays[f"int8_core/real/{target}"][row].item()))
            assert value == pytest.approx(expected["values"][target], rel=1e-5)


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("variant", ["float32", "int8_core"])
def test_model_cc_is_the_model(card, plain, as_c, tmp_path, variant):
    sources = as_c[variant]
    main = tmp_path / "main.cc"
    methods = [add_method(name) for name in card["variants"][variant]["operators"]]
    main.write_text(
        '#include <cstdint>\n#include <cstdio>\n#include "model.h"\n'
        "struct Resolver {\n  int count = 0;\n"
        + "".join(f"  void {method}() {{ ++count; }}\n" for method in methods)
        + "};\nint main() {\n  Resolver resolver;\n  soil_model_add_operators(resolver);\n"
        "  if (resolver.count != SOIL_MODEL_OPERATORS) return 1;\n"
        "  if (reinterpret_cast<std::uintptr_t>(soil_model) % 16) return 2;\n"
        "  std::fwrite(soil_model_wavelengths_nm, sizeof(float), SOIL_MODEL_BANDS, stderr);\n"
        "  return std::fwrite(soil_model, 1, SOIL_MODEL_BYTES, stdout) != SOIL_MODEL_BYTES;\n}\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", sources]
    subprocess.run([CXX, *flags, main, sources / "model.cc", "-o", tmp_path / "main"], check=True)
    ran = subprocess.run([tmp_path / "main"], check=True, capture_output=True)
    assert ran.stdout == plain[variant]
    np.testing.assert_array_equal(np.frombuffer(ran.stderr, "float32"), np.float32(card["input"]["wavelengths_nm"]))


@pytest.mark.parametrize("variant", ["float32", "int8_core"])
def test_ports_of_model_h_are_those_of_the_file(as_c, plain, card, variant):
    header = (as_c[variant] / "model.h").read_text()
    defined = dict(re.findall(r"#define (\w+) \(?(-?[\w.-]+)", header))
    (read_port,), outputs = ports(plain[variant])
    reads_scans = card["variants"][variant]["reads"] == "scan"
    assert defined["SOIL_MODEL_GIVES_LAB_UNITS"] == str(int(reads_scans))
    assert ("soil_to_lab(target" in header) != reads_scans
    order = json.loads(re.search(r"OUTPUT_OF_TARGET {([\d, ]+)}", header)[1].join("[]"))
    assert [next(port.name for port in outputs if port.index == at) for at in order] == list(card["targets"])
    for kind, port in (("INPUT", read_port), *(("OUTPUT", port) for port in outputs)):
        prefix = f"SOIL_MODEL_{kind}_{port.name.upper()}"
        assert int(defined[f"{prefix}_INDEX"]) == port.index
        assert int(defined[f"{prefix}_SIZE"]) == np.prod(port.shape)
        if port.scale:
            assert np.float32(defined[f"{prefix}_SCALE"].rstrip("f")) == np.float32(port.scale)
            assert int(defined[f"{prefix}_ZERO_POINT"]) == port.zero_point


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("SELECT_V2", "AddSelectV2"),
        ("FULLY_CONNECTED", "AddFullyConnected"),
    ],
)
def test_operators_have_the_names_of_tflms_resolver(operator, method):
    assert add_method(operator) == method


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    library = simulate(SimulatedConfig(soils=8, step_nm=20, seed=4))
    frame = pd.DataFrame(library.spectra, columns=[f"{nm:g}" for nm in library.wavelengths_nm])
    frame.insert(0, "id", [f"s{row}" for row in range(len(frame))])
    path = tmp_path_factory.mktemp("scans") / "scans.csv"
    frame.to_csv(path, index=False)
    return path


def test_predict_takes_a_bundle_as_it_takes_the_run(trained, folder, scans, capsys):
    capsys.readouterr()
    assert call(predict.main, folder, scans) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    expected, _ = predict_table(RunFolder(path=trained.folder), scans)
    assert list(found) == list(expected)
    for column in found:
        if found[column].dtype.kind == "f":
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-3)
        else:
            assert list(found[column]) == list(expected[column])


def test_scans_are_called_as_the_column_says_that_the_run_took_for_ids(trained, folder, scans, tmp_path, capsys):
    frame = pd.read_csv(scans)
    named = [f"L{row}" for row in range(len(frame))]
    table = tmp_path / "scans.csv"
    frame[[column for column in frame if column != "id"]].assign(lab=named).to_csv(table, index=False)
    for model in (trained.folder, folder):
        capsys.readouterr()
        assert call(predict.main, model, table) == 0
        assert list(pd.read_csv(io.StringIO(capsys.readouterr().out))["id"]) == named
    script = [sys.executable, folder / "soil_scan.py", folder, table, "--json"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == named


def test_predict_refuses_a_changed_bundle(folder, scans, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("card.json", "float32.tflite", "SHA256SUMS"):
        (copy / name).write_bytes((folder / name).read_bytes())
    content = bytearray((copy / "float32.tflite").read_bytes())
    content[99] ^= 1
    (copy / "float32.tflite").write_bytes(content)
    assert call(predict.main, copy, scans) == 2
    assert "float32.tflite: SHA-256" in capsys.readouterr().err
    (copy / "float32.tflite").unlink()
    assert call(predict.main, copy, scans) == 2
    assert "float32.tflite: missing" in capsys.readouterr().err


def test_predict_knows_a_bundle_without_its_hashes_for_one(folder, scans, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "SHA256SUMS").unlink()
    assert call(predict.main, copy, scans) == 2
    assert "copy/SHA256SUMS: missing; copy the bundle again" in capsys.readouterr().err
    (copy / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    assert call(predict.main, copy, scans) == 2
    assert "SHA256SUMS: line 1: expected a SHA-256" in capsys.readouterr().err


def test_the_table_says_why_a_runtime_ran_nothing(card):
    changed = json.loads(json.dumps(card))
    for facts in changed["variants"].values():
        facts["runtimes"] |= {"LiteRT": "passed", "TFLM": "tflite_micro is not installed (pip install tflite-micro)"}
    lines = bundle.table(changed).splitlines()
    told = f"not on TFLM: tflite_micro is not installed (pip install tflite-micro): {', '.join(card['variants'])}"
    assert lines.count(told) == 1
    assert not any(line.startswith("not on LiteRT:") for line in lines)


def nothing_in(folder):
    return list(folder.iterdir()) == []


def test_a_broken_promise_says_target_and_excess_and_leaves_nothing(trained, here, tmp_path):
    strict = replace(CORE, largest_error=1e-9)
    with pytest.raises(InputError, match=r"int8_core: OC_g_kg on LiteRT .* more than the promised 1e-09") as refusal:
        assembled(trained, tmp_path / "bundle", (strict,))
    assert "\n" not in str(refusal.value)
    assert nothing_in(tmp_path)


def test_an_export_whose_golden_scans_do_not_repeat_leaves_nothing(trained, here, tmp_path, monkeypatch):
    monkeypatch.setattr(assembly.golden, "tolerances", lambda trained, recipe: dict.fromkeys(trained.targets, 0.0))
    with pytest.raises(
        InputError, match=r"int8_core: \w+ of golden scan train .* and 0 is promised; leave int8_core out"
    ):
        assembled(trained, tmp_path / "bundle", (CORE,))
    assert nothing_in(tmp_path)


def test_a_budget_that_nothing_fits_leaves_nothing_but_the_table(trained, here, tmp_path):
    shown = []
    with pytest.raises(InputError, match=r"no variant fits, int8_core: flash [\d,]+ > 1,000;"):
        assembled(trained, tmp_path / "bundle", (CORE,), Budget(flash_bytes=1000), shown)
    assert nothing_in(tmp_path)
    (card,) = shown
    assert re.search(r"int8_core .* flash [\d,]+ > 1,000$", bundle.table(card), re.MULTILINE)


def test_the_default_is_what_fits_and_reads_a_scan():
    def variant(budget=(), reads="scan", arena=None, flash=1):
        return {"budget": list(budget), "reads": reads, "arena_bytes": arena, "flash_bytes": flash}

    variants = {
        "a": variant(["flash"]),
        "b": variant(reads="features_int8", arena=5, flash=9),
        "c": variant(flash=3),
        "d": variant(arena=7, flash=4),
    }
    assert assembly.default_variant(variants) == "c"
    assert assembly.default_variant({"a": variants["a"], "b": variants["b"]}) == "b"
    assert assembly.in_c(variants) == ["b", "d"]
    assert assembly.in_c({"a": variants["a"], "c": variants["c"]}) == ["a"]


def test_a_bundle_is_not_written_over(trained, here, folder, tmp_path):
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


def test_a_bundle_is_written_into_an_empty_folder_behind_a_link(trained, here, folder, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assembled(trained, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names_in(tmp_path / "disk") == names_in(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link"}


def test_an_interrupted_export_leaves_nothing(trained, here, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "tested", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            assembled(trained, tmp_path / "bundle", (CORE,))
    assert nothing_in(tmp_path)


def test_what_a_killed_export_leaves_is_no_bundle_at_any_moment(trained, here, tmp_path, monkeypatch, capsys):
    """A copy of the folder whenever its hashes are complete, as a kill would leave it."""
    copies, whole = [], assembly.seal

    def seal(folder, card):
        whole(folder, card)
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
        assert call(predict.main, copy, tmp_path / "scans.csv") == 2
        assert re.search(r"no manifest\.json|SHA256SUMS: missing", capsys.readouterr().err)


def test_an_export_removes_what_a_killed_one_left_and_nothing_else(trained, here, tmp_path):
    left = tmp_path / ".unfinished-bundle"
    (left / "c").mkdir(parents=True)
    for name in ("c/soil_scan.c", "card.json", "not_of_a_bundle.txt"):
        (left / name).write_text("left by a kill")
    (left / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / ".unfinished-other").mkdir()
    assembled(trained, tmp_path / "bundle", (CORE,))
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "mine", ".unfinished-other"}
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert not any(
        b"left by a kill" in (tmp_path / "bundle" / name).read_bytes() for name in names_in(tmp_path / "bundle")
    )


def test_two_exports_of_one_bundle_exclude_each_other(trained, here, tmp_path):
    at_work = tmp_path / ".unfinished-bundle"
    at_work.mkdir()
    (at_work / "card.json").write_text("half")
    with locked(at_work):
        with pytest.raises(InputError, match="another command is at work") as refused:
            assembled(trained, tmp_path / "bundle", (CORE,))
        assert str(refused.value).startswith(f"{tmp_path / 'bundle'}: ")
        assert (at_work / "card.json").read_text() == "half"
        with assembly.unfinished(tmp_path / "other", tmp_path / "other") as beside:
            assert nothing_in(beside)


def test_a_full_disk_is_named_as_the_bundle_that_was_asked_for(trained, here, tmp_path, monkeypatch):
    def full(scan, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(scan.folder / "card.json"))

    monkeypatch.setattr(assembly, "tested", full)
    with pytest.raises(OSError, match="No space left") as refused:
        assembled(trained, tmp_path / "bundle", (CORE,))
    assert refused.value.filename == str(tmp_path / "bundle")
    assert nothing_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--recipes", "int4"], "--recipes int4: unknown"),
        (["--budget", "none.toml"], "none.toml: No such file"),
        (["--recipe"], "flags are"),
    ],
)
def test_the_command_refuses_before_it_imports(tmp_path, arguments, named):
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
    assert named in child.stderr
    assert child.stderr.count("\n") == 1


def test_the_front_end_of_c_is_the_graphs_own(trained):
    constants = FrontEnd.of(trained.model, trained.card)
    exact = constants.features(trained.test_scans)
    # Float32 holds the derivatives of smooth, simulated spectra to about this.
    np.testing.assert_allclose(trained.features(trained.test_scans), exact, rtol=0, atol=2e-3)
