"""Checks of rows: targets against each other and against what soils can contain."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.laboratory_units import FEWEST_RATIOS
from relple_tf.spectra.checks.laboratory_values import FEWEST, LaboratoryValues, Values, doubt

RATIO_LOG10 = 0.7
RATIO_SD = 4.0
HIGH_SD = 1.5
"""A row has a lost decimal point in OC or N if log10 of C:N differs from the median by RATIO_LOG10 and by RATIO_SD
robust SD, and the higher of the two lies HIGH_SD above its median. In 75 of 2,063 soils of OSSL log10 of C:N differs by
RATIO_LOG10, nearly all with very little OC or N; in two (C:N of 1 with more than 8 g/kg of N) a high value is the
cause, in no soil of NIRsoil and Uganda."""

LARGEST = {"OC_g_kg": 580.0, "N_g_kg": 60.0, "CEC_cmolc_kg": 300.0, "IC_g_kg": 131.0}
"""Largest values of soils: organic matter is 58 % carbon (van Bemmelen; the highest of OSSL is 538.8 g/kg) and at most
6 % nitrogen (highest 30.2); CEC of humus is 200 to 300 cmolc/kg (highest 190.1); dolomite is 13 % inorganic carbon."""

TEXTURE = (90.0, 110.0)
"""Range of the sum of clay, silt and sand in percent: 97.0 to 101.3 in OSSL, 94 to 106 in datsoilspc."""

RELATED = (
    frozenset(("OC_g_kg", "TC_g_kg")),
    frozenset(("OC_g_kg", "IC_g_kg")),
    frozenset(("CaCO3_g_kg", "IC_g_kg")),
    frozenset(("pH", "pH_CaCl2")),
)
"""Properties that may be equal or proportional: all carbon is organic in soils without carbonate."""


def ratio_outliers(data: LaboratoryValues) -> Iterator[Finding]:
    """Rows in which OC or N is high and the other is not: a lost decimal point."""
    carbon = data.known("OC_g_kg")
    carbon_name, carbon = ("TC_g_kg", data.known("TC_g_kg")) if carbon is None else ("OC_g_kg", carbon)
    nitrogen = data.known("N_g_kg")
    if carbon is None or nitrogen is None or not {carbon_name, "N_g_kg"} & {*data.targets}:
        return
    valid = (carbon > 0) & (nitrogen > 0)
    if data.count(valid) < FEWEST:
        return
    logs = {
        name: np.log10(np.where(valid, values, 1)) for name, values in ((carbon_name, carbon), ("N_g_kg", nitrogen))
    }
    ratio = logs[carbon_name] - logs["N_g_kg"]
    median, sd = data.centre(valid, ratio)
    for name, sign in ((carbon_name, 1), ("N_g_kg", -1)):
        own_median, own_sd = data.centre(valid, logs[name])
        rows = valid & (sign * (ratio - median) > max(RATIO_LOG10, RATIO_SD * sd))
        rows &= logs[name] - own_median > HIGH_SD * own_sd
        if rows.any():
            yield doubt(
                "ratio_outliers",
                f"{name}: {10 ** logs[name][rows][0]:g} in {data.named(rows)}, where the ratio of {carbon_name} to "
                f"N_g_kg is {10 ** ratio[rows][0]:.2g} (median {10**median:.2g}); check the decimal point of these "
                "cells",
            )


def largest(data: LaboratoryValues) -> Iterator[Finding]:
    """Values above those of the purest soil material."""
    for name, limit in LARGEST.items():
        values = data.targets.get(name)
        if values is not None and (rows := values > limit).any():
            yield doubt(
                "largest",
                f"{name}: {values[rows][0]:g} in {data.named(rows)}, above {limit:g}, the highest possible in soil "
                "material; check the decimal point and the unit",
            )


def texture(data: LaboratoryValues) -> Iterator[Finding]:
    """Sums of clay, silt and sand."""
    fractions = {name: data.known(name) for name in ("clay_pct", "silt_pct", "sand_pct")}
    known = {name: values for name, values in fractions.items() if values is not None}
    if "clay_pct" not in data.targets or len(known) < 2:
        return
    total = np.sum(list(known.values()), axis=0)
    named = " + ".join(known)
    valid = np.isfinite(total)
    low, high = TEXTURE
    if data.count(valid) >= FEWEST_RATIOS:
        median = data.median(valid, total)
        if median > high or (median < low and len(known) == len(fractions)):
            yield doubt("texture", f"{named}: the median sum is {median:.3g} %, expected 100 %; check the units")
            return
    rows = total > high
    if len(known) == len(fractions):
        rows |= total < low
    if rows.any():
        yield doubt(
            "texture",
            f"{named}: the sum is {total[rows][0]:.4g} % in {data.named(rows)}, expected 100 %; correct the cells, or "
            "leave them empty",
        )


def copies(data: LaboratoryValues) -> Iterator[Finding]:
    """Targets that equal another property, an id or the row number, up to a power of ten."""
    numbers = {"the row number": np.arange(1.0, len(data.ids) + 1), "the id": _as_numbers(data)}
    targets = list(data.targets.items())
    for position, (name, values) in enumerate(targets):
        others = chain(targets[position + 1 :], data.columns.items(), numbers.items())
        for other, column in others:
            if frozenset((name, other)) not in RELATED and _is_copy(data, values, column):
                yield doubt(
                    "copy",
                    f"{name} has the numbers of {other} in all rows; expected a measured property; correct or remove "
                    "either column",
                )


def _is_copy(data: LaboratoryValues, values: Values, column: Values) -> bool:
    both = np.isfinite(values) & np.isfinite(column)
    if both.sum() < 0.9 * np.isfinite(values).sum() or len(np.unique(values[both])) < FEWEST_RATIOS:
        return False
    return any(np.allclose(values[both], column[both] * factor, rtol=1e-6, atol=0) for factor in (1, 10, 0.1))


def _as_numbers(data: LaboratoryValues) -> Values:
    try:
        return data.ids.astype(np.float64)
    except ValueError:
        return np.full(len(data.ids), np.nan)
