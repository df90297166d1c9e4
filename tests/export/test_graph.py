"""The list of operators: NumPy gives the output of LiteRT for each; an unknown operator is refused by name."""

import numpy as np
import pytest
from bundle_fixtures import IGNORE_WARNINGS
from graph_cases import CHANNELS, STEPS, case_file, constant, functions

from export.convert.conversion import converted
from export.graph.interpreter import run
from export.graph.operator_list import LSTM, OPERATORS, OperatorList
from export.graph.reading import read
from relple_tf.errors import InputError
from relple_tf.prediction.litert import LiteRtModel

pytestmark = list(IGNORE_WARNINGS)

NAMES = [*functions(), LSTM]


@pytest.fixture(scope="module")
def file():
    return case_file()


@pytest.fixture(scope="module")
def model(file):
    return read(file[0])


@pytest.fixture(scope="module")
def cases(file, model):
    content, name_of = file
    x = constant(3, STEPS, CHANNELS, seed=9)
    expected, _ = LiteRtModel(content, resolver="BUILTIN_REF").run({"x": x})
    received = [run(model, {"x": scan}) for scan in x]
    return {
        name: (np.stack([row[output][0] for row in received]), expected[output]) for output, name in name_of.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_numpy_gives_the_output_of_litert(cases, name):
    received, expected = cases[name]
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=2e-6)


def test_the_file_of_cases_holds_every_operator(model):
    assert {operator.name for operator in model.operators} == set(OPERATORS)


def test_aliases_hold_the_values_of_their_tensor(model):
    x = constant(STEPS, CHANNELS)
    every = {str(index): index for operator in model.operators for index in (*operator.inputs, operator.output)}
    values = run(OperatorList(model.tensors, model.operators, model.inputs, every), {"x": x})
    assert model.aliases
    for index, (root, offset) in model.aliases.items():
        size = model.tensors[index].size
        source = values.get(str(root), x)
        np.testing.assert_array_equal(values[str(index)].ravel(), source.ravel()[offset : offset + size])


def test_an_unknown_operator_is_refused_by_name():
    import tensorflow as tf

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 4), tf.float32, name="x")])
    def sine(x):
        return {"y": tf.sin(x)}

    with pytest.raises(InputError, match=r"^operator SIN: expected one of ABS, .*, received SIN; leave out"):
        read(converted(sine, []))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda tf, x: tf.nn.relu6(x + 1.0), "operator ADD: activation 3 is not supported"),
        (
            lambda tf, x: tf.nn.conv2d(x, constant(2, 2, 1, 1), 1, "VALID"),
            "operator CONV_2D: expected a convolution along",
        ),
    ],
)
def test_an_option_that_is_not_supported_is_refused(function, message):
    import tensorflow as tf

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 4, 4, 1), tf.float32, name="x")])
    def layer(x):
        return {"y": function(tf, x)}

    with pytest.raises(InputError, match=message):
        read(converted(layer, []))


def test_8_bit_weights_are_refused():
    import tensorflow as tf

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 64), tf.float32, name="x")])
    def layer(x):
        return {"y": tf.matmul(x, constant(64, 64))}

    def in_8_bits(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    with pytest.raises(InputError, match="operator FULLY_CONNECTED: expected float32 values, received int8"):
        read(converted(layer, [], in_8_bits))
