"""The front end as layers of the graph: from a scan in its own unit and grid to what the network reads.

Keras 3 layers, written once; training, prediction and export run these very layers. An impossible
scan (NaN, outside the range of its quantity, constant) comes out as NaN, never as a plausible number.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.signal import savgol_coeffs

from relple_tf.config import FrontEndConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import FLATTEST_ABSORBANCE, RANGES, REFLECTANCE_FLOOR, SpectralLibrary

register = keras.saving.register_keras_serializable("relple_tf")


@register
class ToAbsorbance(keras.layers.Layer):
    """A scan as absorbance log10(1/R), of the same shape; what is outside the range of its quantity becomes NaN.

    The range is that of `SpectralLibrary.checked`, ends included, in float32 as there.

    Args:
        quantity: What a scan is; one of QUANTITIES.
    """

    def __init__(self, quantity: str = "reflectance", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quantity = quantity

    def call(self, spectra: Any) -> Any:
        (low, high), absorbance = RANGES[self.quantity], spectra
        if self.quantity == "reflectance":
            absorbance = ops.log(ops.maximum(spectra, REFLECTANCE_FLOOR)) * (-1 / math.log(10))
        # NaN is neither above nor below a number on any runtime; a minimum or maximum may swallow it.
        possible = ops.logical_and(ops.greater_equal(spectra, low), ops.less_equal(spectra, high))
        return ops.where(possible, absorbance, float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantity": self.quantity}


@register
class Resample(keras.layers.Layer):
    """Bring spectra to another wavelength grid: (batch, bands) -> (batch, len(output_nm)).

    Each new band is a weighted mean of the old ones under a triangle as wide as the coarser of the
    two grids: linear interpolation where the new grid is the finer one, an anti-aliasing mean where
    it is the coarser one. Constants and, away from the ends, straight lines are kept.

    Args:
        input_nm: Ascending wavelengths of the spectra.
        output_nm: Ascending wavelengths within the range of `input_nm`.

    Raises:
        ValueError: `output_nm` reaches beyond `input_nm`.
    """

    def __init__(self, input_nm: Sequence[float], output_nm: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_nm = [float(value) for value in input_nm]
        self.output_nm = [float(value) for value in output_nm]
        self._bands, self._weights = triangle_weights(np.array(self.input_nm), np.array(self.output_nm))
        self._stride = integer_stride(np.array(self.input_nm), np.array(self.output_nm))

    def call(self, spectra: Any) -> Any:
        if self._stride:
            return self._convolved(spectra)
        # Gather and weigh one neighbour at a time: a dense matrix of 4,200 x 525 would not fit a
        # device.
        resampled = 0.0
        for bands, weights in zip(self._bands.T, self._weights.T, strict=True):
            resampled = resampled + ops.take(spectra, bands, axis=1) * weights
        return resampled

    def _convolved(self, spectra: Any) -> Any:
        """The same as one strided convolution, for grids where every triangle has the same bands.

        Those at the ends are cut off: zeros stand for the bands that are missing, and a factor for their weights.
        """
        stride, reach = self._stride, self._stride - 1
        count, step = len(self.input_nm), self.input_nm[1] - self.input_nm[0]
        first = round((self.output_nm[0] - self.input_nm[0]) / step)
        last = first + stride * (len(self.output_nm) - 1)
        triangle = np.minimum(np.arange(1, 2 * stride), np.arange(1, 2 * stride)[::-1]) / stride**2
        begin, end = max(0, first - reach), min(count, last + stride)
        missing = begin - (first - reach), last + stride - end
        inside = np.pad(np.ones(end - begin), missing)
        share = np.convolve(inside, triangle, "valid")[::stride]
        read = spectra if (begin, end) == (0, count) else spectra[:, begin:end]
        before, after = missing
        padding, taps = "valid", triangle
        if before + after >= reach:
            # "same" needs no copy of the scan. It puts half of the missing bands, rounded down, before the first; taps
            # of 0 bring that to what is due.
            padding, taps = "same", np.pad(triangle, (max(0, after - before - 1), max(0, before - after)))
        elif before + after:
            read = ops.pad(read, ((0, 0), missing))
        kernel = taps.astype("float32").reshape(-1, 1, 1)
        mean = ops.squeeze(ops.conv(ops.expand_dims(read, -1), kernel, strides=stride, padding=padding), -1)
        return mean if share.min() > 1 - 1e-9 else mean * (1 / share).astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_nm": self.input_nm, "output_nm": self.output_nm}


def integer_stride(input_nm: npt.NDArray[np.float64], output_nm: npt.NDArray[np.float64]) -> int:
    """Every how many bands of an even grid the new, even grid has one, from 2; 0 where it is not so."""
    step = float(np.mean(np.diff(input_nm)))
    places = (output_nm - input_nm[0]) / step
    stride = round(float(places[1] - places[0])) if len(places) > 1 else 0
    even = np.abs(np.diff(input_nm) - step).max() < 1e-6
    aligned = np.abs(places - (np.round(places[0]) + stride * np.arange(len(places)))).max() < 1e-6
    return stride if even and aligned and stride > 1 else 0


def triangle_weights(
    input_nm: npt.NDArray[np.float64], output_nm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The bands that each new band is made of, and their weights.

    Returns:
        Indices and weights, both (len(output_nm), neighbours); weights of a row sum to 1.

    Raises:
        ValueError: `output_nm` reaches beyond `input_nm`.
    """
    if output_nm[0] < input_nm[0] - 1e-6 or output_nm[-1] > input_nm[-1] + 1e-6:
        raise ValueError(
            f"cannot resample {input_nm[0]:g}..{input_nm[-1]:g} nm to {output_nm[0]:g}..{output_nm[-1]:g} nm"
        )
    spacing = np.gradient(input_nm)
    rows = []
    for wavelength, new_step in zip(output_nm, np.gradient(output_nm), strict=True):
        right = int(np.clip(np.searchsorted(input_nm, wavelength), 1, len(input_nm) - 1))
        gap = input_nm[right] - input_nm[right - 1]
        if gap >= new_step:
            near = np.array([right - 1, right])
            share = (wavelength - input_nm[right - 1]) / gap
            weight = np.array([1 - share, share])
        else:
            near = np.flatnonzero(np.abs(input_nm - wavelength) < new_step)
            # Old bands that lie closer together must not count for more: weigh by the width they
            # stand for.
            weight = (1 - np.abs(input_nm[near] - wavelength) / new_step) * spacing[near]
        rows.append((near, weight / weight.sum()))
    width = max(len(near) for near, _ in rows)
    indices = np.zeros((len(rows), width), np.int32)
    weights = np.zeros((len(rows), width), np.float32)
    for row, (near, weight) in enumerate(rows):
        indices[row, : len(near)], weights[row, : len(near)] = near, weight
    return indices, weights


@register
class FlatIsNan(keras.layers.Layer):
    """Scans that hardly vary become NaN, others pass; (batch, bands) kept.

    A constant is no soil (a shutter, a saturated detector), but SNV would blow its rounding errors up to a spectrum.
    """

    def call(self, absorbance: Any) -> Any:
        span = ops.max(absorbance, axis=1, keepdims=True) - ops.min(absorbance, axis=1, keepdims=True)
        return ops.where(span > FLATTEST_ABSORBANCE, absorbance, float("nan"))


@register
class InvalidIsNan(keras.layers.Layer):
    """Outputs of a scan whose absorbance is NaN at any band become NaN, others pass.

    The last layer of the graph: minimum and maximum of `InverseTargetScaling` swallow NaN on every device runtime, and
    an 8-bit network has no NaN. A comparison and a selection are certain.

    Reads absorbance (batch, grid) and outputs (batch, n); returns the outputs.

    Args:
        lowest: Below the mean of every possible scan; absorbance is above -1.
    """

    def __init__(self, lowest: float = -1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lowest = lowest

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lowest": self.lowest}

    def call(self, inputs: Sequence[Any]) -> Any:
        absorbance, outputs = inputs
        # The mean is NaN where a band is; every possible one is above -1.
        valid = ops.mean(absorbance, axis=1, keepdims=True) > -1.0
        return ops.where(valid, outputs, float("nan"))


@register
class Snv(keras.layers.Layer):
    """Standard normal variate: each spectrum minus its mean, over its own SD; (batch, bands) kept.

    Barnes et al. (1989), Appl. Spectrosc. 43(5), 772-777. Divides by the population SD, as chemotools does (R's
    prospectr divides by the sample SD, a factor that band standardisation removes).
    """

    def call(self, spectra: Any) -> Any:
        centred = spectra - ops.mean(spectra, axis=1, keepdims=True)
        return centred / ops.sqrt(ops.mean(ops.square(centred), axis=1, keepdims=True))


@register
class SavitzkyGolay(keras.layers.Layer):
    """Savitzky-Golay derivative per nm^order: (batch, bands) -> (batch, bands - points + 1).

    Savitzky & Golay (1964), Anal. Chem. 36(8), 1627-1639; coefficients from SciPy. Only bands with
    a whole window are returned, as R's prospectr does, so no edge is made up.

    Args:
        points: Bands in the window, odd.
        polynomial: Order of the polynomial.
        derivative: Order of the derivative.
        step_nm: Distance between bands.
    """

    def __init__(self, points: int, polynomial: int, derivative: int, step_nm: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.points, self.polynomial = points, polynomial
        self.derivative, self.step_nm = derivative, step_nm
        kernel = savgol_coeffs(points, polynomial, deriv=derivative, delta=step_nm, use="dot")
        self._kernel = kernel.astype("float32").reshape(points, 1, 1)

    def call(self, spectra: Any) -> Any:
        return ops.squeeze(ops.conv(ops.expand_dims(spectra, -1), self._kernel, padding="valid"), -1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "points": self.points,
            "polynomial": self.polynomial,
            "derivative": self.derivative,
            "step_nm": self.step_nm,
        }


@register
class Trim(keras.layers.Layer):
    """Spectra without their first and last `count` bands: (batch, bands) -> (batch, bands - 2 count)."""

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def call(self, spectra: Any) -> Any:
        return spectra[:, self.count : spectra.shape[1] - self.count]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


@register
class StackChannels(keras.layers.Layer):
    """Channels (batch, bands) side by side: (batch, bands, channels)."""

    def call(self, channels: Sequence[Any]) -> Any:
        return ops.stack(channels, axis=-1)


@register
class BandStandardise(keras.layers.Layer):
    """Each band and channel minus its training mean, over its training SD; (batch, bands, channels) kept.

    `fit` sets both; they are saved with the model.
    """

    def build(self, shape: Sequence[int | None]) -> None:
        self.mean = self.add_weight(shape=shape[1:], initializer="zeros", trainable=False, name="mean")
        self.inverse_sd = self.add_weight(shape=shape[1:], initializer="ones", trainable=False, name="inverse_sd")

    def fit(self, mean: npt.NDArray[np.float64], sd: npt.NDArray[np.float64]) -> None:
        """Take the statistics of the training rows, each (bands, channels); a band of SD 0 becomes 0."""
        self.mean.assign(mean)
        self.inverse_sd.assign(np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0))

    def call(self, features: Any) -> Any:
        return (features - self.mean) * self.inverse_sd


def in_range(library: SpectralLibrary, config: FrontEndConfig) -> SpectralLibrary:
    """The library with the bands between `start_nm` and `stop_nm` only, which is all that the model asks of a scan.

    Raises:
        InputError: no band is left, or a scan is constant over those that are.
    """
    own = library.wavelengths_nm
    inside = (own >= config.start_nm - 1e-6) & (own <= (config.stop_nm or np.inf) + 1e-6)
    grid_nm(own[inside] if inside.any() else own, config)
    return replace(library, spectra=library.spectra[:, inside], wavelengths_nm=own[inside]).checked()


def grid_nm(wavelengths_nm: npt.NDArray[np.float64], config: FrontEndConfig) -> npt.NDArray[np.float64]:
    """The model's own wavelengths: `step_nm` apart, inside both the library and the configured range.

    Raises:
        InputError: the range is empty, or too short for the derivative window.
    """
    start = max(config.start_nm, float(wavelengths_nm[0]))
    stop = min(config.stop_nm or np.inf, float(wavelengths_nm[-1]))
    count = int((stop - start) / config.step_nm + 1e-6) + 1
    shortest = 2 * window_points(config) if window_points(config) > 1 else 1
    if count < shortest:
        raise InputError(
            f"front_end: {config.start_nm:g}..{config.stop_nm:g} nm of a library that covers "
            f"{wavelengths_nm[0]:g}..{wavelengths_nm[-1]:g} nm leaves {max(count, 0)} bands of "
            f"{config.step_nm:g} nm; the derivative window needs {shortest}"
        )
    grid: npt.NDArray[np.float64] = start + config.step_nm * np.arange(count, dtype=np.float64)
    return grid


def window_points(config: FrontEndConfig) -> int:
    """Bands in the Savitzky-Golay window: odd, and enough for the polynomial; 1 where no channel is a derivative."""
    if not any(channel[-1].isdigit() for channel in config.channels):
        return 1
    half = round(config.derivative_window_nm / config.step_nm / 2)
    return 2 * max(half, (config.derivative_polynomial + 1) // 2) + 1


def absorbance_stage(wavelengths_nm: npt.NDArray[np.float64], quantity: str, config: FrontEndConfig) -> keras.Model:
    """The part that is computed once: (batch, bands) in `quantity` -> (batch, grid) absorbance."""
    spectrum = keras.Input((len(wavelengths_nm),), name="spectrum")
    grid = grid_nm(wavelengths_nm, config)
    x = ToAbsorbance(quantity, name="absorbance")(spectrum)
    if len(grid) != len(wavelengths_nm) or np.abs(grid - wavelengths_nm).max() > 1e-6:
        x = Resample(wavelengths_nm.tolist(), grid.tolist(), name="resample")(x)
    if quantity != "features":
        x = FlatIsNan(name="flat_is_nan")(x)
    return keras.Model(spectrum, x, name="absorbance_stage")


def channel_stage(bands: int, config: FrontEndConfig) -> keras.Model:
    """The part that comes after augmentation: (batch, grid) absorbance -> (batch, bands, channels).

    All channels lose half a window at both ends, so that their bands stay aligned.
    """
    absorbance = keras.Input((bands,), name="absorbance")
    points = window_points(config)
    half = points // 2
    snv = Snv(name="snv")(absorbance)
    channels = []
    for channel in config.channels:
        source = snv if channel.startswith("snv") else absorbance
        if channel[-1].isdigit():
            order, polynomial = int(channel[-1]), config.derivative_polynomial
            layer = SavitzkyGolay(points, polynomial, order, config.step_nm, name=f"channel_{channel}")
            channels.append(layer(source))
        else:
            channels.append(Trim(half, name=f"channel_{channel}")(source))
    stacked = StackChannels(name="channels")(channels)
    return keras.Model(absorbance, BandStandardise(name="standardise")(stacked), name="channel_stage")


def fit_channel_stage(stage: keras.Model, absorbance: npt.NDArray[np.float32]) -> None:
    """Set the band statistics from the training rows' absorbance, (n, grid)."""
    standardise = stage.get_layer("standardise")
    before = keras.Model(stage.input, standardise.input)
    total = square = 0.0
    for features in batches(before, absorbance):
        wide = features.astype(np.float64)
        total, square = total + wide.sum(axis=0), square + (wide**2).sum(axis=0)
    mean = total / len(absorbance)
    standardise.fit(mean, np.sqrt(np.maximum(square / len(absorbance) - mean**2, 0.0)))


def apply(stage: keras.Model, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Run a stage over all rows in blocks, so that memory does not grow with intermediate tensors."""
    # The first array only says the shape: there may be no rows.
    return np.concatenate([np.empty((0, *stage.output.shape[1:]), np.float32), *batches(stage, rows)])


def batches(stage: keras.Model, rows: npt.NDArray[np.float32], size: int = 256) -> Any:
    """Yield a stage's output, block by block, as NumPy arrays."""
    for first in range(0, len(rows), size):
        yield ops.convert_to_numpy(stage(rows[first : first + size], training=False))
