"""Figures of merit of a calibration, in laboratory units."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error


def scores(measured: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> dict[str, float]:
    """Metrics of the predictions, over the rows with a laboratory value.

    Args:
        measured: (n,), NaN where not measured.
        predicted: (n,), finite.

    Returns:
        n; r2 (1 - SSE/SST, may be negative); rmse, mae, bias (predicted - measured) and sep (SD of
        the error, n - 1) in the target's unit; rpd = SD(n - 1)/rmse and rpiq = inter-quartile
        range/rmse (Bellon-Maurel et al. 2010, TrAC 29(9); divided by rmse, not sep, so that a bias
        lowers them); ccc, the concordance of Lin (1989, Biometrics 45(1)).

    Raises:
        ValueError: fewer than two measured rows, or all their values are equal.
    """
    is_measured = ~np.isnan(measured)
    measured, predicted = measured[is_measured], predicted[is_measured]
    if len(measured) < 2 or np.ptp(measured) == 0:
        raise ValueError(f"expected at least 2 different measured values, received {len(measured)} without variation")
    error = predicted - measured
    rmse = float(root_mean_squared_error(measured, predicted))
    quartiles = np.percentile(measured, [25, 75])
    covariance = np.mean((measured - measured.mean()) * (predicted - predicted.mean()))
    spread = measured.var() + predicted.var() + error.mean() ** 2
    return {
        "n": len(measured),
        "r2": float(r2_score(measured, predicted)),
        "rmse": rmse,
        "mae": float(mean_absolute_error(measured, predicted)),
        "bias": float(error.mean()),
        "sep": float(error.std(ddof=1)),
        "rpd": float(measured.std(ddof=1)) / rmse if rmse else float("inf"),
        "rpiq": float(quartiles[1] - quartiles[0]) / rmse if rmse else float("inf"),
        "ccc": float(2 * covariance / spread),
    }
