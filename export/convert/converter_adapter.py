"""What export uses of TensorFlow's converter and of TFMOT that is private or experimental: all of it, and nothing else.

tests/test_converter_adapter.py holds what is relied on; a new minor version of TensorFlow or TFMOT is taken only when
that file passes.
"""

import importlib
from typing import Any

from export.convert.flatbuffer import operators, parse


def int16_operators() -> Any:
    """The set of operators with 16-bit activations and 8-bit weights, for `target_spec.supported_ops`."""
    import tensorflow as tf

    return tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def only_calibrate(converter: Any) -> None:
    """Make `convert` return the float32 model with the range of every tensor that it computes, not yet quantised."""
    converter._experimental_calibrate_only = True


def quantised_but(calibrated: bytes, scope: str) -> bytes:
    """An 8-bit model, borders included, in which operators that come from `scope` stay float32.

    Args:
        calibrated: From a converter that only calibrated.
        scope: A TensorFlow name scope.
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
            # The name of a fused operator lists those that it was made of.
            denylisted_nodes=sorted(name for name in names if any(part.startswith(scope) for part in name.split(";"))),
        )
    )


def clustering(layer: Any, clusters: int, initialisation: Any, *, keep_zeros: bool) -> Any:
    """A tf_keras layer wrapped so that training gives it `clusters` different weights at most.

    Args:
        layer: Of tf_keras.
        clusters: Of each kernel.
        initialisation: A `CentroidInitialization` of TFMOT.
        keep_zeros: Whether weights that are 0 stay 0, which no public function of TFMOT does.
    """
    cluster = _internal("tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster")
    return cluster.cluster_weights(layer, clusters, initialisation, preserve_sparsity=keep_zeros)


def kernel_and_activation_in_8_bits() -> Any:
    """A `QuantizeConfig` of TFMOT that rounds kernel and activation to 8 bits, each with one range, and no output."""
    package = "tensorflow_model_optimization.python.core.quantization.keras.default_8bit"
    registry = _internal(f"{package}.default_8bit_quantize_registry")
    return registry.Default8BitQuantizeConfig(["kernel"], ["activation"], False)


def _internal(module: str) -> Any:
    """A module that its package does not document. Imported late: TensorFlow is slow, and TFMOT changes the process."""
    return importlib.import_module(module)
