"""Laws of the LiteRT runner: initial state for every row, outputs by name, no influence of the number of threads."""

import subprocess
import sys

import hand_made
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.convert.flatbuffer import operators, packed, parse, set_signature, signature
from relple_tf.prediction import bundles
from relple_tf.prediction.litert import LiteRtModel

RESOLVERS = ("AUTO", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A .tflite file with a recurrent operator and four outputs."""
    folder = tmp_path_factory.mktemp("hand_made")
    subprocess.run([sys.executable, hand_made.__file__, folder], check=True, capture_output=True, timeout=300)
    return (folder / "float32.tflite").read_bytes()


def outputs_of(model, scans):
    return model.run({"spectrum": scans})[0]


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_the_outputs_of_a_row_do_not_depend_on_earlier_rows(content, resolver):
    scan, other = hand_made.soils()[:1], hand_made.soils()[1:4]
    model = LiteRtModel(content, resolver=resolver)
    first = outputs_of(model, scan)
    together = outputs_of(model, np.concatenate([other, scan, scan]))
    for name, values in first.items():
        assert together[name][3:].tobytes() == 2 * values.tobytes(), name


def test_without_a_reset_the_recurrent_state_persists(content):
    """This shows that the test above can fail."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    model, values = LiteRtModel(content), []
    for _ in range(2):
        interpreter.set_tensor(model.inputs["spectrum"], hand_made.soils()[:1])
        interpreter.invoke()
        values.append(interpreter.get_tensor(model.outputs["pH"]).item())
    assert values[0] != values[1]


def test_outputs_are_matched_by_name_in_any_order_of_the_file(content):
    model = parse(content)
    inputs, outputs = signature(model)
    expected = outputs_of(LiteRtModel(content), hand_made.soils())
    assert set(expected) == set(outputs) == {*hand_made.MODELLED, "T2", "Q"}
    for turn in range(1, len(outputs)):
        names = [*outputs][turn:] + [*outputs][:turn]
        set_signature(model, inputs, {name: outputs[name] for name in names})
        outputs_by_name = outputs_of(LiteRtModel(packed(model)), hand_made.soils())
        for name, values in expected.items():
            np.testing.assert_array_equal(outputs_by_name[name], values)


def test_every_row_has_outputs_and_a_time(content):
    scans = hand_made.soils()
    for count in (0, 1, len(scans)):
        outputs, seconds = LiteRtModel(content).run({"spectrum": scans[:count]})
        assert seconds.shape == (count,)
        assert (seconds > 0).all()
        assert {values.shape for values in outputs.values()} == {(count, 1)}
        assert {values.dtype for values in outputs.values()} == {np.dtype("float32")}


def test_the_tensors_of_the_outputs_equal_the_outputs(content):
    scans = hand_made.soils()
    model = LiteRtModel(content, resolver="BUILTIN_REF", keep_tensors=True)
    tensors = model.tensors({"spectrum": scans}, operator_results(content))
    outputs, _ = model.run({"spectrum": scans})
    assert len(tensors) > len(outputs)
    for name, index in model.outputs.items():
        np.testing.assert_array_equal(tensors[index], outputs[name])


def operator_results(content):
    return [int(operator.outputs[0]) for _, operator in operators(parse(content))]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_several_interpreters_give_the_outputs_of_a_single_interpreter(content, monkeypatch, cores):
    monkeypatch.setattr(bundles.os, "cpu_count", lambda: cores)
    scans = np.concatenate([hand_made.soils()] * 4)
    single = outputs_of(LiteRtModel(content), scans)
    for name, values in bundles.outputs(content, scans).items():
        np.testing.assert_array_equal(values, single[name][:, 0])


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_a_file_that_is_not_a_model_is_refused(resolver):
    with pytest.raises(ValueError, match="not a valid Flatbuffer"):
        LiteRtModel(b"TFL3" * 30, resolver=resolver)
