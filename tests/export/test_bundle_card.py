"""The files of a bundle: they are complete and reproducible, and every figure of the card is true of them."""

import hashlib
import json
import subprocess
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from bundle_fixtures import (  # noqa: F401
    IGNORE_WARNINGS,
    assembled,
    fixture_as_c,
    fixture_card,
    fixture_conversions,
    fixture_folder,
    fixture_golden,
    fixture_plain,
    fixture_trained,
    names_in,
)
from sklearn.metrics import r2_score, root_mean_squared_error

from export import bundle
from export.bundling import assembly
from export.bundling.card import markdown, measured_accuracy
from export.bundling.metadata import embed, read
from export.bundling.tflm import in_c
from export.c.model import ports
from export.convert.flatbuffer import parse
from export.page import generator
from export.recipes import RECIPES
from export.runtime.soil_scan import Estimate, SoilScan, invalid
from relple_tf.errors import InputError

pytestmark = list(IGNORE_WARNINGS)

DIFFER_BETWEEN_EXPORTS = {"verification.json", "SHA256SUMS"}
"""verification.json holds times, and SHA256SUMS its hash."""


def test_a_bundle_holds_its_files_and_nothing_else(folder, card, as_c):
    (smallest,) = in_c(card["variants"])
    assert names_in(folder) == {
        *("float32.tflite", "int8.tflite", "soil_scan.py", "soil_scan.html", "verification.json"),
        *("card.json", "card.md", "golden.json", "golden.npz", "SHA256SUMS"),
        *(f"c/{name}.{end}" for name in ("scan", "targets") for end in "ch"),
        *(f"c/{smallest}/model.{end}" for end in ("h", "cc")),
    }
    for name in ("model.h", "model.cc"):
        assert (folder / "c" / smallest / name).read_text() == (as_c[smallest] / name).read_text()
    assert {path.name for path in folder.parent.iterdir()} == {"bundle"}


def test_a_bundle_holds_as_many_scans_as_its_card_states(folder, card, golden, trained):
    """No file holds another scan of the library, as numbers or as text."""
    facts, _ = golden
    soils = [case for case in facts["cases"] if case["name"].partition(" ")[0] in ("train", "test")]
    assert len(soils) == card["golden_soils"]
    assert f"hold {len(soils)} scans of training and test soils" in (folder / "card.md").read_text()
    golden_ids = {case["name"].partition(" ")[2] for case in soils}
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz")
    others = [
        scan
        for identity, scan in zip(trained.train_ids, trained.train_scans, strict=True)
        if identity not in golden_ids
    ]
    assert others
    for scan in others:
        assert scan[:4].tobytes() not in content
        assert ", ".join(map(str, scan[:2])).encode() not in content


def test_the_card_states_what_verified_the_page(folder, card):
    facts = card["page"]
    assert facts["bytes"] == (folder / "soil_scan.html").stat().st_size
    assert "NumPy" in facts["verified_by"]
    assert facts["same_status"] == facts["scans"]
    assert max(facts["largest_error_sd"].values()) <= RECIPES["float32"].largest_error
    assert facts["verified_by"] in (folder / "card.md").read_text()


def test_a_page_that_differs_from_keras_is_refused(trained, card, plain, tmp_path):
    strict = replace(RECIPES["float32"], largest_error=1e-12)
    with pytest.raises(
        InputError, match=r"^soil_scan.html: \w+ differs from Keras by up to .* above the tolerance 1e-12;"
    ):
        generator.write_page(tmp_path, trained, card, plain["float32"], strict)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_has_no_page_if_an_operator_is_unknown(trained, card, plain, tmp_path):
    """An int8 file stands for it: its operators read 8-bit values, which the list of operators does not have."""
    facts = generator.write_page(tmp_path, trained, card, plain["int8"], RECIPES["float32"])
    assert facts["unavailable"].startswith("operator ")
    assert list(tmp_path.iterdir()) == []
    assert f"no soil_scan.html: {facts['unavailable']}." in markdown({**card, "page": facts})


def test_sha256sum_confirms_every_file(folder):
    assert {line.partition("  ")[2] for line in (folder / "SHA256SUMS").read_text().splitlines()} == (
        names_in(folder) - {"SHA256SUMS"}
    )
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_two_exports_of_a_run_differ_in_times_only(trained, conversions, folder, plain, tmp_path):
    conversions.clear()
    assembled(trained, tmp_path / "again")
    assert names_in(tmp_path / "again") == names_in(folder)
    differing = {
        name for name in names_in(folder) if (folder / name).read_bytes() != (tmp_path / "again" / name).read_bytes()
    }
    assert differing <= DIFFER_BETWEEN_EXPORTS
    reports = [json.loads((path / "verification.json").read_text()) for path in (folder, tmp_path / "again")]
    for report in reports:
        del report["measured"]
        for variant in report["variants"].values():
            for runtime in variant["runtimes"].values():
                del runtime["latency_ms"]
    assert reports[0] == reports[1]


def test_the_card_repeats_the_card_of_the_run(trained, card):
    run_card = trained.card | {"id_column": "lab"}
    results = ("domain", "model", "relevance", "notes")
    for name in ("source", "simulated", "data_sha256", "soils", "input", "id_column", *results):
        assert card[name] == run_card[name]
    for name, facts in card["targets"].items():
        interval = {key: value for key, value in run_card["targets"][name]["interval"].items() if key != "test"}
        assert facts["interval"] == interval
        assert {key: facts[key] for key in ("unit", "root", "lowest", "highest")} == (
            {key: run_card["targets"][name][key] for key in ("unit", "root", "lowest", "highest")}
        )
    for key in ("grid_nm", "channels", "views", "whitened_components"):
        assert card["front_end"][key] == run_card["front_end"][key]


def test_sizes_and_hashes_in_the_card_are_those_of_the_files(folder, card, plain):
    for name, facts in card["variants"].items():
        content = (folder / facts["file"]).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert (facts["model_bytes"], facts["model_sha256"]) == (
            len(plain[name]),
            hashlib.sha256(plain[name]).hexdigest(),
        )
        zipped = subprocess.run(["gzip", "-9", "-n"], input=plain[name], capture_output=True, check=True).stdout
        assert facts["gzip_bytes"] == pytest.approx(len(zipped), rel=0.01)


def test_operators_in_the_card_are_those_that_litert_runs(folder, card):
    for facts in card["variants"].values():
        interpreter = Interpreter(
            model_content=(folder / facts["file"]).read_bytes(),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        assert facts["operators"] == Counter(details["op_name"] for details in interpreter._get_ops_details())


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_accuracy_in_the_card_is_that_of_scikit_learn(trained, folder, card, variant):
    device = SoilScan(folder, variant)
    estimates = [device.estimate(scan) for scan in trained.test_scans]
    facts = card["variants"][variant]["test"]
    assert {status: count for status, count in facts["statuses"].items() if count} == Counter(
        estimate.status for estimate in estimates
    )
    for target, figures in facts["targets"].items():
        values = np.array([estimate.values[target] for estimate in estimates])
        measured, keras = trained.test_values[target], trained.test_outputs[target].astype("float64")
        low, high = np.transpose([estimate.intervals[target] for estimate in estimates])
        assert figures["n"] == len(measured)
        assert figures["r2"] == pytest.approx(r2_score(measured, values), rel=1e-9)
        assert figures["rmse"] == pytest.approx(root_mean_squared_error(measured, values), rel=1e-9)
        assert figures["keras_r2"] == pytest.approx(r2_score(measured, keras), rel=1e-9)
        assert figures["keras_rmse"] == pytest.approx(root_mean_squared_error(measured, keras), rel=1e-9)
        assert figures["coverage"] * len(measured) == pytest.approx(np.sum((low <= measured) & (measured <= high)))
        # The verification runs the file with the same runtime, but without soil_scan.py.
        largest = figures["largest_error"] / np.std(measured)
        assert card["variants"][variant]["largest_error_sd"][target] == pytest.approx(largest, rel=0.02, abs=1e-5)


def device_with(card, estimates):
    """A device that gives these estimates, in this order."""
    order = iter(estimates)
    return SimpleNamespace(card=card, targets=card["targets"], estimate=lambda scan: next(order))


def estimates_of(values, rows):
    return [
        Estimate("ok", "", {name: float(column[row]) for name, column in values.items()}, None, 1.0, 1.0)
        for row in range(rows)
    ]


def test_a_constant_difference_from_keras_is_the_largest_and_the_rms_error(trained, card):
    outputs = {name: trained.test_outputs[name].astype("float64") for name in trained.targets}
    shifted = estimates_of({name: values + 0.5 for name, values in outputs.items()}, len(trained.test_scans))
    for figures in measured_accuracy(device_with(card, shifted), trained)["targets"].values():
        assert figures["largest_error"] == pytest.approx(0.5)
        assert figures["rms_error"] == pytest.approx(0.5)


def test_laboratory_values_as_predictions_have_no_error_and_lie_in_their_intervals(trained, card):
    exact = estimates_of(trained.test_values, len(trained.test_scans))
    for figures in measured_accuracy(device_with(card, exact), trained)["targets"].values():
        assert (figures["r2"], figures["rmse"], figures["coverage"]) == (1, 0, 1)


def test_invalid_scans_are_counted_but_have_no_part_in_the_accuracy(trained, card):
    exact = estimates_of(trained.test_values, len(trained.test_scans))
    result = measured_accuracy(device_with(card, [*exact[:-2], invalid("test"), invalid("test")]), trained)
    assert result["statuses"] == {"ok": len(exact) - 2, "outside": 0, "invalid": 2}
    for figures in result["targets"].values():
        assert (figures["n"], figures["rmse"]) == (len(exact) - 2, 0)


def test_largest_error_in_the_card_bounds_that_of_every_runtime(folder, card):
    reports = json.loads((folder / "verification.json").read_text())["variants"]
    for name, facts in card["variants"].items():
        report = reports[name]
        assert facts["macs"] == report["macs"]
        assert facts["model_sha256"] == report["sha256"]
        for target, largest in facts["largest_error_sd"].items():
            errors = [results["targets"][target]["largest_error_sd"] for results in report["runtimes"].values()]
            assert all(error <= largest for error in errors)
            assert largest in errors
        assert facts["runtimes"] == dict.fromkeys(report["runtimes"], "passed")


def test_every_file_contains_the_card(folder, card):
    for file in ("float32.tflite", "int8.tflite"):
        expected = json.loads(json.dumps(card))
        for facts in expected["variants"].values():
            # A file cannot contain its hash.
            del facts["bytes"], facts["sha256"]
        expected["variants"] = {name: facts for name, facts in expected["variants"].items() if facts["file"] == file}
        assert read((folder / file).read_bytes()) == expected


def test_the_card_changes_nothing_else_in_a_file(plain):
    with_card = embed(plain["float32"], {"é": [1, 2.5, None]})
    assert read(with_card) == {"é": [1, 2.5, None]}
    assert read(plain["float32"]) is None
    assert ports(with_card) == ports(plain["float32"])
    before, after = parse(plain["float32"]), parse(with_card)
    for tensor, same in zip(before.subgraphs[0].tensors, after.subgraphs[0].tensors, strict=True):
        data, kept = (model.buffers[t.buffer].data for model, t in ((before, tensor), (after, same)))
        assert (data is None) == (kept is None)
        assert data is None or bytes(data) == bytes(kept)


def test_card_md_shows_the_variants_and_the_accuracy_of_each_target(folder, card):
    text = (folder / "card.md").read_text()
    assert "Trained on simulated spectra" in text
    for name, facts in card["variants"].items():
        assert f"| {name} | {facts['file']} | {facts['bytes']:,} |" in text
    for name, figures in card["variants"][card["default_variant"]]["test"]["targets"].items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {figures['r2']:.3f} | {figures['rmse']:.3g} | 90%, achieved {figures['coverage']:.0%} |" in row


def test_the_table_states_why_a_runtime_did_not_run_a_variant(card):
    changed = json.loads(json.dumps(card))
    for facts in changed["variants"].values():
        facts["runtimes"] |= {"LiteRT": "passed", "TFLM": "tflite_micro is not installed (pip install tflite-micro)"}
    lines = bundle.table(changed).splitlines()
    reason = f"not on TFLM: tflite_micro is not installed (pip install tflite-micro): {', '.join(card['variants'])}"
    assert lines.count(reason) == 1
    assert not any(line.startswith("not on LiteRT:") for line in lines)


def test_the_default_variant_is_the_first_that_fits_the_budget():
    def variant(budget=(), arena=None, size=1):
        return {"budget": list(budget), "arena_bytes": arena, "model_bytes": size}

    variants = {
        "a": variant(["flash"]),
        "b": variant(arena=5, size=9),
        "c": variant(size=3),
        "d": variant(arena=7, size=4),
    }
    assert assembly.default_variant(variants) == "b"
    assert assembly.default_variant({"a": variants["a"], "e": variant(["arena"])}) == "a"
    assert in_c(variants) == ["b", "d"]
    assert in_c({"a": variants["a"], "c": variants["c"]}) == ["a"]
