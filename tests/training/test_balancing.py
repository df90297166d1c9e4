"""The ten balancing strategies against closed forms from the papers, on fixed losses and states."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import TARGETS, TINY, features_of, set_fixed_weights, spec_of
from scipy.special import softmax

from relple_tf.config import ARCHITECTURES, BALANCINGS, TrainingConfig
from relple_tf.models.catalogue import build
from relple_tf.training.balancing import GRADNORM_STEP, STRATEGIES
from relple_tf.training.joint import CustomStepModel, last_shared_layer
from relple_tf.training.losses import masked_losses

LOSSES = np.array([0.5, 2.0, 1.0], "float32")
ONES = np.ones(3, "float32")
STATE = np.array([0.3, -0.2, 0.8], "float32")
CONFIG = TrainingConfig(seed=5, schedule_start=(1.0, 2.0, 0.5), schedule_decay=(0.9, 1.0, 0.8))


def strategy_of(name, config=CONFIG):
    strategy = STRATEGIES[name](3, config)
    for state in ("log_variance", "sigma", "log_scale", "logits", "current_weights"):
        if hasattr(strategy, state):
            getattr(strategy, state).assign(STATE if state != "current_weights" else STATE**2)
    return strategy


def joint_of(strategy, losses=LOSSES, present=ONES):
    """The joint loss, its derivative with respect to the losses, and with respect to the trained state."""
    variable = tf.Variable(losses)
    state = [v.value for v in strategy.trainable_variables]
    with tf.GradientTape() as tape:
        total = strategy(variable, present)
    loss_gradient, state_gradients = tape.gradient(total, (variable, state))
    return float(total), np.asarray(loss_gradient), [np.asarray(gradient) for gradient in state_gradients]


def random_weights():
    logits = keras.random.normal((3,), seed=keras.random.SeedGenerator(CONFIG.seed))
    return 3 * softmax(np.asarray(logits))


def famo_weights():
    z = softmax(STATE)
    c = 1 / np.sum(z / LOSSES)
    return c * z / LOSSES, c * np.sum(z * np.log(LOSSES))


def linear(weights):
    return weights, np.sum(weights * LOSSES)


CASES = {
    "equal": lambda: linear(ONES),
    # Kendall et al. 2018, Eq. 7 with s = log sigma^2.
    "uncertainty": lambda: (np.exp(-STATE) / 2, np.sum(np.exp(-STATE) / 2 * LOSSES + STATE / 2)),
    # Liebel & Koerner 2018, Eq. 4.
    "revised_uncertainty": lambda: (
        1 / (2 * STATE**2),
        np.sum(LOSSES / (2 * STATE**2) + np.log(1 + STATE**2)),
    ),
    # Tang et al. 2020, Eq. 10, at t = 0.
    "ple_schedule": lambda: linear(np.array([1.0, 2.0, 0.5])),
    # Liu, Johns, Davison 2019: weights are equal in the first two epochs.
    "dwa": lambda: linear(ONES),
    # Lin et al. 2022.
    "rlw": lambda: linear(random_weights()),
    # Chennupati et al. 2019: log of the geometric mean.
    "geometric": lambda: (1 / (3 * LOSSES), np.log(np.prod(LOSSES) ** (1 / 3))),
    # Liu et al. 2021, IMTL-L: exp(s) L - s.
    "imtl_l": lambda: (np.exp(STATE), np.sum(np.exp(STATE) * LOSSES - STATE)),
    # Liu et al. 2023, Algorithm 1: z / L, normalised by c.
    "famo": famo_weights,
    # Chen et al. 2018, Eq. 1.
    "gradnorm": lambda: linear(STATE**2),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_joint_loss_and_weights_equal_the_closed_form(name):
    weights, total = CASES[name]()
    strategy = strategy_of(name)
    got, gradient, _ = joint_of(strategy)
    assert got == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(gradient, weights, rtol=1e-5)
    np.testing.assert_allclose(strategy.weights_used, weights, rtol=1e-5)


def test_config_and_cases_list_exactly_the_strategies():
    assert tuple(STRATEGIES) == BALANCINGS
    assert set(CASES) == set(STRATEGIES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_weights_used_are_the_derivative_of_the_joint_loss_if_a_target_is_absent(name):
    strategy = strategy_of(name)
    losses, present = LOSSES * [1, 0, 1], np.array([1, 0, 1], "float32")
    total, gradient, state_gradients = joint_of(strategy, losses, present)
    assert np.isfinite(total)
    assert gradient[1] == 0
    np.testing.assert_allclose(strategy.weights_used, gradient, rtol=1e-5)
    assert (gradient[[0, 2]] > 0).all()
    for state_gradient in state_gradients:
        assert state_gradient[1] == 0
        assert np.isfinite(state_gradient).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_batch_without_any_value_has_loss_and_gradients_zero(name):
    total, gradient, state_gradients = joint_of(strategy_of(name), 0 * LOSSES, 0 * ONES)
    assert total == 0
    np.testing.assert_array_equal([gradient, *state_gradients], 0)


@pytest.mark.parametrize(
    ("name", "optimum"),
    {
        "uncertainty": np.log(LOSSES),
        # L / sigma^3 = 2 sigma / (1 + sigma^2), so sigma^4 = L (1 + sigma^2) / 2.
        "revised_uncertainty": np.sqrt((LOSSES / 2 + np.sqrt(LOSSES**2 / 4 + 2 * LOSSES)) / 2),
        "imtl_l": -np.log(LOSSES),
    }.items(),
)
def test_gradient_of_the_trained_state_vanishes_only_at_its_optimum(name, optimum):
    strategy = strategy_of(name)
    (state,) = strategy.trainable_variables
    for step, sign in ((0.0, 0), (0.1, 1), (-0.1, -1)):
        state.assign(optimum + step)
        (gradient,) = joint_of(strategy)[2]
        if sign:
            assert (np.sign(gradient) == sign).all()
        else:
            np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_imtl_l_at_its_optimum_scales_all_losses_to_one():
    strategy = strategy_of("imtl_l")
    strategy.log_scale.assign(-np.log(LOSSES))
    joint_of(strategy)
    np.testing.assert_allclose(np.asarray(strategy.weights_used) * LOSSES, 1, rtol=1e-5)


def test_revised_uncertainty_is_never_negative():
    strategy = strategy_of("revised_uncertainty")
    for sigma in (1e-3, 0.1, 1.0, 10.0):
        strategy.sigma.assign(sigma * ONES)
        assert joint_of(strategy, 1e-6 * LOSSES)[0] >= 0


def epochs(strategy, losses):
    """Weights used in each epoch, for epochs of two batches with these mean losses."""
    used = []
    for epoch, mean in enumerate(np.asarray(losses, "float32")):
        for factor in (0.5, 1.5):
            strategy(factor * mean, ONES)
        used.append(np.asarray(strategy.weights_used))
        strategy.end_epoch(epoch)
    return used


def test_ple_schedule_decays_per_epoch():
    for t, used in enumerate(epochs(strategy_of("ple_schedule"), [LOSSES] * 4)):
        np.testing.assert_allclose(used, [0.9**t, 2.0, 0.5 * 0.8**t], rtol=1e-6)


def test_ple_schedule_starts_at_one_and_decays_by_a_hundredth_by_default():
    used = epochs(STRATEGIES["ple_schedule"](3, TrainingConfig()), [LOSSES] * 3)
    np.testing.assert_allclose(used[2], 0.99**2 * ONES, rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_dwa_is_equal_for_two_epochs_then_follows_the_ratio_of_the_last_two(temperature):
    means = np.array([[4.0, 1.0, 2.0], [2.0, 1.0, 3.0], [1.0, 0.9, 1.0], [1.0, 1.0, 1.0]])
    strategy = STRATEGIES["dwa"](3, TrainingConfig(dwa_temperature=temperature))
    used = epochs(strategy, means)
    np.testing.assert_allclose(used[:2], 1, rtol=1e-6)
    for epoch in (2, 3):
        ratio = means[epoch - 1] / means[epoch - 2]
        np.testing.assert_allclose(used[epoch], 3 * softmax(ratio / temperature), rtol=1e-5)


def test_epoch_means_count_only_the_batches_that_measured_a_target():
    strategy = strategy_of("dwa")
    strategy(np.array([1.0, 4.0, 1.0], "float32"), ONES)
    strategy(np.array([3.0, 0.0, 2.0], "float32"), np.array([1, 0, 1], "float32"))
    strategy.end_epoch(0)
    np.testing.assert_allclose(strategy.last_losses, [2.0, 4.0, 1.5])
    np.testing.assert_array_equal([strategy.loss_sum, strategy.batch_count], 0)


def test_rlw_sums_to_k_differs_between_batches_and_repeats_with_the_seed():
    weights = []
    for seed in (1, 1, 2):
        strategy = STRATEGIES["rlw"](3, TrainingConfig(seed=seed))
        weights.append([joint_of(strategy)[1] for _ in range(3)])
    np.testing.assert_allclose(np.sum(weights, axis=2), 3, rtol=1e-6)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (np.array(weights[0]) != np.array(weights[2])).all()
    assert (weights[0][0] != weights[0][1]).all()


@pytest.mark.parametrize("name", ["geometric", "famo"])
def test_the_joint_gradient_does_not_depend_on_the_units_of_a_loss(name):
    """The joint gradient is sum w_i dL_i. Other units scale dL_i and L_i, so the ratios of w_i L_i must be constant."""
    units = np.array([10.0, 1.0, 0.1], "float32")
    fractions = []
    for losses in (LOSSES, LOSSES * units):
        weighted = joint_of(strategy_of(name), losses)[1] * losses
        fractions.append(weighted / weighted.sum())
    np.testing.assert_allclose(*fractions, rtol=1e-5)


def test_famo_weighted_losses_are_in_the_ratio_of_z():
    """The weights are proportional to z / L (Liu et al. 2023)."""
    weights = joint_of(strategy_of("famo"))[1]
    weighted = weights * LOSSES
    np.testing.assert_allclose(weighted / weighted.sum(), softmax(STATE), rtol=1e-5)
    assert weights.sum() == pytest.approx(1, rel=1e-5)


FACTORS = np.array([0.5, 1.0, 0.9], "float32")
"""Losses after a step, as factors of those before it."""


def test_famo_raises_the_logits_of_targets_whose_loss_decreased_less():
    strategy = STRATEGIES["famo"](3, TrainingConfig())
    strategy.update_in_step(LOSSES, LOSSES * FACTORS, ONES)
    logits = np.asarray(strategy.logits)
    assert logits[0] < 0 < logits[2]
    assert logits[0] < 0 < logits[1]


def test_famo_is_algorithm_1_with_adam():
    config = TrainingConfig(famo_learning_rate=0.03, famo_weight_decay=0.02)
    strategy = STRATEGIES["famo"](3, config)
    strategy.logits.assign(STATE)
    logits, mean, square = STATE.astype("float64"), 0.0, 0.0
    rng = np.random.default_rng(0)
    for step in range(1, 6):
        before, after = (rng.uniform(0.1, 2, 3).astype("float32") for _ in range(2))
        strategy.update_in_step(before, after, ONES)
        z = softmax(logits)
        jacobian = np.diag(z) - np.outer(z, z)
        gradient = jacobian @ (np.log(before) - np.log(after)) + 0.02 * logits
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        logits = logits - 0.03 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        np.testing.assert_allclose(strategy.logits, logits, rtol=2e-4)


def test_famo_does_not_move_the_logit_of_an_absent_target():
    strategy = STRATEGIES["famo"](3, TrainingConfig(famo_weight_decay=0.0))
    present = np.array([1, 0, 1], "float32")
    for _ in range(3):
        strategy.update_in_step(LOSSES * present, LOSSES * present * FACTORS, present)
    logits = np.asarray(strategy.logits)
    assert logits[1] == 0
    assert logits[0] < 0 < logits[2]


def gradnorm_weights(weights, losses, norms, first, present=ONES, alpha=1.5):
    """Weights of GradNorm after a step from `weights`."""
    strategy = STRATEGIES["gradnorm"](3, TrainingConfig(gradnorm_alpha=alpha))
    strategy.current_weights.assign(weights)
    strategy.first_losses.assign(first)
    strategy.update_in_step(*(np.asarray(a, "float32") for a in (losses, norms, present)))
    return np.asarray(strategy.current_weights, "float64")


def test_gradnorm_makes_a_gradient_step_on_equation_2():
    weights, norms, first = np.array([1.2, 0.9, 0.9]), np.array([2.0, 1.0, 4.0]), 2 * LOSSES
    losses = first * [0.5, 1.0, 0.25]
    sizes = weights * norms
    rate = np.array([0.5, 1.0, 0.25]) / np.mean([0.5, 1.0, 0.25])
    # d/dw_i |w_i n_i - mean r^alpha| with the mean held fixed, scaled by the largest norm.
    gradient = np.sign(sizes - sizes.mean() * rate**1.5) * norms / 4.0
    unscaled = weights - GRADNORM_STEP * gradient
    expected = 3 * unscaled / unscaled.sum()
    np.testing.assert_allclose(gradnorm_weights(weights, losses, norms, first), expected, rtol=1e-5)
    assert GRADNORM_STEP == 0.025


def test_gradnorm_weights_sum_to_k():
    rng = np.random.default_rng(0)
    for _ in range(5):
        weights = gradnorm_weights(*rng.uniform(0.1, 3, (4, 3)))
        assert weights.sum() == pytest.approx(3, rel=1e-5)


def test_gradnorm_equalises_the_gradient_norms_of_targets_that_train_equally_fast():
    norms = np.array([4.0, 1.0, 2.0])
    weights = ONES
    for _ in range(300):
        weights = gradnorm_weights(weights, LOSSES, norms, LOSSES)
    # The weights oscillate around the optimum by a step.
    np.testing.assert_allclose(weights * norms, (weights * norms).mean(), rtol=0.1)


def test_gradnorm_weighs_a_target_more_if_its_loss_decreased_less():
    weights = gradnorm_weights(ONES, [0.2, 1.0, 0.6], ONES, ONES)
    assert weights[0] < weights[2] < weights[1]
    np.testing.assert_allclose(gradnorm_weights(ONES, [0.2, 1.0, 0.6], ONES, ONES, alpha=0.0), 1, rtol=1e-5)


def test_gradnorm_stores_the_first_measured_loss():
    strategy = STRATEGIES["gradnorm"](3, TrainingConfig())
    present = np.array([1, 0, 1], "float32")
    strategy.update_in_step(LOSSES * present, ONES, present)
    np.testing.assert_array_equal(strategy.first_losses, LOSSES * present)
    strategy.update_in_step(2 * LOSSES, ONES, ONES)
    np.testing.assert_array_equal(strategy.first_losses, LOSSES * [1, 2, 1])


def test_gradnorm_ignores_an_absent_target():
    present = np.array([1, 0, 1], "float32")
    weights = gradnorm_weights(ONES, [0.5, 0.0, 1.0], [1.0, 0.0, 1.0], ONES, present)
    # Only the scaling to a sum of K changes it; the other two change in opposite directions.
    assert weights[1] == pytest.approx(1, abs=1e-5)
    assert weights[0] < 1 < weights[2]


LAST_SHARED = {
    "shared_bottom": "shared.bottom",
    "mmoe": "level1.task-shared.expert",
    "cgc": "level1.task-shared.expert",
    "ple": "level2.task-shared.expert",
    "rs_ple": "level2.task-shared.expert",
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_shared_layer_is_the_deepest_that_all_outputs_depend_on(architecture):
    config = replace(TINY, architecture=architecture, expert_kind="cnn", shared_experts=2)
    network = build(config, spec_of(), keras)
    if architecture not in LAST_SHARED:
        with pytest.raises(ValueError, match="no layer is shared"):
            last_shared_layer(network)
    else:
        assert last_shared_layer(network).name.startswith(LAST_SHARED[architecture])


@pytest.fixture
def step():
    """Make (model, x, y) for a strategy; the model is compiled with SGD and runs eagerly."""

    def make(name):
        config = replace(TINY, architecture="cgc", expert_kind="cnn", dropout=0.0)
        spec = spec_of()
        network = set_fixed_weights(build(config, spec, keras))
        model = CustomStepModel(network, network, TARGETS, strategy_of(name), 0.5)
        model.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
        x = features_of(spec)
        y = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
        return model, x, y

    return make


def test_gradnorm_receives_the_gradient_norms_of_the_unweighted_losses(step, monkeypatch):
    model, x, y = step("gradnorm")
    received = []
    monkeypatch.setattr(model.balancing, "update_in_step", lambda *arguments: received.extend(arguments))
    kernel = model.body.get_layer("level1.task-shared.expert0").trainable_weights[0].value
    with tf.GradientTape(persistent=True) as tape:
        losses = tf.unstack(masked_losses(y, model(x), 0.5)[0], num=3)
    norms = [np.linalg.norm(tape.gradient(loss, kernel)) for loss in losses]
    model.train_step((x, y))
    np.testing.assert_allclose(received[0], losses, rtol=1e-5)
    np.testing.assert_allclose(received[1], norms, rtol=1e-5)
    assert len(received) == 3


def test_famo_receives_the_losses_of_the_same_batch_before_and_after_the_step(step, monkeypatch):
    model, x, y = step("famo")
    received = []
    monkeypatch.setattr(model.balancing, "update_in_step", lambda *arguments: received.extend(arguments))
    before = masked_losses(y, model(x), 0.5)[0]
    model.train_step((x, y))
    after = masked_losses(y, model(x), 0.5)[0]
    np.testing.assert_allclose(received[0], before, rtol=1e-5)
    np.testing.assert_allclose(received[1], after, rtol=1e-5)
    assert (np.asarray(before) != np.asarray(after)).all()
