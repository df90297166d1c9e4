"""Recipes, the device files that they make, and the child process that converts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from export_fixtures import TARGETS, fixture_run, fixture_trained  # noqa: F401

from export.convert.conversion import (
    ERROR_MARK,
    ConversionError,
    convert,
    network_file,
    recipe_file,
    run_child,
)
from export.convert.flatbuffer import Builder, operators, packed, parse, signature, type_name
from export.convert.operators import audit, macs, unusual_types
from export.convert.quantise import (
    REPRESENTATIVE_SCANS,
    extreme_rows,
    layer_errors,
    network_for,
    representative_features,
    representative_rows,
)
from export.recipes import DEFAULT, RECIPES, parse_recipes
from export.verify.runtimes import RUNTIMES
from relple_tf.errors import InputError
from relple_tf.models.deployed import T2, Q
from relple_tf.parent_process import PARENT

BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}
REFERENCE = BY_NAME["LiteRT reference"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def float32(trained):
    return recipe_file(trained, RECIPES["float32"])


@pytest.fixture(scope="module")
def int8(trained):
    with pytest.warns(UserWarning, match=r"tf\.lite\.Interpreter is deprecated"):
        return recipe_file(trained, RECIPES["int8"])


@pytest.fixture(scope="module")
def files(trained, float32, int8):
    """Name of a recipe -> its file."""
    with pytest.warns(UserWarning, match=r"tf\.lite\.Interpreter is deprecated"):
        int16 = recipe_file(trained, RECIPES["int16x8"])
    return {"float32": float32, "int8": int8, "int16x8": int16}


def impossible(scan):
    """Kind -> an impossible scan of reflectance."""
    values = {"nan": np.nan, "infinite": np.inf, "minus infinite": -np.inf, "1e30": 1e30, "2": 2.0, "-0.01": -0.01}
    scans = {}
    for band in (0, len(scan) // 2, len(scan) - 1):
        for kind, value in values.items():
            scans[f"{kind} at band {band}"] = np.where(np.arange(len(scan)) == band, np.float32(value), scan)
    levels = {"-1": -1.0, "2": 2.0, "dark": 0.0, "white": 1.0, "constant": 0.4, "nan": np.nan}
    scans |= {f"all {kind}": np.full_like(scan, value) for kind, value in levels.items()}
    return {**scans, "percent": 100 * scan}


def test_every_output_of_an_impossible_scan_is_nan_in_keras(trained):
    scans = impossible(trained.test_scans[0])
    for name, values in trained.outputs(np.stack([*scans.values()])).items():
        assert not {kind for kind, value in zip(scans, values, strict=True) if not np.isnan(value)}, name


@pytest.mark.parametrize("runtime", ["LiteRT", "LiteRT reference", "LiteRT no delegate", "TFLM"])
@pytest.mark.parametrize("name", ["float32", "int8", "int16x8"])
def test_every_output_of_an_impossible_scan_is_nan_in_every_file_on_every_runtime(trained, files, name, runtime):
    """Minimum, maximum and 8-bit operators would turn NaN into numbers."""
    if BY_NAME[runtime].available() is not None:
        pytest.skip(BY_NAME[runtime].available())
    soil = trained.test_scans[0]
    scans = impossible(soil)
    outputs = BY_NAME[runtime].run(files[name], np.stack([*scans.values(), soil]))
    for output, values in outputs.items():
        rows = values.reshape(len(values), -1)
        accepted = {kind for kind, row in zip(scans, rows[:-1], strict=True) if not np.isnan(row).any()}
        assert not accepted, output
        assert np.isfinite(rows[-1]).all(), output


def test_the_check_for_impossible_scans_does_not_change_the_outputs_of_other_scans(trained):
    """Equal bits in Keras, compared with the layers joined without the check."""
    scans = trained.test_scans
    absorbance = trained.absorbance_stage(scans)
    features = trained.channel_stage(absorbance)
    modelled = trained.network(features)
    bands, scores = trained.projections(features)
    t2, q = trained.domain_statistics((bands, scores[0]))
    learned = np.concatenate([modelled[target] for target in TARGETS], axis=1)
    stacked, q = trained.kernels(learned, scores, absorbance, q)
    expected = dict(zip(TARGETS, np.asarray(trained.target_scaling(stacked)).T, strict=True))
    expected |= {T2: np.asarray(t2)[:, 0], Q: np.asarray(q)[:, 0]}
    for name, values in trained.model(scans).items():
        np.testing.assert_array_equal(np.asarray(values)[:, 0], expected[name])


def test_recipes_are_selected_by_name_in_the_given_order():
    assert tuple(recipe.name for recipe in parse_recipes("")) == DEFAULT
    assert [recipe.name for recipe in parse_recipes(" int8, float16")] == ["int8", "float16"]
    assert tuple(parse_recipes("all")) == tuple(RECIPES.values())
    with pytest.raises(InputError, match="--recipes int4 is unknown; choose from float32, "):
        parse_recipes("int8,int4")
    with pytest.raises(InputError, match="names int8 more than once"):
        parse_recipes("int8,int8")


def test_the_float_file_and_keras_have_equal_outputs(trained, float32):
    inputs, outputs = signature(parse(float32))
    assert set(inputs) == {"spectrum"}
    assert set(outputs) == {*TARGETS, T2, Q}
    outputs = REFERENCE.run(float32, trained.test_scans)
    for name, values in trained.test_outputs.items():
        assert outputs[name].shape == values.shape
        np.testing.assert_allclose(outputs[name], values, rtol=1e-3 if name == Q else 1e-4)


def test_in_the_8_bit_file_the_network_is_8_bit_and_everything_else_is_float(int8, float32):
    assert output_types(int8, "UNIDIRECTIONAL_SEQUENCE_LSTM") == {"int8"}
    assert output_types(int8, "CONV_2D") == {"int8", "float32"}  # stem, and derivatives of the front end
    assert output_types(int8, "EXP") == {"float32"}
    assert output_types(float32, "FULLY_CONNECTED") == {"float32"}
    model = parse(int8)
    for tensors in signature(model):
        assert {type_name(model.subgraphs[0].tensors[index]) for index in tensors.values()} == {"float32"}


def output_types(content, kind):
    model = parse(content)
    tensors = model.subgraphs[0].tensors
    return {type_name(tensors[operator.outputs[0]]) for name, operator in operators(model) if name == kind}


def test_float_and_8_bit_files_have_equal_domain_statistics(trained, float32, int8):
    expected, quantised = (REFERENCE.run(content, trained.test_scans) for content in (float32, int8))
    for name in (T2, Q):
        np.testing.assert_array_equal(expected[name], quantised[name])


@pytest.mark.slow
def test_a_child_process_and_this_process_make_equal_bytes(run, int8, tmp_path):
    convert(run, RECIPES["int8"], tmp_path / "int8.tflite", 300.0)
    assert (tmp_path / "int8.tflite").read_bytes() == int8
    assert [path.name for path in tmp_path.iterdir()] == ["int8.tflite"]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", ConversionError, "recipe x: the converter crashed with SIGSEGV"),
        ("import time; time.sleep(60)", ConversionError, "recipe x: no result after 1 s; leave it out of --recipes"),
        ("print('a'); raise SystemExit(3)", ConversionError, "recipe x: a"),
        ("raise ValueError('wide')", ConversionError, "recipe x: ValueError: wide"),
        (
            f"""print('{ERROR_MARK}{{"of_input": true, "message": "no run"}}'); raise SystemExit(1)""",
            InputError,
            "no run",
        ),
    ],
)
def test_every_failure_of_a_child_is_reported_in_one_line(code, kind, message):
    with pytest.raises(InputError) as refusal:
        run_child([sys.executable, "-c", code], "recipe x", 1.0)
    assert type(refusal.value) is kind
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("raised", "kind", "filename"),
    [
        ("OSError(28, 'No space left on device', '/data/x.tflite')", OSError, "/data/x.tflite"),
        ("OSError(28, 'No space left on device')", OSError, None),
        ("OSError('no number')", ConversionError, None),
        ("ValueError('wide')", ConversionError, None),
    ],
)
def test_a_write_error_in_a_child_becomes_the_same_error_here(raised, kind, filename):
    """So that the command can report the file."""
    code = f"from export.convert.conversion import main_of_child\ndef do(job): raise {raised}\nmain_of_child(do)"
    with pytest.raises(kind) as error:
        run_child([sys.executable, "-c", code, "{}"], "recipe x", 60.0)
    if kind is OSError:
        assert (error.value.errno, error.value.filename) == (28, filename)


CONVERTING = """
import os, pathlib, sys, time
from export.convert.conversion import main_of_child
def do(job):
    pathlib.Path(job["file"]).write_text(str(os.getpid()))
    time.sleep(600)
main_of_child(do)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_conversion_ends_when_its_parent_is_killed(tmp_path):
    file = tmp_path / "pid"
    job = json.dumps({"file": str(file)})
    command = f"[sys.executable, '-c', {CONVERTING!r}, {job!r}]"
    code = f"import sys; from export.convert.conversion import run_child; run_child({command}, 'recipe x', 600)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        assert wait_until(lambda: file.exists() and file.read_text())
        assert alive(int(file.read_text()))
        parent.kill()
    assert wait_until(lambda: not alive(int(file.read_text())))


@pytest.mark.parametrize("call", ["runtimes.child()", "conversion.main_of_child(print)"])
def test_a_child_without_its_parent_does_no_work(call):
    code = f"from export.convert import conversion; from export.verify import runtimes; {call}"
    environment = os.environ | {PARENT: str(os.getppid()), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "{}"]
    child = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (child.returncode, child.stdout, child.stderr) == (1, "", "")


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_weights_are_aligned_to_16_bytes(float32, int8):
    for content in (float32, int8):
        root = schema.Model.GetRootAs(content, 0)
        start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
        offsets = [
            root.Buffers(i).DataAsNumpy().__array_interface__["data"][0] - start
            for i in range(root.BuffersLength())
            if root.Buffers(i).DataLength()
        ]
        assert len(offsets) > 20
        assert not any(offset % 16 for offset in offsets)


def test_equal_weights_are_stored_once_and_only_inputs_and_outputs_have_names(float32):
    model = parse(float32)
    weights = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(set(weights)) == len(weights)
    names = [tensor.name for tensor in model.subgraphs[0].tensors if tensor.name]
    assert sorted(names) == sorted(name.encode() for name in ("spectrum", *TARGETS, T2, Q))


def changed(content, kind, **fields):
    """The file with another code for all operators of a kind."""
    model = parse(content)
    index = next(operator.opcodeIndex for name, operator in operators(model) if name == kind)
    for field, value in fields.items():
        setattr(model.operatorCodes[index], field, value)
    return packed(model)


def test_operators_that_devices_cannot_compute_correctly_are_refused(float32):
    custom = {"builtinCode": schema.BuiltinOperator.CUSTOM, "deprecatedBuiltinCode": 32}
    with pytest.raises(InputError, match="operator FlexErf needs TensorFlow's kernels"):
        audit(changed(float32, "TANH", **custom, customCode="FlexErf"))
    with pytest.raises(InputError, match="operator Mine is not a builtin operator"):
        audit(changed(float32, "TANH", **custom, customCode="Mine"))
    product = schema.BuiltinOperator.BATCH_MATMUL
    with pytest.raises(InputError, match="operator BATCH_MATMUL: 8-bit products"):
        audit(changed(float32, "FULLY_CONNECTED", builtinCode=product, deprecatedBuiltinCode=product))


def test_the_audit_lists_the_operators_that_each_runtime_lacks(float32):
    lacks = audit(float32).lacks
    assert lacks["CompiledModel"] == lacks["LiteRT.js"] == ("UNIDIRECTIONAL_SEQUENCE_LSTM",)
    assert lacks["TFLM"] == ()
    gelu = changed(float32, "TANH", builtinCode=schema.BuiltinOperator.GELU, deprecatedBuiltinCode=127)
    assert audit(gelu).lacks["TFLM"] == ("GELU",)


def test_float_layers_with_8_bit_weights_are_reported(int8):
    model = parse(int8)
    assert unusual_types(model) == []
    tensors, types = model.subgraphs[0].tensors, schema.TensorType
    dense = next(
        operator
        for name, operator in operators(model)
        if name == "FULLY_CONNECTED" and tensors[operator.inputs[1]].type == types.INT8
    )
    tensors[dense.outputs[0]].type = types.FLOAT32
    assert unusual_types(model) == ["FULLY_CONNECTED (float32 with 8-bit weights)"]


def test_macs_of_a_dense_layer_and_a_convolution_are_counted():
    model = schema.ModelT()
    graph = schema.SubGraphT()
    # A dense layer 7 -> 3, and 4 filters of 1 x 5 over 2 channels at 11 positions: 21 + 11 * 40.
    shapes = [(1, 7), (3, 7), (1, 3), (1, 1, 22, 2), (4, 1, 5, 2), (1, 1, 11, 4)]
    graph.tensors = [tensor_of(shape) for shape in shapes]
    graph.operators, model.operatorCodes = [], []
    for position, name in enumerate(("FULLY_CONNECTED", "CONV_2D")):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex = position
        operator.inputs = np.array([3 * position, 3 * position + 1], np.int32)
        operator.outputs = np.array([3 * position + 2], np.int32)
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    model.subgraphs = [graph]
    assert macs(model) == 21 + 11 * 40


def tensor_of(shape):
    tensor = schema.TensorT()
    tensor.shape = np.array(shape, np.int32)
    return tensor


def test_representative_rows_span_the_training_part(trained):
    rows = representative_rows(trained, 12)
    assert len(set(rows.tolist())) == 12
    assert rows.max() < len(trained.train_scans)
    assert len(representative_rows(trained)) == min(REPRESENTATIVE_SCANS, len(trained.train_scans))
    spectra = -np.log10(trained.train_scans)
    spectra = (spectra - spectra.mean(axis=1, keepdims=True)) / spectra.std(axis=1, keepdims=True)
    spread = [np.linalg.norm(np.ptp(spectra[selected], axis=0)) for selected in (rows, np.arange(12))]
    assert spread[0] > spread[1]


def test_a_builder_writes_equal_vectors_once():
    builder = Builder()
    first = builder.CreateNumpyVector(np.array([1, 2], np.int32))
    assert builder.CreateNumpyVector(np.array([1, 2], np.int32)) == first
    assert builder.CreateNumpyVector(np.array([1, 3], np.int32)) != first


@pytest.mark.slow
def test_layer_errors_begin_at_the_layer_that_loses_accuracy(trained):
    content = network_file(trained, network_for(trained, RECIPES["float32"]), RECIPES["float32"])
    features = trained.features(trained.train_scans[:4])
    _, scores = trained.projections(features)
    rows = {"features": features, "view1.scores": np.asarray(scores[0]), "view2.scores": np.asarray(scores[1])}
    assert set(layer_errors(content, content, rows).values()) == {0.0}

    model = parse(content)
    tensors, order = model.subgraphs[0].tensors, list(operators(model))
    changed_layer = next(position for position, (name, _) in enumerate(order) if name == "CONV_2D")
    kernel = model.buffers[tensors[order[changed_layer][1].inputs[1]].buffer]
    kernel.data = np.zeros_like(kernel.data)
    names = [tensors[operator.outputs[0]].name.decode() for _, operator in order]
    errors = layer_errors(content, packed(model), rows)
    assert errors[names[changed_layer]] > 0.1
    assert not any(errors.get(name, 0.0) for name in names[:changed_layer])


def test_quantisation_ranges_extend_beyond_the_training_soils_with_extreme_predictions(trained):
    features, rows = representative_features(trained), extreme_rows(trained)
    outputs = trained.outputs(trained.train_scans)
    assert [outputs[target][row] for target, row in zip(np.repeat(trained.targets, 2), rows, strict=True)] == [
        extreme for target in trained.targets for extreme in (outputs[target].min(), outputs[target].max())
    ]
    np.testing.assert_allclose(
        features[-len(rows) :], 1.5 * trained.features(trained.train_scans[rows]), rtol=1e-6, atol=1e-6
    )
