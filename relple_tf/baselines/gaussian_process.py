"""Gaussian process regression with hyperparameters of maximum marginal likelihood."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel
from sklearn.pipeline import make_pipeline

Floats = npt.NDArray[np.float64]

MAXIMUM_ROWS = 1500
"""Largest number of rows to fit on: the time of an exact Gaussian process is cubic in it, the memory quadratic."""

SCALINGS = ("each band", "all bands")
"""Divide each band by its SD, or all bands by a common number, which keeps noisy bands small."""
COVARIANCES = ("Matern", "Matern + linear")
"""Matern 3/2, which was more accurate than 5/2 and the Gaussian kernel on inner folds of training rows; the linear term
lets predictions follow a trend beyond the fitted spectra."""


def gaussian_process(bands: int, seed: int) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    """Gaussian process regression (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, algorithm 2.1).

    Cross-validation selects scaling and terms of the covariance; marginal likelihood (equation 2.30) selects variances,
    length scale and noise. Neither `bands` nor `seed` changes it: the likelihood is maximised from one start.
    """
    process = make_pipeline(BandScaling(), GaussianProcess())
    return process, {"bandscaling__scaling": list(SCALINGS), "gaussianprocess__covariance": list(COVARIANCES)}


class GaussianProcess(RegressorMixin, BaseEstimator):
    """`GaussianProcessRegressor` with one of COVARIANCES and noise, for targets of SD 1 and `BandScaling` features."""

    def __init__(self, covariance: str = COVARIANCES[0]) -> None:
        self.covariance = covariance

    def fit(self, x: Floats, y: Floats) -> Self:
        """Fit on features (n, bands) and target (n,)."""
        kernel = ConstantKernel(1.0, (1e-4, 1e4)) * Matern(1.0, (0.03, 100.0), nu=1.5)
        if self.covariance == "Matern + linear":
            kernel += ConstantKernel(0.3, (1e-5, 1e5)) * DotProduct(0.0, "fixed")
        kernel += WhiteKernel(0.2, (1e-5, 10.0))
        self.process_ = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=maximise_likelihood).fit(x, y)
        return self

    def predict(self, x: Floats) -> Floats:
        """(n,) mean of the process."""
        mean: Floats = self.process_.predict(x)
        return mean


def maximise_likelihood(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, bounds: Floats
) -> tuple[Floats, float]:
    """Minimise the negative log marginal likelihood by L-BFGS-B, the optimiser of scikit-learn.

    The bounds are reached up to 0.1 %. At the bound itself, where the variance of a term that the data do not need
    ends, scikit-learn would warn.

    Args:
        objective: Logarithms of the hyperparameters, (p,) -> value and gradient (p,).
        start: (p,).
        bounds: (p, 2).

    Returns:
        (p,) at the minimum, and its value.
    """
    best = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds + np.array([1e-3, -1e-3]))
    return best.x, best.fun


class BandScaling(TransformerMixin, BaseEstimator):
    """Centre the bands and scale them, so that the squared norm of a fitted row is 1 on average."""

    def __init__(self, scaling: str = SCALINGS[0]) -> None:
        self.scaling = scaling

    def fit(self, x: Floats, y: Floats | None = None) -> Self:
        """Fit on features (n, bands)."""
        self.mean_ = x.mean(axis=0)
        sd = x.std(axis=0)
        sd = np.where(sd > 0, sd, 1.0) if self.scaling == "each band" else np.sqrt(np.mean(sd**2)) or 1.0
        self.scale_ = sd * np.sqrt(x.shape[1])
        return self

    def transform(self, x: Floats) -> Floats:
        """(n, bands), centred and scaled."""
        scaled: Floats = (x - self.mean_) / self.scale_
        return scaled
