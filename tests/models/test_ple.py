"""Laws of CGC, PLE and RS-PLE: which target trains which expert, and the limits in which two of them are equal."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    CORRELATION,
    TARGETS,
    TINY,
    copy_weights,
    features_of,
    outputs_of,
    set_fixed_weights,
    spec_of,
)
from scipy.special import softmax

from relple_tf.models.catalogue import build
from relple_tf.models.relevance import EPSILON
from relple_tf.models.routing import SHARED

SIZES = replace(TINY, expert_kind="cnn", expert_units=8, tower_units=8, task_experts=2)
"""Wide enough that no tower is constant 0 at the fixed weights."""


@pytest.fixture
def features(spec):
    return features_of(spec, rows=40)


def network_of(architecture, spec=None, **changes):
    config = replace(SIZES, architecture=architecture, **changes)
    return set_fixed_weights(build(config, spec or spec_of(), keras))


def largest_gradients(network, target, features, prefixes):
    """Prefix -> largest |d target / d weight| over the layers whose name begins with it."""
    layers = {prefix: [layer for layer in network.layers if layer.name.startswith(prefix)] for prefix in prefixes}
    variables = {p: [v.value for layer in named for v in layer.trainable_variables] for p, named in layers.items()}
    assert all(variables.values())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(features)[target])
    gradients = tape.gradient(total, variables, unconnected_gradients="zero")
    return {prefix: max(float(tf.reduce_max(tf.abs(g))) for g in of_prefix) for prefix, of_prefix in gradients.items()}


def reads(architecture, level, levels, target, owner):
    """Whether the target's output depends on the owner's experts of this level."""
    linked = {target, owner} == {"OC_g_kg", "CEC_cmolc_kg"} and architecture == "rs_ple"
    # Below the last level the shared gate reads the experts of every target into the shared stream.
    return target == owner or linked or level < levels


@pytest.mark.parametrize(("architecture", "levels"), [("cgc", 1), ("ple", 1), ("ple", 2), ("rs_ple", 1), ("rs_ple", 3)])
def test_the_gradient_of_another_targets_experts_is_exactly_zero_unless_relevant(architecture, levels, features):
    network = network_of(architecture, levels=levels)
    experts = {f"level{level}.{owner}.expert": (level, owner) for level in range(1, levels + 1) for owner in TARGETS}
    for target in TARGETS:
        got = largest_gradients(network, target, features, experts)
        for expert, (level, owner) in experts.items():
            if reads(architecture, level, levels, target, owner):
                assert got[expert] > 1e-6, (target, expert)
            else:
                assert got[expert] == 0, (target, expert)


def test_experts_read_only_the_stream_of_their_owner(features):
    network = network_of("rs_ple", levels=2, relevance_tau=0.0)
    owners = (*TARGETS, SHARED)
    for owner in owners:
        for source in owners:
            expert = network.get_layer(f"level2.{owner}.expert0")
            stream = network.get_layer(f"level1.{source}")
            assert (expert.input is stream.output) == (owner == source)


def test_each_gate_reads_the_stream_of_its_owner():
    network = network_of("ple", levels=3)
    whitened = network.get_layer("views.whitened").output
    for owner in (*TARGETS, SHARED):
        assert network.get_layer(f"level1.{owner}.logits").input is whitened
        below = network.get_layer(f"level1.{owner}").output
        assert network.get_layer(f"level2.{owner}.logits").input is below


@pytest.mark.parametrize("architecture", ["cgc", "ple", "rs_ple"])
def test_changing_the_expert_of_one_target_leaves_the_others_bit_for_bit(architecture, features):
    network = network_of(architecture, levels=1)
    before = outputs_of(network, features)
    expert = network.get_layer("level1.OC_g_kg.expert0")
    expert.set_weights([w + 0.1 for w in expert.get_weights()])
    after = outputs_of(network, features)
    changed = {name for name in TARGETS if (before[name] != after[name]).any()}
    linked = {"CEC_cmolc_kg"} if architecture == "rs_ple" else set()
    assert changed == {"OC_g_kg", *linked}


@pytest.mark.parametrize(("m", "s", "count"), [(1, 1, 3), (2, 3, 2), (2, 0, 3)])
def test_shared_gate_has_km_plus_s_inputs(m, s, count):
    spec = spec_of(TARGETS[:count])
    network = network_of("rs_ple", spec, levels=2, task_experts=m, shared_experts=max(s, 1))
    gate = network.get_layer("level1.task-shared.gate")
    assert gate.output.shape == (None, count * m + max(s, 1))
    names = {layer.name for layer in network.layers}
    assert "level2.task-shared.gate" not in names


def gates(network):
    return {
        layer.name: keras.Model(network.input, layer.output) for layer in network.layers if layer.name.endswith(".gate")
    }


@pytest.mark.parametrize("relevance", ["hard", "soft"])
def test_gates_sum_to_one(relevance, features):
    gates_by_name = gates(network_of("rs_ple", levels=2, relevance=relevance))
    assert len(gates_by_name) == 3 + 1 + 3
    for gate in gates_by_name.values():
        np.testing.assert_allclose(np.sum(gate(features), axis=1), 1, atol=1e-6)


def test_ple_of_one_level_is_cgc(features):
    ple = network_of("ple", levels=1)
    cgc = copy_weights(ple, network_of("cgc", levels=3))
    assert cgc.count_params() == ple.count_params()
    for name, expected in outputs_of(ple, features).items():
        np.testing.assert_array_equal(outputs_of(cgc, features)[name], expected)


def test_ple_of_one_level_has_the_initial_weights_of_cgc():
    weights = []
    for architecture in ("cgc", "ple"):
        keras.utils.set_random_seed(5)
        config = replace(SIZES, architecture=architecture, levels=1)
        weights.append(build(config, spec_of(), keras).get_weights())
    for cgc, ple in zip(*weights, strict=True):
        np.testing.assert_array_equal(cgc, ple)


@pytest.mark.parametrize("levels", [1, 2])
def test_rs_ple_with_tau_above_one_is_ple(levels, features):
    spec = spec_of(correlation=np.ones((3, 3)))
    ple = network_of("ple", spec, levels=levels)
    rs_ple = copy_weights(ple, network_of("rs_ple", spec, levels=levels, relevance_tau=1.001))
    assert rs_ple.count_params() == ple.count_params()
    for name, expected in outputs_of(ple, features).items():
        np.testing.assert_array_equal(outputs_of(rs_ple, features)[name], expected)


def test_rs_ple_with_tau_zero_reads_the_experts_of_every_target(features):
    network = network_of("rs_ple", spec_of(correlation=np.eye(3)), levels=1, relevance_tau=0.0)
    for target in TARGETS:
        got = largest_gradients(network, target, features, [f"level1.{owner}.expert" for owner in TARGETS])
        assert min(got.values()) > 1e-6


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_soft_relevance_adds_beta_log_r_to_the_logits(beta):
    features = features_of(spec_of())
    network = network_of("rs_ple", levels=1, relevance="soft", relevance_beta=beta)
    scores = np.asarray(keras.Model(network.input, network.get_layer("views.whitened").output)(features))
    for k, target in enumerate(TARGETS):
        others = [j for j in range(3) if j != k]
        # Two task-specific experts, one shared, two of each other target.
        r = [1 - EPSILON] * 3 + [abs(CORRELATION[k, j]) for j in others for _ in range(2)]
        logits = scores @ network.get_layer(f"level1.{target}.logits").get_weights()[0]
        expected = softmax(logits + beta * np.log(np.array(r) + EPSILON), axis=1)
        got = gates(network)[f"level1.{target}.gate"](features)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_soft_relevance_with_beta_zero_is_hard_relevance_with_tau_zero(features):
    soft = network_of("rs_ple", relevance="soft", relevance_beta=0.0)
    hard = copy_weights(soft, network_of("rs_ple", relevance="hard", relevance_tau=0.0))
    for name, expected in outputs_of(soft, features).items():
        np.testing.assert_array_equal(outputs_of(hard, features)[name], expected)
