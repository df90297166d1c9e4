"""One tf.function per operator of `export.graph`, for the tests of every language that computes the list."""

import numpy as np

from export.convert.conversion import converted
from export.graph.operator_list import LSTM

STEPS, CHANNELS = 7, 4


def constant(*shape, seed=1):
    """Fixed random weights."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def functions():
    """Name of the case -> function of x (1, STEPS, CHANNELS) -> tensor; the name begins with that of the operator."""
    import tensorflow as tf

    row, rows = constant(CHANNELS), constant(STEPS, CHANNELS)
    inputs = {
        "ABS": tf.abs,
        "EXP": tf.exp,
        "LOG": lambda x: tf.math.log(tf.abs(x)),
        "LOGISTIC": tf.sigmoid,
        "NEG": tf.negative,
        "RELU": tf.nn.relu,
        "RSQRT": lambda x: tf.math.rsqrt(tf.abs(x)),
        "SQRT": lambda x: tf.sqrt(tf.abs(x)),
        "SQUARE": tf.square,
        "TANH": tf.tanh,
        "ADD": lambda x: x + row,
        "ADD of a scalar": lambda x: x + 0.3,
        "ADD with RELU": lambda x: tf.nn.relu(x + row),
        "SUB": lambda x: x - rows,
        "SUB of columns": lambda x: x - x[:, :, :1],
        "MUL": lambda x: x * x[:, :1, :],
        "MUL of outer": lambda x: x[:, :, :1] * x[:, :1, :],
        "DIV": lambda x: x / x[:, :1, :],
        "MAXIMUM": lambda x: tf.maximum(x, row),
        "MINIMUM": lambda x: tf.minimum(x, row),
        "SQUARED_DIFFERENCE": lambda x: tf.math.squared_difference(x, row),
        "GREATER": lambda x: tf.where(x > 0.2, x, -1.0),
        "GREATER_EQUAL": lambda x: tf.where(x >= row, x, -1.0),
        "LESS": lambda x: tf.where(x < 0.2, x, -1.0),
        "LESS_EQUAL": lambda x: tf.where(x <= row, x, -1.0),
        "LOGICAL_AND": lambda x: tf.where((x > -0.5) & (x < 0.5), x, np.nan),
        "SELECT_V2": lambda x: tf.where(x[:, :1, :1] > 0, x, row),
        "FULLY_CONNECTED": lambda x: tf.matmul(x, constant(CHANNELS, 5)),
        "FULLY_CONNECTED with bias and RELU": lambda x: tf.nn.relu(tf.matmul(x, constant(CHANNELS, 5)) + row[1]),
        "CONV_2D": lambda x: tf.nn.conv1d(x, constant(3, CHANNELS, 6), 1, "VALID"),
        "CONV_2D same, stride 2": lambda x: tf.nn.conv1d(x, constant(4, CHANNELS, 6), 2, "SAME"),
        "CONV_2D with RELU": lambda x: tf.nn.relu(tf.nn.conv1d(x, constant(5, CHANNELS, 2), 3, "SAME") + row[:2]),
        "MEAN": lambda x: tf.reduce_mean(x, 1),
        "MEAN of all": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
        "SUM": lambda x: tf.reduce_sum(x, -1, keepdims=True),
        "REDUCE_MAX": lambda x: tf.reduce_max(x, 1),
        "REDUCE_MIN": lambda x: tf.reduce_min(x, -1),
        "SOFTMAX": tf.nn.softmax,
        "CONCATENATION": lambda x: tf.concat([x[:, 1:3], tf.square(x)], 1),
        "CONCATENATION of columns": lambda x: tf.concat([x, tf.square(x[:, :, :2])], 2),
        "CONCATENATION to a new axis": lambda x: tf.stack([tf.square(x), x, tf.abs(x)], 2),
        "TRANSPOSE": lambda x: tf.transpose(x, [0, 2, 1]),
        "GATHER": lambda x: tf.gather(x, [3, 0, 3, 1], axis=2),
        "PAD": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]]),
        "RESHAPE": lambda x: tf.reshape(x, [1, 2 * STEPS, CHANNELS // 2]) * 2.0,
        "STRIDED_SLICE": lambda x: x[:, 1:6:2, 1:],
        "STRIDED_SLICE of adjacent rows": lambda x: x[:, 2:5] * 2.0,
        "STRIDED_SLICE of a split": lambda x: tf.concat(tf.split(tf.square(x), 2, axis=2)[::-1], 1),
    }
    assert {name.split()[0] for name in inputs} | {LSTM} == set(all_operators())
    return inputs


def all_operators():
    from export.graph.operator_list import OPERATORS

    return OPERATORS


def lstm_case():
    """LSTM with large weights, so that a cell reaches the clip of its size."""
    import tf_keras

    layer = tf_keras.layers.LSTM(3, return_sequences=True)
    layer.build((1, STEPS, CHANNELS))
    layer.set_weights([3 * constant(*weight.shape, seed=at) for at, weight in enumerate(layer.weights)])
    return layer


def case_file():
    """The .tflite with an output per case, and the names of its outputs -> names of the cases."""
    import tensorflow as tf

    cases = functions() | {LSTM: lstm_case()}
    name_of = {f"case_{number:02}": name for number, name in enumerate(cases)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, STEPS, CHANNELS), tf.float32, name="x")])
    def all_cases(x):
        return {output: tf.identity(cases[name](x)) for output, name in name_of.items()}

    return converted(all_cases, cases[LSTM].variables), name_of
