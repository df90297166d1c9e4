"""Laws of the applicability domain: T2 and Q by SciPy and scikit-learn, ranks of the limits, flagged scans."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import CONFIG
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from relple_tf.config import Config, FrontEndConfig, SimulatedConfig
from relple_tf.models import front_end
from relple_tf.models.domain import (
    NEIGHBOUR_COMPONENTS,
    NEIGHBOURS,
    NTH_NEIGHBOUR,
    STATUSES,
    DomainStatistics,
    Limits,
    cross_validated_statistics,
    limits,
    status,
)
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.sources.out_of_domain import KINDS, out_of_domain_scans
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.training.preparation import whitening

COMPONENTS = 5


def features_of(rows, seed=0):
    """(rows, 12, 2): eight directions of decreasing variance and a little noise, with a mean far from zero."""
    draw = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(8, 24))
    x = (draw.normal(size=(rows, 8)) * [8, 5, 3, 2, 1, 0.6, 0.4, 0.3]) @ directions
    return (x + 0.05 * draw.normal(size=x.shape) + 4).astype("float32").reshape(rows, 12, 2)


TRAIN, NEW = features_of(90), features_of(30, seed=1)


def flat(x):
    return x.reshape(len(x), -1)


def fitted(train, components=COMPONENTS, exponent=0.5, *, near=False):
    """The fitted layer, and kernel and bias of its projection: PCA scores divided by their SD to a power.

    Unless `near`, neighbours have no effect and Q is the residual of the components.
    """
    pca = PCA(components, svd_solver="full").fit(flat(train).astype("float64"))
    kernel = (pca.components_.T * pca.explained_variance_ ** (-exponent / 2)).astype("float32")
    layer = DomainStatistics()
    layer.build((train.shape, (None, components)))
    layer.fit(train, kernel)
    if not near:
        layer.closeness.assign(np.zeros(NEIGHBOURS))
    return layer, kernel, -flat(train).mean(axis=0) @ kernel


def statistics(x, layer, kernel, bias):
    t2, q = layer((x, flat(x) @ kernel + bias))
    assert t2.shape == q.shape == (len(x), 1)
    return np.asarray(t2)[:, 0], np.asarray(q)[:, 0]


def reference(train, x, components=COMPONENTS):
    """T2 as SciPy's Mahalanobis distance of the scores, Q as the squared residual of scikit-learn's PCA."""
    train, x = flat(train).astype("float64"), flat(x).astype("float64")
    pca = PCA(components, svd_solver="full").fit(train)
    scores = pca.transform(train)
    inverse = np.linalg.inv(np.cov(scores.T))
    t2 = cdist(pca.transform(x), scores.mean(axis=0)[None], "mahalanobis", VI=inverse)[:, 0] ** 2
    return t2, np.sum((x - pca.inverse_transform(pca.transform(x))) ** 2, axis=1)


def reference_with_neighbours(train, x, samples, components=COMPONENTS):
    """As `reference`, but Q is at least that of a scan at this distance from the training rows."""
    assert len(train) < NEIGHBOURS  # so that every row is a neighbour
    t2, residual = reference(train, x, components)
    train_t2, train_residual = reference(train, train, components)
    pca = PCA(components, svd_solver="full").fit(flat(train).astype("float64"))
    scores, new = (pca.transform(flat(rows))[:, :NEIGHBOUR_COMPONENTS] for rows in (train, x))
    between = cdist(scores, scores)
    between[samples[:, None] == samples] = np.inf
    radius = np.sort(between, axis=0)[NTH_NEIGHBOUR - 1]
    distance, largest_distance = (cdist(new, scores) / radius).min(axis=1), np.max((between / radius).min(axis=1))
    leverage = 1 / len(train) + train_t2 / (len(train) - 1)
    largest_residual = np.max(train_residual / (1 - leverage) ** 2)
    return t2, np.maximum(residual, largest_residual * (distance / largest_distance) ** 8)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_statistics_with_neighbours_equal_scikit_learn_whatever_the_whitening(exponent):
    layer_and_projection = fitted(TRAIN, exponent=exponent, near=True)
    # Soils of the training population, and soils far from it.
    x = np.concatenate([NEW, NEW + 3 * (NEW - NEW.mean(axis=0))])
    expected = reference_with_neighbours(TRAIN, x, np.arange(90))
    for statistic, reference_values in zip(statistics(x, *layer_and_projection), expected, strict=True):
        np.testing.assert_allclose(statistic, reference_values, rtol=3e-3)
    by_neighbours = expected[1] > reference(TRAIN, x)[1]
    assert 0 < by_neighbours.sum() < len(x)


def test_the_middle_of_two_fields_is_far_from_both():
    """T2 and the residual assume one cluster; a scan between two clusters would be at its centre."""
    shift = np.zeros((1, 12, 2), "float32")
    shift[0, :, 0] = 200.0
    fields = np.concatenate([features_of(60), features_of(60, seed=1) + shift])
    middle = (features_of(20, seed=2) + shift / 2).astype("float32")
    held_out = np.concatenate([features_of(20, seed=3), features_of(20, seed=4) + shift])
    bounds = limits(*cross_validated_statistics(fields, np.arange(120), COMPONENTS, seed=0))
    with_neighbours, residual_only = (statistics(middle, *fitted(fields, near=near)) for near in (True, False))
    assert (status({}, *with_neighbours, bounds) == "outside").all()
    assert (status({}, *residual_only, bounds) == "ok").all()
    assert np.mean(status({}, *statistics(held_out, *fitted(fields, near=True)), bounds) == "ok") >= 0.95


def test_scans_of_one_sample_are_not_neighbours_of_each_other():
    rows = np.repeat(np.arange(len(TRAIN)), NTH_NEIGHBOUR + 1)
    kernel = fitted(TRAIN)[1]
    closeness = []
    for samples in (None, rows):
        layer = DomainStatistics()
        layer.build((TRAIN.shape, (None, COMPONENTS)))
        layer.fit(TRAIN[rows], kernel, samples)
        closeness.append(np.asarray(layer.closeness))
    np.testing.assert_array_equal(closeness[0], 0)
    assert (closeness[1] > 0).all()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_statistics_equal_scipy_and_scikit_learn_whatever_the_whitening(exponent):
    both = statistics(NEW, *fitted(TRAIN, exponent=exponent))
    for statistic, expected in zip(both, reference(TRAIN, NEW), strict=True):
        np.testing.assert_allclose(statistic, expected, rtol=1e-3)


def test_with_all_components_the_residual_is_zero_and_t2_is_the_mahalanobis_distance():
    t2, q = statistics(NEW, *fitted(TRAIN, components=24))
    train, x = flat(TRAIN).astype("float64"), flat(NEW).astype("float64")
    centre = train.mean(axis=0)[None]
    expected = cdist(x, centre, "mahalanobis", VI=np.linalg.inv(np.cov(train.T)))[:, 0] ** 2
    np.testing.assert_allclose(t2, expected, rtol=1e-3)
    np.testing.assert_array_less(q, 2e-6 * np.sum((x - centre) ** 2, axis=1))


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_rounding_of_q_is_a_millionth_of_the_norm(size):
    """Scans in the plane of the components have Q 0; its rounding error in float32 is far below the Q of any soil."""
    layer, kernel, bias = fitted(TRAIN, exponent=0.0)
    moves = np.random.default_rng(2).normal(size=(200, COMPONENTS)) @ kernel.T
    moves *= size / np.linalg.norm(moves, axis=1, keepdims=True)
    inside = (flat(TRAIN).mean(axis=0) + moves).astype("float32").reshape(-1, 12, 2)
    # Rounding the scan to float32 moves it, which is not an error of the layer; at size 1 its level of 4 dominates.
    np.testing.assert_array_less(statistics(inside, layer, kernel, bias)[1], 2e-6 * max(size, 20.0) ** 2)


def test_q_is_never_negative():
    train = features_of(90)
    q = statistics(train, *fitted(train, components=24, near=True))[1]
    assert (q >= 0).all()


def test_a_constant_component_contributes_to_q_only():
    twins = np.tile(features_of(4), (10, 1, 1))
    kernel, bias = whitening(flat(twins), CONFIG)
    assert (np.linalg.norm(kernel, axis=0) == 0).any()
    layer = DomainStatistics()
    layer.build((twins.shape, (None, len(bias))))
    layer.fit(twins, kernel)
    both = statistics(NEW, layer, kernel, bias)
    for statistic, expected in zip(both, reference(twins, NEW, components=3), strict=True):
        np.testing.assert_allclose(statistic, expected, rtol=2e-3)


def test_a_constant_component_is_detected_by_its_scores():
    twins = np.tile(features_of(4), (10, 1, 1))
    components = PCA(6, svd_solver="full").fit(flat(twins).astype("float64")).components_.T
    layer = DomainStatistics()
    layer.build((twins.shape, (None, 6)))
    layer.fit(twins, components.astype("float32"))
    np.testing.assert_array_equal(np.asarray(layer.inverse_sd) > 0, [True] * 3 + [False] * 3)
    np.testing.assert_array_equal(np.asarray(layer.inverse_scale) > 0, [True] * 3 + [False] * 3)


def test_nan_in_a_scan_is_nan_in_t2_and_q_and_does_not_change_other_scans():
    layer_and_projection = fitted(TRAIN, near=True)
    before = statistics(NEW, *layer_and_projection)
    broken = NEW.copy()
    broken[3, 7, 1] = np.nan
    others = np.arange(len(NEW)) != 3
    for expected, statistic in zip(before, statistics(broken, *layer_and_projection), strict=True):
        assert np.isnan(statistic[3])
        np.testing.assert_array_equal(statistic[others], expected[others])


def test_constants_are_saved_and_not_trained(tmp_path):
    layer, kernel, bias = fitted(TRAIN, near=True)
    features = keras.Input(TRAIN.shape[1:])
    projection = keras.layers.Dense(COMPONENTS)
    t2, q = layer((features, projection(keras.layers.Flatten()(features))))
    projection.set_weights([kernel, bias])
    model = keras.Model(features, {"t2": t2, "q": q})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for name, statistic in loaded(NEW).items():
        np.testing.assert_array_equal(statistic, model(NEW)[name])
    assert not layer.trainable_weights
    assert np.asarray(model(NEW)["t2"]).max() > 0


@pytest.mark.parametrize("groups", [np.repeat([7, 3, 5], 30), np.tile([0, 1], 45)], ids=["three", "two"])
def test_statistics_of_each_group_come_from_components_fitted_without_it(groups):
    t2, q = cross_validated_statistics(TRAIN, groups, COMPONENTS, seed=0)
    for group in np.unique(groups):
        held = groups == group
        # Of two groups, a fold trains on a single one; its rows are then neighbours of each other.
        samples = groups[~held] if len(np.unique(groups)) > 2 else np.arange(45)
        expected = reference_with_neighbours(TRAIN[~held], TRAIN[held], samples)
        np.testing.assert_allclose(t2[held], expected[0], rtol=1e-3)
        np.testing.assert_allclose(q[held], expected[1], rtol=3e-3)


@pytest.mark.parametrize("groups", [np.arange(90), np.zeros(90, int)], ids=["single rows", "single group"])
def test_single_rows_and_a_single_group_are_divided_by_rows(groups):
    t2, q = cross_validated_statistics(TRAIN, groups, COMPONENTS, seed=1, folds=90)
    row = 11
    others = np.arange(90) != row
    expected = reference_with_neighbours(TRAIN[others], TRAIN[[row]], np.arange(89))
    np.testing.assert_allclose([t2[row], q[row]], np.ravel(expected), rtol=3e-3)


def test_the_seed_determines_the_folds():
    first, same, other = (cross_validated_statistics(TRAIN, np.arange(90), 5, seed=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_statistics_of_few_rows_and_many_components_are_finite():
    t2, q = cross_validated_statistics(TRAIN[:4], np.arange(4), 60, seed=0)
    assert np.isfinite([t2, q]).all()


@pytest.mark.parametrize(
    ("n", "share", "rank"), [(99, 0.99, 99), (199, 0.99, 198), (1000, 0.99, 991), (20, 0.99, 20), (99, 0.07, 7)]
)
def test_limits_are_the_conformal_ranks(n, share, rank):
    values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    bounds = limits(values, 10 * values, share)
    assert bounds == Limits(t2=float(rank), q=10.0 * rank, share=share)
    assert 1 - rank / (n + 1) <= max(1 - share, 1 / (n + 1)) + 1e-12


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [1.0, np.inf]])
def test_limits_of_missing_or_infinite_statistics_are_refused(values):
    message = f"at least one finite T2 and Q; received {len(values)} values, {min(len(values), 1)} not finite"
    for t2, q in ((values, np.ones(len(values))), (np.ones(len(values)), values)):
        with pytest.raises(ValueError, match=message):
            limits(np.array(t2), np.array(q))


def test_status_invalid_precedes_outside_precedes_ok():
    nan, inf = np.nan, np.inf
    cases = [  # T2, Q, predictions of two targets, status; the limits are 10 and 2
        (1.0, 1.0, 5.0, 6.0, "ok"),
        (10.0, 2.0, 5.0, 6.0, "ok"),
        (10.1, 1.0, 5.0, 6.0, "outside"),
        (1.0, 2.1, 5.0, 6.0, "outside"),
        (nan, 1.0, 5.0, 6.0, "invalid"),
        (1.0, nan, 5.0, 6.0, "invalid"),
        (inf, 1.0, 5.0, 6.0, "invalid"),
        (1.0, 1.0, nan, 6.0, "invalid"),
        (99.0, 1.0, 5.0, inf, "invalid"),
    ]
    t2, q, oc, ph, expected = (np.array(column) for column in zip(*cases, strict=True))
    statuses = status({"OC_g_kg": oc, "pH": ph}, t2, q, Limits(t2=10.0, q=2.0, share=0.99))
    np.testing.assert_array_equal(statuses, expected)
    assert set(statuses.tolist()) == set(STATUSES)


def test_difficulty_is_one_at_the_limit_and_linear_in_distance():
    difficulty = Limits(t2=16.0, q=1.0, share=0.99).difficulty(np.array([0.0, 4.0, 16.0, 64.0, np.nan]))
    np.testing.assert_array_equal(difficulty, [0.0, 0.5, 1.0, 2.0, np.nan])


class Domain:
    """Front end, projection, domain statistics and limits of a model, fitted on training rows of a library."""

    def __init__(self, library, train):
        config = replace(CONFIG, front_end=FrontEndConfig(step_nm=8.0, whitened_components=30))
        self.first = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config.front_end)
        absorbance = front_end.apply(self.first, library.spectra[train])
        self.channels = front_end.channel_stage(absorbance.shape[1], config.front_end)
        front_end.fit_channel_stage(self.channels, absorbance)
        features = front_end.apply(self.channels, absorbance)
        self.kernel, self.bias = whitening(flat(features), config)
        self.layer = DomainStatistics()
        self.layer.build((features.shape, (None, len(self.bias))))
        samples = np.unique(library.ids[train], return_inverse=True)[1]
        self.layer.fit(features, self.kernel, samples)
        self.limits = limits(*cross_validated_statistics(features, samples, len(self.bias), seed=0))

    def measure(self, scans):
        features = front_end.apply(self.channels, front_end.apply(self.first, scans))
        return statistics(features, self.layer, self.kernel, self.bias)

    def flagged(self, scans, bound=None):
        return np.mean(status({}, *self.measure(scans), bound or self.limits) != "ok")


@pytest.fixture(scope="module")
def limesoda():
    library = load(Config())
    return library, Domain(library, library.parts == "train")


@pytest.fixture(scope="module")
def simulated():
    library = simulate(SimulatedConfig(soils=600, step_nm=4.0))
    return library, Domain(library, np.arange(600) < 400)


def test_held_out_real_soils_are_rarely_flagged(limesoda):
    library, domain = limesoda
    assert domain.flagged(library.spectra[library.parts == "test"]) <= 0.04


def test_limits_without_cross_validation_would_flag_many_real_soils(limesoda):
    library, domain = limesoda
    naive = limits(*domain.measure(library.spectra[library.parts == "train"]))
    assert domain.flagged(library.spectra[library.parts == "test"], naive) >= 0.05


def test_held_out_simulated_soils_are_rarely_flagged(simulated):
    library, domain = simulated
    assert domain.flagged(library.spectra[400:]) <= 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_scans_of_other_materials_are_flagged(simulated, kind):
    library, domain = simulated
    assert domain.flagged(out_of_domain_scans(kind, library.wavelengths_nm, 60, seed=0)) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_scans_of_other_materials_are_flagged_by_a_library_of_real_soils(limesoda, kind):
    """Seven fields by several instruments, one of them noisy: only the neighbours detect soils of another range."""
    library, domain = limesoda
    assert domain.flagged(out_of_domain_scans(kind, library.wavelengths_nm, 60, seed=0)) >= 0.95


def test_almost_white_scans_are_flagged_by_a_library_of_real_soils(limesoda):
    """They vary by a few thousandths of absorbance: more than a constant scan, less than any soil."""
    library, domain = limesoda
    position = np.linspace(-1, 1, len(library.wavelengths_nm))
    absorbance = np.linspace(0.002, 0.3, 40)[:, None] + 0.001 * position + 0.0005 * position**2
    assert domain.flagged((10**-absorbance).astype("float32")) >= 0.95


def test_a_scan_with_nan_is_invalid(simulated):
    library, domain = simulated
    scans = library.spectra[:3].copy()
    scans[1, 100] = np.nan
    np.testing.assert_array_equal(status({}, *domain.measure(scans), domain.limits) == "invalid", [False, True, False])
