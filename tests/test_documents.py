"""README and docs: Python blocks run, commands exist and accept their flags, links lead to files."""

import argparse
import json
import re
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from export.recipes import RECIPES
from relple_tf import config, predict, train, zoo
from relple_tf.command_line import config_from
from relple_tf.config import Config, SimulatedConfig
from relple_tf.spectra.sources import named
from relple_tf.spectra.sources.simulated import simulate

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)")
PAPER = ("N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH")
LUCAS_NAMES = {"N_g_kg": "N", "OC_g_kg": "OC", "CaCO3_g_kg": "CaCO3", "CEC_cmolc_kg": "CEC", "pH": "pH.in.H2O"}
OSSL_NAMES = {
    "N_g_kg": "n.tot_usda.a623_w.pct",
    "OC_g_kg": "oc_usda.c729_w.pct",
    "CaCO3_g_kg": "caco3_usda.a54_w.pct",
    "CEC_cmolc_kg": "cec_usda.a723_cmolc.kg",
    "pH": "ph.h2o_usda.a268_index",
}


def blocks(page, *languages):
    """Texts of the fenced blocks of these languages; empty is a block without a language."""
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def commands(page):
    """`python -m` commands of the shell blocks, continued lines joined, without comments."""
    lines = "\n".join(blocks(page, "", "sh", "bash")).replace("\\\n", " ").splitlines()
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("&&")]
    return [part for part in parts if re.search(r"\bpython -m ", part)]


def identity(value):
    return value.name if isinstance(value, Path) else None


def wavelength_columns(scans, nm, prefix=""):
    return pd.DataFrame(scans, columns=[f"{prefix}{band:g}" for band in nm])


@pytest.fixture
def quick(monkeypatch):
    """Every preset is a tiny network, and LimeSoDa a single field: the blocks are run, not measured."""
    tiny = config.replace(
        zoo.rs_ple_nano(),
        front_end__step_nm=16.0,
        model__architecture="shared_bottom",
        model__conv_filters=(4,),
        model__expert_units=4,
        model__tower_units=4,
        model__landmarks=16,
        training__max_epochs=2,
        training__cv_folds=2,
        training__workers=1,
    )

    def shortened(name):
        def preset():
            """A tiny network."""
            return replace(tiny, preset=name)

        return preset

    for name in list(zoo.PRESETS):
        monkeypatch.setitem(zoo.PRESETS, name, shortened(name))
    monkeypatch.setattr(named, "LIMESODA_SETS", ("UL.120",))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the tables that the pages name."""
    soils = simulate(SimulatedConfig(soils=80, step_nm=16.0))
    scans = wavelength_columns(soils.spectra, soils.wavelengths_nm)
    ids = pd.DataFrame({"id": [f"s{row // 2}" for row in range(80)], "field": np.arange(80) // 8})
    laboratory = pd.DataFrame({name: soils.targets[name] for name in PAPER})
    pd.concat([ids, laboratory, scans], axis=1).to_csv(tmp_path / "soils.csv", index=False)
    pd.concat([ids["id"], scans], axis=1)[:5].to_csv(tmp_path / "scans.csv", index=False)
    point = pd.Series(range(100, 180), name="PointID")
    pd.concat([point, laboratory], axis=1).to_csv(tmp_path / "laboratory.csv", index=False)
    pd.concat([point, scans], axis=1).to_csv(tmp_path / "spectra.csv", index=False)
    names = pd.Series([f"s{row}" for row in range(80)], name="sample")
    pd.concat([names, laboratory], axis=1).to_csv(tmp_path / "lab.csv", index=False)
    for name, rows in (("scans", 80), ("new_scans", 5)):
        (tmp_path / name).mkdir()
        for row in range(rows):
            scans[row : row + 1].to_csv(tmp_path / name / f"s{row}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def slow_pages(pages):
    """The pages as parameters; those with many blocks are slow."""
    return [
        pytest.param(page, marks=[pytest.mark.slow] * (page.name in ("python.md", "builders.md"))) for page in pages
    ]


@pytest.mark.parametrize("page", slow_pages(page for page in PAGES if blocks(page, "python")), ids=identity)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner", "ignore::UserWarning:keras_tuner")
def test_python_blocks_run(page, folder, quick):
    namespace = {"__name__": "__main__"}
    for text in blocks(page, "python"):
        exec(compile(text, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_relative_links_lead_to_files(page):
    text = FENCE.sub("", page.read_text())
    targets = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    assert [link for link in targets if link and not (page.parent / link).exists()] == []


class ParsedError(Exception):
    """A command has parsed its flags."""


def parsed(command, monkeypatch):
    """Parser and options of a command, which ends there; a synopsis (`[--flag NAME]`) has no options."""
    words = shlex.split(command, posix=True)
    words = words[words.index("-m") + 1 :]
    is_synopsis = "[" in command
    original = argparse.ArgumentParser.parse_args
    seen = []

    def parse(self, args=None, namespace=None):
        seen.append((self, None if is_synopsis else original(self, args, namespace)))
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delitem(sys.modules, words[0], raising=False)
    with pytest.raises(ParsedError):
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    monkeypatch.undo()
    return seen[0]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=identity)
def test_commands_exist_and_accept_their_flags(page, monkeypatch):
    for command in commands(page):
        module = command.split("python -m ")[1].split()[0]
        if module in ("venv", "pytest", "build"):
            continue
        parser, options = parsed(command, monkeypatch)
        flags = {flag for action in parser._actions for flag in action.option_strings}
        assert set(re.findall(r"--[a-z][a-z-]*", command)) <= flags, command
        if options is None:  # a synopsis names every flag
            assert set(re.findall(r"--[a-z][a-z-]*", command)) == {
                flag for flag in flags if flag.startswith("--") and flag != "--help"
            }, command
        elif getattr(options, "set", None) and not options.config:
            vars(options).setdefault("preset", None)
            assert isinstance(config_from(options), Config), command


def test_the_device_page_lists_every_recipe():
    text = (DOCS / "device.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|.*\| [\d.]+ \| [\d.]+ \|$", text, re.M) == list(RECIPES)


def lucas_command():
    return next(shlex.split(command) for command in commands(DOCS / "lucas.md") if "split.file" in command)


@pytest.fixture
def lucas(tmp_path, monkeypatch):
    """60 invented soils in a table of LUCAS 2009's columns, and the split file in the public split's."""
    monkeypatch.chdir(tmp_path)
    soils = simulate(SimulatedConfig(soils=60, start_nm=400.0, stop_nm=2499.5, step_nm=0.5))
    laboratory = pd.DataFrame({LUCAS_NAMES[name]: soils.targets[name] for name in PAPER}).round(2)
    laboratory.loc[::7, "CEC"] = np.nan
    numbers = np.arange(1, 61)
    head = pd.DataFrame({"sample.ID": numbers + 1000, "ID": numbers, "clay": 20, "silt": 30, "sand": 50})
    place = pd.DataFrame({"GPS_LAT": np.linspace(38, 60, 60), "GPS_LONG": np.linspace(-8, 25, 60)})
    absorbance = wavelength_columns(-np.log10(soils.spectra).round(5), soils.wavelengths_nm, "spc.")
    assert absorbance.shape[1] == 4200
    pd.concat([head, absorbance, laboratory, place], axis=1).to_csv("lucas.csv", index=False)
    parts = np.where(numbers % 3 == 0, "test", "calibration")
    split = pd.DataFrame({"index": numbers + 3, "sample.ID": numbers + 1000, "ID": numbers, "split": parts, "fold": 1})
    split.to_csv("mineral-split.csv", index=False)
    return soils


@pytest.mark.slow
def test_the_command_for_lucas_trains_the_five_targets_on_the_public_split(lucas, quick):
    train.main([*lucas_command()[3:], "--out", "run"])
    card = json.loads(Path("run/card.json").read_text())
    assert list(card["targets"]) == list(PAPER)
    assert card["soils"]["test"] == 20
    assert card["input"]["quantity"] == "absorbance"
    stored = pd.read_csv("run/predictions.csv", dtype={"id": str})
    assert set(stored["id"][stored["part"] == "test"]) == {str(number) for number in range(3, 61, 3)}


def test_names_and_units_of_the_ossl_are_those_of_the_page(tmp_path):
    text = (DOCS / "lucas.md").read_text()
    soils = simulate(SimulatedConfig(soils=30, step_nm=16.0))
    scans = wavelength_columns(soils.spectra, soils.wavelengths_nm, "scan_visnir.").add_suffix("_ref")
    columns = {"id.layer_uuid_txt": [f"uuid{row}" for row in range(30)]}
    for name in PAPER:
        assert f"`{OSSL_NAMES[name]}`" in text
        assert f"`{LUCAS_NAMES[name]}`" in text
        columns[OSSL_NAMES[name]] = soils.targets[name] / (10 if OSSL_NAMES[name].endswith("w.pct") else 1)
    pd.concat([pd.DataFrame(columns), scans], axis=1).to_csv(tmp_path / "ossl.csv", index=False)
    settings = replace(Config().data, source=str(tmp_path / "ossl.csv"), targets=PAPER)
    read = named.load(replace(Config(), data=settings))
    for name in PAPER:
        np.testing.assert_allclose(read.targets[name], soils.targets[name], rtol=1e-9)


def test_the_commands_of_the_data_page_run(folder, quick):
    """The cheap shell block: train, predict."""
    first, second = (shlex.split(command) for command in commands(DOCS / "data.md")[:2])
    train.main(first[3:])
    predict.main(second[3:])
    assert list(pd.read_csv("values.csv")["id"]) == [f"s{row // 2}" for row in range(5)]


def test_the_commands_for_a_folder_of_scans_run(folder, quick):
    both = [shlex.split(command) for command in commands(DOCS / "data.md") if "scans/" in command]
    train.main(both[0][3:])
    predict.main(both[1][3:])
    assert list(pd.read_csv("new_values.csv")["id"]) == [f"s{row}" for row in range(5)]
