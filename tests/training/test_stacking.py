"""Laws of the stack of network and kernel regression."""

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, features_of, outputs_of, set_fixed_weights, spec_of

from relple_tf.config import replace as change
from relple_tf.models.catalogue import BUILDERS, build
from relple_tf.models.deployed import with_views
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.pipeline import deployed, fit_model, validation_weights
from relple_tf.training.loop import train
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.stacking import (
    EQUAL,
    LARGEST_ERROR,
    WEIGHTS,
    best_weight,
    components,
    scale_heads,
    stacked_by_weight,
)


@pytest.fixture(params=BUILDERS)
def case(request):
    """A network with weights, machines beside it, and features."""
    spec = spec_of()
    network = set_fixed_weights(build(change(CONFIG, model__architecture=request.param).model, spec, keras))
    machines = KernelRegression(TARGETS, landmarks=5, components=4, name="machines")
    machines.build([view.shape for view in with_views(network).output[2]])
    draw = np.random.default_rng(2)
    machines.set_weights([draw.normal(0, 0.5, weight.shape) for weight in machines.weights])
    return network, machines, features_of(spec)


def summed(network, machines, features):
    """What the whole graph turns into laboratory units."""
    modelled, _, scores = with_views(network)(features)
    similar = np.asarray(machines(scores))
    return {target: np.asarray(modelled[target])[:, 0] + own for target, own in zip(TARGETS, similar.T, strict=True)}


def test_the_stack_is_the_weighted_mean_of_network_and_kernel_regression(case):
    network, machines, features = case
    learned, kernel = components(network, machines, features)
    weights = dict(zip(TARGETS, (0.25, 0.5, 1.0), strict=True))
    scale_heads(network, weights)
    scaled = machines.scaled([1 - weights[target] for target in TARGETS])
    for column, (target, values) in enumerate(summed(network, scaled, features).items()):
        assert np.abs(learned[:, column] - kernel[:, column]).min() > 1e-3
        weight = weights[target]
        np.testing.assert_allclose(values, weight * learned[:, column] + (1 - weight) * kernel[:, column], atol=2e-5)


def test_a_weight_of_one_leaves_the_network_as_it_is_and_silences_the_kernel_regression(case):
    network, machines, features = case
    before, learned = network.get_weights(), outputs_of(network, features)
    scale_heads(network, dict.fromkeys(TARGETS, 1.0))
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for target, values in summed(network, machines.scaled([0.0] * 3), features).items():
        np.testing.assert_array_equal(values, learned[target].ravel())


def test_scaling_one_target_leaves_all_but_its_head(case):
    network, _, _ = case
    before = {layer.name: layer.get_weights() for layer in network.layers}
    scale_heads(network, {"pH": 0.5, **dict.fromkeys(set(TARGETS) - {"pH"}, 1.0)})
    changed = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"pH"}


def test_a_scaled_copy_of_the_kernel_regression_leaves_the_original(case):
    network, machines, features = case
    _, _, scores = with_views(network)(features)
    before = np.asarray(machines(scores))
    factors = [0.5, 0.0, 2.0]
    np.testing.assert_allclose(machines.scaled(factors)(scores), before * factors, atol=1e-5)
    np.testing.assert_array_equal(machines(scores), before)


def test_components_are_the_outputs_of_network_and_kernel_regression(case):
    network, machines, features = case
    learned, kernel = components(network, machines, features)
    _, _, scores = with_views(network)(features)
    for column, target in enumerate(TARGETS):
        np.testing.assert_allclose(learned[:, column], outputs_of(network, features)[target].ravel(), atol=2e-5)
        np.testing.assert_allclose(kernel[:, column], np.asarray(machines(scores))[:, column], atol=2e-5)


def test_stacked_predictions_hold_one_for_each_weight():
    learned, machine = np.random.default_rng(0).normal(size=(2, 5, 3))
    tried = stacked_by_weight(learned, machine)
    assert tried.shape == (len(WEIGHTS), 5, 3)
    np.testing.assert_array_equal(tried[WEIGHTS.index(0.0)], machine)
    np.testing.assert_array_equal(tried[WEIGHTS.index(1.0)], learned)
    np.testing.assert_allclose(tried[WEIGHTS.index(0.5)], (learned + machine) / 2, rtol=1e-12)


def tried_with(*squares):
    """Estimates of four soils measured as 0, with these mean squared errors."""
    return np.sqrt(np.array(squares))[:, None] * [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("squares", "weight"),
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
def test_of_weights_as_good_as_the_best_the_one_nearest_to_a_half_is_taken(squares, weight):
    assert WEIGHTS == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert WEIGHTS[best_weight(np.zeros(4), tried_with(*squares))] == weight


def test_a_soil_that_was_not_measured_has_no_say():
    tried = tried_with(0.2, 0.4, 0.6, 0.8, 1.0)
    wrong = np.hstack([tried, 100.0 * np.array(WEIGHTS[::-1])[:, None]])
    assert best_weight(np.array([0.0] * 4 + [np.nan]), wrong) == best_weight(np.zeros(4), tried) == 0


def test_a_wild_soil_does_not_choose_the_weight():
    """400 soils are best told by the head; the last one, 60 units off, is less far from the machine."""
    measured = np.array([1.0, -1.0] * 200 + [-60.0])
    errors = np.tile(np.array([0.9, 0.7, 0.5, 0.3, 0.1])[:, None], 400)
    tried = np.hstack([measured[:-1] + errors, 20.0 * np.array(WEIGHTS)[:, None]])
    assert LARGEST_ERROR == 3
    assert WEIGHTS[best_weight(measured, tried)] == 1.0
    # Counted in full it would choose the machine.
    squares = np.mean((tried - measured) ** 2, axis=1)
    assert np.argmin(squares) == 0


def test_the_unit_of_the_laboratory_does_not_choose_the_weight():
    draw = np.random.default_rng(4)
    measured = draw.lognormal(size=50)
    tried = measured + draw.normal(size=(len(WEIGHTS), 50)) * np.array([1.0, 1.1, 0.9, 0.8, 0.5])[:, None]
    tried[:, 7] += 40
    assert best_weight(1000 * measured, 1000 * tried) == best_weight(measured, tried) == len(WEIGHTS) - 1


SMALL = change(CONFIG, model__architecture="shared_bottom", training__max_epochs=2)


def test_the_deployed_model_stacks_by_weights_from_the_validation_rows(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = train(prepared, SMALL, stop_early=True).network
    fitted = fit_model(library, parts, SMALL, show=False)
    learned, kernel = components(network, prepared.kernel_regression, prepared.validation_features)
    for column, scale in enumerate(prepared.scales):
        stacked = np.stack([w * learned[:, column] + (1 - w) * kernel[:, column] for w in WEIGHTS])
        values = library.targets[scale.name][parts == "validation"]
        assert fitted.weights[scale.name] == WEIGHTS[best_weight(values, scale.to_lab(stacked))]
    assert fitted.weights == validation_weights(prepared, network)
    for a, b in zip(fitted.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    outputs = fitted.model.predict(library.spectra, verbose=0)
    learned, kernel = fitted.components(library.spectra)
    for column, scale in enumerate(prepared.scales):
        weight = fitted.weights[scale.name]
        expected = scale.to_lab(weight * learned[:, column] + (1 - weight) * kernel[:, column])
        np.testing.assert_allclose(outputs[scale.name][:, 0], expected, rtol=1e-4, atol=1e-4)


def test_deploying_changes_neither_network_nor_kernel_regression(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = initial_network(prepared, SMALL)
    before = [network.get_weights(), prepared.kernel_regression.get_weights()]
    model = deployed(prepared, SMALL, network, dict.fromkeys(library.targets, 0.25))
    for kept, layer in zip(before, (network, prepared.kernel_regression), strict=True):
        for a, b in zip(kept, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    scaled = model.get_layer("kernel_regression").get_weights()
    assert any((a != b).any() for a, b in zip(scaled, before[1], strict=True))
