"""Laws of the one LiteRT runner: a fresh state for every row, outputs by name, nothing that depends on threads."""

import subprocess
import sys

import hand_made
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.convert.flatbuffer import operators, packed, parse, set_signature, signature
from relple_tf.prediction import bundles as bundled
from relple_tf.prediction.litert import LiteRtModel

RESOLVERS = ("AUTO", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file with a recurrent operator and four outputs."""
    folder = tmp_path_factory.mktemp("hand_made")
    subprocess.run([sys.executable, hand_made.__file__, folder], check=True, capture_output=True, timeout=300)
    return (folder / "float32.tflite").read_bytes()


def outputs_of(model, scans):
    return model.run({"spectrum": scans})[0]


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_row_has_the_same_bits_whatever_ran_before_it(content, resolver):
    scan, other = hand_made.soils()[:1], hand_made.soils()[1:4]
    model = LiteRtModel(content, resolver=resolver)
    first = outputs_of(model, scan)
    together = outputs_of(model, np.concatenate([other, scan, scan]))
    for name, values in first.items():
        assert together[name][3:].tobytes() == 2 * values.tobytes(), name


def test_without_a_reset_the_recurrence_would_remember(content):
    """Else the test before this one could not fail."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    model, answers = LiteRtModel(content), []
    for _ in range(2):
        interpreter.set_tensor(model.inputs["spectrum"], hand_made.soils()[:1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(model.outputs["pH"]).item())
    assert answers[0] != answers[1]


def test_outputs_go_by_name_whatever_their_order_in_the_file(content):
    model = parse(content)
    inputs, outputs = signature(model)
    expected = outputs_of(LiteRtModel(content), hand_made.soils())
    assert set(expected) == set(outputs) == {*hand_made.MODELLED, "T2", "Q"}
    for turn in range(1, len(outputs)):
        names = [*outputs][turn:] + [*outputs][:turn]
        set_signature(model, inputs, {name: outputs[name] for name in names})
        found = outputs_of(LiteRtModel(packed(model)), hand_made.soils())
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_every_row_has_its_outputs_and_its_seconds(content):
    scans = hand_made.soils()
    for count in (0, 1, len(scans)):
        found, seconds = LiteRtModel(content).run({"spectrum": scans[:count]})
        assert seconds.shape == (count,)
        assert (seconds > 0).all()
        assert {values.shape for values in found.values()} == {(count, 1)}
        assert {values.dtype for values in found.values()} == {np.dtype("float32")}


def test_the_tensors_of_the_outputs_hold_the_outputs(content):
    scans = hand_made.soils()
    model = LiteRtModel(content, resolver="BUILTIN_REF", keep_tensors=True)
    found, (outputs, _) = model.tensors({"spectrum": scans}, every_result(content)), model.run({"spectrum": scans})
    assert len(found) > len(outputs)
    for name, index in model.outputs.items():
        np.testing.assert_array_equal(found[index], outputs[name])


def every_result(content):
    return [int(operator.outputs[0]) for _, operator in operators(parse(content))]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_interpreters_side_by_side_give_the_bits_of_a_single_one(content, monkeypatch, cores):
    monkeypatch.setattr(bundled.os, "cpu_count", lambda: cores)
    scans = np.concatenate([hand_made.soils()] * 4)
    single = outputs_of(LiteRtModel(content), scans)
    for name, values in bundled.outputs(content, scans).items():
        np.testing.assert_array_equal(values, single[name][:, 0])


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_what_is_no_model_is_refused(resolver):
    with pytest.raises(ValueError, match="not a valid Flatbuffer"):
        LiteRtModel(b"TFL3" * 30, resolver=resolver)
