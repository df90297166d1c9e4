"""Laws of the mixture of a trained head and its kernel machine."""

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, features_of, outputs_of, problem_of, set_fixed_weights

from relple_tf.config import replace as change
from relple_tf.models.kernel import KernelMachines
from relple_tf.models.lab_units import seeing
from relple_tf.models.network import BUILDERS, build
from relple_tf.training.fit import fit, seed_everything, train
from relple_tf.training.mixing import EQUAL, MOST_ERROR, SHARES, best_share, both, mix, mixtures
from relple_tf.training.preparation import prepare


@pytest.fixture(params=BUILDERS)
def case(request):
    """A network with weights, machines beside it, and features."""
    problem = problem_of()
    network = set_fixed_weights(build(change(CONFIG, model__architecture=request.param).model, problem, keras))
    machines = KernelMachines(TARGETS, landmarks=5, components=4, name="machines")
    machines.build([view.shape for view in seeing(network).output[2]])
    draw = np.random.default_rng(2)
    machines.set_weights([draw.normal(0, 0.5, weight.shape) for weight in machines.weights])
    return network, machines, features_of(problem)


def summed(network, machines, features):
    """What the whole graph turns into laboratory units."""
    modelled, _, scores = seeing(network)(features)
    similar = np.asarray(machines(scores))
    return {target: np.asarray(modelled[target])[:, 0] + own for target, own in zip(TARGETS, similar.T, strict=True)}


def test_estimates_are_mixed_as_the_shares_say(case):
    network, machines, features = case
    learned, machine = both(network, machines, features)
    shares = dict(zip(TARGETS, (0.25, 0.5, 1.0), strict=True))
    mix(network, machines, shares)
    for column, (target, values) in enumerate(summed(network, machines, features).items()):
        assert np.abs(learned[:, column] - machine[:, column]).min() > 1e-3
        share = shares[target]
        np.testing.assert_allclose(values, share * learned[:, column] + (1 - share) * machine[:, column], atol=2e-5)


def test_a_share_of_one_leaves_the_network_as_it_is_and_silences_the_machine(case):
    network, machines, features = case
    before, learned = network.get_weights(), outputs_of(network, features)
    mix(network, machines, dict.fromkeys(TARGETS, 1.0))
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for target, values in summed(network, machines, features).items():
        np.testing.assert_array_equal(values, learned[target].ravel())


def test_mixing_one_target_leaves_all_but_its_head(case):
    network, machines, _ = case
    before = {layer.name: layer.get_weights() for layer in network.layers}
    mix(network, machines, {"pH": 0.5, **dict.fromkeys(set(TARGETS) - {"pH"}, 1.0)})
    changed = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"pH"}


def test_both_are_what_network_and_machines_say(case):
    network, machines, features = case
    learned, machine = both(network, machines, features)
    _, _, scores = seeing(network)(features)
    for column, target in enumerate(TARGETS):
        np.testing.assert_allclose(learned[:, column], outputs_of(network, features)[target].ravel(), atol=2e-5)
        np.testing.assert_allclose(machine[:, column], np.asarray(machines(scores))[:, column], atol=2e-5)


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
    """400 soils are best told by the head; the last one, 60 units off, is less far from the machine."""
    measured = np.array([1.0, -1.0] * 200 + [-60.0])
    errors = np.tile(np.array([0.9, 0.7, 0.5, 0.3, 0.1])[:, None], 400)
    tried = np.hstack([measured[:-1] + errors, 20.0 * np.array(SHARES)[:, None]])
    assert MOST_ERROR == 3
    assert SHARES[best_share(measured, tried)] == 1.0
    # Counted in full it would choose the machine.
    squares = np.mean((tried - measured) ** 2, axis=1)
    assert np.argmin(squares) == 0


def test_the_unit_of_the_laboratory_does_not_choose_the_share():
    draw = np.random.default_rng(4)
    measured = draw.lognormal(size=50)
    tried = measured + draw.normal(size=(len(SHARES), 50)) * np.array([1.0, 1.1, 0.9, 0.8, 0.5])[:, None]
    tried[:, 7] += 40
    assert best_share(1000 * measured, 1000 * tried) == best_share(measured, tried) == len(SHARES) - 1


SMALL = change(CONFIG, model__architecture="shared_bottom", training__max_epochs=2)


def start(library, parts):
    seed_everything(0)
    return prepare(library, parts, SMALL)


def test_fit_mixes_what_train_ends_with_by_shares_from_the_validation_rows(library, parts):
    alone, ready = start(library, parts), start(library, parts)
    train(alone, SMALL, stop_early=True)
    done = fit(ready, SMALL)
    learned, machine = both(alone.network, alone.machines, alone.validation_features)
    for column, scale in enumerate(alone.scales):
        tried = np.stack([s * learned[:, column] + (1 - s) * machine[:, column] for s in SHARES])
        values = library.targets[scale.name][parts == "validation"]
        assert done.shares[scale.name] == SHARES[best_share(values, scale.to_lab(tried))]
    mix(alone.network, alone.machines, done.shares)
    for a, b in zip(done.network.get_weights(), alone.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    machines = done.model.get_layer("kernel_machines")
    for a, b in zip(machines.get_weights(), alone.machines.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shares_that_are_given_are_taken_whatever_the_validation_rows_say(library, parts):
    ready = start(library, parts)
    before = ready.machines.get_weights()
    done = fit(ready, SMALL, shares={"OC_g_kg": 0.0, "CEC_cmolc_kg": 0.0})
    for target in done.shares:
        assert not any(weight.any() for weight in done.network.get_layer(target).get_weights())
    for a, b in zip(done.model.get_layer("kernel_machines").get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
