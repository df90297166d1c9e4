"""Keep or send: whether the prediction of a scan is precise enough for a need, or the soil goes to the laboratory.

A need is the largest half width of a prediction interval that the user accepts, in the unit of the target. The rule is
also in `export/runtime/soil_scan.py`, which runs without this package.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.evaluation.formatting import rounded_up

Floats = npt.NDArray[np.float64]

KEEP, SEND = "keep", "send"
DECISIONS = (KEEP, SEND)
SUFFIX = "_decision"
"""End of the name of a target's column of decisions."""

TOLERANCE = 1e-6
"""A half width may exceed the need by this fraction, so that rounding of float32 does not change a decision."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Quantiles of the half widths at which the card states a point of the curve."""


def half_widths(estimated: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike) -> Floats:
    """Half widths of prediction intervals: the larger distance of the estimate to its two bounds.

    It bounds the error of every soil whose laboratory value lies within the interval, also where the interval is not
    symmetric.

    Args:
        estimated: (n,) in the unit of the target.
        lower: (n,) lower bounds, likewise.
        upper: (n,) upper bounds, likewise.

    Returns:
        (n,) in the unit of the target; NaN where an estimate or bound is NaN.
    """
    centre = np.asarray(estimated, "float64")
    return np.maximum(centre - lower, upper - centre)


def is_kept(half_width: Floats, status: npt.NDArray[np.str_], need: float) -> npt.NDArray[np.bool_]:
    """Whether each scan has status `ok` and a half width of at most the need; (n,).

    Args:
        half_width: (n,) from `half_widths`.
        status: (n,) of `models.domain.STATUSES`.
        need: Above 0, in the unit of the target.
    """
    kept: npt.NDArray[np.bool_] = (status == "ok") & (half_width <= need * (1 + TOLERANCE))
    return kept


def curve_point(half_width: Floats, status: npt.NDArray[np.str_], error: Floats, need: float) -> dict[str, Any]:
    """Number of scans kept for a need, and the error among them.

    Args:
        half_width: (n,) from `half_widths`.
        status: (n,) of `models.domain.STATUSES`.
        error: (n,) prediction minus laboratory value, NaN where not measured.
        need: Above 0, in the unit of the target.

    Returns:
        need; kept, the fraction of all n scans that are kept; n, the number of kept scans with a laboratory value; of
        these rmse, in the unit of the target, and beyond, the fraction whose absolute error exceeds the need. Both are
        None if n is 0.
    """
    kept = is_kept(half_width, status, need)
    kept_errors = error[kept & np.isfinite(error)]
    count = len(kept_errors)
    return {
        "need": need,
        "kept": float(kept.mean()) if len(kept) else 0.0,
        "n": count,
        "rmse": float(np.sqrt(np.mean(kept_errors**2))) if count else None,
        "beyond": float(np.mean(np.abs(kept_errors) > need * (1 + TOLERANCE))) if count else None,
    }


def needs_at(half_width: Floats, quantiles: npt.ArrayLike) -> list[float]:
    """Different needs, ascending, at quantiles of the finite half widths that are above 0.

    They have seven digits, so that equal half widths give a single need; TOLERANCE exceeds this rounding.
    """
    known = half_width[np.isfinite(half_width) & (half_width > 0)]
    if not len(known):
        return []
    return sorted(
        {float(f"{need:.7g}") for need in np.quantile(known, np.asarray(quantiles, "float64"), method="inverted_cdf")}
    )


def typical_need(half_width: Floats) -> float | None:
    """The median of the finite half widths, rounded up to two digits; None if there are none above 0."""
    needs = needs_at(half_width, [0.5])
    return rounded_up(needs[0]) if needs else None
