"""Laws of the kernel machines: scikit-learn's own on the same features, bounded pulls, whole units."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import CONFIG, TARGETS, problem_of
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.svm import SVR

from relple_tf.config import replace as change
from relple_tf.models.network import build
from relple_tf.training import machine as machines
from relple_tf.training.fit import seed_everything
from relple_tf.training.machine import COSTS, EPSILON, FOLDS, STRENGTHS, machine, whole_folds
from relple_tf.training.mixing import mix
from relple_tf.training.preparation import component_weights, prepare, viewed, weigh_basis, whitening

SEED = 7


@pytest.fixture
def drawn():
    """(80, 12) features far from mean 0, and what they say of y, with noise; every row is a unit of its own."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(80, 12)) * np.geomspace(2, 0.05, 12)
    y = np.tanh(x @ draw.normal(size=12)) + draw.normal(0, 0.1, 80)
    return 5 + x, (y - y.mean()) / y.std(), np.arange(80)


def scaled(x):
    """Centred, and rows of mean square length 1."""
    centred = x - x.mean(axis=0)
    return centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))


def searched(kernel, x, y):
    """scikit-learn's support vector machine on scaled features, its C by the same folds."""
    folds = KFold(FOLDS, shuffle=True, random_state=SEED)
    search = GridSearchCV(SVR(kernel=kernel, epsilon=EPSILON), {"C": COSTS}, cv=folds, scoring="neg_mean_squared_error")
    return search.fit(x, y)


def test_machine_is_the_linear_support_vector_machine_of_scikit_learn(drawn):
    x, y, units = drawn
    slope, level = machine(x, y, units, SEED)
    np.testing.assert_allclose(x @ slope + level, searched("linear", scaled(x), y).predict(scaled(x)), atol=1e-8)


def test_machine_is_a_kernel_machine_on_the_products_of_new_rows_with_its_own(drawn):
    x, y, units = drawn
    slope, level = machine(x[:60], y[:60], units[:60], SEED)
    centre = x[:60].mean(axis=0)
    size = np.sqrt(np.mean(np.sum((x[:60] - centre) ** 2, axis=1)))
    own, new = (x[:60] - centre) / size, (x[60:] - centre) / size
    expected = searched("precomputed", own @ own.T, y[:60]).predict(new @ own.T)
    np.testing.assert_allclose(x[60:] @ slope + level, expected, atol=1e-8)


def test_estimates_depend_on_neither_unit_nor_origin_of_the_features(drawn):
    x, y, units = drawn
    slope, level = machine(x, y, units, SEED)
    other, other_level = machine(40 * x - 300, y, units, SEED)
    np.testing.assert_allclose((40 * x - 300) @ other + other_level, x @ slope + level, atol=1e-7)


def test_features_that_do_not_vary_give_a_constant(drawn):
    x, y, units = drawn
    slope, level = machine(np.ones_like(x), y, units, SEED)
    np.testing.assert_array_equal(slope, 0)
    assert y.min() < level < y.max()


def test_a_wild_value_pulls_no_harder_the_wilder_it_is(drawn, monkeypatch):
    """C must be the same: its choice by squared errors is what a wild value does move."""
    monkeypatch.setattr(machines, "COSTS", (3.0,))
    x, y, units = drawn
    estimates, ridges = [], []
    for value in (20.0, 20_000.0):
        wild = np.where(units == 4, value, y)
        slope, level = machine(x, wild, units, SEED)
        estimates.append(x @ slope + level)
        ridges.append(RidgeCV([1.0]).fit(x, wild).predict(x))
    np.testing.assert_allclose(*estimates, atol=1e-8)
    assert np.abs(ridges[1] - ridges[0]).max() > 100


def test_many_rows_are_fitted_by_ridge_regression(drawn, monkeypatch):
    x, y, units = drawn
    monkeypatch.setattr(machines, "MOST_SVM_ROWS", 79)
    slope, level = machine(x, y, units, SEED)
    np.testing.assert_allclose(x @ slope + level, RidgeCV(STRENGTHS).fit(x, y).predict(x), atol=1e-8)
    monkeypatch.setattr(machines, "MOST_SVM_ROWS", 80)
    assert np.abs(machine(x, y, units, SEED)[0] - slope).max() > 1e-3


@pytest.mark.parametrize(
    "units",
    [np.arange(30), np.arange(30) // 4, np.arange(30) % 2, np.zeros(30, int), np.repeat([0, 1, 2], [1, 2, 27])],
    ids=["rows", "fours", "two", "one", "uneven"],
)
def test_folds_hold_every_row_back_once_and_leave_units_whole(units):
    folds = whole_folds(units, 4, SEED)
    distinct = len(np.unique(units))
    assert len(folds) == (4 if distinct == 1 else min(4, distinct))
    np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in folds])), np.arange(30))
    for fitted, held in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([fitted, held])), np.arange(30))
        # A single unit is divided, for there is no other.
        assert distinct == 1 or not set(units[fitted]) & set(units[held])


def test_the_choice_of_c_divides_no_unit(drawn, monkeypatch):
    x, y, _ = drawn
    units = np.repeat(np.arange(16), 5)
    length = np.sum(scaled(x) ** 2, axis=1)
    fitted = []
    fit = SVR.fit

    def spy(self, gram, *arguments, **options):
        # The diagonal of a Gram matrix tells which rows it is of.
        fitted.append(np.isin(np.round(length, 9), np.round(np.diag(gram), 9)))
        return fit(self, gram, *arguments, **options)

    monkeypatch.setattr(SVR, "fit", spy)
    machine(x, y, units, SEED)
    assert len(fitted) == FOLDS * len(COSTS) + 1
    assert fitted[-1].all()
    for inside in fitted[:-1]:
        assert not inside.all()
        np.testing.assert_array_equal(inside.reshape(16, 5).any(axis=1), inside.reshape(16, 5).all(axis=1))


def prepared_on(library, parts, config):
    seed_everything(config.training.seed)
    return prepare(library, parts, config)


@pytest.mark.parametrize("architecture", ["rs_ple", "single_task"])
@pytest.mark.parametrize("basis_units", [0, 8])
def test_in_place_of_a_head_the_machines_are_the_mean_of_one_for_each_view(library, parts, architecture, basis_units):
    config = change(CONFIG, model__architecture=architecture, model__basis_units=basis_units)
    ready = prepared_on(library, parts, config)
    network = ready.network
    mix(network, ready.machines, dict.fromkeys(library.targets, 0.0))
    got = network(ready.validation_features)
    for scale in ready.scales:
        y = scale.to_model(library.targets[scale.name][parts == "train"])
        known = ~np.isnan(y)
        # Every sixth CEC is missing.
        assert known.all() == (scale.name == "OC_g_kg")
        own = f"{scale.name}_" if architecture == "single_task" else ""
        estimates = []
        for number, view in enumerate(ready.problem.views, start=1):
            projection = network.get_layer(f"view{number}").get_weights()
            weights = component_weights(viewed(ready.train_features, view), projection, config)
            counts = np.concatenate([weights, np.ones(basis_units)])
            name = f"{own}view{number}_basis_joined" if basis_units else f"view{number}"
            reads = keras.Model(network.input, network.get_layer(name).output)
            train, new = (
                np.asarray(reads(rows)) * counts for rows in (ready.train_features[known], ready.validation_features)
            )
            slope, level = machine(train, y[known], np.flatnonzero(known), config.training.seed)
            estimates.append(new @ slope + level)
        np.testing.assert_allclose(np.asarray(got[scale.name])[:, 0], np.mean(estimates, axis=0), atol=2e-6)


@pytest.mark.parametrize("kernel_exponent", [0.0, 0.3, 0.5, 1.0])
def test_machines_read_scores_of_their_own_whitening(kernel_exponent):
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(80, 8)) * np.geomspace(9, 0.1, 8)) @ draw.normal(size=(8, 30))
    x = (x + 0.01 * draw.normal(size=x.shape) + 3).astype("float32")
    config = change(CONFIG, front_end__whitening_exponent=0.5, front_end__kernel_exponent=kernel_exponent)
    kernel, bias = whitening(x, config)
    weights = component_weights(x, (kernel, bias), config)
    sd = np.linalg.svd(x - x.mean(axis=0))[1][:6] ** (1 - kernel_exponent)
    got = ((x @ kernel + bias) * weights).std(axis=0)
    np.testing.assert_allclose(got, sd / np.sqrt(np.mean(sd**2)), rtol=1e-4)
    if kernel_exponent == 0.5:
        np.testing.assert_allclose(weights, weights.mean(), rtol=1e-4)


def test_a_component_without_variance_counts_for_nothing():
    x = np.tile(np.random.default_rng(0).normal(size=(3, 20)), (10, 1)).astype("float32")
    weights = component_weights(x, whitening(x, CONFIG), CONFIG)
    np.testing.assert_array_equal(weights > 0, np.arange(6) < 2)


@pytest.mark.parametrize("architecture", ["rs_ple", "single_task"])
def test_weights_of_components_are_those_of_the_rows_of_every_basis_of_their_view(architecture):
    network = build(change(CONFIG, model__architecture=architecture).model, problem_of(), keras)
    before = {layer.name: layer.get_weights() for layer in network.layers if layer.weights}
    weights = np.arange(1.0, 7.0)
    weigh_basis(network, 1, weights)
    owners = [f"{target}_" for target in TARGETS] if architecture == "single_task" else [""]
    for name, old in before.items():
        new = network.get_layer(name).get_weights()
        if name in {f"{owner}view2_basis" for owner in owners}:
            np.testing.assert_allclose(new[0], old[0] * weights[:, None], rtol=1e-6)
            np.testing.assert_array_equal(new[1], old[1])
        else:
            for a, b in zip(new, old, strict=True):
                np.testing.assert_array_equal(a, b)


def test_every_basis_reads_what_the_machines_read(library, parts):
    """Drawn alike, so that what is left of a kernel without the weights of its components is the same."""
    drawn = []
    for kernel_exponent in (0.0, 1.0):
        config = change(CONFIG, front_end__kernel_exponent=kernel_exponent)
        ready = prepared_on(library, parts, config)
        for number, view in enumerate(ready.problem.views, start=1):
            projection = ready.network.get_layer(f"view{number}").get_weights()
            weights = component_weights(viewed(ready.train_features, view), projection, config)
            assert weights.max() > 1.5 * weights.min()
            drawn.append(ready.network.get_layer(f"view{number}_basis").get_weights()[0] / weights[:, None])
    for one, other in zip(drawn[:3], drawn[3:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_rows_that_are_not_trained_on_never_matter(library, parts):
    ready = prepared_on(library, parts, CONFIG)
    rows = parts != "train"
    spectra = library.spectra.copy()
    spectra[rows] = spectra[rows][:, ::-1]
    wild = {name: np.where(rows, 1000 * values, values) for name, values in library.targets.items()}
    other = prepared_on(replace(library, spectra=spectra, targets=wild), parts, CONFIG)
    assert list(ready.machines) == list(library.targets)
    for target, weights in ready.machines.items():
        assert weights[0].any()
        for a, b in zip(other.machines[target], weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_towers_have_no_part_in_the_machines(library, parts):
    ready = prepared_on(library, parts, CONFIG)
    for target, (kernel, bias) in ready.machines.items():
        head, tower = (ready.network.get_layer(name) for name in (target, f"{target}_tower"))
        assert (kernel.shape, bias.shape) == (head.kernel.shape, head.bias.shape)
        np.testing.assert_array_equal((kernel != 0)[:, 0], np.arange(len(kernel)) >= tower.units)
