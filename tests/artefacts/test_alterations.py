"""A damaged file of a run or bundle causes no traceback, and under an unchanged hash no other values."""

import copy
import json
import random
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import hand_made
import keras
import numpy as np
import pytest
from conftest import TINY, spec_of
from export_fixtures import fixture_run  # noqa: F401

from benchmarks.reliability.alterations import ALTERATIONS, LISTS, random_alteration, update_hashes
from benchmarks.reliability.altered_artefacts import run_command
from export.runtime.soil_scan import SoilScan
from relple_tf.config import ARCHITECTURES, CHANNELS, EXPERT_KINDS, FrontEndConfig
from relple_tf.models import front_end
from relple_tf.models.catalogue import build
from relple_tf.runs import model_loading

BUNDLE_FILES = ("SHA256SUMS", "card.json", "float32.tflite", "golden.json")
RUN_FILES = ("manifest.json", "card.json", "config.toml", "model.keras")
MAY_PASS = frozenset(
    (
        *("append", "disorder", "flip_bit", "graph_class", "graph_size", "graph_value", "hostile_hash", "hostile_name"),
        *("hostile_setting", "hostile_value", "member_bit", "other_words", "remove_key", "scale_number", "scramble"),
        *("shuffle_lines", "swap", "truncate", "weights", "zero_block"),
    )
)
"""Alterations that can leave plausible content, or damage only content that is not read; with updated hashes they may
pass."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The bundle of hand_made, with golden.json."""
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    folder.mkdir()
    subprocess.run([sys.executable, hand_made.__file__, folder], check=True, capture_output=True, timeout=300)
    device, scans = SoilScan(folder), hand_made.soils(3)
    estimates = [device.estimate(scan).as_dict() for scan in scans]
    cases = [
        {
            "name": str(row),
            "scan": scan.tolist(),
            "keras": {**estimate["values"], "T2": estimate["T2"], "Q": estimate["Q"]},
        }
        for row, (scan, estimate) in enumerate(zip(scans, estimates, strict=True))
    ]
    recorded = {"tolerance": dict.fromkeys(hand_made.MODELLED, 0.1), "estimates": estimates}
    golden = {"distance_tolerance": 0.01, "cases": cases, "variants": {"float32": recorded}}
    (folder / "golden.json").write_text(json.dumps(golden))
    hand_made.seal(folder)
    return folder


def table_of(file, nm, scans):
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in (nm, *scans)))
    return file


@pytest.fixture(scope="module")
def scans(run, bundle, tmp_path_factory):
    """Folder of a run or bundle -> table of scans for it."""
    folder = tmp_path_factory.mktemp("tables")
    nm = np.array(json.loads((run / "card.json").read_text())["input"]["wavelengths_nm"])
    waves = [0.3 + 0.1 * np.sin(nm / width) for width in (200, 300)]
    return {
        run: table_of(folder / "run.csv", nm, waves),
        bundle: table_of(folder / "bundle.csv", hand_made.NM, hand_made.soils(3)),
    }


def outcome(command, folder, table):
    """`refused` and the error line, or `answered` and the output; any other result fails the test."""
    code, out, error = run_command(command, folder, folder, table)
    assert "Traceback" not in error, error
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    if code == 2:
        assert len(lines) == 1, error
        return "refused", lines[0]
    assert (code, lines) == (0, []), error
    return "answered", out


@pytest.fixture(scope="module")
def undamaged(run, bundle, scans):
    """Command -> its outcome for the undamaged files."""
    commands = {"predict RUN": run, "export.load RUN": run}
    commands |= dict.fromkeys(("predict BUNDLE", "soil_scan", "soil_scan --golden"), bundle)
    outcomes = {command: outcome(command, folder, scans[folder]) for command, folder in commands.items()}
    assert {state for state, _ in outcomes.values()} == {"answered"}
    return outcomes


def damaged(source, tmp_path, change):
    """A copy that `change` has damaged, with updated hashes."""
    folder = shutil.copytree(source, tmp_path / "copy", dirs_exist_ok=True)
    change(folder)
    update_hashes(folder)
    return folder


def pairs(*files):
    return [
        (file, name) for file in files for name, alteration in ALTERATIONS.items() if alteration.applies_to(Path(file))
    ]


def check_alteration(command, source, table, undamaged, tmp_path, file, name):
    for rehash in (False, True):
        folder = shutil.copytree(source, tmp_path / f"{command} {rehash}")
        random_alteration(folder, random.Random(f"{file} {name}"), rehash=rehash, files=(file,), name=name)
        state, answer = outcome(command, folder, table)
        if rehash and (name in MAY_PASS or (file, name) == ("config.toml", "empty")):  # an empty file: all defaults
            continue
        # A change in a part of a list of hashes that is not read has no effect.
        assert state == "refused" or (file in LISTS and (state, answer) == undamaged[command])


@pytest.mark.parametrize(("file", "name"), pairs(*BUNDLE_FILES))
def test_a_damaged_bundle_is_refused_in_one_line(bundle, scans, undamaged, tmp_path, file, name):
    for command in ["soil_scan --golden"] if file == "golden.json" else ["predict BUNDLE", "soil_scan"]:
        check_alteration(command, bundle, scans[bundle], undamaged, tmp_path, file, name)


@pytest.mark.parametrize(
    ("file", "name"),
    [pytest.param(*pair, marks=[pytest.mark.slow] * (number % 2)) for number, pair in enumerate(pairs(*RUN_FILES))],
)
def test_a_damaged_run_is_refused_in_one_line(run, scans, undamaged, tmp_path, file, name):
    check_alteration("predict RUN", run, scans[run], undamaged, tmp_path, file, name)


@pytest.mark.parametrize(("file", "name"), pairs("data.npz"))
def test_damaged_data_are_refused_in_one_line(run, scans, undamaged, tmp_path, file, name):
    check_alteration("export.load RUN", run, scans[run], undamaged, tmp_path, file, name)


INTERVAL = {"target": "pH", **hand_made.INTERVAL}
ABSENT = object()
HOSTILE = {
    "": ([], None, 7, "card", {}),
    "input": (None, [], ABSENT),
    "input.quantity": ("transmittance", 1, None, ["reflectance"], ABSENT),
    "input.wavelengths_nm": (
        *([], [1000], "1000", {}, [1e308, 2e308], [2, 1], [1, 1, 2], [1, None], [1, "2"], [[1], [2]], [True, 2]),
        ABSENT,
    ),
    "input.end_tolerance_nm": (*([], [1], [1, 2, 3], [1, "2"], [-1, 1], [1, 1e308], [True, 1]), 8, "8", {}, None),
    "targets": ({}, [], None, {"../pH": {}}, {"p\nH": {}}, {"": {}}, {"\x1b[2J": {}}, ABSENT),
    "targets.pH": (None, [], 3, {}),
    "targets.pH.interval": ({}, [], 3, "none", ABSENT),
    "targets.pH.interval.half_width": (-1, "1", True, [], 1e308, 10**400, ABSENT),
    "targets.pH.interval.growth": (-1, "1", None, 1e308, ABSENT),
    "targets.pH.interval.root": ("yes", 1, None, ABSENT),
    "targets.pH.interval.non_negative": ("yes", 1, None, ABSENT),
    "domain": (None, [], ABSENT),
    "domain.limits": (None, [], {}, ABSENT),
    "domain.limits.T2": (0, -1, "9", None, True, [], 1e308, 1e-300, 10**400, ABSENT),
    "domain.limits.Q": (-1, "9", None, True, [], 1e308, 10**400, ABSENT),
    "front_end": (None, [], 3, ABSENT),
}
"""Key path in the card of a run or bundle -> values that are refused there, also with updated hashes."""
HOSTILE_IN_BUNDLE = {
    "format": (1, "2", None, [], ABSENT),
    "variants": ({}, [], None, {"../x": {}}, ABSENT),
    "variants.float32": (None, [], {}),
    "variants.float32.file": ("../float32.tflite", "/dev/zero", "", None, ["float32.tflite"], "nothing.tflite", ABSENT),
    "variants.float32.reads": ("features", None, ["scan"], ABSENT),
    "variants.float32.bytes": (1, -1, "6300", None, 10**400),
    "default_variant": ("none", None, ["float32"], "../float32", ABSENT),
    "id_column": (None, 3, ["id"]),
}
POINT = {"need": 3.0, "kept": 0.5, "n": 20, "rmse": 1.2, "beyond": 0.05}
HOSTILE_IN_RUN = {
    "simulated": (None, 1, "false", ABSENT),
    "front_end.grid_nm": ([], [1000], [2, 1], None, ABSENT),
    "domain.share_within": (-1, 2, None, ABSENT),
    "model": (None, [], ABSENT),
    "model.architecture": ("other", None, ABSENT),
    "model.weights": (0, -1, 1e3, 2856, 10**12, None, ABSENT),
    "model.stacking_weights": ({}, {"pH": 1}, None, ABSENT),
    "relevance.correlation": ([], [[1]], [[1, 0]], [[1, 0], [0, 2]], [[1, 0], [0, "1"]], [1, 0], None, ABSENT),
    "front_end.channels": ([], ["other"], "snv_d1", ABSENT),
    "front_end.views": ([], [[]], [["absorbance"]], ["snv_d1"], ABSENT),
    "front_end.whitened_components": (0, -1, 1.5, None, ABSENT),
    "soils.train": (0, -1, None, ABSENT),
    "data_sha256": ("", "x" * 64, None, ABSENT),
    "notes": (None, [1], ["\ud800"], ABSENT),
    "targets.pH.lowest": (None, "0", 1e308, ABSENT),
    "targets.pH.need_curve": (
        *(3, "none", {}, [None], [[]], [1], [POINT] * 101),
        *([POINT | {"need": value}] for value in (-1, None, "3", 1e308)),
        *([POINT | {"kept": value}] for value in (-0.1, 1.1, None, True)),
        *([POINT | {"n": value}] for value in (-1, 1.5, None)),
        *([POINT | {"rmse": value}] for value in (-1, "3", 1e308)),
        *([POINT | {"beyond": value}] for value in (-0.1, 1.1, "0")),
        [{"need": 3}],
    ),
}


def write_card(folder, key_path, value):
    card = json.loads((folder / "card.json").read_text())
    if key_path.startswith("targets.pH.interval."):
        card["targets"]["pH"]["interval"] = copy.deepcopy(INTERVAL)
    *keys, last = key_path.split(".")
    parent = card
    for key in keys:
        parent = parent[key]
    if key_path == "":
        card = value
    elif value is ABSENT:
        del parent[last]
    else:
        parent[last] = value
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("key_path", HOSTILE | HOSTILE_IN_BUNDLE)
def test_a_bundle_with_a_hostile_card_is_refused_by_both_readers(bundle, scans, tmp_path, key_path):
    for value in (HOSTILE | HOSTILE_IN_BUNDLE)[key_path]:
        folder = damaged(bundle, tmp_path, lambda folder, value=value: write_card(folder, key_path, value))
        if key_path == "variants.float32.bytes":  # update_hashes has corrected it
            write_card(folder, key_path, value)
            hand_made.seal(folder)
        for command in ("predict BUNDLE", "soil_scan"):
            state, line = outcome(command, folder, scans[bundle])
            assert state == "refused", value
            assert line.startswith("error: BUNDLE")
        shutil.copyfile(bundle / "card.json", folder / "card.json")


@pytest.mark.parametrize("key_path", HOSTILE | HOSTILE_IN_RUN)
def test_a_run_with_a_hostile_card_is_refused(run, scans, tmp_path, key_path):
    for value in (HOSTILE | HOSTILE_IN_RUN)[key_path]:
        folder = damaged(run, tmp_path, lambda folder, value=value: write_card(folder, key_path, value))
        state, line = outcome("predict RUN", folder, scans[run])
        assert state == "refused", value
        assert "card.json" in line
        shutil.copyfile(run / "card.json", folder / "card.json")


def test_a_card_that_is_changed_to_a_valid_value_is_accepted(run, bundle, scans, undamaged, tmp_path):
    """This shows that the cards of the tests above are refused because of the hostile value."""
    for source, command in ((run, "predict RUN"), (bundle, "predict BUNDLE"), (bundle, "soil_scan")):
        folder = damaged(source, tmp_path / source.name, lambda folder: write_card(folder, "targets.pH.interval.n", 50))
        assert outcome(command, folder, scans[source])[0] == "answered"


@pytest.mark.parametrize("curve", [ABSENT, None, [], [POINT], [POINT | {"rmse": None, "beyond": None, "n": 0}]])
def test_a_card_with_or_without_a_curve_of_needs_is_read(run, bundle, scans, undamaged, tmp_path, curve):
    """Cards of version 0.2.0 have none."""

    def alter(folder):
        write_card(folder, "targets.pH.need_curve", None)
        write_card(folder, "targets.pH.need_curve", curve)

    for source, command in ((run, "predict RUN"), (bundle, "predict BUNDLE"), (bundle, "soil_scan")):
        folder = damaged(source, tmp_path / source.name / command.split()[-1], alter)
        assert outcome(command, folder, scans[source])[0] == "answered"


def test_a_bundle_with_a_variant_that_reads_features_is_refused(bundle, scans, tmp_path):
    """Version 0.2.0 made such variants; their outputs are not laboratory values."""
    folder = damaged(bundle, tmp_path, lambda folder: write_card(folder, "variants.float16.reads", "features"))
    for command in ("predict BUNDLE", "soil_scan"):
        state, line = outcome(command, folder, scans[bundle])
        assert state == "refused"
        assert "card.json: variants.float16.reads: expected scan, received 'features'" in line
        assert "export the run again" in line


@pytest.mark.parametrize("other", ["nothing", "keras"])
def test_a_file_that_is_not_the_model_of_the_card_is_refused(run, bundle, scans, tmp_path, other):
    contents = {"nothing": b"", "keras": (run / "model.keras").read_bytes()}
    folder = damaged(bundle, tmp_path, lambda folder: (folder / "float32.tflite").write_bytes(contents[other]))
    for command in ("predict BUNDLE", "soil_scan"):
        state, line = outcome(command, folder, scans[bundle])
        assert state == "refused"
        assert "float32" in line


def test_a_run_of_an_earlier_version_is_refused_with_train_again(run, scans, tmp_path):
    """Earlier versions wrote `trained_shares` into the card and `training.members` into the config."""

    def change(folder):
        card = json.loads((folder / "card.json").read_text())
        card["model"]["trained_shares"] = card["model"].pop("stacking_weights")
        (folder / "card.json").write_text(json.dumps(card))
        config = (folder / "config.toml").read_text()
        assert "\ncv_folds = " in config
        (folder / "config.toml").write_text(config.replace("\ncv_folds = ", "\nmembers = "))

    folder = damaged(run, tmp_path, change)
    for command in ("predict RUN", "export.load RUN"):
        state, line = outcome(command, folder, scans[run])
        assert state == "refused"
        assert "card.json: model.stacking_weights: expected" in line
        assert "train the run again" in line


def graph(bands, outputs, layer=None):
    """A model with one Dense layer per output."""
    spectrum = keras.Input((bands,), name="spectrum")
    inner = spectrum if layer is None else layer(spectrum)
    return keras.Model(spectrum, {name: keras.layers.Dense(width, name=name)(inner) for name, width in outputs.items()})


OUTPUTS = {"OC_g_kg": 1, "pH": 1, "T2": 1, "Q": 1}
GRAPHS = {
    "another number of bands": (lambda bands: graph(bands + 1, OUTPUTS), "141"),
    "a missing output": (
        lambda bands: graph(bands, {name: 1 for name in OUTPUTS if name != "Q"}),
        "expected 140 bands",
    ),
    "an additional output": (lambda bands: graph(bands, OUTPUTS | {"N_g_kg": 1}), "N_g_kg"),
    "an output of width 2": (lambda bands: graph(bands, OUTPUTS | {"pH": 2}), "2"),
    "code": (lambda bands: graph(bands, OUTPUTS, keras.layers.Lambda(lambda x: x + 1)), "keras.layers.Lambda"),
    "a layer that runs do not use": (
        lambda bands: graph(bands, OUTPUTS, keras.layers.UnitNormalization()),
        "UnitNormalization",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_differs_from_the_card_is_refused(run, scans, tmp_path, name):
    make, message = GRAPHS[name]
    model = make(140)

    def change(folder):
        model.save(folder / "model.keras")
        write_card(folder, "model.weights", model.count_params())

    state, line = outcome("predict RUN", damaged(run, tmp_path, change), scans[run])
    assert state == "refused"
    assert "model.keras: damaged" in line
    assert message in line


def test_a_graph_that_agrees_with_the_card_is_accepted(run, scans, tmp_path):
    """This shows that the graphs of the test above are refused because of the difference."""
    model = graph(140, OUTPUTS)

    def change(folder):
        model.save(folder / "model.keras")
        write_card(folder, "model.weights", model.count_params())

    assert outcome("predict RUN", damaged(run, tmp_path, change), scans[run])[0] == "answered"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bomb", "unpacked bytes, received 3,2"),
        ("crowd", "expected a directory of at most"),
        ("member_elsewhere", "missing or added"),
        ("member_gone", "missing or added"),
    ],
)
def test_an_archive_is_refused_before_it_is_unpacked(run, scans, tmp_path, monkeypatch, name, message):
    folder = shutil.copytree(run, tmp_path / "copy")
    random_alteration(folder, random.Random(0), rehash=True, files=("model.keras",), name=name)
    assert (folder / "model.keras").stat().st_size < 20_000_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    state, line = outcome("predict RUN", folder, scans[run])
    assert state == "refused"
    assert message in line


def test_weights_that_exceed_the_memory_are_counted_without_allocation():
    config = graph(10, {"OC_g_kg": 1}, keras.layers.Dense(8)).to_json()
    assert model_loading.count_weights(config) == 10 * 8 + 8 + 8 + 1
    wide = json.loads(config)
    layers = [layer for layer in wide["config"]["layers"] if layer["class_name"] == "Dense"]
    for layer in layers:
        layer["config"]["units"] = 1_000_000
    layers[1]["build_config"]["input_shape"] = [None, 1_000_000]  # 4 TB between the two
    with pytest.raises(ValueError, match=r"received 1,000,012,000,000"):
        model_loading.count_weights(json.dumps(wide))
    graph(10, {"OC_g_kg": 1})  # the weights are not allocated later either


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != EXPERT_KINDS[0])) for kind in EXPERT_KINDS]
)
def test_every_network_has_allowed_layers_only(architecture, kind):
    for form, relevance, stem, basis in (("fused", "hard", "shared", 0), ("unrolled", "soft", "per_expert", 4)):
        config = replace(TINY, architecture=architecture, expert_kind=kind, lstm_form=form, relevance=relevance)
        network = build(replace(config, stem=stem, basis_units=basis), spec_of(), keras)
        model_loading.check_layers(json.loads(network.to_json()))
        assert model_loading.count_weights(network.to_json()) == network.count_params()


def test_every_front_end_has_allowed_layers_only():
    config = FrontEndConfig(channels=CHANNELS, views=())
    nm = np.arange(1000.0, 1600.0, 1.0)
    stage = front_end.absorbance_stage(nm, "reflectance", config)
    for part in (stage, front_end.channel_stage(stage.output.shape[1], config)):
        model_loading.check_layers(json.loads(part.to_json()))
