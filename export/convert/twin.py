"""The network on tf_keras: the same builder, the same weights. Only a twin's LSTM converts to a device's operator."""

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
"""Of outputs in standard deviations: other rounding, not other weights."""

CHECKED_ROWS = 16


def twin(network: keras.Model, config: ModelConfig, spec: NetworkSpec, *, lstm_form: str) -> Model:
    """The same network on tf_keras.

    Args:
        network: StoredRun, from `build(config, spec, keras)`.
        config: What it was built from.
        spec: Likewise.
        lstm_form: `fused` or `unrolled`; the weights are the same.

    Returns:
        A tf_keras model, features (batch, bands, channels) -> {target: (batch, 1)}, whose layers have the names and
        weights of the original.

    Raises:
        ValueError: a layer is missing in one of the two, or their outputs differ.
    """
    import tf_keras

    # Layers without a name of their own are numbered through the process, and the converter orders operators by name.
    tf_keras.backend.clear_session()
    made = build(dataclasses.replace(config, lstm_form=lstm_form), spec, tf_keras)
    copy_weights(network, made)
    check_equal(network, made, spec)
    return made


def behind_views(network: Model) -> Model:
    """The network without the projections of its views: [features, scores of each view] -> {target: (batch, 1)}."""
    import tf_keras

    from relple_tf.models.deployed import with_views

    _, _, scores = with_views(network).output
    return tf_keras.Model([network.input, *scores], network.output, name=network.name)


def copy_weights(source: Model, target: Model) -> None:
    """Give every layer of `target` the weights of the layer of the same name.

    Raises:
        ValueError: a layer with weights is in one of the two only.
    """
    kept = {layer.name: layer for layer in source.layers if layer.weights}
    wanted = {layer.name: layer for layer in target.layers if layer.weights}
    if lonely := sorted(set(kept) ^ set(wanted)):
        raise ValueError(f"{target.name}: {lonely[0]} is in one of the two networks only")
    for name, layer in wanted.items():
        layer.set_weights(kept[name].get_weights())


def check_equal(network: Model, other: Model, spec: NetworkSpec) -> None:
    """Compare outputs of normal features, of both.

    Raises:
        ValueError: a target differs by more than LARGEST_DIFFERENCE.
    """
    shape = (CHECKED_ROWS, spec.bands, spec.channels)
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    own, others = network(features, training=False), other(features, training=False)
    for target in spec.targets:
        difference = float(np.abs(np.asarray(own[target]) - np.asarray(others[target])).max())
        # A NaN is no equality either.
        if not difference <= LARGEST_DIFFERENCE * max(1.0, float(np.abs(np.asarray(own[target])).max())):
            raise ValueError(f"{target}: the twin differs from the network by {difference:.2g} standard deviations")
