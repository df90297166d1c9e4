"""Figures of the predictions of distorted scans, and the goals that they miss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.evaluation.metrics import scores

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

CHANGED_SD, HARDLY_SD = 1.0, 0.25
"""A scan is changed if the prediction of any target moves by more than the first, and hardly changed if those of all
targets move by less than the second; in SDs of the laboratory values of the training rows."""

COVERAGE_GOAL = (0.80, 0.97)
"""Coverage of the 90 % intervals of the scans with status ok, of a smooth distortion."""
DETECTION_GOAL = 0.90
"""Fraction of the changed scans that is flagged, of a smooth distortion whose coverage is outside COVERAGE_GOAL."""
MOST_FALSE_ALARMS = 0.03
"""Largest fraction of the undistorted scans that is flagged."""
MOST_NEEDLESS_FLAGS = 0.10
"""Largest fraction of the scans that is flagged though hardly changed, at the mild strength of a distortion."""


def figures(
    table: pd.DataFrame, undistorted: pd.DataFrame, measured: Mapping[str, Floats], sd: Mapping[str, float]
) -> dict[str, float]:
    """Compare predictions of distorted scans with those of the same scans without distortion.

    Args:
        table: A row per distorted scan, as `SavedModel.predict` returns it. Invalid scans have no predictions, so they
            count neither as changed nor as hardly changed.
        undistorted: The same for the scans without distortion.
        measured: Target -> (n,) laboratory values, NaN where not measured.
        sd: Target -> SD of the laboratory values of the training rows.

    Returns:
        Fractions of the scans: ok, invalid, changed, flagged_hardly_changed. changed_flagged: fraction of the changed
        scans that is flagged (status not ok). coverage and coverage_{target}: fraction of the laboratory values of ok
        scans in their intervals, over all targets and per target. r2_{target}: of all scans with a prediction. A figure
        of no scans is NaN.
    """
    ok, invalid = (np.asarray(table["status"] == status) for status in ("ok", "invalid"))
    changes = [np.abs(table[name].to_numpy() - undistorted[name].to_numpy()) / sd[name] for name in measured]
    change = np.max(changes, axis=0)  # NaN where invalid
    changed, hardly_changed = change > CHANGED_SD, change < HARDLY_SD
    covered = {name: covered_values(table[ok], name, values[ok]) for name, values in measured.items()}
    return {
        "ok": mean(ok),
        "invalid": mean(invalid),
        "changed": mean(changed),
        "changed_flagged": mean(~ok[changed]),
        "flagged_hardly_changed": mean(~ok & hardly_changed),
        "coverage": mean(np.concatenate(list(covered.values()))),
        **{f"coverage_{name}": mean(rows) for name, rows in covered.items()},
        **{f"r2_{name}": r2(values, table[name].to_numpy("float64")) for name, values in measured.items()},
    }


def covered_values(table: pd.DataFrame, target: str, measured: Floats) -> Rows:
    """Whether each laboratory value (n,) is in its interval; values or intervals that are missing are left out."""
    if f"{target}_low" not in table:
        return np.empty(0, bool)
    low, high = table[f"{target}_low"].to_numpy(), table[f"{target}_high"].to_numpy()
    is_known = ~np.isnan(measured) & ~np.isnan(low)
    covered: Rows = ((low <= measured) & (measured <= high))[is_known]
    return covered


def r2(measured: Floats, predicted: Floats) -> float:
    """R2 of the scans with a laboratory value (n,) and a prediction (n,); NaN for fewer than two different values."""
    is_known = ~np.isnan(measured) & ~np.isnan(predicted)
    if len(np.unique(measured[is_known])) < 2:
        return float("nan")
    return scores(measured[is_known], predicted[is_known])["r2"]


def mean(rows: Rows) -> float:
    """Fraction of rows (n,) that are true; NaN of no rows."""
    return float(rows.mean()) if len(rows) else float("nan")


def missed_goals(row: Mapping[str, Any]) -> list[str]:
    """Goals that a row of the table misses, one phrase each.

    Args:
        row: level (empty: undistorted), smooth, and the figures.
    """
    missed = []
    if not row["level"] and 1 - row["ok"] > MOST_FALSE_ALARMS:
        missed.append(f"false alarms {1 - row['ok']:.1%}")
    low, high = COVERAGE_GOAL
    reached = low <= row["coverage"] <= high or row["changed_flagged"] >= DETECTION_GOAL or row["ok"] == 0
    if row["smooth"] and not reached:
        flagged = "none is changed" if row["changed"] == 0 else f"{row['changed_flagged']:.0%} of the changed flagged"
        missed.append(f"coverage {row['coverage']:.0%} and {flagged}")
    if row["level"] == "mild" and row["flagged_hardly_changed"] > MOST_NEEDLESS_FLAGS:
        missed.append(f"{row['flagged_hardly_changed']:.0%} flagged though hardly changed")
    return missed
