"""Adapter to the private and experimental functions of TensorFlow's converter and of TFMOT. Only this module uses them.

tests/export/test_converter_adapter.py checks the behaviour that this module relies on. Raise the minor version of
TensorFlow or TFMOT only when that file passes.
"""

import importlib
from typing import Any


def int16_operators() -> Any:
    """Operator set with 16-bit activations and 8-bit weights, for `target_spec.supported_ops`."""
    import tensorflow as tf

    return tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def clustering(layer: Any, clusters: int, initialisation: Any, *, keep_zeros: bool) -> Any:
    """Wrap a tf_keras layer so that each kernel has at most `clusters` different values after training.

    Args:
        layer: A layer of tf_keras.
        clusters: Number of clusters of each kernel.
        initialisation: A `CentroidInitialization` of TFMOT.
        keep_zeros: Whether weights that are 0 stay 0; no public function of TFMOT offers this.
    """
    cluster = _internal("tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster")
    return cluster.cluster_weights(layer, clusters, initialisation, preserve_sparsity=keep_zeros)


def kernel_and_activation_in_8_bits() -> Any:
    """TFMOT `QuantizeConfig` that rounds kernel and activation to 8 bits, each with one range, and no output."""
    package = "tensorflow_model_optimization.python.core.quantization.keras.default_8bit"
    registry = _internal(f"{package}.default_8bit_quantize_registry")
    return registry.Default8BitQuantizeConfig(["kernel"], ["activation"], False)


def _internal(module: str) -> Any:
    """Import an undocumented module, only when needed: TensorFlow loads slowly, and TFMOT changes the process."""
    return importlib.import_module(module)
