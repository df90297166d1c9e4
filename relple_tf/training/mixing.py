"""What a head keeps of its training, and what it takes from its kernel machine."""

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.models import front_end
from relple_tf.training.machine import Weights

Floats = npt.NDArray[np.float64]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what was trained, tried on soils that neither it nor the machine has learned from; the machine has the rest."""

EQUAL = 0.03
"""Mean squared errors that differ by less than this share are called equal."""

MOST_ERROR = 3.0
"""Standard deviations; larger errors count as this much, lest one soil choose the share."""


def both(
    network: keras.Model, machines: dict[str, Weights], features: npt.NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Estimates by the trained heads and by the machines in their place, (n, K) each, in standard deviations.

    Args:
        network: Trained, not yet mixed.
        machines: From `kernel_machines`.
        features: (n, bands, channels).
    """
    learned: list[Floats] = []
    machine: list[Floats] = []
    for target in network.output:
        head = network.get_layer(target)
        read = front_end.apply(keras.Model(network.input, head.input), features).astype("float64")
        for found, (kernel, bias) in ((learned, head.get_weights()), (machine, machines[target])):
            found.append(read @ kernel[:, 0] + bias[0])
    return np.stack(learned, axis=1), np.stack(machine, axis=1)


def best_share(measured: Floats, tried: Floats) -> int:
    """The position in SHARES of the share nearest to a half whose error is within EQUAL of the least.

    A half, because the mean of two good estimates that err differently is better than either, and small libraries
    tell only large differences between shares apart.

    Args:
        measured: (n,) in standard deviations, NaN where not measured.
        tried: (shares, n), estimates for each of SHARES.
    """
    squares = np.nanmean(np.minimum(np.abs(tried - measured), MOST_ERROR) ** 2, axis=1)
    good = np.flatnonzero(squares <= (1 + EQUAL) * squares.min())
    return int(good[np.argmin(np.abs(np.array(SHARES)[good] - 0.5))])


def mixtures(learned: Floats, machine: Floats) -> Floats:
    """Estimates for each of SHARES: (n, K) and (n, K) -> (shares, n, K)."""
    return np.stack([share * learned + (1 - share) * machine for share in SHARES])


def mix(network: keras.Model, machines: dict[str, Weights], shares: dict[str, float]) -> None:
    """Give every head of a trained network its share of what it learned and of its machine, for good."""
    for target, share in shares.items():
        head = network.get_layer(target)
        pairs = zip(head.get_weights(), machines[target], strict=True)
        head.set_weights([share * learned + (1 - share) * machine for learned, machine in pairs])
