"""Laws of the runtimes and of what is said about a file."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from export_fixtures import TARGETS, tiny_run

from export.bundling.stored_run import load
from export.convert.conversion import made
from export.convert.flatbuffer import parse, signature
from export.recipes import RECIPES
from export.verify.runtimes import ARENA_STEP_BYTES, RUNTIMES, LiteRt, RuntimeRefusal, arena_bytes, in_child
from export.verify.verification import IMPOSSIBLE, dequantised, quantised, reader, tolerance_exceeded, verify

BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}
LITERT = tuple(runtime for runtime in RUNTIMES if isinstance(runtime, LiteRt))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load(tiny_run(tmp_path_factory))


@pytest.fixture(scope="module")
def float32(trained, tmp_path_factory):
    file = tmp_path_factory.mktemp("float32") / "float32.tflite"
    file.write_bytes(made(trained, RECIPES["float32"]))
    return file


@pytest.fixture(scope="module")
def int8_core(trained, tmp_path_factory):
    file = tmp_path_factory.mktemp("int8_core") / "int8_core.tflite"
    with pytest.warns(UserWarning, match=r"tf\.lite\.Interpreter is deprecated"):
        file.write_bytes(made(trained, RECIPES["int8_core"]))
    return file


@pytest.fixture(scope="module")
def verification(trained, float32):
    return verify(trained, RECIPES["float32"], float32, LITERT)


def test_a_recurrence_keeps_its_state_and_every_runner_resets_it(trained, float32):
    content, scans = float32.read_bytes(), trained.test_scans[:3]
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    inputs, outputs = signature(parse(content))
    answers = []
    for _ in range(2):
        interpreter.set_tensor(inputs["spectrum"], scans[:1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(outputs["pH"]).copy())
    assert answers[0] != answers[1]  # else nothing below is verified
    for runtime in (*LITERT, BY_NAME["TFLM"]):
        if runtime.available() is None:
            forth, back = runtime.run(content, scans), runtime.run(content, scans[::-1])
            for name, values in forth.items():
                assert values.tobytes() == back[name][::-1].tobytes(), runtime.name


def test_figures_are_those_of_the_file(trained, float32, verification):
    found = LITERT[0].run(float32.read_bytes(), trained.test_scans)
    for target in TARGETS:
        figures = verification.runtimes["LiteRT"].targets[target]
        error = np.abs(found[target].astype(float) - trained.test_outputs[target])
        measured = trained.test_values[target]
        residual = measured - found[target]
        assert figures["largest_error"] == error.max()
        assert figures["largest_error_sd"] == pytest.approx(error.max() / measured.std())
        assert figures["rms_error"] == pytest.approx(np.sqrt((error**2).mean()))
        assert figures["rmse"] == pytest.approx(np.sqrt((residual**2).mean()))
        assert figures["r2"] == pytest.approx(1 - (residual**2).sum() / ((measured - measured.mean()) ** 2).sum())
        assert verification.keras[target]["r2"] == pytest.approx(trained.card["targets"][target]["test"]["r2"])
    assert verification.bytes == float32.stat().st_size
    assert verification.verified == tuple(runtime.name for runtime in LITERT)
    assert all(on.same_bits_twice for on in verification.runtimes.values())


def test_a_promise_that_holds_is_not_broken(verification):
    assert tolerance_exceeded(verification, RECIPES["float32"]) is None


@pytest.mark.parametrize(
    ("figure", "value", "said"),
    [
        (
            "largest_error_sd",
            0.5,
            "pH on LiteRT differs from Keras by 0.5 test SDs at most, 0.5 more than the promised",
        ),
        ("largest_error_sd", np.nan, "pH on LiteRT differs from Keras by nan"),
        ("r2", -3.0, "pH on LiteRT loses 3"),
    ],
)
def test_a_broken_promise_names_runtime_target_and_by_how_much(verification, figure, value, said):
    on = verification.runtimes["LiteRT"]
    targets = on.targets | {"pH": on.targets["pH"] | {figure: value}}
    runtimes = verification.runtimes | {"LiteRT": dataclasses.replace(on, targets=targets)}
    assert said in tolerance_exceeded(dataclasses.replace(verification, runtimes=runtimes), RECIPES["float32"])


def test_other_bits_a_plausible_impossible_scan_and_no_runtime_break_the_promise(verification):
    recipe = RECIPES["float32"]
    other = {name: dataclasses.replace(on, same_bits_twice=False) for name, on in verification.runtimes.items()}
    assert "other bits the second time" in tolerance_exceeded(dataclasses.replace(verification, runtimes=other), recipe)
    for state in ("ok", "outside"):
        fooled = verification.impossible | {"dark": {"LiteRT": state}}
        assert "LiteRT gives numbers for a scan that is dark" in tolerance_exceeded(
            dataclasses.replace(verification, impossible=fooled), recipe
        )
    assert "no runtime here ran the file" in tolerance_exceeded(dataclasses.replace(verification, runtimes={}), recipe)


def test_impossible_scans_are_invalid_by_the_file_itself(verification):
    assert set(verification.impossible) == set(IMPOSSIBLE)
    for states in verification.impossible.values():
        assert set(states) == {runtime.name for runtime in LITERT}
        assert set(states.values()) == {"invalid"}


def test_a_runtime_that_lacks_an_operator_is_not_asked(trained, float32):
    on = verify(trained, RECIPES["float32"], float32, (BY_NAME["CompiledModel"],)).runtimes["CompiledModel"]
    assert on.unavailable == "lacks UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert on.targets is None


def test_a_crash_in_a_child_is_a_refusal(float32, trained):
    """CompiledModel dies or refuses, but this process lives."""
    with pytest.raises(RuntimeRefusal) as refusal:
        in_child("compiled", float32.read_bytes(), trained.test_scans[:1], 0)
    assert "0x" not in str(refusal.value)  # what a runtime says while it ends differs every time


INTEGERS = """
import sys
import numpy as np
import tensorflow as tf
weight = tf.constant(np.linspace(-1, 1, 12).reshape(4, 3), tf.float32)
core = tf.function(lambda features: {"pH": tf.matmul(features, weight)[:, :1]})
signature = core.get_concrete_function(tf.TensorSpec((1, 4), tf.float32, name="features"))
converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], tf.Module())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
rows = np.random.default_rng(0).normal(size=(20, 1, 4)).astype("float32")
converter.representative_dataset = lambda: ({"features": row} for row in rows)
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[1], "wb").write(converter.convert())
"""


def test_compiled_model_gives_the_integers_that_the_interpreter_gives(tmp_path):
    """Of a file without a recurrence, which it refuses."""
    subprocess.run([sys.executable, "-c", INTEGERS, tmp_path / "core.tflite"], check=True, capture_output=True)
    content = (tmp_path / "core.tflite").read_bytes()
    rows = np.random.default_rng(1).integers(-128, 128, (6, 4)).astype("int8")
    found = BY_NAME["CompiledModel"].run(content, rows)["pH"]
    assert found.dtype == np.int8
    assert len(set(found.tolist())) > 3
    np.testing.assert_array_equal(found, LITERT[1].run(content, rows)["pH"])


def test_an_8_bit_core_is_read_and_written_by_its_own_scales(trained, int8_core):
    model = parse(int8_core.read_bytes())
    inputs, outputs = signature(model)
    assert set(outputs) == set(TARGETS)
    source = model.subgraphs[0].tensors[inputs["features"]]
    features = trained.features(trained.train_scans)
    steps = quantised(features, source)
    assert steps.dtype == np.int8
    inside = (steps > -128) & (steps < 127)
    assert inside.mean() > 0.99
    error = np.abs(dequantised(steps, source) - features)[inside]
    assert error.max() <= 0.501 * source.quantization.scale[0]
    rows, in_lab_units = reader(trained, RECIPES["int8_core"], model)
    found = LITERT[1].run(int8_core.read_bytes(), rows(trained.test_scans))
    assert {values.dtype for values in found.values()} == {np.dtype(np.int8)}
    checked = verify(trained, RECIPES["int8_core"], int8_core, LITERT[1:2])
    error = np.abs(in_lab_units(found)["pH"] - trained.test_outputs["pH"]).max()
    assert checked.runtimes["LiteRT reference"].targets["pH"]["largest_error"] == pytest.approx(error, rel=1e-5)
    assert error < 0.1 * trained.test_values["pH"].std()


@pytest.mark.skipif(BY_NAME["TFLM"].available() is not None, reason="tflite-micro is not installed")
def test_the_arena_is_the_smallest_that_suffices(trained, int8_core):
    content = int8_core.read_bytes()
    rows, _ = reader(trained, RECIPES["int8_core"], parse(content))
    row = rows(trained.test_scans[:1])
    needed = arena_bytes(content, row[0])
    enough = in_child("tflm", content, row, needed)
    for name, values in BY_NAME["TFLM"].run(content, row).items():
        np.testing.assert_array_equal(enough[name], values)
    with pytest.raises(RuntimeRefusal):
        in_child("tflm", content, row, needed - ARENA_STEP_BYTES)
