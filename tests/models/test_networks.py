"""Laws of every network: NumPy recomputation, closed-form parameter count, twin of tf_keras, isolation of targets."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import (
    CORRELATION,
    TARGETS,
    TINY,
    copy_weights,
    features_of,
    outputs_of,
    set_fixed_weights,
    spec_of,
)
from scipy.special import expit, softmax

from relple_tf.config import ARCHITECTURES, EXPERT_KINDS
from relple_tf.models.catalogue import BUILDERS, build
from relple_tf.models.deployed import with_views
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.relevance import EPSILON
from relple_tf.models.routing import SHARED

SHARING = tuple(name for name in BUILDERS if name != "single_task")


def gates_of(config, spec):
    """Per level: owner -> [(owner of an expert, its number, offset of its logit)], by the rules of the papers."""
    targets, m, s = spec.targets, config.task_experts, config.shared_experts
    if config.architecture == "mmoe":
        m, s = 0, m * len(targets) + s
    levels = config.levels if config.architecture in ("ple", "rs_ple") else 1

    def experts(owner, offset=0.0):
        return [(owner, i, offset) for i in range(s if owner == SHARED else m)]

    gates_by_level = []
    for level in range(1, levels + 1):
        gates = {}
        for k, target in enumerate(targets):
            read = [*experts(target), *experts(SHARED)]
            for j, other in enumerate(targets):
                r = abs(spec.correlation[k, j])
                if config.architecture != "rs_ple" or j == k:
                    continue
                if config.relevance == "soft":
                    read += experts(other, config.relevance_beta * np.log(r + EPSILON))
                elif r >= config.relevance_tau:
                    read += experts(other)
            gates[target] = read
        # Without shared experts no expert reads the shared stream, so there is no shared gate.
        if level < levels and s:
            gates[SHARED] = [e for owner in (*targets, SHARED) for e in experts(owner)]
        gates_by_level.append(gates)
    return gates_by_level, m, s


class Recomputation:
    """The network in NumPy, from its weights by layer name and the formulas of the papers."""

    def __init__(self, network, config, spec):
        self.w = {layer.name: [v.astype("float64") for v in layer.get_weights()] for layer in network.layers}
        self.config, self.spec = config, spec

    def dense(self, name, x):
        kernel, *bias = self.w[name]
        return x @ kernel + sum(bias)

    def relu(self, name, x):
        return np.maximum(self.dense(name, x), 0)

    def stem(self, name, x):
        for block in range(len(self.config.conv_filters)):
            kernel, bias = self.w[f"{name}.conv{block}"]
            size, bands = len(kernel), x.shape[1]
            steps = -(-bands // 2)
            missing = max(2 * (steps - 1) + size - bands, 0)
            x = np.pad(x, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
            windows = [x[:, 2 * i : 2 * i + size] for i in range(steps)]
            x = np.stack([np.tensordot(w, kernel, 2) for w in windows], axis=1) + bias
            x = np.maximum(x, 0)
        return x

    def lstm(self, name, x):
        kernel, recurrent, bias = self.w[name]
        h = c = np.zeros((len(x), len(recurrent)))
        states = []
        for t in range(x.shape[1]):
            i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
            c = expit(f) * c + expit(i) * np.tanh(g)
            h = expit(o) * np.tanh(c)
            states.append(h)
        return np.stack(states, axis=1)

    def attention(self, name, x):
        scores = self.dense(f"{name}.query", np.tanh(self.dense(f"{name}.key", x)))
        return (softmax(scores, axis=1) * x).sum(axis=1)

    def expert(self, name, local, scores):
        kind = self.config.expert_kind
        x = self.lstm(f"{name}.lstm", local) if "lstm" in kind else local
        pool = {
            "cnn": lambda: x.mean(axis=1),
            "lstm": lambda: x[:, -1],
            "attention": lambda: self.attention(f"{name}.attention", x),
            "cnn_lstm_attention": lambda: self.attention(f"{name}.attention", x),
        }
        return self.relu(name, np.concatenate([pool[kind](), scores], axis=1))

    def tower(self, target, stream, views):
        prefix = f"task.{target}." if self.config.architecture == "single_task" else ""
        inputs = [self.relu(f"head.{target}.tower", stream)]
        for number, scores in enumerate(views, start=1):
            inputs.append(scores)
            if self.config.basis_units:
                inputs.append(np.tanh(self.dense(f"{prefix}view{number}.basis", scores)))
        return self.dense(target, np.concatenate(inputs, axis=1))[:, 0]

    def bounded(self, number, scores):
        (mean, variance), (other_mean, other) = (
            self.w[f"view{number}.scores.{name}"] for name in ("shrunk", "bounded")
        )
        return (np.tanh((scores - mean) / np.sqrt(variance)) - other_mean) / np.sqrt(other)

    def mixture(self, name, selector, experts, offsets):
        if len(experts) == 1:
            return experts[0]
        gate = softmax(self.dense(f"{name}.logits", selector) + offsets, axis=1)
        return sum(gate[:, [i]] * expert for i, expert in enumerate(experts))

    def scores(self, x):
        return [
            self.dense(f"view{number}.scores", np.concatenate([x[:, :, c] for c in channels], axis=1))
            for number, channels in enumerate(self.spec.views, start=1)
        ]

    def outputs(self, x):
        x = x.astype("float64")
        views = [
            self.bounded(
                number, self.dense(f"view{number}.scores", np.concatenate([x[:, :, c] for c in channels], axis=1))
            )
            for number, channels in enumerate(self.spec.views, start=1)
        ]
        scores = np.concatenate(views, axis=1)
        if self.config.architecture == "single_task":
            names = {t: f"task.{t}.expert" for t in TARGETS}
            return {t: self.tower(t, self.expert(n, self.stem(n, x), scores), views) for t, n in names.items()}
        if self.config.architecture == "shared_bottom":
            bottom = self.expert("shared.bottom", self.local("shared.bottom", x), scores)
            return {t: self.tower(t, bottom, views) for t in TARGETS}
        streams = dict.fromkeys((*TARGETS, SHARED), scores)
        for level, gates in enumerate(gates_of(self.config, self.spec)[0], start=1):
            experts = {}
            for owner, i in {(o, i) for read in gates.values() for o, i, _ in read}:
                name = f"level{level}.{owner}.expert{i}"
                experts[owner, i] = (
                    self.expert(name, self.local(name, x), streams[owner])
                    if level == 1
                    else self.relu(name, streams[owner])
                )
            streams |= {
                owner: self.mixture(
                    f"level{level}.{owner}",
                    streams[owner],
                    [experts[o, i] for o, i, _ in read],
                    [offset for *_, offset in read],
                )
                for owner, read in gates.items()
            }
        return {t: self.tower(t, streams[t], views) for t in TARGETS}

    def local(self, expert, x):
        return self.stem("spectrum.stem" if self.config.stem == "shared" else expert, x)


def parameter_count(config, spec):
    """The number of parameters in closed form: size of each block times its number."""
    k, e, views = len(spec.targets), config.expert_units, spec.views
    c = len(views) * spec.components
    filters = (spec.channels, *config.conv_filters)
    stem = sum(a * b * config.conv_kernel + b for a, b in itertools.pairwise(filters))
    f, u = filters[-1], config.lstm_units
    lstm = 4 * u * (f + u + 1)
    pool, width = {
        "cnn": (0, f),
        "lstm": (lstm, u),
        "attention": (f * (f + 1) + f, f),
        "cnn_lstm_attention": (lstm + u * (u + 1) + u, u),
    }[config.expert_kind]
    spectral = pool + (width + c) * e + e
    # Two fixed scales per score, each with a mean of 0.
    whitened = spec.bands * sum(map(len, views)) * spec.components + c + 4 * c
    basis = len(views) * (spec.components + 1) * config.basis_units
    tower = e * config.tower_units + config.tower_units + config.tower_units + c + len(views) * config.basis_units + 1
    if config.architecture == "single_task":
        return whitened + k * (basis + stem + spectral + tower)
    if config.architecture == "shared_bottom":
        return whitened + basis + stem + spectral + k * tower
    gates_by_level, m, s = gates_of(config, spec)
    experts = k * m + s
    gates = sum(
        (c if level == 0 else e) * len(read)
        for level, gates in enumerate(gates_by_level)
        for read in gates.values()
        if len(read) > 1
    )
    deeper = (len(gates_by_level) - 1) * experts * (e * e + e)
    stems = 1 if config.stem == "shared" else experts
    return whitened + basis + stems * stem + experts * spectral + deeper + gates + k * tower


def configs():
    """Every architecture x expert kind, every architecture x stem, and the variants of the gates."""
    for architecture, kind in itertools.product(BUILDERS, EXPERT_KINDS):
        config = replace(TINY, architecture=architecture, expert_kind=kind)
        yield pytest.param(config, id=f"{architecture}-{kind}")
        if kind == "cnn":
            yield pytest.param(replace(config, stem="per_expert"), id=f"{architecture}-{kind}-per_expert")
    cnn = replace(TINY, expert_kind="cnn", task_experts=2, shared_experts=2, levels=3)
    for architecture in ("mmoe", "cgc", "ple", "rs_ple"):
        yield pytest.param(replace(cnn, architecture=architecture), id=f"{architecture}-2x2x3")
    soft = {"tau0": {"relevance_tau": 0.0}, "soft": {"relevance": "soft", "relevance_beta": 1.5}}
    for name, changes in soft.items():
        yield pytest.param(replace(cnn, architecture="rs_ple", **changes), id=f"rs_ple-{name}")
    yield pytest.param(replace(cnn, architecture="ple", shared_experts=0), id="ple-none-shared")


def test_every_architecture_has_a_builder():
    assert tuple(BUILDERS) == ARCHITECTURES


@pytest.mark.parametrize("config", list(configs()))
def test_network_equals_its_numpy_recomputation_and_closed_form(config, spec, features):
    network = set_fixed_weights(build(config, spec, keras))
    got = outputs_of(network, features)
    assert network.name == config.architecture or config.architecture == "mmoe"
    assert {n: tuple(t.shape) for n, t in network.output.items()} == dict.fromkeys(TARGETS, (None, 1))
    assert network.count_params() == parameter_count(config, spec)
    for name, expected in Recomputation(network, config, spec).outputs(features).items():
        np.testing.assert_allclose(got[name], expected, atol=2e-5)
        assert np.ptp(expected) > 1e-3, f"constant output {name}: choose other fixed weights"


def trained_layers(network):
    return {layer.name for layer in network.layers if layer.trainable_weights}


VIEWS = [(((0, 1, 2),), 4), (((2, 0), (1,), (1, 2)), 4), (((1,), (2,)), 0)]
"""A single view; views that share channels; a channel that no view reads, without basis."""


@pytest.mark.parametrize(("views", "basis_units"), VIEWS, ids=str)
@pytest.mark.parametrize("architecture", ["single_task", "rs_ple"])
def test_networks_read_views_in_their_order_with_and_without_a_basis(architecture, views, basis_units):
    import tf_keras

    spec = spec_of(views=views)
    features = features_of(spec)
    config = replace(TINY, architecture=architecture, basis_units=basis_units, expert_kind="cnn")
    network = set_fixed_weights(build(config, spec, keras))
    twin = copy_weights(network, build(config, spec, tf_keras))
    assert network.count_params() == twin.count_params() == parameter_count(config, spec)
    got, of_twin = outputs_of(network, features), outputs_of(twin, features)
    for name, expected in Recomputation(network, config, spec).outputs(features).items():
        np.testing.assert_allclose(got[name], expected, atol=2e-5)
        np.testing.assert_allclose(of_twin[name], got[name], atol=2e-6)


def test_network_and_kernel_regression_read_twelve_views_in_the_order_of_the_config():
    """As text, view10 sorts before view2; the kernel regression orders its weights by the number of the view."""
    subsets = [views for count in (1, 2, 3) for views in itertools.permutations(range(3), count)]
    spec = spec_of(views=tuple(subsets[:12]))
    features = features_of(spec)
    config = replace(TINY, architecture="rs_ple", expert_kind="cnn")
    network = set_fixed_weights(build(config, spec, keras))
    recomputed = Recomputation(network, config, spec)
    for name, expected in recomputed.outputs(features).items():
        np.testing.assert_allclose(outputs_of(network, features)[name], expected, atol=5e-5)

    x = features.astype("float64")
    expected_scores = recomputed.scores(x)
    _, bands, scores = with_views(network)(features)
    assert len(scores) == 12
    np.testing.assert_array_equal(bands, x[:, :, 0].astype("float32"))
    for got, expected in zip(scores, expected_scores, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)

    kernel_regression = KernelRegression(TARGETS, landmarks=5, components=4)
    kernel_regression.build([score.shape for score in scores])
    draw = np.random.default_rng(2)
    kernel_regression.set_weights([draw.normal(0, 0.3, weight.shape) for weight in kernel_regression.weights])
    gain, landmark, slope, inverse_bound, linear, level = (
        weight.astype("float64") for weight in kernel_regression.get_weights()
    )
    expected = np.zeros((len(x), len(TARGETS))) + level
    for view, score in enumerate(expected_scores):
        z = score[:, :4] * gain[view]
        squared = ((z[:, None] - landmark[view]) ** 2).sum(axis=2)
        expected += np.exp(-squared) @ slope[view] + np.tanh(z * inverse_bound[view]) @ linear[view]
    np.testing.assert_allclose(kernel_regression(scores), expected, atol=1e-4)
    assert np.abs(np.diff(expected_scores, axis=0)).max(axis=(1, 2)).min() > 1e-2, "expected different views"


HOSTILE = ("view1", "shared", "add", "level1", "stem", "skip", "whitened", "spectrum_stem", "multiply", "rs_ple")
"""Target names equal to parts of layer names, to owners and to names of Keras operators."""


@pytest.mark.parametrize("architecture", BUILDERS)
@pytest.mark.parametrize("relevance", [pytest.param("hard", marks=pytest.mark.slow), "soft"])
def test_predictions_do_not_depend_on_the_names_of_targets(architecture, relevance):
    count = len(HOSTILE)
    correlation = np.clip(np.eye(count) + 0.7 * (np.abs(np.subtract.outer(range(count), range(count))) == 1), -1, 1)
    config = replace(TINY, architecture=architecture, relevance=relevance, expert_kind="cnn")
    plain = [f"target{number}" for number in range(count)]
    networks = [build(config, spec_of(targets, correlation), keras) for targets in (plain, HOSTILE)]
    set_fixed_weights(networks[0])
    plain_name = dict(zip(HOSTILE, plain, strict=True))
    for layer in networks[1].layers:
        parts = layer.name.split(".")
        # A target is the whole name of its output layer, and the second part of the name of its other layers.
        index = 1 if parts[0] in ("task", "head", "level1", "level2") and len(parts) > 1 else 0
        if index or len(parts) == 1:
            parts[index] = plain_name.get(parts[index], parts[index])
        name = ".".join(parts)
        if layer.weights:
            layer.set_weights(networks[0].get_layer(name).get_weights())
    features = features_of(spec_of(plain, correlation))
    expected, got = (outputs_of(network, features) for network in networks)
    assert list(got) == list(HOSTILE)
    for hostile, name in plain_name.items():
        np.testing.assert_array_equal(got[hostile], expected[name])


@pytest.mark.parametrize("architecture", BUILDERS)
def test_the_initial_output_of_every_network_is_zero(architecture, spec, features):
    network = build(replace(TINY, architecture=architecture), spec, keras)
    for values in outputs_of(network, features).values():
        np.testing.assert_array_equal(values, 0)


@pytest.mark.parametrize("architecture", BUILDERS)
def test_only_projections_scales_and_bases_of_the_views_are_frozen(architecture, spec):
    network = build(replace(TINY, architecture=architecture), spec, keras)
    owners = [f"task.{target}." for target in TARGETS] if architecture == "single_task" else [""]
    scales = {f"view{number}.scores.{kind}" for number in (1, 2) for kind in ("shrunk", "bounded")}
    frozen = {
        "view1.scores",
        "view2.scores",
        *scales,
        *(f"{owner}view{number}.basis" for owner in owners for number in (1, 2)),
    }
    assert {layer.name for layer in network.layers if layer.non_trainable_weights} == frozen
    assert trained_layers(network) == {layer.name for layer in network.layers if layer.weights} - frozen


def test_mmoe_is_named_mmoe(spec):
    network = build(replace(TINY, architecture="mmoe"), spec, keras)
    assert network.name == "mmoe"


@pytest.mark.parametrize("architecture", BUILDERS)
@pytest.mark.parametrize("relevance", ["hard", "soft"])
def test_one_target_works(architecture, relevance):
    spec = spec_of(TARGETS[:1])
    config = replace(TINY, architecture=architecture, relevance=relevance, expert_kind="cnn")
    network = build(config, spec, keras)
    assert network.count_params() == parameter_count(config, spec)
    (out,) = network(features_of(spec)).values()
    assert out.shape == (6, 1)


@pytest.mark.parametrize("architecture", BUILDERS)
def test_permuting_the_targets_permutes_the_outputs(architecture, spec, features):
    config = replace(TINY, architecture=architecture, expert_kind="cnn", task_experts=2, relevance_tau=0.3)
    if architecture == "mmoe":
        # All experts of MMoE are shared, so only gates and towers belong to a target.
        config = replace(config, task_experts=0, shared_experts=3)
    order = [2, 0, 1]
    permuted_spec = spec_of([TARGETS[i] for i in order], CORRELATION[np.ix_(order, order)])
    network = set_fixed_weights(build(config, spec, keras))
    permuted = copy_weights(network, build(config, permuted_spec, keras))
    for level, (here, there) in enumerate(
        zip(gates_of(config, spec)[0], gates_of(config, permuted_spec)[0], strict=True), start=1
    ):
        for owner, read in there.items() if architecture not in NO_GATES else ():
            columns = [here[owner].index(expert) for expert in read]
            name = f"level{level}.{owner}.logits"
            permuted.get_layer(name).set_weights([network.get_layer(name).get_weights()[0][:, columns]])
    got = outputs_of(permuted, features)
    assert list(permuted.output) == [TARGETS[i] for i in order]
    for name, expected in outputs_of(network, features).items():
        np.testing.assert_allclose(got[name], expected, atol=1e-5)


NO_GATES = ("single_task", "shared_bottom")


@pytest.mark.parametrize(
    ("architecture", "relevance", "kind"),
    [*((name, "hard", "cnn") for name in BUILDERS), *(("rs_ple", "soft", kind) for kind in EXPERT_KINDS)],
)
def test_twin_of_tf_keras_gives_the_same_outputs(architecture, relevance, kind, spec, features):
    import tf_keras

    config = replace(TINY, architecture=architecture, relevance=relevance, expert_kind=kind)
    network = set_fixed_weights(build(config, spec, keras))
    twin = copy_weights(network, build(config, spec, tf_keras))
    assert isinstance(twin, tf_keras.Model)
    for name, expected in outputs_of(network, features).items():
        np.testing.assert_allclose(outputs_of(twin, features)[name], expected, atol=1e-6)


@pytest.mark.parametrize("architecture", BUILDERS)
@pytest.mark.parametrize("kind", EXPERT_KINDS)
def test_no_layer_multiplies_two_activations_as_matrices(architecture, kind, spec):
    network = build(replace(TINY, architecture=architecture, expert_kind=kind), spec, keras)
    kinds = {type(operation).__name__.lower() for operation in network.operations}
    assert not [k for k in kinds for bad in ("dot", "einsum", "matmul", "multihead") if bad in k]
    assert not kinds & {"attention", "additiveattention", "groupedqueryattention", "lambda"}


def layers_read(network, target, features):
    """Names of the layers on whose trained weights the target's output depends."""
    import tensorflow as tf

    owners = [layer.name for layer in network.layers for _ in layer.trainable_variables]
    variables = [v.value for layer in network.layers for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(network(features)[target])
    gradients = tape.gradient(total, variables)
    return {name for name, g in zip(owners, gradients, strict=True) if g is not None}


def test_single_task_shares_no_trained_weight(spec, features):
    network = build(replace(TINY, architecture="single_task"), spec, keras)
    layers = [layers_read(network, target, features) for target in TARGETS]
    assert all(not a & b for a, b in itertools.combinations(layers, 2))
    assert set.union(*layers) == trained_layers(network)


@pytest.mark.parametrize("architecture", SHARING)
def test_the_other_architectures_share_the_stem_and_use_every_weight(architecture, spec, features):
    network = build(replace(TINY, architecture=architecture), spec, keras)
    layers = [layers_read(network, target, features) for target in TARGETS]
    assert "spectrum.stem.conv0" in set.intersection(*layers)
    assert set.union(*layers) == trained_layers(network)
