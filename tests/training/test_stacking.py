"""Properties of the stack of network and kernel regression."""

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, features_of, outputs_of, set_fixed_weights, spec_of

from relple_tf.config import replace as change
from relple_tf.models.catalogue import BUILDERS, build
from relple_tf.models.deployed import with_views
from relple_tf.pipeline import deployed, fit_model
from relple_tf.training.loop import train
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.stacking import (
    PRIOR,
    PRIOR_SOILS,
    StackingWeights,
    fit_weights,
    members,
    scale_heads,
    stack,
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


def fitted_weights(measured, predictions):
    weights = fit_weights(measured, np.asarray(predictions))
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    return np.array(weights)


@pytest.fixture
def unlike():
    """Values of 100,000 soils, and predictions of three members whose errors are independent."""
    rng = np.random.default_rng(0)
    measured = rng.normal(size=100_000)
    return measured, measured + rng.normal(size=(3, 100_000)) * np.array([0.5, 0.25, 0.5])[:, None]


def test_with_many_soils_the_weights_are_those_of_the_smallest_error(unlike):
    """Of independent errors these are proportional to the inverse variances: 4, 16 and 4."""
    np.testing.assert_allclose(fitted_weights(*unlike), [1 / 6, 2 / 3, 1 / 6], atol=0.01)


def test_without_soils_the_weights_are_the_prior_and_few_soils_stay_near_it(unlike):
    measured, predictions = unlike
    np.testing.assert_allclose(fitted_weights(np.full(5, np.nan), predictions[:, :5]), PRIOR, atol=1e-6)
    np.testing.assert_allclose(fitted_weights(np.full(5, np.nan), predictions[:2, :5])[:2], 0.5, atol=1e-6)
    distances = [np.abs(fitted_weights(measured[:n], predictions[:, :n]) - PRIOR).max() for n in (30, 300, 30_000)]
    assert distances == sorted(distances)
    assert distances[0] < 0.05
    assert distances[2] > 0.2


def test_the_weights_minimise_the_penalised_error(unlike):
    """No other weights with sum 1 that are not negative are better."""
    measured, predictions = unlike[0][:200], unlike[1][:, :200]
    weights = fitted_weights(measured, predictions)

    def loss(w):
        return np.sum((w @ predictions - measured) ** 2) + PRIOR_SOILS * np.sum((w - PRIOR) ** 2)

    others = np.random.default_rng(1).dirichlet([1, 1, 1], 500)
    assert all(loss(weights) < loss(0.9 * weights + 0.1 * other) for other in others)


def test_a_member_that_is_worse_than_the_others_everywhere_has_no_weight(unlike):
    measured, predictions = unlike
    worse = measured + 2 * (predictions[1] - measured)
    assert fitted_weights(measured, [worse, predictions[1], predictions[2]])[0] == 0


def test_a_soil_that_was_not_measured_has_no_influence(unlike):
    measured, predictions = unlike[0][:50], unlike[1][:, :50]
    with_unmeasured = np.hstack([predictions, [[100.0], [0.0], [-9.0]]])
    received = fitted_weights(np.append(measured, np.nan), with_unmeasured)
    np.testing.assert_array_equal(received, fitted_weights(measured, predictions))


def test_an_outlying_soil_does_not_determine_the_weights(unlike):
    measured, predictions = unlike[0][:400].copy(), unlike[1][:, :400].copy()
    expected = fitted_weights(measured[1:], predictions[:, 1:])
    measured[0], predictions[:, 0] = -60.0, (20.0, -10.0, -59.0)
    np.testing.assert_allclose(fitted_weights(measured, predictions), expected, atol=0.05)
    errors = predictions - measured
    assert np.argmin(np.sum(errors**2, axis=1)) == 2  # without clipping, the last member would be the best


def test_the_stack_is_the_weighted_mean():
    predictions = np.random.default_rng(2).normal(size=(3, 7))
    received = stack(predictions, StackingWeights(0.5, 0.2, 0.3))
    np.testing.assert_allclose(received, 0.5 * predictions[0] + 0.2 * predictions[1] + 0.3 * predictions[2])
    two = stack(predictions[:2], StackingWeights(0.6, 0.4))
    np.testing.assert_allclose(two, 0.6 * predictions[0] + 0.4 * predictions[1])


SMALL = change(CONFIG, model__architecture="shared_bottom", training__max_epochs=2)
"""With the views and robust views of CONFIG."""


def test_members_are_network_kernel_regression_and_that_of_the_robust_views(library, parts):
    config = change(SMALL, front_end__robust_views=("detrended",))
    prepared = prepare(library, parts, config)
    network = initial_network(prepared, config)
    absorbance = prepared.validation_absorbance
    predictions = members(network, prepared, absorbance).predictions
    outputs, _, scores = with_views(network)(prepared.validation_features)
    expected = (
        np.stack([np.asarray(outputs[target])[:, 0] for target in library.targets], axis=1),
        np.asarray(prepared.kernel_regression(scores)),
        np.asarray(prepared.reference(absorbance)),
    )
    assert predictions.shape == (3, len(absorbance), 2)
    np.testing.assert_allclose(predictions, expected, atol=1e-5)


def test_without_robust_views_there_is_no_reference_and_q_is_that_of_the_domain(library, parts):
    config = change(SMALL, front_end__robust_views=())
    fitted = fit_model(library, parts, config, show=False)
    assert len(fitted.members(library.spectra).predictions) == 2
    assert {weights.robust_regression for weights in fitted.weights.values()} == {0}
    assert fitted.reliability.agreement is None
    absorbance = fitted.prepared.absorbance_stage(library.spectra)
    network = initial_network(fitted.prepared, config)
    _, bands, scores = with_views(network)(fitted.prepared.channel_stage(absorbance))
    _, q = fitted.prepared.domain_statistics((bands, scores[0]))
    np.testing.assert_allclose(fitted.model.predict(library.spectra, verbose=0)["Q"], q, rtol=2e-3)


def test_without_folds_the_validation_rows_determine_the_weights_of_the_deployed_model(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = train(prepared, SMALL, stop_early=True).network
    fitted = fit_model(library, parts, SMALL, show=False)
    predictions = members(network, prepared, prepared.validation_absorbance).predictions
    for column, scale in enumerate(prepared.scales):
        measured = scale.to_model(library.targets[scale.name][parts == "validation"])
        assert fitted.weights[scale.name] == fit_weights(measured, predictions[:, :, column])
    for a, b in zip(fitted.network.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def fitted(library, parts):
    return fit_model(library, parts, change(SMALL, training__cv_folds=2), show=False)


def test_the_deployed_model_is_the_stack_of_its_members(library, fitted):
    outputs = fitted.model.predict(library.spectra, verbose=0)
    predictions = fitted.members(library.spectra).predictions
    for column, scale in enumerate(fitted.prepared.scales):
        stacked = stack(predictions[:, :, column], fitted.weights[scale.name])
        np.testing.assert_allclose(outputs[scale.name][:, 0], scale.to_lab(stacked), rtol=1e-4, atol=1e-4)


def test_q_is_the_larger_of_the_domain_statistic_and_the_disagreement(library, fitted):
    """On soils, and on the same soils with a tilt, which T2 and Q of the network's features hardly notice."""
    prepared, agreement = fitted.prepared, fitted.reliability.agreement
    tilt = 10 ** np.linspace(-0.2, 0.2, library.spectra.shape[1])
    scans = np.concatenate([library.spectra, np.clip(library.spectra * tilt, 0.01, 1)]).astype("float32")
    _, of_views, of_robust = fitted.members(scans).predictions
    disagreement = agreement.q(of_views - of_robust)
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
    weights = dict.fromkeys(library.targets, StackingWeights(1.0, 0.0))
    network = fitted.network
    model = deployed(prepared, fitted.config, network, weights, agreement)
    outputs, expected = (each.predict(library.spectra, verbose=0) for each in (model, fitted.model))
    np.testing.assert_allclose(outputs["Q"], expected["Q"], rtol=1e-4)
    of_network, *_ = fitted.members(library.spectra).predictions
    for column, scale in enumerate(prepared.scales):
        np.testing.assert_allclose(outputs[scale.name][:, 0], scale.to_lab(of_network[:, column]), rtol=1e-4)


def test_deploying_changes_neither_network_nor_kernel_regression(library, parts):
    prepared = prepare(library, parts, SMALL)
    network = initial_network(prepared, SMALL)
    before = [network.get_weights(), prepared.kernel_regression.get_weights(), prepared.reference.get_weights()]
    model = deployed(prepared, SMALL, network, dict.fromkeys(library.targets, StackingWeights(0.25, 0.5, 0.25)), None)
    for kept, layer in zip(before, (network, prepared.kernel_regression, prepared.reference), strict=True):
        for a, b in zip(kept, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    learned, expected = (
        each.get_layer(next(iter(library.targets))).get_weights()[0]
        for each in (model.get_layer(SMALL.model.architecture), network)
    )
    np.testing.assert_allclose(learned, 0.25 * expected)
