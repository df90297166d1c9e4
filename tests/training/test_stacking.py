"""Properties of the stack of network and kernel regression."""

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, features_of, outputs_of, set_fixed_weights, spec_of

from relple_tf.config import replace as change
from relple_tf.models.catalogue import BUILDERS, build
from relple_tf.models.deployed import with_views
from relple_tf.pipeline import deployed, fit_model, validation_stack
from relple_tf.training.loop import train
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.stacking import (
    EQUAL_WITHIN,
    LARGEST_ERROR,
    WEIGHTS,
    Members,
    best_weight,
    members,
    scale_heads,
)


@pytest.fixture(params=BUILDERS)
def network(request):
    """A network of three targets with fixed weights."""
    return set_fixed_weights(build(change(CONFIG, model__architecture=request.param).model, spec_of(), keras))


def test_a_scaled_network_predicts_the_scaled_values(network):
    features = features_of(spec_of())
    before = outputs_of(network, features)
    weights = dict(zip(TARGETS, (0.25, 0.5, 1.0), strict=True))
    scale_heads(network, weights)
    for target, values in outputs_of(network, features).items():
        np.testing.assert_allclose(values, weights[target] * np.asarray(before[target]), rtol=1e-5, atol=1e-6)


def test_a_weight_of_one_leaves_the_network_unchanged(network):
    before = network.get_weights()
    scale_heads(network, dict.fromkeys(TARGETS, 1.0))
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scaling_a_target_changes_only_its_head(network):
    before = {layer.name: layer.get_weights() for layer in network.layers}
    scale_heads(network, {"pH": 0.5, **dict.fromkeys(set(TARGETS) - {"pH"}, 1.0)})
    changed = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
    }
    assert changed == {"pH"}


def test_stacked_predictions_go_from_the_kernel_regression_to_the_network():
    network, network_views, reference = np.random.default_rng(0).normal(size=(3, 5, 3))
    members = Members(network=network, network_views=network_views, reference=reference, robust_share=0.25)
    kernel_regression = members.kernel_regression
    np.testing.assert_allclose(kernel_regression, 0.75 * network_views + 0.25 * reference)
    np.testing.assert_array_equal(members.differences, network_views - reference)
    stacked = members.stacked_by_weight()
    assert stacked.shape == (len(WEIGHTS), 5, 3)
    np.testing.assert_array_equal(stacked[WEIGHTS.index(0.0)], kernel_regression)
    np.testing.assert_array_equal(stacked[WEIGHTS.index(1.0)], network)
    np.testing.assert_allclose(stacked[WEIGHTS.index(0.5)], (network + kernel_regression) / 2, rtol=1e-12)


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
"""With the views and robust views of CONFIG."""


def test_members_are_network_mean_over_all_views_and_mean_over_the_robust_views(library, parts):
    """Each view has the same weight in the kernel regression."""
    config = change(SMALL, front_end__robust_views=("detrended",))
    prepared = prepare(library, parts, config)
    network = initial_network(prepared, config)
    absorbance = prepared.validation_absorbance
    got = members(network, prepared, absorbance)
    features = prepared.validation_features
    outputs, _, scores = with_views(network)(features)
    of_views = np.asarray(prepared.kernel_regression(scores), "float64")
    reference = np.asarray(prepared.reference(absorbance), "float64")
    robust, views = len(config.front_end.robust_views), len(scores)
    assert robust
    assert views != robust
    np.testing.assert_allclose(got.reference, reference, atol=1e-5)
    np.testing.assert_allclose(
        got.kernel_regression, (views * of_views + robust * reference) / (views + robust), atol=1e-5
    )
    for column, target in enumerate(library.targets):
        np.testing.assert_allclose(got.network[:, column], np.asarray(outputs[target])[:, 0], atol=1e-5)


def test_without_robust_views_there_is_no_reference_and_q_is_that_of_the_domain(library, parts):
    config = change(SMALL, front_end__robust_views=())
    fitted = fit_model(library, parts, config, show=False)
    held = fitted.members(library.spectra)
    assert np.isnan(held.reference).all()
    assert fitted.reliability.agreement is None
    absorbance = fitted.prepared.absorbance_stage(library.spectra)
    network = initial_network(fitted.prepared, config)
    _, bands, scores = with_views(network)(fitted.prepared.channel_stage(absorbance))
    _, q = fitted.prepared.domain_statistics((bands, scores[0]))
    np.testing.assert_allclose(fitted.model.predict(library.spectra, verbose=0)["Q"], q, rtol=2e-3)


def test_without_folds_the_validation_rows_choose_the_weights_of_the_deployed_model(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = train(prepared, SMALL, stop_early=True).network
    fitted = fit_model(library, parts, SMALL, show=False)
    stacked = members(network, prepared, prepared.validation_absorbance).stacked_by_weight()
    for column, scale in enumerate(prepared.scales):
        values = library.targets[scale.name][parts == "validation"]
        best = WEIGHTS[best_weight(values, scale.to_lab(stacked[:, :, column]))]
        assert fitted.weights[scale.name] == best
    weights, differences = validation_stack(parts, prepared, network)
    assert fitted.weights == weights
    np.testing.assert_array_equal(np.isfinite(differences).all(axis=1), parts == "validation")
    for a, b in zip(fitted.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def fitted(library, parts):
    return fit_model(library, parts, change(SMALL, training__cv_folds=2), show=False)


def test_the_deployed_model_is_the_stack_of_its_members(library, fitted):
    outputs = fitted.model.predict(library.spectra, verbose=0)
    held = fitted.members(library.spectra)
    stacked = held.stacked(list(fitted.weights.values()))
    for column, scale in enumerate(fitted.prepared.scales):
        np.testing.assert_allclose(outputs[scale.name][:, 0], scale.to_lab(stacked[:, column]), rtol=1e-4, atol=1e-4)


def test_q_is_the_larger_of_the_domain_statistic_and_the_disagreement(library, fitted):
    """On soils, and on the same soils with a tilt, which T2 and Q of the network's features hardly notice."""
    prepared, agreement = fitted.prepared, fitted.reliability.agreement
    tilt = 10 ** np.linspace(-0.2, 0.2, library.spectra.shape[1])
    scans = np.concatenate([library.spectra, np.clip(library.spectra * tilt, 0.01, 1)]).astype("float32")
    disagreement = agreement.q(fitted.members(scans).differences)
    absorbance = prepared.absorbance_stage(scans)
    _, bands, scores = with_views(initial_network(prepared, fitted.config))(prepared.channel_stage(absorbance))
    _, q = prepared.domain_statistics((bands, scores[0]))
    q = np.asarray(q)[:, 0]
    assert (disagreement > 1.1 * q).any()
    assert (disagreement < q).any()
    received = fitted.model.predict(scans, verbose=0)["Q"][:, 0]
    np.testing.assert_allclose(received, np.maximum(q, disagreement), rtol=5e-3)


def test_the_disagreement_does_not_depend_on_the_stacking_weights(library, fitted):
    """With the whole weight on the network, too."""
    prepared, agreement = fitted.prepared, fitted.reliability.agreement
    weights = dict.fromkeys(library.targets, 1.0)
    network = fitted.network
    model = deployed(prepared, fitted.config, network, weights, agreement)
    outputs, expected = (each.predict(library.spectra, verbose=0) for each in (model, fitted.model))
    np.testing.assert_allclose(outputs["Q"], expected["Q"], rtol=1e-4)
    held = fitted.members(library.spectra)
    for column, scale in enumerate(prepared.scales):
        np.testing.assert_allclose(outputs[scale.name][:, 0], scale.to_lab(held.network[:, column]), rtol=1e-4)


def test_deploying_changes_neither_network_nor_kernel_regression(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = initial_network(prepared, SMALL)
    before = [network.get_weights(), prepared.kernel_regression.get_weights(), prepared.reference.get_weights()]
    model = deployed(prepared, SMALL, network, dict.fromkeys(library.targets, 0.25), None)
    for kept, layer in zip(before, (network, prepared.kernel_regression, prepared.reference), strict=True):
        for a, b in zip(kept, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    learned, expected = (
        each.get_layer(next(iter(library.targets))).get_weights()[0]
        for each in (model.get_layer(SMALL.model.architecture), network)
    )
    np.testing.assert_allclose(learned, 0.25 * expected)
