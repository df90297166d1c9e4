"""Estimates of flash, working memory and multiplications of a network on a device, from its untrained graph.

They serve to compare trials and to refuse configs that cannot fit. `export.bundle` measures the sizes of a trained run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from relple_tf.config import Config
from relple_tf.models import front_end
from relple_tf.models.catalogue import build
from relple_tf.models.domain import NEIGHBOUR_COMPONENTS, NEIGHBOURS
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.robust_views import robust_bands, usable_views
from relple_tf.training.kernel_regression import COMPONENTS

FLASH_PER_OPERATION = 330
"""Bytes of a .tflite file per operation, without weights: shapes, quantisation, tables. Fitted to int8 files of NIRsoil
models of version 0.2.0, measured / estimated: `rs_ple_nano` 54 / 57 KB, `rs_ple_small` 156 / 153, `rs_ple_base`
617 / 610."""
ARENA_PER_OPERATION = 520
"""Bytes of TFLM's arena per operation, without tensors. The same files, measured / estimated: 31 / 33, 56 / 50 and
87 / 86 KB."""
ROBUST_OPERATIONS = 16
"""Operations of a robust view and its kernel regression, fitted to the arena of `rs_ple_nano`: measured / estimated
41.2 / 41.2 KB."""
UNROLLED = 14
"""Operations per step of an unrolled LSTM: a prototype of 44 steps had 612 operations more."""
FLOAT_BYTES = 4
"""Bytes per number of the float parts: front end, projections of the views, kernel regression, domain statistics."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Estimated size of the deployed model of a config: an int8 network and the other parts in float."""

    weights: int
    """Number of stored weights."""
    flash_bytes: int
    """Size of the .tflite file."""
    arena_bytes: int
    """Working memory of TFLM."""
    operations: int
    """Multiplications of a weight by an activation, per scan; the time on a device is about proportional."""


def size(config: Config, spec: NetworkSpec, wavelengths_nm: Any, soils: int) -> Size:
    """Build the network of `config`, untrained, and measure its graph.

    Args:
        config: Config of a trial.
        spec: Specification of the network of trial 0; its targets and their correlation are those of all trials.
        wavelengths_nm: (bands,), grid of the library.
        soils: Number of development rows, which limits components and landmarks.
    """
    keras.backend.clear_session()
    grid = len(front_end.grid_nm(wavelengths_nm, config.front_end))
    bands, channels = front_end.channel_stage(grid, config.front_end).output.shape[1:]
    views = config.front_end.viewed_channels()
    trial_spec = NetworkSpec(
        bands=bands,
        channels=channels,
        components=min(config.front_end.whitened_components, soils - 1, *(len(view) * bands for view in views)),
        views=views,
        targets=spec.targets,
        correlation=spec.correlation,
    )
    network = graph_size(build(config.model, trial_spec, keras), unrolled=config.model.lstm_form == "unrolled")
    landmarks = min(config.model.landmarks, soils)
    projected = [len(view) * bands for view in views]
    kernel_numbers = len(views) * landmarks * (min(COMPONENTS, trial_spec.components) + len(trial_spec.targets))
    robust_numbers = 0
    # Trials are trained on spectra: `features` have no wavelengths, and a search needs some.
    robust_views = usable_views(len(wavelengths_nm), grid, "absorbance", config.front_end)
    for view in robust_bands(grid, config.front_end).outputs if robust_views else []:
        components = min(config.front_end.whitened_components, soils - 1, view.shape[1])
        kernel_numbers += landmarks * (min(COMPONENTS, components) + len(trial_spec.targets))
        robust_numbers += view.shape[1] * components
    neighbour_numbers = min(NEIGHBOURS, config.model.landmarks, soils) * (
        min(NEIGHBOUR_COMPONENTS, trial_spec.components) + 1
    )
    float_numbers = (
        kernel_numbers
        + neighbour_numbers
        + projected[0]
        + robust_numbers
        + 2 * trial_spec.components
        + 2 * bands * channels
    )
    projections = sum(projected) * trial_spec.components
    return Size(
        weights=network.weights + float_numbers,
        flash_bytes=network.flash_bytes + FLOAT_BYTES * float_numbers + (FLOAT_BYTES - 1) * projections,
        arena_bytes=network.arena_bytes
        + 2 * FLOAT_BYTES * landmarks
        + ARENA_PER_OPERATION * ROBUST_OPERATIONS * len(robust_views),
        operations=network.operations + kernel_numbers + robust_numbers + neighbour_numbers,
    )


def graph_size(network: keras.Model, *, unrolled: bool) -> Size:
    """Estimated size of a functional model with int8 weights and activations."""
    nodes = [operation for operation in network.operations if not isinstance(operation, keras.layers.InputLayer)]
    lstm_steps = sum(node.input.shape[1] for node in nodes if isinstance(node, keras.layers.LSTM))
    count = len(nodes) + (UNROLLED * lstm_steps if unrolled else 0)
    weights = network.count_params()
    biases = sum(int(np.prod(v.shape)) for v in network.variables if len(v.shape) == 1)
    return Size(
        weights=weights,
        flash_bytes=weights + 3 * biases + FLASH_PER_OPERATION * count,
        arena_bytes=peak_bytes(nodes, network.outputs) + ARENA_PER_OPERATION * count,
        operations=sum(_multiplications(node) for node in nodes),
    )


def peak_bytes(nodes: Iterable[Any], outputs: Iterable[Any]) -> int:
    """Largest number of bytes of int8 activations in memory at once, a lower bound for the memory planner of TFLM.

    Operations run in order, and the memory of a tensor is free after its last use.
    """
    nodes = list(nodes)
    last_use: dict[int, int] = {}
    inputs = [_tensors(node.input) for node in nodes]
    for step, tensors in enumerate(inputs):
        for tensor in tensors:
            last_use[id(tensor)] = step
    for tensor in outputs:
        last_use[id(tensor)] = len(nodes)
    alive = {id(tensor): _numbers(tensor) for tensors in inputs[:1] for tensor in tensors}
    peak = 0
    for step, node in enumerate(nodes):
        for tensor in _tensors(node.output):
            alive[id(tensor)] = _numbers(tensor)
        peak = max(peak, sum(alive.values()))
        alive = {key: numbers for key, numbers in alive.items() if last_use.get(key, -1) > step}
    return peak


def _tensors(tensors: Any) -> list[Any]:
    return list(keras.tree.flatten(tensors))


def _numbers(tensor: Any) -> int:
    return int(np.prod(tensor.shape[1:]))


def _multiplications(node: Any) -> int:
    """Multiplications of one layer.

    A convolution applies its kernel at every step of its output, an LSTM at every step of its input, others once.
    """
    matrices = sum(int(np.prod(variable.shape)) for variable in getattr(node, "weights", []) if len(variable.shape) > 1)
    if isinstance(node, keras.layers.LSTM):
        return matrices * int(node.input.shape[1])
    shape = _tensors(node.output)[0].shape if matrices else ()
    return matrices * int(np.prod(shape[1:-1])) if len(shape) > 2 else matrices
