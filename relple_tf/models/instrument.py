"""Layers that bring absorbance of a second instrument to that of the instrument of the library."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from relple_tf.models.front_end import ToAbsorbance

TRANSFER = "instrument{}"
"""Name of a transfer in the absorbance stage, counted from 1 in the order in which the transfers were added. A scan
passes the last one first: each leads to the instrument that the run read before."""

register = keras.saving.register_keras_serializable("relple_tf")


@register
class BandTransfer(keras.layers.Layer):
    """Weighted sum of a few neighbouring bands, plus an offset per band; absorbance (batch, bands) kept.

    Width 1 is a gain and an offset per band; a wider one is piecewise direct standardisation (Wang et al. 1991, Anal.
    Chem. 63(23), 2750-2756). Bands beyond the ends count as 0. NaN stays NaN.

    Args:
        width: Number of bands in the sum, odd.
    """

    def __init__(self, width: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape: Sequence[int | None]) -> None:
        bands = shape[1]
        self.gain = self.add_weight(shape=(self.width, bands), initializer="ones", trainable=False, name="gain")
        self.offset = self.add_weight(shape=(bands,), initializer="zeros", trainable=False, name="offset")

    def call(self, absorbance: Any) -> Any:
        reach, bands, total = self.width // 2, absorbance.shape[1], self.offset
        padded = ops.pad(absorbance, ((0, 0), (reach, reach))) if reach else absorbance
        # Slices and products: a matrix of bands x bands would not fit a microcontroller.
        for shift in range(self.width):
            total = padded[:, shift : shift + bands] * self.gain[shift] + total
        return total

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@register
class LowRankTransfer(keras.layers.Layer):
    """Product with a matrix (bands, bands) of low rank, plus an offset per band; absorbance (batch, bands) kept.

    Direct standardisation (Wang et al. 1991): the rank is at most the number of pairs, so two thin factors replace the
    matrix.

    Args:
        rank: Columns of the first factor.
    """

    def __init__(self, rank: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank

    def build(self, shape: Sequence[int | None]) -> None:
        bands = shape[1]
        self.left = self.add_weight(shape=(bands, self.rank), initializer="zeros", trainable=False, name="left")
        self.right = self.add_weight(shape=(self.rank, bands), initializer="zeros", trainable=False, name="right")
        self.offset = self.add_weight(shape=(bands,), initializer="zeros", trainable=False, name="offset")

    def call(self, absorbance: Any) -> Any:
        return ops.matmul(ops.matmul(absorbance, self.left), self.right) + self.offset

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rank": self.rank}


Transfer = BandTransfer | LowRankTransfer


def transfers_of(stage: keras.Model) -> tuple[Transfer, ...]:
    """Return the transfers of an absorbance stage, in the order in which a scan passes them."""
    return tuple(layer for layer in stage.layers if isinstance(layer, Transfer))


def without_transfers(stage: keras.Model) -> keras.Model:
    """Return the absorbance stage of the instrument of the library: (batch, bands) -> (batch, grid)."""
    return with_transfers(stage, ())


def with_transfers(stage: keras.Model, transfers: Sequence[Transfer]) -> keras.Model:
    """Return an absorbance stage with these transfers instead of its present ones, in the order in which a scan passes.

    Args:
        stage: From `front_end.absorbance_stage` or this function; not changed.
        transfers: Layers (batch, grid) -> (batch, grid).
    """
    inputs, *layers = (layer for layer in stage.layers if not isinstance(layer, Transfer))
    spectrum = keras.Input(inputs.batch_shape[1:], name=inputs.name)
    x = spectrum
    # Copies: these layers have no weights, and a layer that is called again keeps both graphs in memory.
    for layer in [type(layer).from_config(layer.get_config()) for layer in layers] + list(transfers):
        x = layer(x)
    return keras.Model(spectrum, x, name=stage.name)


def grid_stage(bands: int, transfers: Sequence[Transfer]) -> keras.Model:
    """Return an absorbance stage that reads absorbance on the grid instead of scans: (batch, bands) -> (batch, bands).

    Any finite number passes, so that a model behind it estimates absorbance that a transfer has made.
    """
    absorbance = keras.Input((bands,), name="spectrum")
    x = ToAbsorbance("features", name="absorbance")(absorbance)
    for layer in transfers:
        x = layer(x)
    return keras.Model(absorbance, x, name="absorbance_stage")
