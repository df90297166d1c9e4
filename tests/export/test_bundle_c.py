"""C sources of a bundle: compiled, they repeat the golden vectors and hold the model."""

import ctypes
import json
import re
import subprocess
from importlib import resources

import numpy as np
import pytest
from bundle_fixtures import (  # noqa: F401
    IGNORE_WARNINGS,
    fixture_as_c,
    fixture_card,
    fixture_conversions,
    fixture_folder,
    fixture_golden,
    fixture_plain,
    fixture_trained,
)
from c_library import CC, CXX, NOT_FINITE, OK, OUTSIDE, compiled, features_in_c, statistics_in_c

from export.c.front_end import FrontEnd
from export.c.model import add_method, ports

pytestmark = list(IGNORE_WARNINGS)


def test_every_template_is_filled_completely(folder, as_c):
    sources = {path.name: path.read_text() for path in (folder / "c").rglob("*.*")}
    templates = {path.name for path in resources.files("export.c").joinpath("templates").iterdir()}
    assert set(sources) == {name for name in templates if not name.startswith("run_")}
    for files in (sources, *({path.name: path.read_text() for path in files.iterdir()} for files in as_c.values())):
        assert not any("$" in text for text in files.values())


def test_flash_is_the_size_of_the_model_and_its_c_tables(folder, card, plain):
    float32, core = card["variants"]["float32"], card["variants"]["int8_core"]
    assert float32["flash_bytes"] == len(plain["float32"])
    table_bytes = 0
    for name in ("front_end", "domain"):
        for kind, values in re.findall(r"static const ([\w ]+) \w+\[.*?= \{(.*?)\};", source(folder, name), re.DOTALL):
            width = {"float": 4, "unsigned short": 2, "unsigned char": 1}[kind]
            table_bytes += width * len(values.replace("{", " ").replace("}", " ").replace(",", " ").split())
    assert core["flash_bytes"] == len(plain["int8_core"]) + table_bytes


def source(folder, name):
    return (folder / "c" / f"{name}.c").read_text()


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_c_gives_the_golden_estimate_of_each_golden_scan(folder, golden, card, tmp_path):
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
        t2, q = statistics_in_c(c, features, components)
        for name, statistic in (("T2", t2), ("Q", q)):
            limit = card["domain"]["limits"][name]
            assert abs(statistic - case["keras"][name]) <= facts["distance_tolerance"] * max(case["keras"][name], limit)
        status = c.soil_trust(ctypes.c_float(t2), ctypes.c_float(q))
        assert status == {"ok": OK, "outside": OUTSIDE}[expected["status"]]
        for index, target in enumerate(card["targets"]):
            value = c.soil_to_lab(index, ctypes.c_float(arrays[f"int8_core/real/{target}"][row].item()))
            assert value == pytest.approx(expected["values"][target], rel=1e-5)


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("variant", ["float32", "int8_core"])
def test_model_cc_holds_the_bytes_of_the_model(card, plain, as_c, tmp_path, variant):
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
    child = subprocess.run([tmp_path / "main"], check=True, capture_output=True)
    assert child.stdout == plain[variant]
    np.testing.assert_array_equal(np.frombuffer(child.stderr, "float32"), np.float32(card["input"]["wavelengths_nm"]))


@pytest.mark.parametrize("variant", ["float32", "int8_core"])
def test_ports_of_model_h_are_those_of_the_file(as_c, plain, card, variant):
    header = (as_c[variant] / "model.h").read_text()
    defined = dict(re.findall(r"#define (\w+) \(?(-?[\w.-]+)", header))
    (input_port,), outputs = ports(plain[variant])
    reads_scans = card["variants"][variant]["reads"] == "scan"
    assert defined["SOIL_MODEL_GIVES_LAB_UNITS"] == str(int(reads_scans))
    assert ("soil_to_lab(target" in header) != reads_scans
    order = json.loads(re.search(r"OUTPUT_OF_TARGET {([\d, ]+)}", header)[1].join("[]"))
    assert [next(port.name for port in outputs if port.index == at) for at in order] == list(card["targets"])
    for kind, port in (("INPUT", input_port), *(("OUTPUT", port) for port in outputs)):
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
def test_operators_have_the_method_names_of_the_tflm_resolver(operator, method):
    assert add_method(operator) == method


def test_the_front_end_constants_reproduce_the_features_of_the_model(trained):
    constants = FrontEnd.of(trained.model, trained.card)
    exact = constants.features(trained.test_scans)
    # Derivatives of smooth, simulated spectra have about this error in float32.
    np.testing.assert_allclose(trained.features(trained.test_scans), exact, rtol=0, atol=2e-3)
