"""Runtimes and the verification of device files."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from export_fixtures import TARGETS, tiny_run

from export.bundling.stored_run import load
from export.convert.conversion import recipe_file
from export.convert.flatbuffer import parse, signature
from export.recipes import RECIPES
from export.verify.runtimes import ARENA_STEP_BYTES, RUNTIMES, LiteRt, RuntimeRefusal, arena_bytes, run_in_child
from export.verify.verification import IMPOSSIBLE, tolerance_exceeded, verify

BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}
LITERT = tuple(runtime for runtime in RUNTIMES if isinstance(runtime, LiteRt))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load(tiny_run(tmp_path_factory))


@pytest.fixture(scope="module")
def float32(trained, tmp_path_factory):
    file = tmp_path_factory.mktemp("float32") / "float32.tflite"
    file.write_bytes(recipe_file(trained, RECIPES["float32"]))
    return file


@pytest.fixture(scope="module")
def verification(trained, float32):
    return verify(trained, RECIPES["float32"], float32, LITERT)


def test_an_lstm_keeps_its_state_and_every_runtime_resets_it(trained, float32):
    content, scans = float32.read_bytes(), trained.test_scans[:3]
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    inputs, outputs = signature(parse(content))
    predictions = []
    for _ in range(2):
        interpreter.set_tensor(inputs["spectrum"], scans[:1])
        interpreter.invoke()
        predictions.append([interpreter.get_tensor(outputs[target]).item() for target in TARGETS])
    assert predictions[0] != predictions[1]  # without state, the checks below could not fail
    for runtime in (*LITERT, BY_NAME["TFLM"]):
        if runtime.available() is None:
            forward, reverse = runtime.run(content, scans), runtime.run(content, scans[::-1])
            for name, values in forward.items():
                assert values.tobytes() == reverse[name][::-1].tobytes(), runtime.name


def test_errors_and_scores_are_those_of_the_file_on_the_test_part(trained, float32, verification):
    outputs = LITERT[0].run(float32.read_bytes(), trained.test_scans)
    for target in TARGETS:
        figures = verification.runtimes["LiteRT"].targets[target]
        error = np.abs(outputs[target].astype(float) - trained.test_outputs[target])
        measured = trained.test_values[target]
        residual = measured - outputs[target]
        assert figures["largest_error"] == error.max()
        assert figures["largest_error_sd"] == pytest.approx(error.max() / measured.std())
        assert figures["rms_error"] == pytest.approx(np.sqrt((error**2).mean()))
        assert figures["rmse"] == pytest.approx(np.sqrt((residual**2).mean()))
        assert figures["r2"] == pytest.approx(1 - (residual**2).sum() / ((measured - measured.mean()) ** 2).sum())
        assert verification.keras[target]["r2"] == pytest.approx(trained.card["targets"][target]["test"]["r2"])
    assert verification.bytes == float32.stat().st_size
    assert verification.verified == tuple(runtime.name for runtime in LITERT)
    assert all(result.same_bits_twice for result in verification.runtimes.values())


def test_a_file_within_its_tolerances_passes(verification):
    assert tolerance_exceeded(verification, RECIPES["float32"]) is None


@pytest.mark.parametrize(
    ("figure", "value", "message"),
    [
        (
            "largest_error_sd",
            0.5,
            "pH on LiteRT differs from Keras by up to 0.5 test SDs, 0.5 above the tolerance 0.003",
        ),
        ("largest_error_sd", np.nan, "pH on LiteRT differs from Keras by up to nan"),
        ("r2", -3.0, "pH on LiteRT loses 3"),
    ],
)
def test_an_exceeded_tolerance_is_reported_with_runtime_target_and_excess(verification, figure, value, message):
    result = verification.runtimes["LiteRT"]
    targets = result.targets | {"pH": result.targets["pH"] | {figure: value}}
    runtimes = verification.runtimes | {"LiteRT": dataclasses.replace(result, targets=targets)}
    assert message in tolerance_exceeded(dataclasses.replace(verification, runtimes=runtimes), RECIPES["float32"])


def test_the_loss_of_r2_of_few_values_is_not_limited(verification):
    """Errors in SDs are, at any number of values."""
    few = verification.keras | {"pH": verification.keras["pH"] | {"n": 19}}
    result = verification.runtimes["LiteRT"]
    for figures, exceeded in (({"r2": -3.0}, False), ({"r2": -3.0, "largest_error_sd": 0.5}, True)):
        runtimes = {
            "LiteRT": dataclasses.replace(result, targets=result.targets | {"pH": result.targets["pH"] | figures})
        }
        changed = dataclasses.replace(verification, runtimes=runtimes, keras=few)
        assert (tolerance_exceeded(changed, RECIPES["float32"]) is not None) == exceeded


def test_a_file_fails_with_varying_bits_numbers_for_an_impossible_scan_or_no_runtime(verification):
    recipe = RECIPES["float32"]
    runtimes = {
        name: dataclasses.replace(result, same_bits_twice=False) for name, result in verification.runtimes.items()
    }
    message = tolerance_exceeded(dataclasses.replace(verification, runtimes=runtimes), recipe)
    assert "gives different bits when it computes the same scan again" in message
    for status in ("ok", "outside"):
        impossible = verification.impossible | {"dark": {"LiteRT": status}}
        message = tolerance_exceeded(dataclasses.replace(verification, impossible=impossible), recipe)
        assert "LiteRT gives numbers for an impossible scan (dark)" in message
    message = tolerance_exceeded(dataclasses.replace(verification, runtimes={}), recipe)
    assert "no runtime on this computer ran the file" in message


def test_the_outputs_of_the_file_alone_make_impossible_scans_invalid(verification):
    assert set(verification.impossible) == set(IMPOSSIBLE)
    for statuses in verification.impossible.values():
        assert set(statuses) == {runtime.name for runtime in LITERT}
        assert set(statuses.values()) == {"invalid"}


def test_a_runtime_that_lacks_an_operator_does_not_run_the_file(trained, float32):
    result = verify(trained, RECIPES["float32"], float32, (BY_NAME["CompiledModel"],)).runtimes["CompiledModel"]
    assert result.unavailable == "lacks UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert result.targets is None


def test_a_crash_in_a_child_is_a_refusal(float32, trained):
    """CompiledModel crashes or refuses the file; this process continues."""
    with pytest.raises(RuntimeRefusal) as refusal:
        run_in_child("compiled", float32.read_bytes(), trained.test_scans[:1], 0)
    assert "0x" not in str(refusal.value)  # addresses, which vary


EIGHT_BIT = """
import sys
import numpy as np
import tensorflow as tf
weight = tf.constant(np.linspace(-1, 1, 12).reshape(4, 3), tf.float32)
dense = tf.function(lambda spectrum: {"pH": tf.matmul(spectrum, weight)[:, :1]})
signature = dense.get_concrete_function(tf.TensorSpec((1, 4), tf.float32, name="spectrum"))
converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], tf.Module())
converter.optimizations = [tf.lite.Optimize.DEFAULT]
rows = np.random.default_rng(0).normal(size=(20, 1, 4)).astype("float32")
converter.representative_dataset = lambda: ({"spectrum": row} for row in rows)
open(sys.argv[1], "wb").write(converter.convert())
"""


def test_compiled_model_and_interpreter_give_equal_outputs_of_an_8_bit_file(tmp_path):
    """For a file without an LSTM, which CompiledModel refuses."""
    subprocess.run([sys.executable, "-c", EIGHT_BIT, tmp_path / "dense.tflite"], check=True, capture_output=True)
    content = (tmp_path / "dense.tflite").read_bytes()
    rows = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    outputs = BY_NAME["CompiledModel"].run(content, rows)["pH"]
    assert len(set(outputs.tolist())) > 3
    np.testing.assert_array_equal(outputs, LITERT[1].run(content, rows)["pH"])


@pytest.mark.skipif(BY_NAME["TFLM"].available() is not None, reason="tflite-micro is not installed")
def test_the_arena_is_the_smallest_that_suffices(trained, float32):
    content, scans = float32.read_bytes(), trained.test_scans[:1]
    smallest = arena_bytes(content, scans[0])
    outputs = run_in_child("tflm", content, scans, smallest)
    for name, values in BY_NAME["TFLM"].run(content, scans).items():
        np.testing.assert_array_equal(outputs[name], values)
    with pytest.raises(RuntimeRefusal):
        run_in_child("tflm", content, scans, smallest - ARENA_STEP_BYTES)
