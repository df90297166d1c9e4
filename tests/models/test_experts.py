"""Laws of the experts, the stem and the towers."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import TINY, copy_weights, set_fixed_weights, spec_of

from relple_tf.config import ARCHITECTURES, EXPERT_KINDS
from relple_tf.models.catalogue import build
from relple_tf.models.experts import attention_pool, spectral_expert, stem, tower


@pytest.mark.parametrize("bands", [5, 12, 13])
@pytest.mark.parametrize("filters", [(3,), (3, 4, 5)])
def test_each_block_of_the_stem_halves_the_sequence(bands, filters):
    out = stem(keras.Input((bands, 2)), replace(TINY, conv_filters=filters), keras, name="s")
    steps = int(np.ceil(bands / 2 ** len(filters)))
    assert out.shape == (None, steps, filters[-1])


def pooled(steps=6, width=4):
    sequence = keras.Input((steps, width))
    model = keras.Model(sequence, attention_pool(sequence, keras, name="pool"))
    return set_fixed_weights(model)


def test_attention_over_equal_steps_is_that_step():
    step = np.random.default_rng(0).normal(size=(3, 1, 4)).astype("float32")
    np.testing.assert_allclose(pooled()(step.repeat(6, axis=1)), step[:, 0], atol=1e-6)


def test_attention_does_not_depend_on_the_order_of_steps():
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
    np.testing.assert_allclose(pooled()(x[:, ::-1]), pooled()(x), atol=1e-6)


def test_attention_with_a_zero_query_is_the_mean():
    model = pooled()
    query = model.get_layer("pool.query")
    query.set_weights([np.zeros_like(query.get_weights()[0])])
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
    np.testing.assert_allclose(model(x), x.mean(axis=1), atol=1e-6)


def test_attention_with_a_large_query_selects_one_step():
    model = pooled()
    query = model.get_layer("pool.query")
    query.set_weights([1e4 * query.get_weights()[0]])
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
    distance = np.abs(np.asarray(model(x))[:, None] - x).max(axis=2)
    np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-5)


@pytest.mark.parametrize("kind", EXPERT_KINDS)
def test_expert_reads_both_paths_and_is_never_negative(kind):
    local, scores = keras.Input((6, 4)), keras.Input((5,))
    config = replace(TINY, expert_kind=kind)
    model = keras.Model([local, scores], spectral_expert(local, scores, config, keras, name="e"))
    set_fixed_weights(model)
    draw = np.random.default_rng(0)
    x, z = (draw.normal(size=(20, *size)).astype("float32") for size in ((6, 4), (5,)))
    out = np.asarray(model([x, z]))
    assert out.shape == (20, config.expert_units)
    assert out.min() == 0 < out.max()
    assert np.abs(np.asarray(model([x + 1, z])) - out).max() > 1e-3
    assert np.abs(np.asarray(model([x, z + 1])) - out).max() > 1e-3


def test_tower_contains_a_linear_calibration():
    stream, scores = keras.Input((5,)), keras.Input((6,))
    model = keras.Model([stream, scores], tower(stream, scores, TINY, keras, target="pH"))
    kernel, bias = model.get_layer("pH").get_weights()
    kernel[: TINY.tower_units] = 0
    model.get_layer("pH").set_weights([kernel, bias])
    draw = np.random.default_rng(0)
    x, z = (draw.normal(size=(4, size)).astype("float32") for size in (5, 6))
    np.testing.assert_allclose(model([x, z]), z @ kernel[TINY.tower_units :] + bias, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "cnn_lstm_attention"])
def test_fused_and_unrolled_lstm_give_the_same_outputs(kind, spec, features):
    fused = set_fixed_weights(build(replace(TINY, expert_kind=kind), spec, keras))
    form = replace(TINY, expert_kind=kind, lstm_form="unrolled")
    unrolled = copy_weights(fused, build(form, spec, keras))
    assert unrolled.get_layer("level1.pH.expert0.lstm").unroll
    assert not fused.get_layer("level1.pH.expert0.lstm").unroll
    for name, expected in fused(features).items():
        np.testing.assert_allclose(unrolled(features)[name], expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", ["shared", "per_expert"])
def test_no_two_layers_start_with_the_same_random_weights(architecture, shape):
    config = replace(TINY, architecture=architecture, stem=shape, task_experts=2, shared_experts=2)
    network = build(config, spec_of(), keras)
    # Heads start at 0.
    kernels = [w.tobytes() for w in network.get_weights() if w.ndim > 1 and w.any()]
    assert len(set(kernels)) == len(kernels)


def test_the_seed_determines_the_weights(spec):
    weights = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        weights.append(build(TINY, spec, keras).get_weights())
    for first, second in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(first, second)
    assert any((a != b).any() for a, b in zip(*weights[1:], strict=True))


def test_dropout_acts_in_training_only(spec, features):
    network = set_fixed_weights(build(replace(TINY, dropout=0.5), spec, keras))
    plain, again, noisy = (np.asarray(network(features, training=training)["pH"]) for training in (False, False, True))
    np.testing.assert_array_equal(plain, again)
    assert (noisy != plain).any()
