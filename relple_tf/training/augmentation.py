"""Random distortions of training spectra, in absorbance, as a layer that is active only in training."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from relple_tf.config import AugmentationConfig


class Augment(keras.layers.Layer):
    """Compute factor * (absorbance + shift * slope) + offset + tilt + noise, random for each spectrum and batch.

    Factor and offset imitate path length and gloss (Bjerrum et al. 2017, arXiv:1710.01927), the tilt imitates the drift
    of a lamp, the shift a wavelength error to first order. Input and output are (batch, grid). Outside training the
    layer is the identity.

    Args:
        config: SDs of the distortions.
        grid_nm: Wavelengths of the spectra, evenly spaced.
        seed: Seed of the random numbers; the generator's state is saved with the checkpoint.
    """

    def __init__(self, config: AugmentationConfig, grid_nm: npt.NDArray[np.float64], seed: int) -> None:
        super().__init__(name="augment")
        self.config = config
        self.step_nm = float(grid_nm[1] - grid_nm[0])
        self.tilt = np.linspace(-0.5, 0.5, len(grid_nm), dtype="float32")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, absorbance: Any, training: bool = False) -> Any:
        if not training:
            return absorbance
        config, x = self.config, absorbance
        if config.shift_nm:
            padded = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
            slope = (padded[:, 2:] - padded[:, :-2]) / (2 * self.step_nm)
            x = x + config.shift_nm * self._normal(x) * slope
        if config.scatter:
            x = x * ops.exp(config.scatter * self._normal(x))
        if config.offset:
            x = x + config.offset * self._normal(x)
        if config.slope:
            x = x + config.slope * self._normal(x) * self.tilt
        if config.noise:
            noise = keras.random.normal(ops.shape(x), seed=self.seed_generator)
            x = x + config.noise * noise
        return x

    def _normal(self, x: Any) -> Any:
        """Sample a standard normal number per spectrum, (batch, 1)."""
        return keras.random.normal((ops.shape(x)[0], 1), seed=self.seed_generator)


def is_active(config: AugmentationConfig) -> bool:
    """Return whether any distortion is on; if none, the features are computed once and not at every step."""
    return any((config.noise, config.offset, config.slope, config.scatter, config.shift_nm))
