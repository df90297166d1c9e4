"""Properties of preparation and training: only training rows are read; results are repeatable; runs are resumable."""

import itertools
import pickle
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from relple_tf import pipeline
from relple_tf.config import ARCHITECTURES, BALANCINGS, AugmentationConfig, SimulatedConfig, TrainingConfig
from relple_tf.config import replace as change
from relple_tf.errors import InputError
from relple_tf.models.front_end import apply
from relple_tf.pipeline import fit_model
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.training import checkpoint, loop
from relple_tf.training.checkpoint import Checkpoints, load_state, save_state
from relple_tf.training.loop import Batches, Monitor, TraceCache, epoch_count, joint_model, train
from relple_tf.training.preparation import initial_network, prepare

FAST = change(CONFIG, model__architecture="shared_bottom", front_end__views=("snv_d1",))
PAIRS = [
    pytest.param(architecture, balancing, id=f"{architecture}-{balancing}", marks=[pytest.mark.slow] * (number % 2))
    for number, (architecture, balancing) in enumerate(
        itertools.zip_longest(ARCHITECTURES, BALANCINGS, fillvalue="shared_bottom")
    )
]
"""Ten runs that cover all strategies and all architectures; every second is slow."""


def run(library, parts, config, folder=None, data=""):
    checkpoints = None if folder is None else Checkpoints(folder=folder, fingerprint=data)
    return fit_model(library, parts, config, checkpoints=checkpoints, show=False)


def assert_same_weights(trained, expected):
    for a, b in zip(trained.network.get_weights(), expected.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def prepared(library, parts):
    return prepare(library, parts, CONFIG)


def poisoned(library, rows):
    """Replace spectra and values of these rows by NaN."""
    spectra = library.spectra.copy()
    spectra[rows] = np.nan
    targets = {name: np.where(rows, np.nan, values) for name, values in library.targets.items()}
    return replace(library, spectra=spectra, targets=targets)


def test_preparation_reads_only_training_rows(library, parts, prepared):
    other = prepare(poisoned(library, parts != "train"), parts, CONFIG)
    assert other.scales == prepared.scales
    np.testing.assert_array_equal(other.spec.correlation, prepared.spec.correlation)
    np.testing.assert_array_equal(other.train_features, prepared.train_features)
    np.testing.assert_array_equal(other.train_values, prepared.train_values)
    layers = [
        (each.channel_stage, initial_network(each, CONFIG), each.domain_statistics, each.kernel_regression)
        for each in (other, prepared)
    ]
    for pair in zip(*layers, strict=True):
        weights = (layer.get_weights() for layer in pair)
        for a, b in zip(*weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_preparation_does_not_depend_on_the_threads_of_linear_algebra():
    """The matrices are large enough for BLAS to use threads; training amplifies differences to hundredths of R2."""
    soils = simulate(SimulatedConfig(soils=400, step_nm=4.0))
    split = np.where(np.arange(400) < 330, "train", "test")
    config = change(FAST, front_end__step_nm=8.0, front_end__derivative_window_nm=40.0)
    weights = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            prepared = prepare(soils, split, config)
        network = initial_network(prepared, config)
        weights.append(
            [
                *network.get_weights(),
                *prepared.kernel_regression.get_weights(),
                *prepared.domain_statistics.get_weights(),
            ]
        )
    for single, double in zip(*weights, strict=True):
        np.testing.assert_array_equal(single, double)


def test_validation_rows_pass_the_front_end_fitted_on_the_training_rows(library, parts, prepared):
    rows = library.spectra[parts == "validation"]
    expected = apply(prepared.channel_stage, apply(prepared.absorbance_stage, rows))
    np.testing.assert_array_equal(prepared.validation_features, expected)
    np.testing.assert_allclose(prepared.train_features.mean(axis=0), 0, atol=1e-3)
    assert np.abs(expected.mean(axis=0)).max() > 0.05


def test_values_are_on_the_modelled_scale_of_their_target(library, parts, prepared):
    np.testing.assert_allclose(np.nanmean(prepared.train_values, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(prepared.train_values, axis=0), 1, rtol=1e-5)
    for column, scale in enumerate(prepared.scales):
        expected = scale.to_model(library.targets[scale.name][parts == "validation"])
        np.testing.assert_allclose(prepared.validation_values[:, column], expected, rtol=1e-5)
    x, y = (prepared.train_values[:, c] for c in (0, 1))
    both = ~np.isnan(y)
    assert prepared.spec.correlation[0, 1] == pytest.approx(np.corrcoef(x[both], y[both])[0, 1])


def test_each_view_is_the_principal_components_of_its_channels(prepared):
    x, network = prepared.train_features, initial_network(prepared, CONFIG)
    assert prepared.spec.views == ((0, 1), (2,), (3,))
    for number, view in enumerate(prepared.spec.views, start=1):
        flat = np.concatenate([x[:, :, channel] for channel in view], axis=1).astype("float64")
        left, sd, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        expected = left[:, :6] * sd[:6] ** 0.5
        expected /= np.sqrt(np.mean(expected.var(axis=0, ddof=1)))
        got = np.asarray(keras.Model(network.input, network.get_layer(f"view{number}.scores").output)(x))
        # Principal axes are unique up to their sign.
        np.testing.assert_allclose(got, expected * np.sign(np.sum(expected * got, axis=0)), atol=2e-4)


def test_an_empty_list_of_views_is_a_single_view_of_all_channels(library, parts):
    config = change(CONFIG, front_end__views=())
    prepared = prepare(library, parts, config)
    assert prepared.spec.views == ((0, 1, 2, 3),)
    assert not any(layer.name == "view2.scores" for layer in initial_network(prepared, config).layers)


@pytest.mark.parametrize(("architecture", "balancing"), PAIRS)
def test_every_architecture_and_strategy_trains(library, parts, architecture, balancing):
    config = change(CONFIG, model__architecture=architecture, training__balancing=balancing)
    network = initial_network(prepare(library, parts, config), config)
    before = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    done = run(library, parts, config)
    assert done.history["epoch"].tolist() == [0, 1, 2, 3]
    assert np.isfinite(done.history.iloc[1:].to_numpy(float)).all()
    for name, weights in before.items():
        layer = done.network.get_layer(name)
        changed = [(a != b).any() for a, b in zip(layer.get_weights(), weights, strict=True)]
        # Projections and bases are frozen; in every other layer at least one weight changes.
        assert any(changed) == bool(layer.trainable_weights), name
    predictions = done.model.predict(library.spectra[:4], verbose=0)
    assert list(predictions) == [*library.targets, "T2", "Q"]
    for values in predictions.values():
        assert values.shape == (4, 1)
        assert np.isfinite(values).all()


def test_the_pairs_cover_all_strategies_and_architectures():
    covered = {value for pair in PAIRS for value in pair.values}
    assert covered == {*ARCHITECTURES, *BALANCINGS}


def test_loss_of_the_training_rows_falls(library, parts):
    config = change(FAST, training__max_epochs=40, training__balancing="equal", model__dropout=0.0)
    loss = run(library, parts, config).history["loss"]
    assert loss.iloc[-1] < 0.5 * loss.iloc[1]


@pytest.fixture(scope="module")
def done(library, parts):
    return run(library, parts, FAST)


def test_test_rows_have_no_influence(library, parts, done):
    other = run(poisoned(library, parts == "test"), parts, FAST)
    assert_same_weights(other, done)
    assert other.history.equals(done.history)


def test_another_seed_gives_other_weights(library, parts, done):
    other = run(library, parts, change(FAST, training__seed=1))
    assert (other.history["loss"] != done.history["loss"])[1:].all()
    pairs = zip(other.network.get_weights(), done.network.get_weights(), strict=True)
    assert any((a != b).any() for a, b in pairs)


STATEFUL = replace(
    change(FAST, training__max_epochs=5, model__dropout=0.3),
    augmentation=AugmentationConfig(noise=0.0002, offset=0.02, slope=0.02, scatter=0.03, shift_nm=0.5),
)
"""Every part that has a state or reads random numbers is on."""


@pytest.mark.parametrize("balancing", [pytest.param("dwa", marks=pytest.mark.slow), "famo"])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_run_bit_for_bit(
    library, parts, balancing, tmp_path, monkeypatch
):
    config = change(STATEFUL, training__balancing=balancing)
    uninterrupted = run(library, parts, config)

    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    on_epoch_end = Monitor.on_epoch_end

    def interrupt(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Monitor, "on_epoch_end", interrupt)
    state = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        run(library, parts, config, tmp_path)
    assert len(load_state(state, "")[1]["history"]) == 1 + 2
    monkeypatch.setattr(Monitor, "on_epoch_end", on_epoch_end)

    resumed = run(library, parts, config, tmp_path)
    assert resumed.history.equals(uninterrupted.history)
    assert_same_weights(resumed, uninterrupted)
    predictions = resumed.model.predict(library.spectra, verbose=0)
    for name, values in uninterrupted.model.predict(library.spectra, verbose=0).items():
        np.testing.assert_array_equal(predictions[name], values)

    # A run that had ended is resumed without a further step.
    again = run(library, parts, config, tmp_path)
    assert_same_weights(again, uninterrupted)


def test_state_of_other_data_is_refused(library, parts, tmp_path):
    run(library, parts, change(FAST, training__max_epochs=1), tmp_path, "a1")
    with pytest.raises(InputError, match="the data or their split changed since this run was interrupted"):
        run(library, parts, FAST, tmp_path, "a2")


@pytest.fixture(scope="module")
def prepared_fast(library, parts):
    return prepare(library, parts, FAST)


def scripted(monkeypatch, prepared, means, *, stop_early=True):
    """Train with prescribed validation scores; return the trained network and the weights after each epoch.

    The first score is that before the first step, row 0 of the history.
    """
    weights = []

    def scores(network, prepared):
        weights.append(network.get_weights())
        mean = means[len(weights) - 1]
        # The mean counts, not any single target.
        spread = 0.05 * (-1) ** len(weights)
        return mean, dict(zip(prepared.spec.targets, (0.5 - spread, 0.5 + spread), strict=True))

    monkeypatch.setattr(loop, "validation_scores", scores)
    config = change(FAST, training__max_epochs=len(means) - 1, training__patience=2)
    return train(prepared, config, stop_early=stop_early), weights


@pytest.mark.parametrize(
    ("means", "rows", "best"),
    [
        ([0.1, 0.5, 0.3, 0.4, 0.9, 0.9], 4, 1),
        ([0.1, 0.2, 0.3, 0.4], 4, 3),
        ([0.3, 0.2, 0.4, 0.1, 0.4, 0.9], 5, 2),
        ([-np.inf, 0.2, -np.inf, -np.inf, 0.9], 4, 1),
        ([0.5, 0.1, 0.2, 0.9], 3, 0),
    ],
)
def test_early_stopping_waits_for_patience_and_keeps_the_best_epoch(prepared_fast, monkeypatch, means, rows, best):
    done, weights = scripted(monkeypatch, prepared_fast, means)
    assert len(done.history) == rows
    for a, b in zip(done.network.get_weights(), weights[best], strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_early_stopping_all_epochs_are_trained_and_the_last_weights_kept(prepared_fast, monkeypatch):
    done, weights = scripted(monkeypatch, prepared_fast, [0.9, 0.5, 0.4, 0.3, 0.2, -np.inf], stop_early=False)
    assert len(done.history) == 6
    for a, b in zip(done.network.get_weights(), weights[-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_trained_on_all_rows_has_no_validation_score(library, parts):
    prepared = prepare(library, np.where(parts == "validation", "train", parts), FAST)
    done = train(prepared, FAST, stop_early=False)
    assert len(prepared.train_values) == np.sum(parts != "test")
    assert done.history["epoch"].tolist() == [0, 1, 2, 3]
    assert done.history.filter(like="validation").isna().all(axis=None)


def test_a_network_that_never_had_a_finite_score_keeps_its_initial_weights(prepared_fast, monkeypatch):
    done, _ = scripted(monkeypatch, prepared_fast, [-np.inf] * 5)
    assert len(done.history) == 1 + 2
    for a, b in zip(done.network.get_weights(), initial_network(prepared_fast, FAST).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_score_is_the_unweighted_error_in_training_standard_deviations(prepared_fast):
    """With very different loss weights, so that a weighted score would differ."""
    config = change(
        FAST,
        training__balancing="ple_schedule",
        training__schedule_start=(100.0, 0.01),
        training__max_epochs=1,
    )
    done = train(prepared_fast, config, stop_early=True)
    history = done.history
    assert history["weight_OC_g_kg"].iloc[1] == pytest.approx(100)
    row = history.loc[history["validation_score"].idxmax()]
    squared = []
    for column, (target, output) in enumerate(done.network(prepared_fast.validation_features).items()):
        y = prepared_fast.validation_values[:, column]
        rows = ~np.isnan(y)
        estimate = np.asarray(output)[rows, 0]
        squared.append(np.mean((y[rows] - estimate) ** 2))
        assert row[f"validation_r2_{target}"] == pytest.approx(r2_score(y[rows], estimate), abs=1e-5)
    assert row["validation_score"] == pytest.approx(1 - np.mean(squared), abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("count", [1, 2])
def test_gradnorm_reads_the_last_shared_expert_with_and_without_augmentation(library, parts, noise, count):
    targets = dict(list(library.targets.items())[:count])
    fewer = replace(library, targets=targets)
    config = change(FAST, training__balancing="gradnorm", augmentation__noise=noise, model__architecture="ple")
    prepared = prepare(fewer, parts, config)
    joint, _ = joint_model(initial_network(prepared, config), prepared, config)
    expected = "level2.task-shared.expert0" if count == 2 else next(iter(targets))
    assert joint.shared.name == expected


@pytest.mark.parametrize(("rows", "size", "per_epoch"), [(10, 3, 3), (8, 4, 2), (5, 32, 1)])
def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch(rows, size, per_epoch):
    def orders(seed, first, epochs):
        x = np.arange(rows, dtype="float32")[:, None]
        batches = Batches(x, -x, TrainingConfig(seed=seed, batch_size=size))
        batches.start_at(first)
        result = []
        for _ in range(epochs):
            pairs = [batches[i] for i in range(len(batches))]
            assert all((x == -y).all() for x, y in pairs)
            result.append(np.concatenate([x[:, 0] for x, _ in pairs]).tolist())
            batches.on_epoch_end()
        return result

    six = orders(0, 0, 6)
    assert all(len(set(order)) == len(order) == per_epoch * min(size, rows) for order in six)
    assert len({tuple(order) for order in six}) == 6
    assert orders(0, 3, 3) == six[3:]
    assert orders(1, 0, 6) != six
    # Rows that are skipped in an epoch occur in another.
    assert set(itertools.chain(*six)) == set(range(rows))


def test_keras_reads_every_batch_of_every_epoch_once_and_in_order(library, parts, monkeypatch):
    read = []
    get = Batches.__getitem__
    monkeypatch.setattr(Batches, "__getitem__", lambda self, i: read.append((self.epoch, i)) or get(self, i))
    run(library, parts, FAST)
    assert [pair for pair in read if pair[0] < 3] == [(e, i) for e in range(3) for i in range(2)]


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"), [(10, 50, 50), (400, 50, 30), (20_000, 50, 1), (12_000, 9, 1)]
)
def test_epochs_are_limited_by_epochs_and_by_steps(steps, epochs, expected):
    assert epoch_count(steps, TrainingConfig(max_epochs=epochs, max_steps=12_000)) == expected


def test_learning_rate_warms_up_and_falls_to_a_hundredth(library, parts):
    config = change(FAST, training__max_epochs=40, training__patience=40)
    rate = run(library, parts, config).history["learning_rate"].iloc[1:]
    peak = config.training.learning_rate
    assert rate.max() == pytest.approx(peak, rel=0.1)
    assert rate.idxmax() <= 3
    assert (np.diff(rate[rate.idxmax() :]) <= 0).all()
    assert rate.iloc[-1] == pytest.approx(peak / 100, rel=0.5)


def test_a_checkpoint_restores_arrays_and_metadata(tmp_path):
    arrays = {
        "state": [np.arange(3.0), np.array(2), np.zeros((2, 0), "float32")],
        "seeds": [np.array([1, 2], "uint32")] * 11,
        "none": [],
    }
    facts = {"history": [{"epoch": 1, "loss": 0.1 + 0.2}], "best_epoch": 0, "fingerprint": "a1"}
    save_state(tmp_path / "state.npz", arrays, facts)
    got, got_facts = load_state(tmp_path / "state.npz", "a1")
    assert got_facts == facts
    assert list(got) == ["state", "seeds"]
    for name, values in got.items():
        for a, b in zip(values, arrays[name], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT - 1)
    save_state(tmp_path / "state.npz", {}, {"fingerprint": "a1"})
    monkeypatch.undo()
    with pytest.raises(InputError, match="written by another version of relple_tf"):
        load_state(tmp_path / "state.npz", "a1")


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "balancing", [pytest.param("rlw", marks=SLOW), "dwa", pytest.param("gradnorm", marks=SLOW), "famo"]
)
def test_a_reused_traced_step_gives_the_same_network_as_a_new_trace(library, parts, balancing):
    def trained(seed, traces):
        keras.backend.clear_session()
        config = change(FAST, training__seed=seed, training__balancing=balancing, model__dropout=0.3)
        return train(prepare(library, parts, config), config, stop_early=False, traces=traces)

    traces = TraceCache()
    first = trained(0, traces)
    step = traces._last[-1][1]
    second = trained(1, traces)
    assert traces._last[-1][1] is step
    assert any((a != b).any() for a, b in zip(first.network.get_weights(), second.network.get_weights(), strict=True))
    alone = trained(1, None)
    assert_same_weights(second, alone)
    pd.testing.assert_frame_equal(second.history, alone.history)


@pytest.mark.parametrize("field", ["model__expert_units", "training__batch_size", "training__max_epochs"])
def test_another_computation_is_traced_again(library, parts, field):
    traces = TraceCache()
    train(prepare(library, parts, FAST), FAST, stop_early=False, traces=traces)
    step = traces._last[-1][1]
    config = change(FAST, **{field: 6})
    train(prepare(library, parts, config), config, stop_early=False, traces=traces)
    assert traces._last[-1][1] is not step


def test_the_two_last_computations_are_kept(library, parts):
    """Folds and the final network differ in their rows; a second fit traces neither again."""
    traces, seen = TraceCache(), []
    for epochs in (1, 2, 1, 3, 2):
        config = change(FAST, training__max_epochs=epochs)
        train(prepare(library, parts, config), config, stop_early=False, traces=traces)
        seen.append([model for _, model in traces._last])
    kept = [before == after for before, after in itertools.pairwise(seen)]
    assert kept == [False, True, False, True]


def test_later_trainings_do_not_change_a_trained_network(prepared_fast):
    traces = TraceCache()
    trained = [
        train(prepared_fast, change(FAST, training__seed=seed), stop_early=False, traces=traces).network
        for seed in (0, 1)
    ]
    before = [network.get_weights() for network in trained]
    train(prepared_fast, change(FAST, training__seed=2), stop_early=False, traces=traces)
    for expected, network in zip(before, trained, strict=True):
        for a, b in zip(expected, network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_pickled_trace_cache_is_empty(prepared_fast):
    traces = TraceCache()
    train(prepared_fast, FAST, stop_early=False, traces=traces)
    assert pickle.loads(pickle.dumps(traces))._last == []


def test_training_twice_from_one_preparation_gives_the_same_network(prepared_fast):
    first = train(prepared_fast, FAST, stop_early=True)
    second = train(prepared_fast, FAST, stop_early=True)
    assert_same_weights(first, second)
    pd.testing.assert_frame_equal(first.history, second.history)


def test_fitting_does_not_depend_on_the_state_of_random_generators(library, parts, done):
    np.random.default_rng(5).random()
    keras.utils.set_random_seed(99)
    again = run(library, parts, FAST)
    assert_same_weights(again, done)
    for name, values in done.model.predict(library.spectra, verbose=0).items():
        np.testing.assert_array_equal(again.model.predict(library.spectra, verbose=0)[name], values)


def test_a_network_that_diverged_is_refused(library, parts, monkeypatch):
    def diverged(*arguments, **options):
        trained = train(*arguments, **options)
        trained.network.set_weights([np.full_like(weight, np.nan) for weight in trained.network.get_weights()])
        return trained

    monkeypatch.setattr(pipeline, "train", diverged)
    with pytest.raises(InputError, match=r"training diverged; lower training\.learning_rate"):
        run(library, parts, FAST)
