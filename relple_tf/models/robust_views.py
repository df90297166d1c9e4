"""Robust views: features of a scan that a smooth distortion of its absorbance hardly changes.

Tilt, curvature, gain and offset of a scan vary with the instrument, its lamp and the position of the soil. Raw
absorbance, and SNV before a derivative, pass them on to the estimates. The views here remove what is smooth first and
scale last. A kernel regression of these views is the reference with which that of the network's views is compared
(`agreement`).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.signal import savgol_filter

from relple_tf.config import FrontEndConfig
from relple_tf.models.front_end import SavitzkyGolay, Snv, window_points
from relple_tf.models.kernel_regression import KernelRegression

Floats = npt.NDArray[np.float64]

SECOND_DERIVATIVE_NM = 88.0
"""Width of the window of `d2_snv`, in nm: wide, because a narrow second derivative is mostly noise."""
DETRENDING_NM = 200.0
"""Width of the window of the local trend that `detrended` removes, in nm: wider than an absorption band of a soil."""
POLYNOMIAL = 2
"""Order of the polynomial in both windows."""
FEWEST_POINTS = 5
"""Smallest window, in bands."""
LARGEST_SHARE = 3
"""A window has about one in this many bands of the grid, at most."""

REFERENCE = "robust_reference"
"""Name of the part of the deployed model that predicts from the robust views."""
PROJECTION = "robust{}.scores"
"""Name of the layer that projects a robust view, counted from 1."""


@keras.saving.register_keras_serializable("relple_tf")
class Detrend(keras.layers.Layer):
    """Remove the local trend: each spectrum minus its Savitzky-Golay smoothing; (batch, bands) kept.

    Within half a window of an end, the polynomial of the last whole window is evaluated, as by
    `scipy.signal.savgol_filter` with mode `interp`. The result is 0 for a polynomial of this order, at the ends too.

    Args:
        points: Bands in the window, odd, at most the bands of a spectrum.
        polynomial: Order of the polynomial.
    """

    def __init__(self, points: int, polynomial: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.points, self.polynomial = points, polynomial
        half = points // 2
        # Row i: what remains at band i of a window of `points` bands.
        remains = (np.eye(points) - savgol_filter(np.eye(points), points, polynomial, axis=0)).astype("float32")
        self._before, self._after = remains[:half].T, remains[half + 1 :].T
        self._kernel = remains[half].reshape(points, 1, 1)

    def call(self, spectra: Any) -> Any:
        inside = ops.squeeze(ops.conv(ops.expand_dims(spectra, -1), self._kernel, padding="valid"), -1)
        before = ops.matmul(spectra[:, : self.points], self._before)
        after = ops.matmul(spectra[:, spectra.shape[1] - self.points :], self._after)
        return ops.concatenate([before, inside, after], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "points": self.points, "polynomial": self.polynomial}


def usable_views(scan_bands: int, grid_bands: int, quantity: str, config: FrontEndConfig) -> tuple[str, ...]:
    """Return the robust views that a model has: those of the config, or none.

    Columns of `features` are not neighbours, and few bands have no trend to remove. Bands that are interpolated between
    those of a scan do not count.

    Args:
        scan_bands: Bands of a scan.
        grid_bands: Bands of the model's grid.
        quantity: One of QUANTITIES.
        config: With the robust views.
    """
    has_trend = quantity != "features" and min(scan_bands, grid_bands) >= FEWEST_POINTS * LARGEST_SHARE
    return config.robust_views if has_trend else ()


def robust_bands(bands: int, config: FrontEndConfig) -> keras.Model:
    """Build the views of `config.robust_views`: (batch, grid) absorbance -> a list of (batch, bands of the view)."""
    absorbance = keras.Input((bands,), name="absorbance")
    views = []
    detrended = None
    for view in config.robust_views:
        if view == "d2_snv":
            points = robust_points(bands, SECOND_DERIVATIVE_NM, config.step_nm)
            derivative = SavitzkyGolay(points, POLYNOMIAL, 2, config.step_nm, name="robust.d2")(absorbance)
            views.append(Snv(name="robust.d2_snv")(derivative))
            continue
        if detrended is None:
            points = robust_points(bands, DETRENDING_NM, config.step_nm)
            detrended = Snv(name="robust.detrended")(Detrend(points, POLYNOMIAL, name="robust.detrend")(absorbance))
        if view == "detrended":
            views.append(detrended)
        else:
            points = max(window_points(config), FEWEST_POINTS)
            layer = SavitzkyGolay(points, POLYNOMIAL, 1, config.step_nm, name="robust.detrended_d1")
            views.append(layer(detrended))
    return keras.Model(absorbance, views, name="robust_bands")


def robust_points(bands: int, window_nm: float, step_nm: float) -> int:
    """Return the bands of a window: odd, near `window_nm`, at most about one in LARGEST_SHARE bands of the grid."""
    points = min(window_nm / step_nm, bands / LARGEST_SHARE)
    return max(2 * round((points - 1) / 2) + 1, FEWEST_POINTS)


def robust_reference(
    bands: keras.Model, projections: Sequence[tuple[Floats, Floats]], regression: KernelRegression
) -> keras.Model:
    """Join the robust part of the deployed model: (batch, grid) absorbance -> (batch, K), in standard deviations.

    Args:
        bands: From `robust_bands`.
        projections: Of each view: kernel (bands of the view, components) and bias (components,).
        regression: Scores of the views -> (batch, K).
    """
    scores = []
    for number, (view, (kernel, bias)) in enumerate(zip(bands.outputs, projections, strict=True), start=1):
        layer = keras.layers.Dense(len(bias), trainable=False, name=PROJECTION.format(number))
        scores.append(layer(view))
        layer.set_weights([kernel, bias])
    return keras.Model(bands.input, regression(scores), name=REFERENCE)
