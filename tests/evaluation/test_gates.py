"""The mean gate weights, tested on networks with a few bands."""

import keras
import numpy as np
import pytest

from relple_tf.config import ARCHITECTURES, ModelConfig
from relple_tf.evaluation.gates import gate_weights, owner_weights, routing_of
from relple_tf.models.catalogue import ROUTINGS, build
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.routing import SHARED

TARGETS = ("N_g_kg", "OC_g_kg", "pH")
# N and OC are relevant to each other; pH is relevant to no other target.
SPEC = NetworkSpec(
    bands=32,
    channels=1,
    components=6,
    views=((0,),),
    targets=TARGETS,
    correlation=np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]),
)
FEATURES = np.random.default_rng(0).normal(size=(40, 32, 1)).astype("float32")


def tiny(architecture, **changes):
    sizes = {"conv_filters": (4,), "conv_kernel": 3, "lstm_units": 2, "expert_units": 4}
    config = ModelConfig(architecture=architecture, expert_kind="cnn", **sizes, **changes)
    keras.utils.set_random_seed(1)
    return config, build(config, SPEC, keras)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("architecture", ROUTINGS)
def test_weights_of_each_gate_sum_to_one(architecture):
    config, network = tiny(architecture)
    config, levels = routing_of(config, SPEC)
    by_level = gate_weights(network, levels, FEATURES)
    assert [set(level) for level in by_level] == [set(gates) for gates in levels]
    for level, gates in zip(by_level, levels, strict=True):
        for stream, weights in level.items():
            assert list(weights) == list(gates[stream])
            assert sum(weights.values()) == pytest.approx(1.0, abs=1e-6)


def test_without_shared_experts_there_is_no_shared_column_and_weights_sum_to_one():
    config, network = tiny("ple", shared_experts=0, task_experts=2)
    tables = owner_weights(config, SPEC, network, FEATURES)
    assert len(tables) == 2
    for table in tables:
        assert SHARED not in table.columns
        np.testing.assert_allclose(table.sum(axis=1), 1.0, rtol=1e-6)


def test_weights_are_the_mean_softmax_of_selector_times_kernel():
    config, network = tiny("cgc", task_experts=2)
    _, levels = routing_of(config, SPEC)
    weights = gate_weights(network, levels, FEATURES)[0]
    for target in TARGETS:
        layer = network.get_layer(f"level1.{target}.logits")
        selector = keras.Model(network.input, layer.input)(FEATURES)
        expected = softmax(np.asarray(selector) @ layer.get_weights()[0]).mean(axis=0)
        # A gate that ignores its input has uniform weights; these are not uniform.
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose([*weights[target].values()], expected, rtol=1e-5)


def test_soft_relevance_multiplies_the_softmax_exponentials():
    config, network = tiny("rs_ple", levels=1, relevance="soft")
    _, levels = routing_of(config, SPEC)
    network.get_layer("level1.N_g_kg.logits").set_weights([np.zeros((6, 4), "float32")])
    weights = gate_weights(network, levels, FEATURES)[0]["N_g_kg"]
    exponentials = np.array([1.0, 1.0, 0.9 + 1e-3, 0.1 + 1e-3])
    np.testing.assert_allclose([*weights.values()], exponentials / exponentials.sum(), rtol=1e-5)


def test_gate_with_zero_logits_is_uniform():
    config, network = tiny("ple")
    _, levels = routing_of(config, SPEC)
    for layer in network.layers:
        if layer.name.endswith(".logits"):
            layer.set_weights([np.zeros_like(layer.get_weights()[0])])
    for level in gate_weights(network, levels, FEATURES):
        for weights in level.values():
            np.testing.assert_allclose([*weights.values()], 1 / len(weights), rtol=1e-6)


def test_experts_that_no_gate_of_a_target_reads_are_nan():
    config, network = tiny("rs_ple")
    first, last = owner_weights(config, SPEC, network, FEATURES)
    unread = [("N_g_kg", "pH"), ("OC_g_kg", "pH"), ("pH", "N_g_kg"), ("pH", "OC_g_kg")]
    for table in (first, last):
        missing = [(row, column) for row in TARGETS for column in table if np.isnan(table[column][row])]
        assert missing == unread
    assert list(first.index) == [*TARGETS, SHARED]
    assert list(last.index) == [*TARGETS]
    np.testing.assert_allclose(first.sum(axis=1), 1.0, atol=1e-6)


def test_weights_of_the_experts_of_an_owner_are_summed():
    config, network = tiny("cgc", task_experts=2, shared_experts=3)
    _, levels = routing_of(config, SPEC)
    (by_expert,) = gate_weights(network, levels, FEATURES)
    (table,) = owner_weights(config, SPEC, network, FEATURES)
    weights = [*by_expert["pH"].values()]
    assert table["pH"]["pH"] == pytest.approx(sum(weights[:2]))
    assert table[SHARED]["pH"] == pytest.approx(sum(weights[2:]))


def test_mmoe_has_only_shared_experts():
    config, network = tiny("mmoe")
    (table,) = owner_weights(config, SPEC, network, FEATURES)
    assert list(table) == [SHARED]
    assert list(table.index) == [*TARGETS]


def test_single_expert_has_weight_one():
    config, network = tiny("cgc", task_experts=0, shared_experts=1)
    _, levels = routing_of(config, SPEC)
    assert gate_weights(network, levels, FEATURES) == [
        {target: {"level1.task-shared.expert0": 1.0} for target in TARGETS}
    ]


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a not in ROUTINGS])
def test_architectures_without_gates_have_no_tables(architecture):
    config, network = tiny(architecture)
    assert owner_weights(config, SPEC, network, FEATURES) == []
    assert not any(layer.name.endswith(".gate") for layer in network.layers)
