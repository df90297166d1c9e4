"""What a network will take of a device, from its graph alone, before it is trained.

Estimates, for choosing between trials and for refusing those that cannot fit: the real figures are those of the bundle
that `export` makes of a trained run.
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
from relple_tf.training.kernel_regression import COMPONENTS

FLASH_PER_OPERATION = 330
"""Bytes of a .tflite for an operation beside its weights: shapes, quantisation, tables. Chosen between int8 files of
`export` for NIRsoil: `rs_ple_nano` has 54 KB and is estimated at 57, `rs_ple_small` 156 and 153, `rs_ple_base` 617 and
610."""
ARENA_PER_OPERATION = 520
"""Bytes of TFLM's arena that an operation keeps beside its tensors: the same files need 31, 56 and 87 KB and are
estimated at 33, 50 and 86."""
UNROLLED = 14
"""Operations of one step of an unrolled LSTM: the 612 more of the prototype over its 44 steps."""
FLOAT_BYTES = 4
"""Of a number in the front end, the projections of the views, the kernel machines and the distances: not quantised."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of one config: an int8 network and what stands beside it in float."""

    weights: int
    """Numbers that are stored."""
    flash_bytes: int
    """Estimate of the .tflite file."""
    arena_bytes: int
    """Estimate of the working memory."""
    operations: int
    """Multiplications of a weight with an activation, per scan; its time on a device is about proportional."""


def size(config: Config, spec: NetworkSpec, wavelengths_nm: Any, soils: int) -> Size:
    """Build the network of `config`, untrained, and measure its graph.

    Args:
        config: Of a trial.
        spec: Of trial 0: its targets and their correlation hold for all trials.
        wavelengths_nm: (bands,) of the library.
        soils: Learning rows; components cannot be more.
    """
    keras.backend.clear_session()
    grid = len(front_end.grid_nm(wavelengths_nm, config.front_end))
    bands, channels = front_end.channel_stage(grid, config.front_end).output.shape[1:]
    views = config.front_end.viewed_channels()
    own = NetworkSpec(
        bands=bands,
        channels=channels,
        components=min(config.front_end.whitened_components, soils - 1, *(len(view) * bands for view in views)),
        views=views,
        targets=spec.targets,
        correlation=spec.correlation,
    )
    network = of_graph(build(config.model, own, keras), unrolled=config.model.lstm_form == "unrolled")
    landmarks = min(config.model.landmarks, soils)
    projected = [len(view) * bands for view in views]
    machines = len(views) * landmarks * (min(COMPONENTS, own.components) + len(own.targets))
    near = min(NEIGHBOURS, config.model.landmarks, soils) * (min(NEIGHBOUR_COMPONENTS, own.components) + 1)
    beside = machines + near + projected[0] + 2 * own.components + 2 * bands * channels
    projections = sum(projected) * own.components
    return Size(
        weights=network.weights + beside,
        flash_bytes=network.flash_bytes + FLOAT_BYTES * beside + (FLOAT_BYTES - 1) * projections,
        arena_bytes=network.arena_bytes + 2 * FLOAT_BYTES * landmarks,
        operations=network.operations + machines + near,
    )


def of_graph(network: keras.Model, *, unrolled: bool) -> Size:
    """Weights, bytes and multiplications of a functional model whose weights and activations are int8."""
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
    """The most bytes of int8 activations alive at once, the best that the memory planner of TFLM can do.

    Operations run in order, and a tensor dies with its last use.
    """
    nodes = list(nodes)
    last_use: dict[int, int] = {}
    reads = [_tensors(node.input) for node in nodes]
    for place, tensors in enumerate(reads):
        for tensor in tensors:
            last_use[id(tensor)] = place
    for tensor in outputs:
        last_use[id(tensor)] = len(nodes)
    alive = {id(tensor): _numbers(tensor) for tensors in reads[:1] for tensor in tensors}
    most = 0
    for place, node in enumerate(nodes):
        for tensor in _tensors(node.output):
            alive[id(tensor)] = _numbers(tensor)
        most = max(most, sum(alive.values()))
        alive = {key: numbers for key, numbers in alive.items() if last_use.get(key, -1) > place}
    return most


def _tensors(tensors: Any) -> list[Any]:
    return list(keras.tree.flatten(tensors))


def _numbers(tensor: Any) -> int:
    return int(np.prod(tensor.shape[1:]))


def _multiplications(node: Any) -> int:
    """A kernel is applied once, by a convolution at every step of its output, by an LSTM at every step of its input."""
    matrices = sum(int(np.prod(variable.shape)) for variable in getattr(node, "weights", []) if len(variable.shape) > 1)
    if isinstance(node, keras.layers.LSTM):
        return matrices * int(node.input.shape[1])
    shape = _tensors(node.output)[0].shape if matrices else ()
    return matrices * int(np.prod(shape[1:-1])) if len(shape) > 2 else matrices
