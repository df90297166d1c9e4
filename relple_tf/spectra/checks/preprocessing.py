"""Checks of a whole table of spectra: codes in a band of all scans, and preprocessed spectra."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.summary import ScanSummary

Rows = npt.NDArray[np.bool_]

FEWEST_CONSTANT = 5
"""Fewest scans in which an equal value of a band is no chance."""
FEWEST_NORMALISED = 10
"""Fewest scans from which a common mean or norm is inferred."""
LOWEST = 0.15
"""A scan whose lowest value is further below 0, as a fraction of its range, is centred or a derivative (0.2 to 0.6).
Real absorbance reaches 0.04 below 0 where an instrument has an offset (corn, mp5)."""
PREPROCESSED_SHARE = 0.3
"""Fraction of such scans from which the table is preprocessed: after centring of each band, about half."""
SAME_NORM = 1e-3
"""Relative range (5th to 95th percentile) of a property of all scans that only normalisation makes equal. The mean of
real scans varies by 0.1 at least."""
SAME_SD = 0.003
"""Relative range of the SDs of the bands that only a division by the SD of each band makes equal."""
FLATTEST = (0.02, 0.05)
"""Numbers with a smaller mean and a smaller range are derivatives, or were divided. The smallest of real libraries are
0.064 and 0.06 (reflectance of RP.62)."""


def constant_bands(summary: ScanSummary, rows: Rows) -> Iterable[Finding]:
    """Refuse bands that have the same value in all scans, if it is far outside the values of the other bands, or 0.

    Where other bands are negative, as in derivatives, 0 is no code.
    """
    constant = summary.lowest == summary.highest
    if rows.sum() < FEWEST_CONSTANT or not constant.any() or constant.all():
        return
    low, high = min(float(summary.lowest[~constant].min()), 0.0), float(summary.highest[~constant].max())
    far = (summary.lowest < 2 * low - 0.5) | (summary.lowest > 5 * high)
    codes = np.flatnonzero(constant & (far | ((summary.lowest == 0) & (low == 0))))
    if not codes.size:
        return
    first = codes[0]
    yield Finding(
        check="constant_bands",
        severity="refuse",
        message=f"expected values that differ between the scans; {len(codes)} bands are the same in all scans, the "
        f"first is {summary.wavelengths_nm[first]:g} nm with {summary.lowest[first]:g}: a code for a missing value, or "
        "a dead detector element; remove these bands",
    )


def preprocessed(summary: ScanSummary, rows: Rows) -> Iterable[Finding]:
    """Refuse derivatives, centred, standardised and normalised spectra."""
    raw = "expected raw reflectance or absorbance; received preprocessed spectra"
    remedy = "export the scans without preprocessing"

    def refused(reason: str) -> Iterable[Finding]:
        yield Finding(check="preprocessed", severity="refuse", message=f"{raw}: {reason}; {remedy}")

    low, high, mean = (summary[name][rows].astype(np.float64) for name in ("low", "high", "mean"))
    share = float(np.mean(-low > LOWEST * (high - low)))
    if share >= PREPROCESSED_SHARE:
        yield from refused(
            f"{share:.0%} of the scans have values on both sides of 0 or below it, as after a derivative, SNV or "
            f"centring (values run from {low.min():.3g} to {high.max():.3g})"
        )
    if np.median(np.abs(mean)) < FLATTEST[0] and np.median(high - low) < FLATTEST[1]:
        yield from refused(
            f"the median scan has a mean of {np.median(mean):.2g} and a range of {np.median(high - low):.2g}, smaller "
            "than those of any soil"
        )
    if rows.sum() < FEWEST_NORMALISED:
        return
    ends = {"highest value of the scans is 1, as after removal of the continuum": high - 1}
    ends |= {"lowest value of the scans is 0, as after subtraction of a baseline": low}
    for reason, values in ends.items():
        if np.ptp(np.quantile(values, [0.05, 0.95])) == 0 and np.median(values) == 0:
            yield from refused(f"the {reason}")
    levels = np.quantile(summary["anchors"][rows].astype(np.float64), [0.05, 0.5, 0.95], axis=0)
    if np.median(levels[2] - levels[0]) < 10 * SAME_NORM * np.median(np.abs(levels[1])):
        return  # copies of one scan have the same mean too
    sd = summary["anchors"][rows].std(axis=0, dtype=np.float64)
    if np.ptp(sd) < SAME_SD * np.median(sd):
        yield from refused(f"all bands have the same SD over the scans ({np.median(sd):.3g}), as after standardisation")
    for name, values in (("mean", mean), ("root mean square", np.sqrt(summary["square"][rows]))):
        if np.ptp(np.quantile(values, [0.05, 0.95])) < SAME_NORM * abs(np.median(values)):
            yield from refused(
                f"all scans have the same {name} ({np.median(values):.4g}), as after MSC or normalisation"
            )
