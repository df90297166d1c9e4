"""The presets nano and base as C on simulated Cortex-M3 and M4: golden scans pass there, flash and RAM are measured."""

import pytest
from bundle_fixtures import IGNORE_WARNINGS

from export.budget import Budget
from export.bundling import c_folder
from export.bundling.card import card_of
from export.bundling.stored_run import load
from export.c.cortex_m import CORES
from export.convert.conversion import recipe_file
from export.recipes import RECIPES
from export.verify import cortex_m
from relple_tf import zoo
from relple_tf.config import replace
from relple_tf.errors import InputError
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.sources.named import load as load_library
from relple_tf.training_run import train_run

MISSING = cortex_m.missing_tools()
pytestmark = [*IGNORE_WARNINGS, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

FIRMWARE_BYTES = {"nano": (48 << 10, 12 << 10), "base": (1 << 20, 20 << 10)}
"""Preset -> most bytes of flash and RAM with 60 soils and two targets."""


@pytest.fixture(scope="module", params=["nano", pytest.param("base", marks=pytest.mark.slow)])
def made(request, tmp_path_factory):
    """Name of the preset, facts of the card about its C model, and the files."""
    preset = {"nano": zoo.rs_ple_nano, "base": zoo.rs_ple_base}[request.param]()
    config = replace(
        preset,
        data__source="simulated",
        data__targets=("OC_g_kg", "pH"),
        simulated__soils=60,
        training__cv_folds=0,
        training__max_epochs=1,
        training__workers=1,
    )
    folder = tmp_path_factory.mktemp(request.param) / "run"
    train_run(load_library(config), config, RunFolder(path=folder), notify=lambda message: None)
    trained = load(folder)
    content = recipe_file(trained, RECIPES["float32"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cortex_m, "CORES", [core for core in CORES if core.short in ("m3", "m4")])
        recipe = RECIPES["c99_int16"]
        made = c_folder.c_folder(trained, [recipe], content, card_of(trained), Budget(), "soil", lambda message: None)
    return request.param, made.facts["c99_int16"], made.files


def test_golden_scans_pass_and_the_firmware_is_measured_on_m3_and_m4(made):
    preset, facts, _ = made
    measured = facts["cortex_m"]
    assert measured["compiler"].startswith("arm-none-eabi-gcc")
    assert set(measured["cores"]) == {"Cortex-M3", "Cortex-M4"}
    for core in measured["cores"].values():
        assert facts["table_bytes"] < core["flash_bytes"] < facts["table_bytes"] + 16_000
        least = facts["work_bytes"] + 4 * 700 + core["stack_bytes"]
        assert least <= core["ram_bytes"] <= least + 1000
        assert (core["flash_bytes"], core["ram_bytes"]) < FIRMWARE_BYTES[preset]
        assert core["ram_bytes"] <= FIRMWARE_BYTES[preset][1]
        parts = dict(core["instructions"])
        total = parts.pop("total")
        assert set(parts) <= {"front_end", "kernels", "domain", "network"}
        assert 0.9 * total <= sum(parts.values()) <= 1.02 * total
    # A Cortex-M3 computes floating-point numbers in software.
    soft, hard = (measured["cores"][name]["instructions"]["total"] for name in ("Cortex-M3", "Cortex-M4"))
    assert soft > 3 * hard


def test_the_values_are_near_those_of_keras(made):
    _, facts, _ = made
    assert max(facts["largest_error_sd"].values()) <= RECIPES["c99_int16"].largest_error
    assert facts["test"]["other_status"] == facts["test"]["other_status_near_limit"]


def test_a_golden_scan_that_fails_on_a_core_stops_the_export(made):
    preset, _, files = made
    if preset != "nano":
        pytest.skip("the same for every preset")
    wrong = files | {"golden.h": files["golden.h"].replace('"nan", 1', '"nan", 0')}
    with pytest.raises(InputError, match=r"^Cortex-M3: make qemu-m3 failed: FAIL  nan .*; leave out the c99 recipes$"):
        cortex_m.measure(wrong, "src")


def test_missing_tools_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cortex_m.measure({}, "src") == {"not_measured": "arm-none-eabi-gcc, qemu-system-arm, make not found"}
