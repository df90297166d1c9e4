"""Rows below a table that hold its statistics instead of a soil."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks.finding import Finding

Values = npt.NDArray[np.float64]

_CLEAR = (
    *("mean", "average", "avg", "stdev", "std", "std dev", "st dev", "standard deviation", "minimum", "maximum"),
    *("median", "count", "total", "sum", "subtotal", "variance", "std error", "standard error"),
    *("mittelwert", "mittel", "standardabweichung", "stabw", "summe", "anzahl"),
    *("moyenne", "ecart type", "mediane", "somme", "media", "promedio", "mediana", "desviacion estandar"),
    *("desvio padrao", "deviazione standard", "coefficient of variation"),
)
_SHORT = ("sd", "se", "sem", "n", "min", "max", "cv", "cv pct", "var", "range", "mw", "q1", "q3")
"""Labels that may also be the name of a sample: such a row is dropped only if its values are a statistic of the rows
above, or if it stands beside another row of statistics."""

CLOSE = 1e-3
"""Relative difference up to which a value equals a statistic of the rows above."""
_LAST_ROWS = 8
"""Rows at the end of a table that may hold statistics without a label."""
_FEWEST_ROWS = 10
"""Rows from which statistics are compared; the mean of two rows may be a third soil by chance."""


def statistic_rows(ids: npt.NDArray[np.str_], targets: Mapping[str, Values]) -> tuple[Finding, ...]:
    """Find rows of means, SDs, extremes and counts, by their label or by their values.

    A row is a statistic if its id is a label (`mean`, `SD`, `Mittelwert`, `moyenne`), or if it is one of the last rows
    and all its values are the mean, or all are the SD, of the rows above: two values or more to 1e-3, or three or more
    to their last decimal.

    Args:
        ids: (n,) names of the rows.
        targets: Target -> (n,) values; NaN where not measured.

    Returns:
        No finding, or one that drops the rows.
    """
    values = np.column_stack(list(targets.values())) if targets else np.empty((len(ids), 0))
    clear = np.array([_is_label(identity, _CLEAR) for identity in ids.tolist()], bool)
    short = np.array([_is_label(identity, _SHORT) for identity in ids.tolist()], bool)
    labelled = clear | short
    if labelled.sum() > len(ids) / 2:
        return ()
    found = clear.copy()
    for row in np.flatnonzero(short):
        above = values[:row][~labelled[:row]]
        beside = labelled[max(row - 1, 0) : row + 2].sum() > 1
        found[row] = beside or any(_matches(values[row], statistic)[0] for statistic in _statistics(above))
    found |= _unlabelled(values, found)
    if not found.any():
        return ()
    rows = np.flatnonzero(found)
    return (
        Finding(
            check="statistic_rows",
            severity="drop",
            message="row of statistics of the other rows (mean, SD, extreme or count), not a soil",
            rows=tuple(rows.tolist()),
        ),
    )


def _unlabelled(values: Values, found: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Rows at the end whose values are the mean or the SD of the rows above."""
    n = len(values)
    rows = np.zeros(n, bool)
    varied = [column for column in values.T if len(np.unique(column[np.isfinite(column)])) > 2]
    values = np.column_stack(varied) if varied else values[:, :0]
    for first in range(max(_FEWEST_ROWS, n - _LAST_ROWS), n):
        body = values[:first][~found[:first]]
        if len(body) < _FEWEST_ROWS:
            continue
        mean_or_sd = _statistics(body)[:3]
        close = rounded = new = 0
        block = []
        for row in range(first, n):
            best = max((_matches(values[row], statistic) for statistic in mean_or_sd), key=lambda match: match[:2])
            if not best[0]:
                break
            block.append(row)
            close, rounded = close + best[1], rounded + best[2]
            new += int((np.isfinite(values[row]) & ~(values[row] == body).any(axis=0)).sum())
        # A mean usually has digits that no value above has; a soil may equal the mean by chance.
        if new and (close >= 2 or rounded >= 3):
            rows[block] = True
            return rows
    return rows


def _statistics(body: Values) -> list[Values]:
    """Mean, SD (n - 1 and n), minimum, maximum, median and count of each column; NaN for an empty column."""
    statistics = np.full((7, body.shape[1]), np.nan)
    for column, values in enumerate(body.T):
        measured = values[np.isfinite(values)]
        if len(measured) < 2:
            continue
        statistics[:, column] = [
            *(measured.mean(), measured.std(ddof=1), measured.std()),
            *(measured.min(), measured.max(), np.median(measured), len(measured)),
        ]
    return list(statistics)


def _matches(row: Values, statistic: Values) -> tuple[bool, int, int]:
    """Whether all measured values of a row are the statistic; how many to 1e-3, and how many to their last decimal."""
    measured = np.isfinite(row)
    if not measured.any() or not np.isfinite(statistic[measured]).all():
        return False, 0, 0
    close = rounded = 0
    for value, expected in zip(row[measured].tolist(), statistic[measured].tolist(), strict=True):
        equal = abs(value - expected) <= CLOSE * abs(expected)
        decimals = len(f"{value:.6f}".rstrip("0").partition(".")[2])
        if not equal and not (decimals and round(expected, decimals) == round(value, decimals)):
            return False, 0, 0
        close, rounded = close + equal, rounded + 1
    return True, close, rounded


def _is_label(identity: str, labels: Sequence[str]) -> bool:
    """Whether the id is a label of a statistic, such as `Mean`, `SD:` or `Mittelwert (n=48)`."""
    plain = unicodedata.normalize("NFKD", identity).encode("ascii", "ignore").decode().lower().replace("%", " pct")
    without = re.sub(r"\(.*\)|\bn\s*=.*", " ", plain)
    return re.sub(r"[^a-z0-9]+", " ", without).strip() in labels
