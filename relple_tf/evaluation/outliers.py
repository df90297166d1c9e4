"""Outliers among the training soils: soils with an unusual spectrum or an implausible laboratory value."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from relple_tf.models.domain import Limits
from relple_tf.models.target_scaling import TargetScale

Floats = npt.NDArray[np.float64]

LEAST_CUTOFF = 3.5
"""Smallest cutoff, in robust SDs (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers)."""

SIGNIFICANCE = 0.05
"""Probability that a target with normal residuals and without wrong values has at least one residual flagged."""

FEWEST_RESIDUALS = 10
"""With fewer residuals their spread is too uncertain, and none is flagged."""

MAD_TO_SD = 1.4826
"""SD of a normal distribution per median absolute deviation from its median."""


def outliers(
    ids: npt.NDArray[np.str_],
    t2: Floats,
    q: Floats,
    limits: Limits,
    scales: Sequence[TargetScale],
    measured: dict[str, Floats],
    expected: dict[str, Floats],
    *,
    most: int = 20,
) -> pd.DataFrame:
    """The soils beyond a limit of T2 or Q, or with an extreme residual; the most extreme first.

    T2, Q and the residuals must be cross-validated: a soil that a model was fitted on lies close to this model. By
    definition of the limits, 1 spectrum in 50 is beyond one of them: check such a soil, do not delete it without a
    reason.

    Args:
        ids: (n,).
        t2: (n,) leverage T2, from `cross_validated_statistics`.
        q: (n,) residual Q, likewise.
        limits: From `limits`.
        scales: Scale on which each target is modelled; residuals are computed on it.
        measured: Target -> (n,) in laboratory units, NaN where not measured.
        expected: Target -> (n,) out-of-fold predictions in laboratory units.
        most: Maximum number of rows of the table.

    Returns:
        Columns id, t2_by_limit and q_by_limit (T2 and Q divided by their limits), per target its `studentised`
        residual (NaN where not measured), and reason (text). Sorted by the largest ratio of sqrt(T2), sqrt(Q) or a
        residual to its limit, descending.
    """
    ratios = np.stack([t2 / limits.t2, q / limits.q])
    residuals = {
        scale.name: studentised(scale.to_model(measured[scale.name]) - scale.to_model(expected[scale.name]))
        for scale in scales
    }
    # T2 and Q are squared distances; their square roots are comparable with residuals.
    beyond = np.fmax.reduce([*np.sqrt(ratios), *(np.abs(values) / cutoff(values) for values in residuals.values())])
    severity = np.where(np.isfinite(ratios).all(axis=0), beyond, np.inf)
    worst = [row for row in np.argsort(-severity, kind="stable") if severity[row] > 1][:most]
    reasons = []
    for row in worst:
        misfits = [
            f"laboratory value of {name} does not fit its spectrum: "
            f"measured {_number(measured[name][row])}, expected {_number(expected[name][row])}"
            for name, values in residuals.items()
            if np.abs(values[row]) > cutoff(values)
        ]
        reasons.append("; ".join([*_spectrum_reasons(*ratios[:, row]), *misfits]))
    table = {"id": ids, "t2_by_limit": ratios[0], "q_by_limit": ratios[1]}
    table |= {f"{name}_studentised": values for name, values in residuals.items()}
    return pd.DataFrame(table).iloc[worst].assign(reason=reasons).reset_index(drop=True)


def studentised(residual: Floats) -> Floats:
    """Residuals (n,) minus their median, divided by their robust SD (1.4826 times the median absolute deviation).

    A few wrong values would inflate the ordinary SD so much that none of them exceeds the cutoff; the robust SD
    prevents this masking. NaN where the residual is NaN; all NaN with fewer than FEWEST_RESIDUALS residuals or if more
    than half of them are equal.
    """
    finite = residual[np.isfinite(residual)]
    if len(finite) < FEWEST_RESIDUALS:
        return np.full_like(residual, np.nan)
    centred = residual - np.median(finite)
    robust_sd = MAD_TO_SD * float(np.median(np.abs(finite - np.median(finite))))
    return centred / robust_sd if robust_sd > 0 else np.full_like(residual, np.nan)


def cutoff(residuals: Floats) -> float:
    """The limit of the studentised residual that n normal residuals all stay below with probability 0.95.

    Bonferroni correction, as for deleted residuals (Beckman & Cook 1983, Technometrics 25(2), 119-149): 3.5 for 100
    soils, 4.2 for 2,000.
    """
    count = max(1, int(np.isfinite(residuals).sum()))
    return max(LEAST_CUTOFF, float(norm.isf(SIGNIFICANCE / (2 * count))))


def _spectrum_reasons(t2: float, q: float) -> list[str]:
    """Why a spectrum with these T2 and Q, divided by their limits, is an outlier; empty if it is none."""
    if not (np.isfinite(t2) and np.isfinite(q)):
        return ["T2 or Q of the spectrum is not finite"]
    beyond = [f"{name} {_number(ratio)} times its limit" for name, ratio in (("T2", t2), ("Q", q)) if ratio > 1]
    return [f"unusual spectrum: {', '.join(beyond)}"] if beyond else []


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
