"""Compression. TFMOT changes the process that imports it, so a child process trains and these tests read its files."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from export_fixtures import TARGETS, tiny_run

from export.bundling.stored_run import load
from export.convert.compress import CLUSTERS, COMPRESSIONS, SPARSITY, compressible, joint_loss, training_data
from export.convert.conversion import run_child
from export.convert.flatbuffer import operators, parse
from export.convert.quantise import network_for
from export.convert.twin import twin
from export.recipes import RECIPES
from relple_tf.errors import InputError

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
STACKING_WEIGHTS = dict(zip(TARGETS, (0.0, 0.5), strict=True))
"""The head of the first target has no weight in the stack."""

WORK = f"""
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.convert.compress import compressed
from export.convert.conversion import network_file
from export.recipes import RECIPES
from export.bundling.stored_run import load
from export.convert.twin import twin

folder, out = map(Path, sys.argv[1:])
stored = load(folder)
training = replace(stored.config.training, batch_size=128)  # an epoch is a single batch
without_test = replace(
    stored,
    config=replace(stored.config, training=training),
    card=stored.card | {{"model": stored.card["model"] | {{"stacking_weights": {STACKING_WEIGHTS}}}}},
    test_scans=None,
    test_ids=None,
    test_values=None,
    test_outputs=None,
)
tf.config.run_functions_eagerly(True)  # for so few updates, tracing a graph takes longer than running it
plain = twin(without_test.network, without_test.config.model, without_test.spec, lstm_form="fused")
weights = {{}}
for steps in (), ("qat",), ("pruned", "clustered"):
    network = compressed(without_test, steps, "fused", 3) if steps else plain
    for layer in network.layers:
        for weight in layer.weights:
            weights["/".join(("+".join(steps), layer.name, weight.name.rpartition("/")[2].partition(":")[0]))] = weight
np.savez(out / "weights.npz", **weights)
tf.config.run_functions_eagerly(False)
(out / "core.tflite").write_bytes(network_file(without_test, network, RECIPES["int8_pruned_clustered"]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(run):
    stored = load(run)
    return replace(stored, card=stored.card | {"model": stored.card["model"] | {"stacking_weights": STACKING_WEIGHTS}})


@pytest.fixture(scope="module")
def kernels(trained):
    """Layer -> names of the kernels that compression changes."""
    network = twin(trained.network, trained.config.model, trained.spec, lstm_form="fused")
    return compressible(network, trained.targets)


@pytest.fixture(scope="module")
def compression(run, tmp_path_factory):
    """Steps -> layer -> weight -> values; and the .tflite of the pruned and clustered network."""
    out = tmp_path_factory.mktemp("compressed")
    run_child([sys.executable, "-c", WORK, str(run), str(out)], "compression", 300.0)
    weights = {}
    with np.load(out / "weights.npz") as arrays:
        for key, values in arrays.items():
            steps, layer, name = key.split("/")
            weights.setdefault(steps, {}).setdefault(layer, {})[name] = values
    return weights, (out / "core.tflite").read_bytes()


def pruned_weights(size):
    """Number of zeros in a pruned kernel of `size` weights."""
    return size - round(size * (1 - SPARSITY))


@pytest.mark.slow
def test_convolutions_dense_layers_and_lstm_are_compressed_but_no_views_heads_or_small_kernels(kernels):
    assert kernels["spectrum.stem.conv1"] == kernels["level1.pH.expert0"] == ["kernel"]
    assert kernels["level1.pH.expert0.lstm"] == ["kernel", "recurrent_kernel"]
    assert not {"view1.scores", "view2.scores", "view1.basis", "view2.basis", *TARGETS} & set(kernels)
    assert "spectrum.stem.conv0" not in kernels  # 24 weights


@pytest.mark.slow
def test_pruned_and_clustered_kernels_have_the_requested_zeros_and_number_of_values(compression, kernels):
    before, after = compression[0][""], compression[0]["pruned+clustered"]
    for layer, names in kernels.items():
        for name in names:
            values = after[layer][name]
            assert np.count_nonzero(values == 0) == pruned_weights(values.size), (layer, name)
            assert len(np.unique(values)) <= CLUSTERS < len(np.unique(before[layer][name]))
            # Pruning is by magnitude: on average, the pruned weights were smaller than the others.
            size = np.abs(before[layer][name])
            assert size[values == 0].mean() < size[values != 0].mean()


@pytest.mark.slow
def test_the_8_bit_file_has_the_zeros_and_clusters(compression, kernels):
    """Every channel of a kernel has its scale, so clusters are counted by channel."""
    model = parse(compression[1])
    tensors, layers = model.subgraphs[0].tensors, set()
    for layer, kind, operator in layers_of(model):
        if layer not in kernels:
            continue
        layers.add(layer)
        # Each of the four gates has a part of the kernel and of the recurrent kernel.
        inputs = [range(1, 5), range(5, 9)] if kind == LSTM else [[1]]
        for name, indices in zip(kernels[layer], inputs, strict=True):
            parts = [data_of(model, tensors[operator.inputs[index]]) for index in indices]
            size = compression[0][""][layer][name].size
            assert sum(part.size for part in parts) == size
            assert sum(np.count_nonzero(part == 0) for part in parts) >= pruned_weights(size)
            for part in parts:
                assert max(len(np.unique(channel)) for channel in part.reshape(len(part), -1)) <= CLUSTERS
    assert layers == set(kernels)


def layers_of(model):
    """Layer, kind and operator of every operator with kernels; an LSTM is named after the layer that reads it."""
    tensors, key = model.subgraphs[0].tensors, ".attention.key"
    with_kernels = [
        (kind, operator) for kind, operator in operators(model) if kind in ("CONV_2D", "FULLY_CONNECTED", LSTM)
    ]
    names = {int(operator.outputs[0]): tensors[operator.outputs[0]].name.decode() for _, operator in with_kernels}
    layers = {output: name.split(";")[0].split("/")[1] for output, name in names.items() if "/" in name}
    read_by = {int(operator.inputs[0]): layers.get(int(operator.outputs[0]), "") for _, operator in with_kernels}
    for kind, operator in with_kernels:
        output = int(operator.outputs[0])
        layer = read_by[output].removesuffix(key) + ".lstm" if kind == LSTM else layers.get(output, "")
        yield layer, kind, operator


def data_of(model, tensor):
    return np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape)


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["qat", "pruned+clustered"])
def test_frozen_layers_and_unused_heads_do_not_change_and_all_others_are_trained(compression, kernels, steps):
    before, after = compression[0][""], compression[0][steps]
    assert before.keys() == after.keys()
    unused, used = STACKING_WEIGHTS
    for layer in ("view1.scores", "view2.scores", "view1.basis", "view2.basis", unused):
        for name, values in before[layer].items():
            np.testing.assert_array_equal(after[layer][name], values, err_msg=layer)
    for layer in (*(name for name in kernels if unused not in name), used):
        assert not np.array_equal(after[layer]["kernel"], before[layer]["kernel"]), layer
    # Three updates change a weight only slightly: training continues from the weights of the run.
    assert np.abs(after[used]["kernel"] - before[used]["kernel"]).max() < 0.01


def test_the_loss_of_a_head_divides_its_output_by_its_stacking_weight(trained):
    inputs, values = training_data(trained)
    assert [len(rows) for rows in inputs] == [len(trained.train_scans)] * 3
    _, used = STACKING_WEIGHTS
    assert np.isnan(values[:, 0]).all()
    scale = trained.scales[used]
    np.testing.assert_allclose(values[:, 1] * scale.sd + scale.mean, trained.train_values[used], rtol=1e-5)
    loss, delta = joint_loss(trained), trained.config.training.huber_delta
    predicted = values.copy()
    predicted[:, 0] = 7.0
    predicted[:, 1] *= STACKING_WEIGHTS[used]
    measured = np.isfinite(values[:, 1])
    predicted[~measured] = 0.0
    assert float(loss(values, predicted)) == 0.0
    # An error e of the scaled head is an error e / weight of the head itself.
    for error in (0.1 * delta, delta):
        unscaled = error / STACKING_WEIGHTS[used]
        expected = 0.5 * unscaled**2 if unscaled <= delta else delta * (unscaled - 0.5 * delta)
        assert float(loss(values, predicted + np.float32(error))) == pytest.approx(expected, rel=1e-4)


def test_recipes_use_every_compression_and_an_unknown_compression_is_refused(trained):
    assert {recipe.compression for recipe in RECIPES.values()} == {(), *COMPRESSIONS}
    for steps in (("halved",), ("clustered", "pruned")):
        with pytest.raises(
            InputError, match=f"compression {'.'.join(steps)} is unknown; choose from pruned, clustered, "
        ):
            network_for(trained, replace(RECIPES["int8_pruned"], compression=steps))
    assert "tensorflow_model_optimization" not in sys.modules
