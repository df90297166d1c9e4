"""Checks of the values of one target."""

from collections.abc import Iterator

import numpy as np

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.laboratory_values import FEWEST, LaboratoryValues, Values, measured_unit
from relple_tf.spectra.library import HIGHEST

_NINES = (99.0, 999.0, 9999.0, 99999.0, 999999.0)
CODES = tuple(
    sorted({*_NINES, *(-nines for nines in _NINES), -1.0, -9.0, -9.99, -99.9, -999.9, -999.25, -77.0, -88.0, -888.0})
)
"""Numbers that stand for a missing value in tables of instruments, GIS and laboratories. (-9999 is read as missing.)"""
UNIT_FACTORS = {"g_kg": 10.0, "clay_pct": 0.1, "silt_pct": 0.1, "sand_pct": 0.1, "cmolc_kg": 0.1}
"""Factor of the reader between the unit of a column and that of its target: the code -999 in OC_pct becomes -9990."""
LARGE_CODES = (999.0, 9999.0)
"""Positive codes from which two samples, and a single one, are refused; 99 and a single 999 may be measured."""

LOWEST_PH = 2.0
"""Lower pH cannot be a soil: the lowest of 2,096 soils of OSSL is 3.69, acid sulphate soils reach about 2."""
HIGHEST_PH = 12.0
"""Higher pH is doubtful: the highest of 2,096 soils of OSSL is 9.52, soda soils reach about 11."""

CLOSE_TO_ZERO = 0.25
"""Zeros are far from the rest if no positive value is below this fraction of the median. Where zeros were measured,
such values are frequent: 9 % of the 2,066 positive N values of OSSL, 13 % of clay; the smallest N of Uganda, which has
a single zero, is .03 of the median."""
ZERO_SHARE = 0.05
FEWEST_ZEROS = 5
ZERO_EXCESS = 2.0
"""A spike of zeros is at least this share of the values, at least FEWEST_ZEROS, and has more than ZERO_EXCESS zeros per
positive value below a tenth of the median. Measured zeros of OSSL: 40 of 2,106 N values (1.9 %), .7 per value below a
tenth of the median; 16 of clay (.8 %), .2 per value."""
MEASURED_ZERO = ("N_g_kg", "OC_g_kg", "TC_g_kg", "CEC_cmolc_kg", "clay_pct")
"""Targets of which few soils have none. CaCO3 is 0 in most soils without carbonate, and of an unknown target nothing is
known, so that only zeros without any small value are doubtful there."""

SHIFTED_GAP = 1.0
NARROW_GAP = 0.7
NARROW_SD = 6.0
"""A few values are too high by a lost decimal point if the gap in log10 between them and the others exceeds
SHIFTED_GAP, or NARROW_GAP where they lie more than NARROW_SD robust SD above the median. Among 300 draws of 50 rows of
each real set the largest gap is .96 (a peat of 539 g/kg OC in OSSL), and .66 above 6 SD (a peat of NIRsoil)."""
SHIFTED_SHARE = 0.1
"""Largest share of such values; more are a population of soils."""
NARROWEST_SD = 0.1
"""Least robust SD of log10 that is used: values of one field may be nearly equal."""

CLASSES = 3
"""So few distinct values are classes. pH in whole numbers has about 6, texture classes have up to 12."""
INTEGER_CLASSES = 10
"""So few distinct whole numbers, in FEWEST * 2 samples or more, are codes of classes; the fewest distinct values of the
targets of the real sets, 50 rows drawn at random, are 14."""


def codes(data: LaboratoryValues) -> Iterator[Finding]:
    """Codes for missing values in a target, and negative values where all others are positive."""
    for name, values in data.targets.items():
        factors = {1.0, *(factor for unit, factor in UNIT_FACTORS.items() if measured_unit(name, unit))}
        listed = {round(code * factor, 6): code for factor in factors for code in CODES}
        listed |= {code: code for code in CODES}
        is_code = np.isin(np.round(values, 6), list(listed))
        others = data.distinct(np.where(is_code, np.nan, values))
        if not len(others):
            continue
        explained = np.zeros(len(values), bool)
        for code in np.unique(values[is_code]).tolist():
            rows = values == code
            written = listed[round(code, 6)]
            severity = _code_severity(code, abs(written), data.count(rows), others)
            if severity:
                explained |= rows
                text = f"{written:g}" + (f" ({code:g} after conversion)" if written != code else "")
                gap = f"; the others are {others.min():g} to {others.max():g}"
                yield Finding(
                    check="code",
                    severity=severity,
                    message=f"{name}: expected measured values, received {text}, a code for a missing value, in "
                    f"{data.named(rows)}{gap}; leave the cells empty where nothing was measured",
                )
        yield from _negatives(data, name, np.where(explained, np.nan, values))


def _code_severity(code: float, written: float, samples: int, others: Values) -> str:
    """Severity of a code in `samples` samples among other values; empty if it may be a measured value."""
    low, high = others.min(), others.max()
    gap = low - code if code < low else code - high
    far = gap >= high - low
    if code < 0:
        if low >= 0:
            return "refuse" if samples > 1 or far else "warn"
        return "refuse" if far and gap > 0 else ""
    if gap <= 0 or (samples == 1 and not far):
        return ""
    return "refuse" if far and written >= LARGE_CODES[samples == 1] else "warn"


def _negatives(data: LaboratoryValues, name: str, values: Values) -> Iterator[Finding]:
    """A few negative values, none of them a code, in a target of unknown unit whose other values are not negative."""
    known = any(measured_unit(name, unit) for unit in HIGHEST)
    negative = values < 0
    count, positive = data.count(negative), data.count(values >= 0)
    if not known and count and positive >= FEWEST and count <= ZERO_SHARE * (count + positive):
        yield Finding(
            check="negative",
            severity="warn",
            message=f"{name}: {data.named(negative)} negative (the first is {values[negative][0]:g}), the other "
            f"{positive} values are not; correct the cells, or leave them empty where nothing was measured",
        )


def acidity(data: LaboratoryValues) -> Iterator[Finding]:
    """Impossible and doubtful pH."""
    for name, values in data.targets.items():
        if not measured_unit(name, "pH"):
            continue
        for severity, rows in (("refuse", values < LOWEST_PH), ("warn", values > HIGHEST_PH)):
            if rows.any():
                yield Finding(
                    check="pH",
                    severity=severity,
                    message=f"{name}: expected {LOWEST_PH:g} to {HIGHEST_PH:g}, received {values[rows][0]:g} in "
                    f"{data.named(rows)}; correct the cells, or leave them empty where pH was not measured",
                )


def zeros(data: LaboratoryValues) -> Iterator[Finding]:
    """Zeros far from the other values of a target: cells that were not measured."""
    for name, values in data.targets.items():
        rows = values == 0
        positive = data.distinct(np.where(values > 0, values, np.nan))
        count = data.count(rows)
        if not count or len(positive) + count < FEWEST or (values < 0).any() or measured_unit(name, "pH"):
            continue
        median = np.median(positive) if len(positive) else 0
        alone = name not in ("CaCO3_g_kg", "IC_g_kg") and positive.min(initial=np.inf) > CLOSE_TO_ZERO * median
        small = int((positive < median / 10).sum())
        share = count / (count + len(positive))
        spike = name in MEASURED_ZERO and share >= ZERO_SHARE and count >= FEWEST_ZEROS and count > ZERO_EXCESS * small
        if alone or spike:
            yield Finding(
                check="zeros",
                severity="warn",
                message=f"{name}: 0 in {data.named(rows)}, far from the other values (the smallest is "
                f"{positive.min(initial=np.inf):g}, the median {median:g}); leave the cells empty where nothing was "
                "measured",
            )


def shifted_decimals(data: LaboratoryValues) -> Iterator[Finding]:
    """A few values that are about 10, 100 or 1000 times too high."""
    for name, values in data.targets.items():
        logs = np.full(len(values), np.nan)
        logs[values > 0] = np.log10(values[values > 0])
        distinct = data.distinct(logs)
        if len(distinct) < FEWEST or measured_unit(name, "pH"):
            continue
        ordered = np.sort(distinct)
        median, lower, upper = np.quantile(ordered, [0.5, 0.25, 0.75])
        sd = max((upper - lower) / 1.349, NARROWEST_SD)
        few = ordered[-1 - int(SHIFTED_SHARE * len(ordered)) :]
        below = int(np.diff(few).argmax())
        gap, lowest = few[below + 1] - few[below], few[below + 1]
        if gap > SHIFTED_GAP or (gap > NARROW_GAP and lowest - median > NARROW_SD * sd):
            rows = logs >= lowest
            yield Finding(
                check="shifted_decimals",
                severity="warn",
                message=f"{name}: {values[rows][0]:g} in {data.named(rows)}, far above the other values (the highest "
                f"is {10 ** few[below]:g}, the median {10**median:g}); check the decimal point and the unit of these "
                "cells",
            )


def classes(data: LaboratoryValues) -> Iterator[Finding]:
    """Targets with so few distinct values that they are classes."""
    for name, values in data.targets.items():
        measured = data.distinct(values)
        levels = np.unique(measured)
        whole = len(levels) <= INTEGER_CLASSES and len(measured) >= 2 * FEWEST and bool((levels % 1 == 0).all())
        if len(levels) > 1 and len(measured) >= FEWEST and (len(levels) <= CLASSES or whole):
            few = ", ".join(f"{level:g}" for level in levels[:INTEGER_CLASSES])
            yield Finding(
                check="classes",
                severity="warn",
                message=f"{name}: {len(measured)} samples have {len(levels)} distinct values ({few}); expected "
                "measured values, not classes; leave the column out with data.targets",
            )
