"""Build files and library descriptions of `c/`: their formats, offline, and the prefix of names."""

import json
import re
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from export.c.golden import golden_header
from export.c.project import build_files, library_files
from export.c.source import fill, with_prefix

CARD = {
    "versions": {"training": {"relple_tf": "0.2.0"}},
    "targets": {"OC_g_kg": {}, "pH": {}},
    "model": {"preset": "rs_ple_nano"},
}
FILES = library_files(CARD)
ROOT = Path(__file__).parents[2]


def test_library_properties_has_the_fields_that_arduino_requires():
    """Arduino library specification 1.5."""
    lines = FILES["library.properties"].splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required | {"includes"} == set(fields)
    assert all(fields.values())
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert fields["category"] in {
        *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing"),
        *("Data Storage", "Data Processing", "Other"),
    }


def test_library_json_has_the_fields_of_platformio():
    facts = json.loads(FILES["library.json"])
    assert {"name", "version", "description", "keywords", "frameworks", "platforms", "build"} <= set(facts)
    assert re.fullmatch(r"[\w .-]{1,50}", facts["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["version"])
    assert len(facts["description"]) <= 1000
    assert facts["build"]["srcDir"] == "src"


def test_the_manifest_of_esp_idf_is_yaml_with_a_version_and_its_dependency():
    yaml = pytest.importorskip("yaml")
    facts = yaml.safe_load(FILES["idf_component.yml"])
    assert set(facts) == {"version", "description", "license", "dependencies"}
    assert facts["version"] == "0.2.0"
    assert facts["dependencies"] == {"idf": ">=4.4"}
    cmake = build_files(["src"])["CMakeLists.txt"]
    assert 'idf_component_register(SRCS "src/soil_model.c" INCLUDE_DIRS "src")' in cmake


def test_an_arduino_example_lies_in_a_folder_of_its_name():
    (example,) = [Path(name) for name in FILES if name.startswith("examples/")]
    assert example.parent.name == example.stem
    assert "#include <soil_model.h>" in FILES[example.as_posix()]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no CMake")
def test_cmake_configures_the_project(tmp_path):
    (tmp_path / "src").mkdir()
    for name, text in {
        "CMakeLists.txt": build_files(["src"])["CMakeLists.txt"],
        "selftest.c": "int main(void) { return 0; }\n",
        "src/soil_model.c": "int soil_unused;\n",
    }.items():
        (tmp_path / name).write_text(text)
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"], ["ctest", "--test-dir", "build"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_a_prefix_replaces_every_name_and_no_other_word():
    text = "soil_estimate SOIL_BANDS soils subsoil_x src/soil_model.c soil"
    assert with_prefix(text, "farm2") == "farm2_estimate FARM2_BANDS soils subsoil_x src/farm2_model.c soil"
    for template in ("soil_model.h", "scan.h", "targets.h", "soil_model.c", "scan.c", "targets.c", "selftest.c"):
        source = resources.files("export.c").joinpath("templates", template).read_text()
        assert not re.search(r"\bsoil_|\bSOIL_", with_prefix(source, "farm2"))


def test_golden_header_needs_a_scan_per_entry():
    assert "#define GOLDEN_SCANS 0" in golden_header([], {16: [1.0], 32: [0.5]}, 0.01)
    with pytest.raises(KeyError):
        fill("golden.h", count=1)


def test_the_package_holds_every_template():
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert facts["tool"]["setuptools"]["package-data"]["export.c"] == ["templates/*"]
