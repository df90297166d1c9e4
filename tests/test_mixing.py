"""Laws of the mixture of a trained head and its kernel machine."""

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, features_of, outputs_of, problem_of, set_fixed_weights

from relple_tf.config import replace as change
from relple_tf.models.network import BUILDERS, build
from relple_tf.training.fit import fit, seed_everything, train
from relple_tf.training.mixing import EQUAL, MOST_ERROR, SHARES, best_share, both, mix, mixtures
from relple_tf.training.preparation import prepare


def machines_of(network):
    """Weights for every head that are not those of `set_fixed_weights`."""
    draw = np.random.default_rng(2)
    return {
        target: tuple(draw.normal(0, 0.5, w.shape).astype("float32") for w in network.get_layer(target).get_weights())
        for target in TARGETS
    }


@pytest.fixture(params=BUILDERS)
def case(request):
    """A network with weights, machines for its heads, and features."""
    problem = problem_of()
    config = change(CONFIG, model__architecture=request.param).model
    network = set_fixed_weights(build(config, problem, keras))
    return network, machines_of(network), features_of(problem)


def test_estimates_are_mixed_as_the_shares_say(case):
    network, machines, features = case
    shares = dict(zip(TARGETS, (0.25, 0.5, 0.75), strict=True))
    trained = outputs_of(network, features)
    mix(network, machines, dict.fromkeys(TARGETS, 0.0))
    machine = outputs_of(network, features)
    for target in TARGETS:
        for weights, expected in zip(network.get_layer(target).get_weights(), machines[target], strict=True):
            np.testing.assert_array_equal(weights, expected)
    set_fixed_weights(network)
    mix(network, machines, shares)
    for target, values in outputs_of(network, features).items():
        share = shares[target]
        assert np.abs(trained[target] - machine[target]).min() > 1e-3
        np.testing.assert_allclose(values, share * trained[target] + (1 - share) * machine[target], atol=2e-5)


def test_a_share_of_one_changes_no_bit(case):
    network, machines, _ = case
    before = network.get_weights()
    mix(network, machines, dict.fromkeys(TARGETS, 1.0))
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixing_one_target_leaves_all_but_its_head(case):
    network, machines, _ = case
    before = {layer.name: layer.get_weights() for layer in network.layers}
    mix(network, machines, {"pH": 0.5})
    changed = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"pH"}


def test_both_are_what_the_network_says_with_either_head(case):
    network, machines, features = case
    learned, machine = both(network, machines, features)
    for column, values in enumerate(outputs_of(network, features).values()):
        np.testing.assert_allclose(learned[:, column], values, atol=2e-5)
    mix(network, machines, dict.fromkeys(TARGETS, 0.0))
    for column, values in enumerate(outputs_of(network, features).values()):
        np.testing.assert_allclose(machine[:, column], values, atol=2e-5)


def test_mixtures_hold_one_for_each_share():
    learned, machine = np.random.default_rng(0).normal(size=(2, 5, 3))
    tried = mixtures(learned, machine)
    assert tried.shape == (len(SHARES), 5, 3)
    np.testing.assert_array_equal(tried[SHARES.index(0.0)], machine)
    np.testing.assert_array_equal(tried[SHARES.index(1.0)], learned)
    np.testing.assert_allclose(tried[SHARES.index(0.5)], (learned + machine) / 2, rtol=1e-12)


def tried_with(*squares):
    """Estimates of four soils measured as 0, with these mean squared errors."""
    return np.sqrt(np.array(squares))[:, None] * [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("squares", "share"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), 0.5),
        ((0.2, 0.4, 0.6, 0.8, 1.0), 0.0),
        ((1.0, 0.8, 0.6, 0.4, 0.2), 1.0),
        ((1.0, 1 + 0.9 * EQUAL, 1 + 1.1 * EQUAL, 2.0, 2.0), 0.25),
        ((1.0, 1.0, 1 + 0.9 * EQUAL, 2.0, 2.0), 0.5),
        ((2.0, 2.0, 1 + 1.1 * EQUAL, 1 + 0.9 * EQUAL, 1.0), 0.75),
        ((1.0, 2.0, 2.0, 2.0, 1 + 0.9 * EQUAL), 0.0),
    ],
)
def test_of_shares_as_good_as_the_best_the_one_nearest_to_a_half_is_taken(squares, share):
    assert SHARES == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert SHARES[best_share(np.zeros(4), tried_with(*squares))] == share


def test_a_soil_that_was_not_measured_has_no_say():
    tried = tried_with(0.2, 0.4, 0.6, 0.8, 1.0)
    wrong = np.hstack([tried, 100.0 * np.array(SHARES[::-1])[:, None]])
    assert best_share(np.array([0.0] * 4 + [np.nan]), wrong) == best_share(np.zeros(4), tried) == 0


def test_a_wild_soil_does_not_choose_the_share():
    """Nine soils are best told by the head; the tenth, 100 SD off, is less far from the machine."""
    tried = np.hstack([np.tile(np.array([0.9, 0.7, 0.5, 0.3, 0.1])[:, None], 9), np.array(SHARES)[:, None]])
    measured = np.array([0.0] * 9 + [-100.0])
    assert MOST_ERROR == 3
    assert SHARES[best_share(measured, tried)] == 1.0
    # Counted in full it would choose the machine.
    squares = np.mean((tried - measured) ** 2, axis=1)
    assert np.argmin(squares) == 0


SMALL = change(CONFIG, model__architecture="shared_bottom", training__max_epochs=2)


def start(library, parts):
    seed_everything(0)
    return prepare(library, parts, SMALL)


def test_fit_mixes_what_train_ends_with_by_shares_from_the_validation_rows(library, parts):
    alone, ready = start(library, parts), start(library, parts)
    train(alone, SMALL, stop_early=True)
    done = fit(ready, SMALL)
    learned, machine = both(alone.network, alone.machines, alone.validation_features)
    for column, target in enumerate(alone.problem.targets):
        tried = np.stack([s * learned[:, column] + (1 - s) * machine[:, column] for s in SHARES])
        share = SHARES[best_share(alone.validation_values[:, column].astype("float64"), tried)]
        assert done.shares[target] == share
        heads = zip(alone.network.get_layer(target).get_weights(), alone.machines[target], strict=True)
        for weights, (own, other) in zip(done.network.get_layer(target).get_weights(), heads, strict=True):
            np.testing.assert_array_equal(weights, share * own + (1 - share) * other)
    mix(alone.network, alone.machines, done.shares)
    for a, b in zip(done.network.get_weights(), alone.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shares_that_are_given_are_taken_whatever_the_validation_rows_say(library, parts):
    ready = start(library, parts)
    done = fit(ready, SMALL, shares={"OC_g_kg": 0.0, "CEC_cmolc_kg": 0.0})
    for target in done.shares:
        for weights, expected in zip(done.network.get_layer(target).get_weights(), ready.machines[target], strict=True):
            np.testing.assert_array_equal(weights, expected)
