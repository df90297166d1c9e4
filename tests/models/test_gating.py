"""Laws of a gate and its mixture of experts."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from relple_tf.models.gating import mixture


def mixed(experts, offsets=None, selector_size=4):
    """Models of the mixture and of its gate on (selector, experts...), and the layer of the map W."""
    selector = keras.Input((selector_size,))
    inputs = [keras.Input((3,)) for _ in range(experts)]
    out = mixture(selector, inputs, keras, name="mix", offsets=offsets)
    model = keras.Model([selector, *inputs], out)
    gate = keras.Model(model.inputs, model.get_layer("mix.gate").output)
    return model, gate, model.get_layer("mix.logits")


def rows(experts, count=5):
    draw = np.random.default_rng(0)
    sizes = (4, *[3] * experts)
    return [draw.normal(size=(count, size)).astype("float32") for size in sizes]


@pytest.mark.parametrize("offsets", [None, [0.0, 0.0, 0.0], [0.0, -1.5, 0.7]])
def test_mixture_is_the_softmax_weighted_sum(offsets):
    model, gate, logits = mixed(3, offsets)
    selector, *experts = rows(3)
    kernel = np.asarray(logits.kernel, np.float64)
    weights = softmax(selector @ kernel + (offsets or 0.0), axis=1)
    expected = sum(weights[:, [i]] * expert for i, expert in enumerate(experts))
    np.testing.assert_allclose(gate([selector, *experts]), weights, atol=1e-6)
    np.testing.assert_allclose(model([selector, *experts]), expected, atol=1e-6)


def test_gates_sum_to_one():
    _, gate, _ = mixed(4)
    np.testing.assert_allclose(np.sum(gate(rows(4)), axis=1), 1.0, atol=1e-6)


def test_gate_is_one_linear_map_without_bias():
    _, _, logits = mixed(3)
    assert [tuple(weight.shape) for weight in logits.weights] == [(4, 3)]


def test_offset_log_r_multiplies_the_odds_by_r():
    without_offset, with_offset = mixed(2)[1:], mixed(2, [0.0, float(np.log(0.25))])[1:]
    with_offset[1].set_weights(without_offset[1].get_weights())
    before, after = (np.asarray(gate(rows(2))) for gate, _ in (without_offset, with_offset))
    np.testing.assert_allclose(after[:, 1] / after[:, 0], 0.25 * before[:, 1] / before[:, 0], rtol=1e-5)


def test_the_mixture_of_equal_experts_is_that_expert():
    model, _, _ = mixed(3)
    selector, expert, *_ = rows(3)
    np.testing.assert_allclose(model([selector, expert, expert, expert]), expert, atol=1e-6)


def test_single_expert_passes_unweighted():
    selector, expert = keras.Input((4,)), keras.Input((3,))
    assert mixture(selector, [expert], keras, name="mix") is expert
