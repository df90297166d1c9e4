"""Properties of the stack of network and kernel regression."""

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
    EQUAL_WITHIN,
    LARGEST_ERROR,
    WEIGHTS,
    best_weight,
    components,
    scale_heads,
    stacked_by_weight,
)


@pytest.fixture(params=BUILDERS)
def case(request):
    """Network and kernel regression with fixed weights, and features."""
    spec = spec_of()
    network = set_fixed_weights(build(change(CONFIG, model__architecture=request.param).model, spec, keras))
    kernel_regression = KernelRegression(TARGETS, landmarks=5, components=4, name="kernel_regression")
    kernel_regression.build([view.shape for view in with_views(network).output[2]])
    rng = np.random.default_rng(2)
    kernel_regression.set_weights([rng.normal(0, 0.5, weight.shape) for weight in kernel_regression.weights])
    return network, kernel_regression, features_of(spec)


def summed(network, kernel_regression, features):
    """Sum of both outputs, which the deployed model converts to laboratory units."""
    outputs, _, scores = with_views(network)(features)
    from_kernel_regression = np.asarray(kernel_regression(scores))
    return {
        target: np.asarray(outputs[target])[:, 0] + column
        for target, column in zip(TARGETS, from_kernel_regression.T, strict=True)
    }


def test_the_stack_is_the_weighted_mean_of_network_and_kernel_regression(case):
    network, kernel_regression, features = case
    from_network, from_kernel_regression = components(network, kernel_regression, features)
    weights = dict(zip(TARGETS, (0.25, 0.5, 1.0), strict=True))
    scale_heads(network, weights)
    scaled = kernel_regression.scaled([1 - weights[target] for target in TARGETS])
    for column, (target, values) in enumerate(summed(network, scaled, features).items()):
        assert np.abs(from_network[:, column] - from_kernel_regression[:, column]).min() > 1e-3
        weight = weights[target]
        np.testing.assert_allclose(
            values, weight * from_network[:, column] + (1 - weight) * from_kernel_regression[:, column], atol=2e-5
        )


def test_a_weight_of_one_leaves_the_network_unchanged_and_removes_the_kernel_regression(case):
    network, kernel_regression, features = case
    before, from_network = network.get_weights(), outputs_of(network, features)
    scale_heads(network, dict.fromkeys(TARGETS, 1.0))
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for target, values in summed(network, kernel_regression.scaled([0.0] * 3), features).items():
        np.testing.assert_array_equal(values, from_network[target].ravel())


def test_scaling_a_target_changes_only_its_head(case):
    network, _, _ = case
    before = {layer.name: layer.get_weights() for layer in network.layers}
    scale_heads(network, {"pH": 0.5, **dict.fromkeys(set(TARGETS) - {"pH"}, 1.0)})
    changed = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"pH"}


def test_scaling_copies_the_kernel_regression_and_leaves_the_original_unchanged(case):
    network, kernel_regression, features = case
    _, _, scores = with_views(network)(features)
    before = np.asarray(kernel_regression(scores))
    factors = [0.5, 0.0, 2.0]
    np.testing.assert_allclose(kernel_regression.scaled(factors)(scores), before * factors, atol=1e-5)
    np.testing.assert_array_equal(kernel_regression(scores), before)


def test_components_are_the_outputs_of_network_and_kernel_regression(case):
    network, kernel_regression, features = case
    from_network, from_kernel_regression = components(network, kernel_regression, features)
    _, _, scores = with_views(network)(features)
    for column, target in enumerate(TARGETS):
        np.testing.assert_allclose(from_network[:, column], outputs_of(network, features)[target].ravel(), atol=2e-5)
        np.testing.assert_allclose(
            from_kernel_regression[:, column], np.asarray(kernel_regression(scores))[:, column], atol=2e-5
        )


def test_stacked_predictions_go_from_the_kernel_regression_to_the_network():
    from_network, from_kernel_regression = np.random.default_rng(0).normal(size=(2, 5, 3))
    stacked = stacked_by_weight(from_network, from_kernel_regression)
    assert stacked.shape == (len(WEIGHTS), 5, 3)
    np.testing.assert_array_equal(stacked[WEIGHTS.index(0.0)], from_kernel_regression)
    np.testing.assert_array_equal(stacked[WEIGHTS.index(1.0)], from_network)
    np.testing.assert_allclose(stacked[WEIGHTS.index(0.5)], (from_network + from_kernel_regression) / 2, rtol=1e-12)


def stacked_with(*squares):
    """Stacked predictions of four soils measured as 0, with these mean squared errors."""
    return np.sqrt(np.array(squares))[:, None] * [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("squares", "weight"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), 0.5),
        ((0.2, 0.4, 0.6, 0.8, 1.0), 0.0),
        ((1.0, 0.8, 0.6, 0.4, 0.2), 1.0),
        ((1.0, 1 + 0.9 * EQUAL_WITHIN, 1 + 1.1 * EQUAL_WITHIN, 2.0, 2.0), 0.25),
        ((1.0, 1.0, 1 + 0.9 * EQUAL_WITHIN, 2.0, 2.0), 0.5),
        ((2.0, 2.0, 1 + 1.1 * EQUAL_WITHIN, 1 + 0.9 * EQUAL_WITHIN, 1.0), 0.75),
        ((1.0, 2.0, 2.0, 2.0, 1 + 0.9 * EQUAL_WITHIN), 0.0),
    ],
)
def test_of_the_weights_within_the_tolerance_the_nearest_to_a_half_is_chosen(squares, weight):
    assert WEIGHTS == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert WEIGHTS[best_weight(np.zeros(4), stacked_with(*squares))] == weight


def test_a_soil_that_was_not_measured_has_no_influence():
    stacked = stacked_with(0.2, 0.4, 0.6, 0.8, 1.0)
    with_unmeasured = np.hstack([stacked, 100.0 * np.array(WEIGHTS[::-1])[:, None]])
    assert best_weight(np.array([0.0] * 4 + [np.nan]), with_unmeasured) == best_weight(np.zeros(4), stacked) == 0


def test_an_outlying_soil_does_not_determine_the_weight():
    """The network is better for 400 soils; the kernel regression is nearer to the last, with the value -60."""
    measured = np.array([1.0, -1.0] * 200 + [-60.0])
    errors = np.tile(np.array([0.9, 0.7, 0.5, 0.3, 0.1])[:, None], 400)
    stacked = np.hstack([measured[:-1] + errors, 20.0 * np.array(WEIGHTS)[:, None]])
    assert LARGEST_ERROR == 3
    assert WEIGHTS[best_weight(measured, stacked)] == 1.0
    # Without clipping it would choose the kernel regression.
    squares = np.mean((stacked - measured) ** 2, axis=1)
    assert np.argmin(squares) == 0


def test_the_weight_does_not_depend_on_the_unit():
    rng = np.random.default_rng(4)
    measured = rng.lognormal(size=50)
    stacked = measured + rng.normal(size=(len(WEIGHTS), 50)) * np.array([1.0, 1.1, 0.9, 0.8, 0.5])[:, None]
    stacked[:, 7] += 40
    assert best_weight(1000 * measured, 1000 * stacked) == best_weight(measured, stacked) == len(WEIGHTS) - 1


SMALL = change(CONFIG, model__architecture="shared_bottom", training__max_epochs=2)


def test_without_folds_the_validation_rows_choose_the_weights_of_the_deployed_model(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = train(prepared, SMALL, stop_early=True).network
    fitted = fit_model(library, parts, SMALL, show=False)
    from_network, from_kernel_regression = components(network, prepared.kernel_regression, prepared.validation_features)
    for column, scale in enumerate(prepared.scales):
        stacked = np.stack([w * from_network[:, column] + (1 - w) * from_kernel_regression[:, column] for w in WEIGHTS])
        values = library.targets[scale.name][parts == "validation"]
        assert fitted.weights[scale.name] == WEIGHTS[best_weight(values, scale.to_lab(stacked))]
    assert fitted.weights == validation_weights(prepared, network)
    for a, b in zip(fitted.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    outputs = fitted.model.predict(library.spectra, verbose=0)
    from_network, from_kernel_regression = fitted.components(library.spectra)
    for column, scale in enumerate(prepared.scales):
        weight = fitted.weights[scale.name]
        expected = scale.to_lab(weight * from_network[:, column] + (1 - weight) * from_kernel_regression[:, column])
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
