"""The kernel regression: mean of exact SVR and Gaussian process, bounded influence, undivided groups."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import CONFIG
from scipy.spatial.distance import cdist, pdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.svm import SVR

from relple_tf.config import replace as change
from relple_tf.models.deployed import with_views
from relple_tf.models.views import set_bounds
from relple_tf.spectra.splitting.folds import group_k_fold
from relple_tf.training import kernel_regression
from relple_tf.training.kernel_regression import (
    BOUND,
    COSTS,
    EPSILON,
    FOLDS,
    LINEAR_SHARE,
    NOISES,
    WIDTH,
    fit_gaussian_process,
    fit_kernel_regression,
    fit_svm,
    sample_means,
)
from relple_tf.training.preparation import initial_network, prepare

SEED = 7


@pytest.fixture
def simulated():
    """(80, 12) features far from mean 0, y as a noisy function of them, and groups of a single row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 12)) * np.geomspace(2, 0.05, 12)
    y = np.tanh(x @ rng.normal(size=12)) + rng.normal(0, 0.1, 80)
    return 5 + x, (y - y.mean()) / y.std(), np.arange(80)


def scaled(x):
    """Centre, and scale to a mean square length of the rows of 1."""
    centred = x - x.mean(axis=0)
    return centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))


def searched(kernel, x, y):
    """scikit-learn's SVR on scaled features, with C chosen by the same folds."""
    folds = KFold(FOLDS, shuffle=True, random_state=SEED)
    search = GridSearchCV(SVR(kernel=kernel, epsilon=EPSILON), {"C": COSTS}, cv=folds, scoring="neg_mean_squared_error")
    return search.fit(x, y)


def test_fit_svm_is_the_linear_svr_of_scikit_learn(simulated):
    x, y, groups = simulated
    slope, intercept = fit_svm(x, y, groups, SEED)
    np.testing.assert_allclose(x @ slope + intercept, searched("linear", scaled(x), y).predict(scaled(x)), atol=1e-8)


def test_a_single_candidate_for_c_is_taken(simulated):
    x, y, groups = simulated
    slope, intercept = fit_svm(x, y, groups, SEED, (0.3,))
    expected = SVR(kernel="linear", epsilon=EPSILON, C=0.3).fit(scaled(x), y).predict(scaled(x))
    np.testing.assert_allclose(x @ slope + intercept, expected, atol=1e-8)


def test_fit_svm_is_the_kernel_svr_on_products_of_new_rows_with_training_rows(simulated):
    x, y, groups = simulated
    slope, intercept = fit_svm(x[:60], y[:60], groups[:60], SEED)
    centre = x[:60].mean(axis=0)
    size = np.sqrt(np.mean(np.sum((x[:60] - centre) ** 2, axis=1)))
    train, new = (x[:60] - centre) / size, (x[60:] - centre) / size
    expected = searched("precomputed", train @ train.T, y[:60]).predict(new @ train.T)
    np.testing.assert_allclose(x[60:] @ slope + intercept, expected, atol=1e-8)


def test_predictions_depend_on_neither_unit_nor_origin_of_the_features(simulated):
    x, y, groups = simulated
    slope, intercept = fit_svm(x, y, groups, SEED)
    other, other_intercept = fit_svm(40 * x - 300, y, groups, SEED)
    np.testing.assert_allclose((40 * x - 300) @ other + other_intercept, x @ slope + intercept, atol=1e-7)


def test_features_that_do_not_vary_give_a_constant(simulated):
    x, y, groups = simulated
    slope, intercept = fit_svm(np.ones_like(x), y, groups, SEED)
    np.testing.assert_array_equal(slope, 0)
    assert y.min() < intercept < y.max()


def test_the_influence_of_an_outlying_value_does_not_grow_with_it(simulated, monkeypatch):
    """With a fixed C, because an outlying value does change the choice of C by squared errors."""
    monkeypatch.setattr(kernel_regression, "COSTS", (3.0,))
    x, y, groups = simulated
    predictions, processes, ridges = [], [], []
    for value in (20.0, 20_000.0):
        outlying = np.where(groups == 4, value, y)
        slope, intercept = fit_svm(x, outlying, groups, SEED)
        predictions.append(x @ slope + intercept)
        slope, intercept = fit_gaussian_process(x, outlying)
        processes.append(x @ slope + intercept)
        ridges.append(RidgeCV([1.0]).fit(x, outlying).predict(x))
    np.testing.assert_allclose(*predictions, atol=1e-8)
    np.testing.assert_allclose(*processes, atol=1e-8)
    assert np.abs(ridges[1] - ridges[0]).max() > 100


def test_the_gaussian_process_is_that_of_scikit_learn(simulated):
    """scikit-learn finds the hyperparameters by gradients, this fit on a grid."""
    x, y, _ = simulated
    slope, intercept = fit_gaussian_process(x, y)
    centred = x - x.mean(axis=0)
    kernel = ConstantKernel(1.0, (1e-5, 1e5)) * DotProduct(0.0, "fixed") + WhiteKernel(0.1, (1e-6, 1e3))
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=3, random_state=0).fit(centred, y - y.mean())
    expected = process.predict(centred) + y.mean()
    np.testing.assert_allclose(x @ slope + intercept, expected, atol=0.01)
    assert np.std(x @ slope + intercept - y) > 0.1


def test_the_gaussian_process_depends_on_neither_unit_nor_origin_of_the_features(simulated):
    x, y, _ = simulated
    slope, intercept = fit_gaussian_process(x, y)
    other, other_intercept = fit_gaussian_process(40 * x - 300, y)
    np.testing.assert_allclose((40 * x - 300) @ other + other_intercept, x @ slope + intercept, atol=1e-7)
    slope, intercept = fit_gaussian_process(np.ones_like(x), y)
    np.testing.assert_array_equal(slope, 0)
    assert intercept == pytest.approx(y.mean())


def test_scans_of_one_sample_do_not_count_as_repeated_laboratory_values(simulated):
    """The process reads the mean scan of each sample, in the order of the samples."""
    x, y, _ = simulated
    rng = np.random.default_rng(3)
    scans = np.concatenate([x + rng.normal(0, 0.01, x.shape) for _ in range(3)])
    samples = np.tile(rng.permutation(80), 3)
    means, values = sample_means(scans, np.tile(y, 3), samples)
    np.testing.assert_allclose(means, scans.reshape(3, 80, 12).mean(axis=0))
    np.testing.assert_allclose(values, y)
    once, _ = fit_gaussian_process(x, y)
    averaged, _ = fit_gaussian_process(means, values)
    as_rows, _ = fit_gaussian_process(scans, np.tile(y, 3))
    assert np.linalg.norm(averaged - once) < 0.3 * np.linalg.norm(as_rows - once)


def test_many_rows_are_fitted_by_the_gaussian_process_alone(curved, monkeypatch):
    scores, kernels, values, groups = curved
    rows = [s.astype("float32") for s in scores]
    both = np.asarray(fit_kernel_regression(scores, kernels, values, groups, 90, 1)(rows))
    monkeypatch.setattr(kernel_regression, "MOST_SVM_ROWS", 89)
    # The second target has fewer values than that.
    one, two = np.asarray(fit_kernel_regression(scores, kernels, values, groups, 90, 1)(rows)).T
    np.testing.assert_array_equal(two, both[:, 1])
    monkeypatch.setattr(kernel_regression, "fit_svm", fit_gaussian_process_as_svm)
    monkeypatch.setattr(kernel_regression, "MOST_SVM_ROWS", 3000)
    alone = np.asarray(fit_kernel_regression(scores, kernels, values, groups, 90, 1)(rows))[:, 0]
    np.testing.assert_allclose(one, alone, atol=1e-5)
    assert np.abs(one - both[:, 0]).max() > 1e-3


def fit_gaussian_process_as_svm(x, y, groups, seed, costs):
    return fit_gaussian_process(x, y)


@pytest.mark.parametrize(
    "groups",
    [np.arange(30), np.arange(30) // 4, np.arange(30) % 2, np.zeros(30, int), np.repeat([0, 1, 2], [1, 2, 27])],
    ids=["rows", "of four", "two", "single", "uneven"],
)
def test_folds_hold_out_every_row_once_and_divide_no_group(groups):
    folds = group_k_fold(groups, 4, SEED)
    distinct = len(np.unique(groups))
    assert len(folds) == (4 if distinct == 1 else min(4, distinct))
    np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in folds])), np.arange(30))
    for fitted, held in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([fitted, held])), np.arange(30))
        # A single group is divided, because there is no other.
        assert distinct == 1 or not set(groups[fitted]) & set(groups[held])


def test_the_choice_of_c_divides_no_group(simulated, monkeypatch):
    x, y, _ = simulated
    groups = np.repeat(np.arange(16), 5)
    length = np.sum(scaled(x) ** 2, axis=1)
    fitted = []
    fit = SVR.fit

    def spy(self, gram, *arguments, **options):
        # The diagonal of a Gram matrix identifies its rows.
        fitted.append(np.isin(np.round(length, 9), np.round(np.diag(gram), 9)))
        return fit(self, gram, *arguments, **options)

    monkeypatch.setattr(SVR, "fit", spy)
    fit_svm(x, y, groups, SEED)
    assert len(fitted) == FOLDS * len(COSTS) + 1
    assert fitted[-1].all()
    for inside in fitted[:-1]:
        assert not inside.all()
        np.testing.assert_array_equal(inside.reshape(16, 5).any(axis=1), inside.reshape(16, 5).all(axis=1))


@pytest.fixture
def curved():
    """Scores of two views (90, 7), their projections, two targets with missing values, and groups."""
    rng = np.random.default_rng(5)
    spectra = (rng.normal(size=(90, 7)) * np.geomspace(3, 0.1, 7)) @ rng.normal(size=(7, 20))
    kernels = [np.linalg.qr(rng.normal(size=(20, 7)))[0] * np.geomspace(1, 4, 7) for _ in range(2)]
    scores = [(spectra - spectra.mean(axis=0)) @ kernel for kernel in kernels]
    latent = spectra @ rng.normal(size=(20, 2)) / 8
    values = {"first": np.sin(latent[:, 0]), "second": latent[:, 1] ** 2 / 9}
    values["second"][::5] = np.nan
    return scores, kernels, values, np.arange(90)


def kernel_of(plain, others, rows):
    """Kernel of `rows` with `others` by its formula: Gaussian plus weighted linear, of scores bounded by tanh."""
    chosen = plain[rows]
    gaussian = np.exp(-WIDTH * cdist(others, chosen, "sqeuclidean") / np.median(pdist(plain, "sqeuclidean")))
    limit = BOUND * plain.std(axis=0)
    bounded, all_bounded = (limit * np.tanh(x / limit) for x in (others, plain))
    return gaussian + LINEAR_SHARE * bounded @ (limit * np.tanh(chosen / limit)).T / np.mean(
        np.sum(all_bounded**2, axis=1)
    )


def centred(kernel, train):
    """Kernel of centred features, from the kernel of features; `train` is that of the training rows."""
    return kernel - kernel.mean(axis=1, keepdims=True) - train.mean(axis=0) + train.mean()


def gaussian_process(gram, cross, y):
    """Mean of the posterior for the kernel `gram`, with the noise of the largest marginal likelihood of NOISES."""
    residual, deviances = y - y.mean(), []
    noises = NOISES * np.trace(gram) / len(y)
    for noise in noises:
        covariance = gram + noise * np.eye(len(y))
        prior = residual @ np.linalg.solve(covariance, residual) / len(y)
        deviances.append(len(y) * np.log(prior) + np.linalg.slogdet(covariance)[1])
    covariance = gram + noises[np.argmin(deviances)] * np.eye(len(y))
    return cross @ np.linalg.solve(covariance, residual) + y.mean()


@pytest.mark.parametrize("target", ["first", "second"])
def test_with_every_soil_as_landmark_it_is_the_mean_of_exact_svrs_and_gaussian_processes(curved, target):
    scores, kernels, values, groups = curved
    layer = fit_kernel_regression(
        [s[:70] for s in scores], kernels, {k: v[:70] for k, v in values.items()}, groups[:70], 70, 1
    )
    got = np.asarray(layer([s[70:].astype("float32") for s in scores]))[:, [*values].index(target)]
    rows = np.flatnonzero(~np.isnan(values[target][:70]))
    y, expected = values[target][rows], []
    for score, kernel in zip(scores, kernels, strict=True):
        plain = score / np.linalg.norm(kernel, axis=0)
        train = kernel_of(plain[:70], plain[rows], rows)
        new = kernel_of(plain[:70], plain[70:], rows)
        gram, cross = centred(train, train), centred(new, train)
        size = np.mean(np.diag(gram))
        folds = KFold(FOLDS, shuffle=True, random_state=1)
        search = GridSearchCV(
            SVR(kernel="precomputed", epsilon=EPSILON), {"C": COSTS}, cv=folds, scoring="neg_mean_squared_error"
        )
        expected.append(search.fit(gram / size, y).predict(cross / size))
        expected.append(gaussian_process(gram, cross, y))
    for one, other in ((0, 1), (0, 2), (1, 3)):
        assert np.std(expected[one] - expected[other]) > 0.01
    np.testing.assert_allclose(got, np.mean(expected, axis=0), atol=2e-3)


def test_a_loaded_layer_gives_the_same_predictions(curved, tmp_path):
    scores, kernels, values, groups = curved
    layer = fit_kernel_regression(scores, kernels, values, groups, 40, 1)
    inputs = [keras.Input((7,)) for _ in scores]
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    rows = [s.astype("float32") for s in scores]
    np.testing.assert_array_equal(loaded(rows), layer(rows))


@pytest.mark.parametrize("costs", [COSTS, ()], ids=["both", "Gaussian process alone"])
def test_weights_predict_as_the_layer_does(curved, costs):
    scores, kernels, values, groups = curved
    layer = fit_kernel_regression(scores, kernels, values, groups, 40, 1, costs=costs)
    weights = kernel_regression.fit_weights(scores, kernels, values, groups, 40, 1, costs=costs)
    received = kernel_regression.predict(weights, scores)
    np.testing.assert_allclose(received, layer([s.astype("float32") for s in scores]), atol=2e-4)


def test_without_costs_it_is_the_mean_of_exact_gaussian_processes(curved):
    scores, kernels, values, groups = curved
    weights = kernel_regression.fit_weights(scores, kernels, values, groups, 90, 1, costs=())
    expected = []
    for score, kernel in zip(scores, kernels, strict=True):
        plain = score / np.linalg.norm(kernel, axis=0)
        gram = kernel_of(plain, plain, np.arange(90))
        expected.append(gaussian_process(centred(gram, gram), centred(gram, gram), values["first"]))
    np.testing.assert_allclose(kernel_regression.predict(weights, scores)[:, 0], np.mean(expected, axis=0), atol=2e-3)


def test_predictions_approach_those_of_all_landmarks_as_landmarks_are_added(curved):
    scores, kernels, values, groups = curved
    rows = [s.astype("float32") for s in scores]
    exact, some, few = (
        np.asarray(fit_kernel_regression(scores, kernels, values, groups, count, 1)(rows))[:, 0]
        for count in (90, 60, 6)
    )
    assert np.std(some - exact) < 0.5 * np.std(few - exact)
    assert np.std(some - exact) < 0.2 * np.std(exact)


def test_far_from_the_training_soils_predictions_are_constant_and_bounded(curved):
    scores, kernels, values, groups = curved
    layer = fit_kernel_regression(scores, kernels, values, groups, 90, 1)
    far, farther = (
        np.asarray(layer([factor * s[:20].astype("float32") for s in scores]))[:, 1] for factor in (1e5, 1e8)
    )
    np.testing.assert_allclose(far, farther, rtol=1e-5)
    assert np.abs(farther).max() < 10 * np.nanmax(np.abs(values["second"]))


def test_predictions_do_not_depend_on_the_scales_of_components(curved):
    """The kernel removes the scale of the whitening."""
    scores, kernels, values, groups = curved
    scale = np.geomspace(5, 0.2, 7)
    plain = fit_kernel_regression(scores, kernels, values, groups, 90, 1)
    other = fit_kernel_regression([s * scale for s in scores], [k * scale for k in kernels], values, groups, 90, 1)
    rows, scaled_rows = ([(s * f).astype("float32") for s in scores] for f in (1, scale))
    np.testing.assert_allclose(plain(rows), other(scaled_rows), atol=1e-4)


def test_a_component_without_variance_does_not_contribute(curved):
    scores, kernels, values, groups = curved
    varies = np.where(np.arange(7) == 6, 0.0, 1.0)
    layer = fit_kernel_regression([s * varies for s in scores], [k * varies for k in kernels], values, groups, 90, 1)
    rows = [(s * varies).astype("float32") for s in scores]
    np.testing.assert_array_equal(layer(rows), layer([r + 100 * (1 - varies) for r in rows]))
    assert np.isfinite(np.asarray(layer(rows))).all()


def test_equal_soils_give_a_constant(curved):
    _, kernels, values, groups = curved
    equal = [np.ones((90, 7), "float32")] * 2
    predictions = np.asarray(fit_kernel_regression(equal, kernels, values, groups, 90, 1)(equal))
    assert np.ptp(predictions, axis=0).max() == 0
    assert values["first"].min() < predictions[0, 0] < values["first"].max()


def test_the_scores_that_the_network_reads_are_bounded_at_three_sd_of_the_training_rows(library, parts):
    prepared = prepare(library, parts, CONFIG)
    network = initial_network(prepared, CONFIG)
    scores = np.asarray(with_views(network)(prepared.train_features)[2][0], "float64")
    read = keras.Model(network.input, network.get_layer("view1.scores.bounded").output)
    sd = scores.std(axis=0)
    np.testing.assert_allclose(read(prepared.train_features), 3 * sd * np.tanh(scores / (3 * sd)), rtol=1e-4, atol=1e-5)
    far = np.abs(np.asarray(read(1e4 * prepared.train_features)))
    assert (far <= 3.001 * sd).all()
    assert (far.max(axis=0) > 2.99 * sd).all()


def test_a_component_that_does_not_vary_is_read_as_zero(library, parts):
    prepared = prepare(library, parts, CONFIG)
    sd = np.ones(prepared.spec.components, "float32")
    sd[1] = 0
    network = initial_network(prepared, CONFIG)
    set_bounds(network, 0, sd)
    read = keras.Model(network.input, network.get_layer("view1.scores.bounded").output)
    values = np.asarray(read(prepared.train_features))
    assert np.abs(values[:, 1]).max() < 1e-9
    assert np.abs(values[:, 0]).max() > 0.1


def test_rows_outside_the_training_part_have_no_influence(library, parts):
    prepared = prepare(library, parts, CONFIG)
    rows = parts != "train"
    spectra = library.spectra.copy()
    spectra[rows] = spectra[rows][:, ::-1]
    changed = {name: np.where(rows, 1000 * values, values) for name, values in library.targets.items()}
    other = prepare(replace(library, spectra=spectra, targets=changed), parts, CONFIG)
    assert list(prepared.kernel_regression.targets) == list(library.targets)
    for layer in ("kernel_regression", "reference"):
        both = (getattr(each, layer).get_weights() for each in (other, prepared))
        for a, b in zip(*both, strict=True):
            assert a.any()
            np.testing.assert_array_equal(a, b)


def test_landmarks_are_training_soils_as_many_as_the_config_asks(library, parts):
    config = change(CONFIG, model__landmarks=9)
    prepared = prepare(library, parts, config)
    scores = with_views(initial_network(prepared, config))(prepared.train_features)[2]
    for view, (landmarks, gain) in enumerate(
        zip(*map(np.asarray, (prepared.kernel_regression.landmark, prepared.kernel_regression.gain)), strict=True)
    ):
        assert landmarks.shape[0] == 9
        distance = cdist(landmarks, np.asarray(scores[view])[:, : prepared.kernel_regression.components] * gain)
        assert distance.min(axis=1).max() < 1e-5
        assert len(set(distance.argmin(axis=1))) == 9
