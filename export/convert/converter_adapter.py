"""Adapter to the private and experimental functions of TensorFlow's converter and of TFMOT. Only this module uses them.

tests/export/test_converter_adapter.py checks the behaviour that this module relies on. Raise the minor version of
TensorFlow or TFMOT only when that file passes.
"""

import importlib
from typing import Any

from export.convert.flatbuffer import operators, parse


def int16_operators() -> Any:
    """Operator set with 16-bit activations and 8-bit weights, for `target_spec.supported_ops`."""
    import tensorflow as tf

    return tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def only_calibrate(converter: Any) -> None:
    """Make `convert` return the float32 model with the range of every computed tensor, not yet quantised."""
    converter._experimental_calibrate_only = True


def quantised_except(calibrated: bytes, scope: str) -> bytes:
    """Quantise a model to 8 bits, inputs and outputs included, except the operators of a name scope.

    Args:
        calibrated: A .tflite from a converter with `only_calibrate`.
        scope: TensorFlow name scope whose operators stay float32.
    """
    from tensorflow import int8

    model = parse(calibrated)
    tensors = model.subgraphs[0].tensors
    names = [tensors[operator.outputs[0]].name.decode() for _, operator in operators(model)]
    quantise = _internal("tensorflow.lite.python.convert").mlir_quantize
    return bytes(
        quantise(
            calibrated,
            fully_quantize=True,
            input_data_type=int8,
            output_data_type=int8,
            # The name of a fused operator lists the names of its parts.
            denylisted_nodes=sorted(name for name in names if any(part.startswith(scope) for part in name.split(";"))),
        )
    )


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
