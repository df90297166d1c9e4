"""Properties of the masked losses, alone and through the trainable model."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TARGETS, TINY, set_fixed_weights

from relple_tf.config import TrainingConfig
from relple_tf.models.catalogue import build
from relple_tf.training.balancing import STRATEGIES
from relple_tf.training.joint import JointModel
from relple_tf.training.losses import masked_losses


@pytest.fixture
def measured():
    y = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y[:5, 1] = np.nan
    y[2, 0] = np.nan
    return y


@pytest.fixture
def predicted():
    return np.random.default_rng(1).normal(size=(8, 3)).astype("float32")


def huber(error, delta):
    size = np.abs(error)
    return np.where(size <= delta, error**2 / 2, delta * (size - delta / 2))


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 100.0])
def test_loss_is_the_mean_huber_loss_of_the_measured_rows(measured, predicted, delta):
    losses, present = masked_losses(measured, predicted, delta)
    row_losses = huber(predicted.astype("float64") - measured, delta)
    np.testing.assert_allclose(losses, np.nanmean(row_losses, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(present, 1)


def test_delta_zero_is_half_the_squared_error(measured, predicted):
    losses, _ = masked_losses(measured, predicted, 0.0)
    expected = np.nanmean((predicted - measured) ** 2, axis=0) / 2
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_rows_without_a_value_do_not_change_the_loss_of_the_others(measured, predicted):
    measured_rows, _ = masked_losses(measured[5:], predicted[5:], 0.5)
    all_rows, _ = masked_losses(measured, predicted, 0.5)
    assert float(all_rows[1]) == pytest.approx(float(measured_rows[1]), rel=1e-6)


def test_a_target_that_no_row_measures_has_loss_zero_and_is_absent(measured, predicted):
    measured[:, 1] = np.nan
    losses, present = masked_losses(measured, predicted, 0.5)
    assert np.asarray(losses)[1] == 0
    np.testing.assert_array_equal(present, [1, 0, 1])


@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_gradient_is_zero_where_nothing_was_measured_and_the_clipped_error_elsewhere(measured, predicted, delta):
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(masked_losses(measured, variable, delta)[0])
    gradient = tape.gradient(total, variable).numpy()
    is_measured = ~np.isnan(measured)
    error = np.where(is_measured, predicted - np.nan_to_num(measured), 0)
    clipped = np.clip(error, -delta, delta) if delta else error
    np.testing.assert_array_equal(gradient[~is_measured], 0)
    np.testing.assert_allclose(gradient, clipped / is_measured.sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_target_missing_in_the_batch_does_not_train_its_task_specific_layers(strategy, spec, features):
    config = replace(TINY, architecture="cgc", expert_kind="cnn", task_experts=2, dropout=0.0)
    network = set_fixed_weights(build(config, spec, keras))
    balancing = STRATEGIES[strategy](3, TrainingConfig(balancing=strategy))
    joint = JointModel(network, network, TARGETS, balancing, 0.5)
    y = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y[:, 1] = np.nan
    layers = [layer for layer in network.layers if layer.trainable_weights]
    variables = [[v.value for v in layer.trainable_variables] for layer in layers]
    with tf.GradientTape() as tape:
        loss = joint.compute_loss(y=y, y_pred=joint(features, training=True))
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    assert np.isfinite(float(loss))
    largest = {
        layer.name: max(float(tf.reduce_max(tf.abs(gradient))) for gradient in layer_gradients)
        for layer, layer_gradients in zip(layers, gradients, strict=True)
    }
    assert np.isfinite(list(largest.values())).all()
    task_specific = {"CEC_cmolc_kg", "head.CEC_cmolc_kg", "level1.CEC_cmolc_kg"}
    for name, gradient in largest.items():
        if any(name.startswith(prefix) for prefix in task_specific):
            assert gradient == 0, name
        else:
            assert gradient > 0, name
