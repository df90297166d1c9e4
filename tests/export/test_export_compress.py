"""Laws of compression. TFMOT changes the process that imports it, so one child trains and these tests read its work."""

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
SHARES = dict(zip(TARGETS, (0.0, 0.5), strict=True))
"""One target's head is used, the other's is not."""

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
found = load(folder)
training = replace(found.config.training, batch_size=128)  # one batch is an epoch
poisoned = replace(
    found,
    config=replace(found.config, training=training),
    card=found.card | {{"model": found.card["model"] | {{"stacking_weights": {SHARES}}}}},
    test_scans=None,
    test_ids=None,
    test_values=None,
    test_outputs=None,
)
tf.config.run_functions_eagerly(True)  # graphs of so few updates take longer to trace than to run
networks = {{"": twin(poisoned.network, poisoned.config.model, poisoned.spec, lstm_form="fused")}}
weights = {{}}
for steps in (), ("qat",), ("pruned", "clustered"):
    network = compressed(poisoned, steps, "fused", 3) if steps else networks[""]
    for layer in network.layers:
        for one in layer.weights:
            weights["/".join(("+".join(steps), layer.name, one.name.rpartition("/")[2].partition(":")[0]))] = one
np.savez(out / "weights.npz", **weights)
tf.config.run_functions_eagerly(False)
(out / "core.tflite").write_bytes(network_file(poisoned, network, RECIPES["int8_pruned_clustered"]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(run):
    found = load(run)
    return replace(found, card=found.card | {"model": found.card["model"] | {"stacking_weights": SHARES}})


@pytest.fixture(scope="module")
def kernels(trained):
    """Layer -> names of its kernels that are to be compressed."""
    network = twin(trained.network, trained.config.model, trained.spec, lstm_form="fused")
    return compressible(network, trained.targets)


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    """Compression -> layer -> weight -> values; and the .tflite of the pruned and clustered network."""
    out = tmp_path_factory.mktemp("compressed")
    run_child([sys.executable, "-c", WORK, str(run), str(out)], "compression", 300.0)
    weights = {}
    with np.load(out / "weights.npz") as held:
        for key, values in held.items():
            steps, layer, name = key.split("/")
            weights.setdefault(steps, {}).setdefault(layer, {})[name] = values
    return weights, (out / "core.tflite").read_bytes()


def zeros_wanted(size):
    return size - round(size * (1 - SPARSITY))


def test_convolutions_dense_layers_and_the_recurrence_are_compressed(kernels):
    assert kernels["spectrum.stem.conv1"] == kernels["level1.pH.expert0"] == ["kernel"]
    assert kernels["level1.pH.expert0.lstm"] == ["kernel", "recurrent_kernel"]
    assert not {"view1.scores", "view2.scores", "view1.basis", "view2.basis", *TARGETS} & set(kernels)
    assert "spectrum.stem.conv0" not in kernels  # 24 weights


def test_pruned_and_clustered_kernels_have_the_zeros_and_the_few_values_asked_for(done, kernels):
    before, after = done[0][""], done[0]["pruned+clustered"]
    for layer, names in kernels.items():
        for name in names:
            values = after[layer][name]
            assert np.count_nonzero(values == 0) == zeros_wanted(values.size), (layer, name)
            assert len(np.unique(values)) <= CLUSTERS < len(np.unique(before[layer][name]))
            # By magnitude: of the weights that stay, none was much smaller than one that went.
            size = np.abs(before[layer][name])
            assert size[values == 0].mean() < size[values != 0].mean()


def test_the_8_bit_file_has_the_zeros_and_clusters(done, kernels):
    """Every channel of a kernel has a scale of its own, so clusters are counted by channel."""
    model = parse(done[1])
    tensors, seen = model.subgraphs[0].tensors, set()
    for layer, operator, found in layers_of(model):
        if layer not in kernels:
            continue
        seen.add(layer)
        # Four gates, each with a part of the kernel and of the recurrent one.
        held = [range(1, 5), range(5, 9)] if operator.endswith("LSTM") else [[1]]
        for name, places in zip(kernels[layer], held, strict=True):
            parts = [data_of(model, tensors[found.inputs[place]]) for place in places]
            size = done[0][""][layer][name].size
            assert sum(part.size for part in parts) == size
            assert sum(np.count_nonzero(part == 0) for part in parts) >= zeros_wanted(size)
            for part in parts:
                assert max(len(np.unique(channel)) for channel in part.reshape(len(part), -1)) <= CLUSTERS
    assert seen == set(kernels)


def layers_of(model):
    """Layer, kind and operator, of all that hold kernels; the LSTM is nameless, so its reader tells."""
    tensors, key = model.subgraphs[0].tensors, ".attention.key"
    found = [one for one in operators(model) if one[0] in ("CONV_2D", "FULLY_CONNECTED", LSTM)]
    named = {int(operator.outputs[0]): tensors[operator.outputs[0]].name.decode() for _, operator in found}
    layers = {output: name.split(";")[0].split("/")[1] for output, name in named.items() if "/" in name}
    read_by = {int(operator.inputs[0]): layers.get(int(operator.outputs[0]), "") for _, operator in found}
    for name, operator in found:
        output = int(operator.outputs[0])
        layer = read_by[output].removesuffix(key) + ".lstm" if name == LSTM else layers.get(output, "")
        yield layer, name, operator


def data_of(model, tensor):
    return np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape)


@pytest.mark.parametrize("steps", ["qat", "pruned+clustered"])
def test_what_is_frozen_stays_and_the_rest_learns(done, kernels, steps):
    before, after = done[0][""], done[0][steps]
    assert before.keys() == after.keys()
    unused, used = SHARES
    for layer in ("view1.scores", "view2.scores", "view1.basis", "view2.basis", unused):
        for name, values in before[layer].items():
            np.testing.assert_array_equal(after[layer][name], values, err_msg=layer)
    for layer in (*(name for name in kernels if unused not in name), used):
        assert not np.array_equal(after[layer]["kernel"], before[layer]["kernel"]), layer
    # No weight runs away in three updates: the layers are trained, not begun anew.
    assert np.abs(after[used]["kernel"] - before[used]["kernel"]).max() < 0.01


def test_a_head_learns_its_share_of_what_was_measured(trained):
    rows, values = training_data(trained)
    assert [len(one) for one in rows] == [len(trained.train_scans)] * 3
    _, used = SHARES
    assert np.isnan(values[:, 0]).all()
    scale = trained.scales[used]
    np.testing.assert_allclose(values[:, 1] * scale.sd + scale.mean, trained.train_values[used], rtol=1e-5)
    loss, delta = joint_loss(trained), trained.config.training.huber_delta
    estimated = values.copy()
    estimated[:, 0] = 7.0
    estimated[:, 1] *= SHARES[used]
    known = np.isfinite(values[:, 1])
    estimated[~known] = 0.0
    assert float(loss(values, estimated)) == 0.0
    # An error of e in the head is one of e / share in what it learned.
    for error in (0.1 * delta, delta):
        learned = error / SHARES[used]
        expected = 0.5 * learned**2 if learned <= delta else delta * (learned - 0.5 * delta)
        assert float(loss(values, estimated + np.float32(error))) == pytest.approx(expected, rel=1e-4)


def test_recipes_name_compressions_that_there_are(trained):
    assert {recipe.compression for recipe in RECIPES.values()} == {(), *COMPRESSIONS}
    for steps in (("halved",), ("clustered", "pruned")):
        with pytest.raises(InputError, match=f"compression {'.'.join(steps)}: unknown; there are pruned, clustered, "):
            network_for(trained, replace(RECIPES["int8_pruned"], compression=steps))
    assert "tensorflow_model_optimization" not in sys.modules
