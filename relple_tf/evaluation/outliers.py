"""Training soils that do not fit the others, by spectrum or by laboratory value: what to look at again."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from relple_tf.models.domain import Limits
from relple_tf.models.target_scaling import TargetScale

Floats = npt.NDArray[np.float64]

LEAST_CUTOFF = 3.5
"""Residuals of fewer robust SDs are never suspect (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers)."""

SIGNIFICANCE = 0.05
"""Probability that a target without wrong values and with normal residuals has any suspect one at all."""

FEWEST_RESIDUALS = 10
"""With fewer a spread of residuals says nothing, and none is suspect."""

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
    """The soils beyond a limit of the domain, or with a residual that is out of line, the worst first.

    Both are to be cross-validated: a soil that was learned from lies near the model. One spectrum in fifty is beyond
    a limit by the limits' own definition, so `outside` is a reason to look, not to delete.

    Args:
        ids: (n,).
        t2: (n,) from `cross_validated_statistics`.
        q: (n,) likewise.
        limits: From `limits`.
        scales: How each target is modelled; residuals are taken on that scale.
        measured: Target -> (n,) in laboratory units, NaN where not measured.
        expected: Target -> (n,) estimates in laboratory units by a model that was not fitted on the soil.
        most: Rows of the table, at most.

    Returns:
        Columns id, t2 and q as multiples of their limits, per target its `studentised` residual (NaN where not
        measured), and reason, in words. Worst first, by how far a distance or a residual is beyond what is allowed.
    """
    ratios = np.stack([t2 / limits.t2, q / limits.q])
    students = {
        scale.name: studentised(scale.to_model(measured[scale.name]) - scale.to_model(expected[scale.name]))
        for scale in scales
    }
    # T2 and Q are squares; their roots are distances, which compare with residuals.
    beyond = np.fmax.reduce([*np.sqrt(ratios), *(np.abs(one) / cutoff(one) for one in students.values())])
    severity = np.where(np.isfinite(ratios).all(axis=0), beyond, np.inf)
    worst = [row for row in np.argsort(-severity, kind="stable") if severity[row] > 1][:most]
    reasons = []
    for row in worst:
        suspect = [
            f"laboratory value of {name} does not fit its spectrum: "
            f"measured {_number(measured[name][row])}, expected {_number(expected[name][row])}"
            for name, one in students.items()
            if np.abs(one[row]) > cutoff(one)
        ]
        reasons.append("; ".join([*_of_spectrum(*ratios[:, row]), *suspect]))
    table = {"id": ids, "t2_by_limit": ratios[0], "q_by_limit": ratios[1]}
    table |= {f"{name}_studentised": one for name, one in students.items()}
    return pd.DataFrame(table).iloc[worst].assign(reason=reasons).reset_index(drop=True)


def studentised(residual: Floats) -> Floats:
    """Residuals (n,) less their median, over their robust SD, 1.4826 times the median absolute deviation.

    The robust SD, for a few wrong values would widen the ordinary one until none of them stood out. NaN where the
    residual is NaN, and everywhere if there are too few or more than half of them are equal.
    """
    known = residual[np.isfinite(residual)]
    if len(known) < FEWEST_RESIDUALS:
        return np.full_like(residual, np.nan)
    centred = residual - np.median(known)
    spread = MAD_TO_SD * float(np.median(np.abs(known - np.median(known))))
    return centred / spread if spread > 0 else np.full_like(residual, np.nan)


def cutoff(student: Floats) -> float:
    """The studentised residual from which on a value is suspect: of n normal ones none is, with probability 0.95.

    Bonferroni's correction, as for deleted residuals (Beckman & Cook 1983, Technometrics 25(2), 119-149): 3.5 for 100
    soils, 4.2 for 2,000.
    """
    count = max(1, int(np.isfinite(student).sum()))
    return max(LEAST_CUTOFF, float(norm.isf(SIGNIFICANCE / (2 * count))))


def _of_spectrum(t2: float, q: float) -> list[str]:
    """What is wrong with a spectrum of these multiples of the limits, in words; nothing if nothing is."""
    if not (np.isfinite(t2) and np.isfinite(q)):
        return ["spectrum gives no number"]
    beyond = [f"{name} {_number(ratio)} times its limit" for name, ratio in (("T2", t2), ("Q", q)) if ratio > 1]
    return [f"spectrum unlike the others: {', '.join(beyond)}"] if beyond else []


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
