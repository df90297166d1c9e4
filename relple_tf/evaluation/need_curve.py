"""The curve of a run: the share of its test scans that are kept against the need, and the error among them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.evaluation.keep_or_send import QUANTILES, curve_point, half_widths, needs_at
from relple_tf.evaluation.result import RunResult

Floats = npt.NDArray[np.float64]
TestScans = tuple[Floats, npt.NDArray[np.str_], Floats]
"""Half width (n,) in the unit of the target, status (n,), and error (n,), NaN where not measured."""


def scans_of_test(result: RunResult, target: str) -> TestScans | None:
    """The test scans of a run as the arguments of `curve_point`; None if the target has no interval."""
    bounds = result.bounds(target)
    if bounds is None:
        return None
    test, predictions = result.parts == "test", result.predictions[target]
    error = np.asarray(predictions - result.library.targets[target], "float64")
    return half_widths(predictions, *bounds)[test], result.status[test], error[test]


def needs_of(scans: TestScans, quantiles: npt.ArrayLike = QUANTILES) -> list[float]:
    """Different needs, ascending, at quantiles of the half widths of the scans with status `ok`."""
    half_width, status, _ = scans
    return needs_at(half_width[status == "ok"], quantiles)


def need_curve(result: RunResult, target: str) -> list[dict[str, Any]] | None:
    """Points of the curve for the card; None if the target has no interval, empty if no test scan is `ok`."""
    scans = scans_of_test(result, target)
    return None if scans is None else [curve_point(*scans, need) for need in needs_of(scans)]
