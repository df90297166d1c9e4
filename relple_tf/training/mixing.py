"""What an estimate takes from the trained network, and what from the kernel machines."""

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from relple_tf.models import front_end
from relple_tf.models.kernel import KernelMachines
from relple_tf.models.lab_units import seeing

Floats = npt.NDArray[np.float64]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what was trained, tried on soils that neither it nor the machine has learned from; the machine has the rest."""

EQUAL = 0.03
"""Mean squared errors that differ by less than this share are called equal."""

MOST_ERROR = 3.0
"""Standard deviations of the laboratory values; larger errors count as this much, lest one soil choose the share."""


def both(network: keras.Model, machines: KernelMachines, features: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Estimates by the trained network and by the machines, (n, K) each, in standard deviations.

    Args:
        network: Trained, not yet mixed.
        machines: From `kernel_machines`.
        features: (n, bands, channels).
    """
    read = seeing(network)
    learned, _, scores = read.output
    estimates = [ops.concatenate([learned[target] for target in machines.targets], axis=1), machines(scores)]
    found = front_end.apply(keras.Model(read.input, ops.stack(estimates, axis=1)), features).astype("float64")
    return found[:, 0], found[:, 1]


def best_share(measured: Floats, tried: Floats) -> int:
    """The position in SHARES of the share nearest to a half whose error is within EQUAL of the least.

    A half, because the mean of two good estimates that err differently is better than either, and small libraries
    tell only large differences between shares apart. In laboratory units, because the modelled scale hides what an
    error costs at high values.

    Args:
        measured: (n,) in laboratory units, NaN where not measured.
        tried: (shares, n), estimates for each of SHARES, likewise.
    """
    sd = np.nanstd(measured) or 1.0
    squares = np.nanmean(np.minimum(np.abs(tried - measured) / sd, MOST_ERROR) ** 2, axis=1)
    good = np.flatnonzero(squares <= (1 + EQUAL) * squares.min())
    return int(good[np.argmin(np.abs(np.array(SHARES)[good] - 0.5))])


def mixtures(learned: Floats, machine: Floats) -> Floats:
    """Estimates for each of SHARES: (n, K) and (n, K) -> (shares, n, K)."""
    return np.stack([share * learned + (1 - share) * machine for share in SHARES])


def mix(network: keras.Model, machines: KernelMachines, shares: dict[str, float]) -> None:
    """Leave every head its share of what it learned and the machine the rest, for good: their sum is the mixture."""
    for target, share in shares.items():
        head = network.get_layer(target)
        head.set_weights([share * learned for learned in head.get_weights()])
    machines.scale_targets([1 - shares[target] for target in machines.targets])
