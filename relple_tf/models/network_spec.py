"""What the data decide about a network; together with a ModelConfig it fixes the architecture."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = Any
"""A symbolic tensor of whichever Keras module the builder was given."""

Keras = ModuleType
"""The Keras module that a builder uses: `keras` to train and tune, `tf_keras` for the twin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSpec:
    """Sizes and names that come from the library, not from the config."""

    bands: int
    """Bands that the front end hands over."""
    channels: int
    """Channels that the front end hands over."""
    components: int
    """Principal components of each view."""
    views: tuple[tuple[int, ...], ...]
    """The channels that each view projects, as positions."""
    targets: tuple[str, ...]
    """Names with units, in the order of the outputs."""
    correlation: npt.NDArray[np.float64]
    """(K, K) Pearson correlation of the targets on training rows."""
