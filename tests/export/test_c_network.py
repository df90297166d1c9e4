"""C code of every operator: compiled, it gives the values of the NumPy interpreter, with float and 16-bit tables."""

import ctypes
import re
import subprocess

import numpy as np
import pytest
from bundle_fixtures import IGNORE_WARNINGS
from c_library import CC, STRICT
from graph_cases import CHANNELS, STEPS, case_file, constant, functions

from export.c.expressions import index
from export.c.network import Generator
from export.c.soil_model import kernels
from export.c.statements import equal_steps
from export.c.tables import dequantised, rounded, with_rounded_constants
from export.graph.interpreter import run
from export.graph.operator_list import LSTM
from export.graph.reading import read

pytestmark = [*IGNORE_WARNINGS, pytest.mark.skipif(CC is None, reason="no C compiler")]

NAMES = [*functions(), LSTM]


@pytest.fixture(scope="module")
def file():
    return case_file()


@pytest.fixture(scope="module", params=[False, True], ids=["c99", "c99_int16"])
def values(request, file, tmp_path_factory):
    """Case -> values of the compiled C code, and those of NumPy with the same constants."""
    content, name_of = file
    model, x = read(content), constant(STEPS, CHANNELS, seed=9)
    network = Generator(model, int16=request.param).network()
    folder = tmp_path_factory.mktemp("c")
    calls = "\n".join(network.parts.values())
    head = "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n#define PART static\n"
    code = [head, network.tables, kernels(network.functions), network.functions]
    signature = "void estimate(const float *scan, float *work)"
    (folder / "cases.c").write_text("\n".join([*code, f"{signature};", f"{signature}\n{{\n{calls}\n}}\n"]))
    flags = [*STRICT, "-g", "-shared", "-fPIC"]
    subprocess.run([CC, *flags, "-o", folder / "cases.so", folder / "cases.c", "-lm"], check=True)
    work = np.full(network.work_floats, np.nan, "float32")
    pointer = ctypes.POINTER(ctypes.c_float)
    ctypes.CDLL(str(folder / "cases.so")).estimate(x.ctypes.data_as(pointer), work.ctypes.data_as(pointer))
    expected = run(with_rounded_constants(model) if request.param else model, {"x": x})
    results = {}
    for output, name in name_of.items():
        place, size = int(re.fullmatch(r"work\[(\d+)\]", network.outputs[output])[1]), expected[output].size
        results[name] = work[place : place + size], expected[output].ravel()
    return results


@pytest.mark.parametrize("name", NAMES)
def test_c_gives_the_values_of_numpy(values, name):
    received, expected = values[name]
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "full"),
    [
        ((5,), (3, 4, 5)),
        ((4, 1), (3, 4, 5)),
        ((3, 1, 5), (3, 4, 5)),
        ((1, 3, 1, 1), (1, 3, 4, 5)),
        ((), (3, 4)),
        ((3, 4), (3, 4)),
    ],
)
def test_an_index_expression_broadcasts_as_numpy(shape, full):
    expression = compile(index(shape, full).replace("/", "//"), "index", "eval")
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    positions = [eval(expression, {"i": i}) for i in range(np.prod(full))]
    np.testing.assert_array_equal(positions, np.broadcast_to(values, full).ravel())


def test_rounding_changes_a_value_by_less_than_half_a_step_of_its_row():
    matrix = constant(5, 40) * np.array([[1e-3], [1], [50], [0], [1e4]], "float32")
    whole, scales = rounded(matrix)
    assert np.abs(whole).max() == 32767
    assert (np.abs(dequantised(matrix) - matrix) <= 0.501 * scales[:, None]).all()


@pytest.mark.parametrize(
    ("positions", "grid"),
    [
        ([3, 4, 5, 6], (1, 4, 3, 0, 1)),
        ([0, 4, 8, 1, 5, 9], (2, 3, 0, 1, 4)),
        ([7], (1, 1, 7, 0, 0)),
        ([0, 1, 3, 4, 7, 8], None),
        ([3, 0, 3, 1], None),
    ],
)
def test_positions_with_equal_steps_need_no_table(positions, grid):
    assert equal_steps(np.array(positions)) == grid
