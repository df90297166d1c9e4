"""C sources of a bundle: compiled, they repeat the golden vectors and hold the model."""

import ctypes
import json
import re
import subprocess

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
from c_library import CC, CXX, NOT_FINITE, OK, OUTSIDE, checked_in_c, compiled, interval_in_c

from export.c.model import add_method, ports

pytestmark = list(IGNORE_WARNINGS)


def test_every_placeholder_is_filled(folder, as_c):
    files = [path for place in (folder / "c", *as_c.values()) for path in place.rglob("*.*")]
    assert not [path for path in files if path.is_file() and "$" in path.read_text()]


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_c_gives_the_golden_status_and_intervals_of_each_golden_scan(folder, golden, card, tmp_path):
    facts, arrays = golden
    for path in (folder / "c").glob("*.[ch]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    c = compiled(tmp_path)
    c.soil_difficulty.restype = ctypes.c_float
    for row, expected in enumerate(facts["variants"]["int8"]["estimates"]):
        status = checked_in_c(c, arrays["scans"][row])
        if expected["status"] == "invalid":
            assert status >= NOT_FINITE
            continue
        assert status == OK
        t2, q = ctypes.c_float(expected["T2"]), ctypes.c_float(expected["Q"])
        assert c.soil_trust(t2, q) == {"ok": OK, "outside": OUTSIDE}[expected["status"]]
        for index, target in enumerate(card["targets"]):
            ends = interval_in_c(c, index, expected["values"][target], c.soil_difficulty(t2))
            np.testing.assert_allclose(ends, expected["intervals"][target], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("variant", ["float32", "int8"])
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


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_ports_of_model_h_are_those_of_the_file(as_c, plain, card, variant):
    header = (as_c[variant] / "model.h").read_text()
    defined = dict(re.findall(r"#define (\w+) \(?(-?[\w.-]+)", header))
    (input_port,), outputs = ports(plain[variant])
    order = json.loads(re.search(r"OUTPUT_OF_TARGET {([\d, ]+)}", header)[1].join("[]"))
    assert [next(port.name for port in outputs if port.index == at) for at in order] == list(card["targets"])
    for kind, port in (("INPUT", input_port), *(("OUTPUT", port) for port in outputs)):
        prefix = f"SOIL_MODEL_{kind}_{port.name.upper()}"
        assert int(defined[f"{prefix}_INDEX"]) == port.index
        assert int(defined[f"{prefix}_SIZE"]) == port.size
    assert input_port.size == len(card["input"]["wavelengths_nm"])
    assert {port.size for port in outputs} == {1}


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
