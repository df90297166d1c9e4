"""NetworkSpec: the sizes that the data determine. With a ModelConfig it fixes the network."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = Any
"""A symbolic tensor of the Keras module that the builder received."""

Keras = ModuleType
"""The Keras module that a builder uses: `keras` to train and tune, `tf_keras` for the legacy twin of export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSpec:
    """Sizes and names that come from the spectral library, not from the config."""

    bands: int
    """Bands of the front end's output."""
    channels: int
    """Channels of the front end's output."""
    components: int
    """Principal components of each view."""
    views: tuple[tuple[int, ...], ...]
    """Indices of the channels that each view projects."""
    targets: tuple[str, ...]
    """Names with units, in the order of the outputs."""
    correlation: npt.NDArray[np.float64]
    """(K, K) Pearson correlation of the targets on training rows."""
