"""Behaviour of the converter and of TFMOT that `export.convert.converter_adapter` relies on and nothing documents.

A failure names the change. Then adapt export/convert/converter_adapter.py, or keep the older minor version pinned.
"""

import ast
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.convert.conversion import run_child
from export.convert.converter_adapter import int16_operators
from export.convert.flatbuffer import operators, parse, type_name

TENSORFLOW = f"tensorflow {version('tensorflow')}"
TFMOT = f"tensorflow-model-optimization {version('tensorflow-model-optimization')}"
ROOT = Path(__file__).parents[2]
ROWS = np.random.default_rng(0).normal(size=(32, 1, 6)).astype("float32")


def test_the_int16_operators_compute_in_16_bits_with_8_bit_weights():
    weight = tf.constant(np.random.default_rng(1).normal(size=(6, 5)), tf.float32)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 6), tf.float32, name="x")])
    def layer(x):
        return {"y": tf.tanh(tf.matmul(x, weight))}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([layer.get_concrete_function()], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"x": row} for row in ROWS)
    converter.target_spec.supported_ops = [int16_operators()]
    with pytest.warns(UserWarning, match=r"tf\.lite\.Interpreter is deprecated"):
        content = converter.convert()
    model = parse(content)
    tensors = model.subgraphs[0].tensors
    dense = [operator for name, operator in operators(model) if name == "FULLY_CONNECTED"]
    types = {
        tuple(type_name(tensors[index]) for index in (layer.inputs[0], layer.inputs[1], layer.outputs[0]))
        for layer in dense
    }
    assert types == {("int16", "int8", "int16")}, f"{TENSORFLOW}: the 16-bit set gives {types}"


TFMOT_WORK = """
import inspect, json, sys
import numpy as np
import tensorflow_model_optimization as tfmot  # before tf_keras: it chooses the Keras
import tf_keras
from export.convert import converter_adapter as adapter

cluster = adapter._internal("tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster")
facts = {"cluster_weights": list(inspect.signature(cluster.cluster_weights).parameters)}
kernel = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
kernel[::2] = 0
layer = tf_keras.layers.Dense(8, use_bias=False)
kind = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
model = tf_keras.Sequential([tf_keras.Input((8,)), layer])
layer.set_weights([kernel])
wrapped = tf_keras.models.clone_model(
    model, clone_function=lambda _: adapter.clustering(layer, 4, kind, keep_zeros=True)
)
wrapped.compile("sgd", "mse")
wrapped.fit(np.ones((4, 8), "float32"), np.ones((4, 8), "float32"), epochs=2, verbose=0)
(after,) = tfmot.clustering.keras.strip_clustering(wrapped).get_weights()
facts["zeros"] = bool((after[::2] == 0).all())
facts["clusters"] = len(np.unique(after))

config = adapter.kernel_and_activation_in_8_bits()
layer = tf_keras.layers.Dense(3, activation="relu")
layer.build((None, 8))
((weight, of_weight),) = config.get_weights_and_quantizers(layer)
((activation, of_activation),) = config.get_activations_and_quantizers(layer)
facts["rounds"] = [weight is layer.kernel, activation is layer.activation, config.get_output_quantizers(layer)]
facts["bits"] = [of_weight.num_bits, of_weight.per_axis, of_activation.num_bits, of_activation.per_axis]
open(sys.argv[1], "w").write(json.dumps(facts))
"""


def test_tfmot_keeps_zeros_in_clustering_and_rounds_kernel_and_activation(tmp_path):
    """In a child process, because TFMOT changes the Keras of a process."""
    file = tmp_path / "facts.json"
    run_child(
        [sys.executable, "-c", TFMOT_WORK, str(file)], f"{TFMOT}: calls of export.convert.converter_adapter", 300.0
    )
    facts = json.loads(file.read_text())
    expected = ["to_cluster", "number_of_clusters", "cluster_centroids_init", "preserve_sparsity"]
    assert facts["cluster_weights"][:4] == expected, f"{TFMOT}: cluster_weights has {facts['cluster_weights']}"
    assert facts["zeros"], f"{TFMOT}: preserve_sparsity no longer keeps zeros"
    assert 2 <= facts["clusters"] <= 4, f"{TFMOT}: 4 clusters give {facts['clusters']} values"
    assert facts["rounds"] == [True, True, []], f"{TFMOT}: Default8BitQuantizeConfig rounds other tensors"
    assert facts["bits"] == [8, False, 8, False], f"{TFMOT}: Default8BitQuantizeConfig has {facts['bits']}"


@pytest.mark.parametrize("path", sorted((ROOT / "export").rglob("*.py")), ids=lambda path: path.stem)
def test_only_the_adapter_uses_private_or_experimental_names(path):
    if path.stem == "converter_adapter":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    attributes |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    experimental = {name for name in attributes if "experimental" in name.lower()}
    assert experimental <= {"experimental"}  # tf.config.experimental, which is documented
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    modules = strings | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    internal = {name for name in modules if name.startswith(("tensorflow", "tflite", "ai_edge")) and ".python" in name}
    assert internal <= {"tflite_micro.python.tflite_micro"}  # documented
