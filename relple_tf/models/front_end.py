"""The front end as layers of the deployed model: from a scan on the sensor's grid to the network's features.

Training, prediction and export run the same Keras 3 layers. The output for an impossible scan (NaN, outside the range
of its quantity, constant) is NaN, never a plausible number.
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
from relple_tf.spectra.range_ends import SAME_NM

register = keras.saving.register_keras_serializable("relple_tf")


@register
class ToAbsorbance(keras.layers.Layer):
    """Convert a scan to absorbance log10(1/R) of the same shape; values outside the range of the quantity become NaN.

    The range is that of `SpectralLibrary.checked`, ends included, compared in float32 as there.

    Args:
        quantity: Quantity of the scan; one of QUANTITIES.
    """

    def __init__(self, quantity: str = "reflectance", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quantity = quantity

    def call(self, spectra: Any) -> Any:
        (low, high), absorbance = RANGES[self.quantity], spectra
        if self.quantity == "reflectance":
            absorbance = ops.log(ops.maximum(spectra, REFLECTANCE_FLOOR)) * (-1 / math.log(10))
        # Comparisons with NaN are false on every runtime; a minimum or maximum may drop NaN.
        possible = ops.logical_and(ops.greater_equal(spectra, low), ops.less_equal(spectra, high))
        return ops.where(possible, absorbance, float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantity": self.quantity}


@register
class Resample(keras.layers.Layer):
    """Resample spectra to another wavelength grid: (batch, bands) -> (batch, len(output_nm)).

    Each new band is a weighted mean of the old bands under a triangle as wide as the coarser of the two grids: linear
    interpolation where the new grid is finer, an anti-aliasing mean where it is coarser. Constants and, away from the
    ends, straight lines are preserved.

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
        # Gather and weigh one neighbour at a time: a dense matrix of 4,200 x 525 would not fit a device.
        resampled = 0.0
        for bands, weights in zip(self._bands.T, self._weights.T, strict=True):
            resampled = resampled + ops.take(spectra, bands, axis=1) * weights
        return resampled

    def _convolved(self, spectra: Any) -> Any:
        """Resample by one strided convolution, for grids where every triangle covers the same number of bands.

        Triangles at the ends are truncated: zeros replace the missing bands, and a factor makes up the weights.
        """
        stride, reach = self._stride, self._stride - 1
        count, step = len(self.input_nm), self.input_nm[1] - self.input_nm[0]
        first = round((self.output_nm[0] - self.input_nm[0]) / step)
        last = first + stride * (len(self.output_nm) - 1)
        triangle = np.minimum(np.arange(1, 2 * stride), np.arange(1, 2 * stride)[::-1]) / stride**2
        begin, end = max(0, first - reach), min(count, last + stride)
        missing = begin - (first - reach), last + stride - end
        inside = np.pad(np.ones(end - begin), missing)
        weight = np.convolve(inside, triangle, "valid")[::stride]
        used = spectra if (begin, end) == (0, count) else spectra[:, begin:end]
        before, after = missing
        padding, taps = "valid", triangle
        if before + after >= reach:
            # "same" needs no copy of the scan. It pads half of the missing bands, rounded down, before the first; taps
            # of 0 correct the rest.
            padding, taps = "same", np.pad(triangle, (max(0, after - before - 1), max(0, before - after)))
        elif before + after:
            used = ops.pad(used, ((0, 0), missing))
        kernel = taps.astype("float32").reshape(-1, 1, 1)
        mean = ops.squeeze(ops.conv(ops.expand_dims(used, -1), kernel, strides=stride, padding=padding), -1)
        return mean if weight.min() > 1 - 1e-9 else mean * (1 / weight).astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_nm": self.input_nm, "output_nm": self.output_nm}


def integer_stride(input_nm: npt.NDArray[np.float64], output_nm: npt.NDArray[np.float64]) -> int:
    """Return n >= 2 if the new grid is every n-th band of an evenly spaced grid, else 0."""
    step = float(np.mean(np.diff(input_nm)))
    positions = (output_nm - input_nm[0]) / step
    stride = round(float(positions[1] - positions[0])) if len(positions) > 1 else 0
    even = np.abs(np.diff(input_nm) - step).max() < 1e-6
    aligned = np.abs(positions - (np.round(positions[0]) + stride * np.arange(len(positions)))).max() < 1e-6
    return stride if even and aligned and stride > 1 else 0


def triangle_weights(
    input_nm: npt.NDArray[np.float64], output_nm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Compute which old bands each new band averages, and their weights.

    Returns:
        Indices and weights, both (len(output_nm), neighbours); weights of a row sum to 1.

    Raises:
        ValueError: `output_nm` reaches beyond `input_nm`.
    """
    if output_nm[0] < input_nm[0] - 1e-6 or output_nm[-1] > input_nm[-1] + 1e-6:
        raise ValueError(
            f"cannot resample {input_nm[0]:g}..{input_nm[-1]:g} nm to {output_nm[0]:g}..{output_nm[-1]:g} nm: "
            "expected an output range within the input range"
        )
    spacing = np.gradient(input_nm)
    rows = []
    for wavelength, new_step in zip(output_nm, np.gradient(output_nm), strict=True):
        right = int(np.clip(np.searchsorted(input_nm, wavelength), 1, len(input_nm) - 1))
        gap = input_nm[right] - input_nm[right - 1]
        if gap >= new_step:
            bands = np.array([right - 1, right])
            fraction = (wavelength - input_nm[right - 1]) / gap
            weight = np.array([1 - fraction, fraction])
        else:
            bands = np.flatnonzero(np.abs(input_nm - wavelength) < new_step)
            # Densely spaced old bands must not count for more: weigh each by the width that it represents.
            weight = (1 - np.abs(input_nm[bands] - wavelength) / new_step) * spacing[bands]
        rows.append((bands, weight / weight.sum()))
    width = max(len(bands) for bands, _ in rows)
    indices = np.zeros((len(rows), width), np.int32)
    weights = np.zeros((len(rows), width), np.float32)
    for row, (bands, weight) in enumerate(rows):
        indices[row, : len(bands)], weights[row, : len(bands)] = bands, weight
    return indices, weights


@register
class FlatIsNan(keras.layers.Layer):
    """Set almost constant scans to NaN and pass others; (batch, bands) kept.

    A constant scan is not a soil (a shutter, a saturated detector), but SNV would amplify its rounding errors to a
    spectrum.
    """

    def call(self, absorbance: Any) -> Any:
        span = ops.max(absorbance, axis=1, keepdims=True) - ops.min(absorbance, axis=1, keepdims=True)
        return ops.where(span > FLATTEST_ABSORBANCE, absorbance, float("nan"))


@register
class InvalidIsNan(keras.layers.Layer):
    """Set outputs to NaN where the absorbance of the scan is NaN at any band; others pass.

    Applied to all outputs of the deployed model: minimum and maximum in `InverseTargetScaling` drop NaN on every device
    runtime, and an 8-bit network has no NaN. A comparison and a selection are reliable.

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
        # The mean is NaN if a band is NaN; the mean of a possible scan is above `lowest`.
        valid = ops.mean(absorbance, axis=1, keepdims=True) > self.lowest
        return ops.where(valid, outputs, float("nan"))


@register
class Snv(keras.layers.Layer):
    """Standard normal variate: each spectrum minus its mean, divided by its SD; (batch, bands) kept.

    Barnes et al. (1989), Appl. Spectrosc. 43(5), 772-777. Divides by the population SD, as chemotools does (R's
    prospectr divides by the sample SD, a factor that band standardisation removes).
    """

    def call(self, spectra: Any) -> Any:
        centred = spectra - ops.mean(spectra, axis=1, keepdims=True)
        return centred / ops.sqrt(ops.mean(ops.square(centred), axis=1, keepdims=True))


@register
class SavitzkyGolay(keras.layers.Layer):
    """Savitzky-Golay derivative per nm^order: (batch, bands) -> (batch, bands - points + 1).

    Savitzky & Golay (1964), Anal. Chem. 36(8), 1627-1639; coefficients from SciPy. Only bands with a whole window are
    returned, as in R's prospectr, so no edge is extrapolated.

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
    """Remove the first and last `count` bands: (batch, bands) -> (batch, bands - 2 count)."""

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count

    def call(self, spectra: Any) -> Any:
        return spectra[:, self.count : spectra.shape[1] - self.count]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


@register
class StackChannels(keras.layers.Layer):
    """Stack channels, each (batch, bands), to (batch, bands, channels)."""

    def call(self, channels: Sequence[Any]) -> Any:
        return ops.stack(channels, axis=-1)


@register
class BandStandardise(keras.layers.Layer):
    """Standardise each band and channel by its training mean and SD; (batch, bands, channels) kept.

    `fit` sets both; they are saved with the model.
    """

    def build(self, shape: Sequence[int | None]) -> None:
        self.mean = self.add_weight(shape=shape[1:], initializer="zeros", trainable=False, name="mean")
        self.inverse_sd = self.add_weight(shape=shape[1:], initializer="ones", trainable=False, name="inverse_sd")

    def fit(self, mean: npt.NDArray[np.float64], sd: npt.NDArray[np.float64]) -> None:
        """Set the statistics of the training rows, each (bands, channels); a band of SD 0 becomes 0."""
        self.mean.assign(mean)
        self.inverse_sd.assign(np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0))

    def call(self, features: Any) -> Any:
        return (features - self.mean) * self.inverse_sd


def in_range(library: SpectralLibrary, config: FrontEndConfig) -> SpectralLibrary:
    """Return the library with the bands between `start_nm` and `stop_nm` only, the bands that the model reads.

    A band that lies outside by less than SAME_NM is read, so that rounded wavelengths do not cost a band.

    Raises:
        InputError: no band remains, or a scan is constant over the remaining bands.
    """
    nm = library.wavelengths_nm
    inside = (nm >= config.start_nm - SAME_NM) & (nm <= (config.stop_nm or np.inf) + SAME_NM)
    grid_nm(nm[inside] if inside.any() else nm, config)
    return replace(library, spectra=library.spectra[:, inside], wavelengths_nm=nm[inside]).checked()


def grid_nm(wavelengths_nm: npt.NDArray[np.float64], config: FrontEndConfig) -> npt.NDArray[np.float64]:
    """Return the wavelengths of the model's grid: `step_nm` apart, within the library's and the configured range.

    Raises:
        InputError: the range is empty, or too short for the derivative window.
    """
    start = max(config.start_nm, float(wavelengths_nm[0]))
    stop = min(config.stop_nm or np.inf, float(wavelengths_nm[-1]))
    count = int((stop - start) / config.step_nm + 1e-6) + 1
    shortest = 2 * window_points(config) if window_points(config) > 1 else 1
    if count < shortest:
        raise InputError(
            f"front_end: {start:g}..{stop:g} nm of a library that covers "
            f"{wavelengths_nm[0]:g}..{wavelengths_nm[-1]:g} nm leaves {max(count, 0)} bands of "
            f"{config.step_nm:g} nm, expected at least {shortest} for the derivative window; widen start_nm..stop_nm "
            "or reduce derivative_window_nm"
        )
    grid: npt.NDArray[np.float64] = start + config.step_nm * np.arange(count, dtype=np.float64)
    return grid


def window_points(config: FrontEndConfig) -> int:
    """Return the bands of the Savitzky-Golay window: odd, enough for the polynomial; 1 without derivatives."""
    if not any(channel[-1].isdigit() for channel in config.channels):
        return 1
    half = round(config.derivative_window_nm / config.step_nm / 2)
    return 2 * max(half, (config.derivative_polynomial + 1) // 2) + 1


def absorbance_stage(wavelengths_nm: npt.NDArray[np.float64], quantity: str, config: FrontEndConfig) -> keras.Model:
    """Build the stage before augmentation, computed once: (batch, bands) in `quantity` -> (batch, grid) absorbance."""
    spectrum = keras.Input((len(wavelengths_nm),), name="spectrum")
    grid = grid_nm(wavelengths_nm, config)
    x = ToAbsorbance(quantity, name="absorbance")(spectrum)
    if len(grid) != len(wavelengths_nm) or np.abs(grid - wavelengths_nm).max() > 1e-6:
        x = Resample(wavelengths_nm.tolist(), grid.tolist(), name="resample")(x)
    if quantity != "features":
        x = FlatIsNan(name="flat_is_nan")(x)
    return keras.Model(spectrum, x, name="absorbance_stage")


def channel_stage(bands: int, config: FrontEndConfig) -> keras.Model:
    """Build the stage after augmentation: (batch, grid) absorbance -> (batch, bands, channels).

    All channels lose half a window at both ends, so their bands stay aligned.
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
    """Set the band statistics from the absorbance of the training rows, (n, grid)."""
    standardise = stage.get_layer("standardise")
    before = keras.Model(stage.input, standardise.input)
    total = square = 0.0
    for features in batches(before, absorbance):
        block = features.astype(np.float64)
        total, square = total + block.sum(axis=0), square + (block**2).sum(axis=0)
    mean = total / len(absorbance)
    standardise.fit(mean, np.sqrt(np.maximum(square / len(absorbance) - mean**2, 0.0)))


def apply(stage: keras.Model, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Run a stage on all rows in blocks, so that intermediate tensors stay small."""
    # The first, empty array sets the shape if there are no rows.
    return np.concatenate([np.empty((0, *stage.output.shape[1:]), np.float32), *batches(stage, rows)])


def apply_all(stage: keras.Model, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Run a stage of one or more outputs on all rows in blocks; return an array for each output."""
    blocks = [[np.empty((0, *output.shape[1:]), np.float32) for output in stage.outputs]]
    blocks += [block if isinstance(block, list) else [block] for block in batches(stage, rows)]
    return [np.concatenate(column) for column in zip(*blocks, strict=True)]


def batches(stage: keras.Model, rows: npt.NDArray[np.float32], size: int = 256) -> Any:
    """Yield the output of a stage, block by block, as NumPy arrays; a list of them for several outputs."""
    for first in range(0, len(rows), size):
        output = stage(rows[first : first + size], training=False)
        yield (
            [ops.convert_to_numpy(part) for part in output]
            if isinstance(output, list)
            else ops.convert_to_numpy(output)
        )
