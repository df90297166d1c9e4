"""Weights of the experts in every gate: the softmax outputs of the gates, averaged over soils."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from relple_tf.config import ModelConfig
from relple_tf.models import front_end
from relple_tf.models.catalogue import ROUTINGS
from relple_tf.models.mmoe import all_shared
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.routing import SHARED, Gates, expert_names, gate_name

BLOCK = 1024
"""Rows per batch: the recurrent experts take the same time for 1 row as for 1,000."""


def routing_of(config: ModelConfig, spec: NetworkSpec) -> tuple[ModelConfig, list[Gates]]:
    """The config that names the experts of an architecture, and the gates of each level.

    MMoE is treated as a CGC whose experts are all shared. The list is empty for architectures without gates.
    """
    if config.architecture not in ROUTINGS:
        return config, []
    gates = ROUTINGS[config.architecture](config, spec)
    return (all_shared(config, len(spec.targets)) if config.architecture == "mmoe" else config), gates


def gate_weights(
    network: keras.Model, levels: Sequence[Gates], features: npt.NDArray[np.float32]
) -> list[dict[str, dict[str, float]]]:
    """Mean softmax weight of every expert in every gate that reads it.

    Args:
        network: Maps features to standardised targets.
        levels: From `routing_of`: the experts that each gate of each level reads.
        features: (n, bands, channels).

    Returns:
        Per level, stream -> {expert: mean over the n rows}; the weights of a stream sum to 1. A gate
        that reads a single expert has no softmax layer; its weight is 1.
    """
    sizes = {
        softmax_name(stream, level): len(read)
        for level, gates in enumerate(levels, start=1)
        for stream, read in gates.items()
        if len(read) > 1
    }
    means: dict[str, list[float]] = {}
    if sizes:
        softmaxes = ops.concatenate([network.get_layer(gate).output for gate in sizes], axis=-1)
        stage = keras.Model(network.input, softmaxes)
        by_row = np.concatenate(list(front_end.batches(stage, features, size=BLOCK)))
        parts = np.split(by_row.mean(axis=0, dtype="float64"), np.cumsum([*sizes.values()])[:-1])
        means = {gate: part.tolist() for gate, part in zip(sizes, parts, strict=True)}
    return [
        {
            stream: dict(zip(read, means.get(softmax_name(stream, level), [1.0]), strict=True))
            for stream, read in gates.items()
        }
        for level, gates in enumerate(levels, start=1)
    ]


def softmax_name(stream: str, level: int) -> str:
    """Name of the softmax layer of a gate."""
    return f"{gate_name(stream, level)}.gate"


def owner_weights(
    config: ModelConfig,
    spec: NetworkSpec,
    network: keras.Model,
    features: npt.NDArray[np.float32],
) -> list[pd.DataFrame]:
    """Per level, the mean gate weights summed over the experts of each owner (a target, or shared).

    Returns:
        Tables with a row per gate (its stream) and a column per owner that has experts; NaN if the gate
        reads no expert of the owner. An empty list for architectures without gates.
    """
    config, levels = routing_of(config, spec)
    tables = []
    for level, gates in enumerate(gate_weights(network, levels, features), start=1):
        experts = {owner: names for owner in (*spec.targets, SHARED) if (names := expert_names(config, owner, level))}
        table = pd.DataFrame(np.nan, index=list(gates), columns=list(experts))
        for stream, weights in gates.items():
            for owner, names in experts.items():
                if read := [weights[name] for name in names if name in weights]:
                    table.loc[stream, owner] = sum(read)
        tables.append(table)
    return tables
