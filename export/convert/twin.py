"""The twin: the network built by the same builder on tf_keras, with the same weights.

The converter makes the LSTM operator of devices from a tf_keras LSTM only.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from relple_tf.config import ModelConfig
from relple_tf.models.catalogue import build
from relple_tf.models.network_spec import NetworkSpec

Model = Any
"""A tf_keras model; tf_keras has no types."""

LARGEST_DIFFERENCE = 1e-5
"""Tolerance of outputs in standard deviations: allows different rounding, not different weights."""

CHECKED_ROWS = 16
"""Random rows on which both networks are compared."""


def twin(network: keras.Model, config: ModelConfig, spec: NetworkSpec, *, lstm_form: str) -> Model:
    """Build the same network on tf_keras.

    Args:
        network: The trained network, from `build(config, spec, keras)`.
        config: The config that it was built from.
        spec: The specification that it was built from.
        lstm_form: `fused` or `unrolled`; the weights are the same.

    Returns:
        A tf_keras model, features (batch, bands, channels) -> {target: (batch, 1)}. Its layers have the names and
        weights of the original.

    Raises:
        ValueError: only one of the two networks has a certain layer, or their outputs differ.
    """
    import tf_keras

    # tf_keras numbers unnamed layers through the process, and the converter orders operators by name.
    tf_keras.backend.clear_session()
    copy = build(dataclasses.replace(config, lstm_form=lstm_form), spec, tf_keras)
    copy_weights(network, copy)
    check_equal(network, copy, spec)
    return copy


def after_views(network: Model) -> Model:
    """The part of the network after its views: [features, scores of each view] -> {target: (batch, 1)}."""
    import tf_keras

    from relple_tf.models.deployed import with_views

    _, _, scores = with_views(network).output
    return tf_keras.Model([network.input, *scores], network.output, name=network.name)


def copy_weights(source: Model, target: Model) -> None:
    """Copy the weights of every layer of `source` to the layer of the same name in `target`.

    Raises:
        ValueError: only one of the two networks has a certain layer with weights.
    """
    source_layers = {layer.name: layer for layer in source.layers if layer.weights}
    target_layers = {layer.name: layer for layer in target.layers if layer.weights}
    if unmatched := sorted(set(source_layers) ^ set(target_layers)):
        raise ValueError(f"{target.name}: only one of the two networks has the layer {unmatched[0]}")
    for name, layer in target_layers.items():
        layer.set_weights(source_layers[name].get_weights())


def check_equal(network: Model, other: Model, spec: NetworkSpec) -> None:
    """Compare the outputs of both networks for CHECKED_ROWS rows of standard normal features.

    Raises:
        ValueError: a target differs by more than LARGEST_DIFFERENCE.
    """
    shape = (CHECKED_ROWS, spec.bands, spec.channels)
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    expected, received = network(features, training=False), other(features, training=False)
    for target in spec.targets:
        difference = float(np.abs(np.asarray(expected[target]) - np.asarray(received[target])).max())
        # `not <=`, so that NaN is a difference too.
        if not difference <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(np.asarray(expected[target])).max())):
            raise ValueError(f"{target}: the twin differs from the network by {difference:.2g} standard deviations")
