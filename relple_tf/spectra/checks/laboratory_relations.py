"""Checks of targets against each other and against what soils can contain."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.laboratory_single import FEWEST
from relple_tf.spectra.checks.laboratory_values import LaboratoryValues, Rows, Values

FEWEST_RATIOS = 10
"""Number of samples from which the median of a ratio is checked."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Possible range of the median ratio of two properties."""

    name: str
    above: str
    below: str
    low: float
    high: float
    cause: str


_UNITS = "one of the two has the wrong unit (percent under g_kg, or g/kg under pct)"
RATIOS = (
    Ratio(name="C:N", above="OC_g_kg", below="N_g_kg", low=3, high=100, cause=_UNITS),
    Ratio(name="total C:N", above="TC_g_kg", below="N_g_kg", low=3, high=300, cause=_UNITS),
    Ratio(name="CaCO3 over inorganic carbon", above="CaCO3_g_kg", below="IC_g_kg", low=4, high=17, cause=_UNITS),
    Ratio(name="OC over total carbon", above="OC_g_kg", below="TC_g_kg", low=0, high=1.1, cause=_UNITS),
    Ratio(name="inorganic over total carbon", above="IC_g_kg", below="TC_g_kg", low=0, high=1.1, cause=_UNITS),
)
"""Medians of the real sets: C:N 10.3 (OSSL) and 10.1 (NIRsoil); total C:N 11.4 (Uganda); OC over total carbon 1.00
(OSSL: above 1.1 in .2 % of the soils). Pure CaCO3 is 8.33 times its inorganic carbon. Total C:N of limestone soils is
high."""
MINERAL_CN = 40.0
MINERAL_N_G_KG = 4.0
"""Median C:N of mineral soils is below 40 (10 in the real sets, 25 to 35 in podzols); peats with C:N up to 80 have more
than 4 g/kg of N. So N in percent under g_kg, or OC in g/kg under pct, is found where C:N is below 100."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """Usual range of the median of a property that no other property of the table confirms."""

    low: float
    high: float
    partners: tuple[str, ...]
    """Properties whose ratio to this one is checked instead."""


LEVELS = {
    "OC_g_kg": Level(low=2.5, high=100, partners=("N_g_kg",)),
    "TC_g_kg": Level(low=2.5, high=150, partners=("N_g_kg", "OC_g_kg")),
    "N_g_kg": Level(low=0.25, high=8, partners=("OC_g_kg", "TC_g_kg")),
    "clay_pct": Level(low=2.5, high=80, partners=()),
}
"""Medians of the real sets: OC 13 to 36 g/kg (fields of LimeSoDa), 12 (NIRsoil), 13 (OSSL); total carbon 8.5 to 18; N
1.2 to 1.4; clay 16 to 56 %. Columns in percent under g_kg give a tenth, columns in g/kg under pct ten times of it."""

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

CEC_CLAY, CEC_OC = 1.2, 0.4
"""CEC, cmolc/kg, of 1 % smectite and of 1 g/kg of OC in humus. The median soil has half of their sum in OSSL, a sixth
in Tavares; ten times too high values have 5 and 1.6 times."""
CEC_LOW = 0.05
"""CEC, cmolc/kg, of 1 % kaolinite, and of 1 g/kg OC at low pH. The median soil has 7.9 times their sum in OSSL, 3.1
times in Tavares (Ferralsols)."""
UNKNOWN_CLAY, UNKNOWN_OC = 50.0, 20.0
"""Clay in percent and OC in g/kg of a soil where they are not measured, for the upper limit of CEC."""

TEXTURE = (90.0, 110.0)
"""Range of the sum of clay, silt and sand in percent: 97.0 to 101.3 in OSSL, 94 to 106 in datsoilspc."""

RELATED = (
    frozenset(("OC_g_kg", "TC_g_kg")),
    frozenset(("OC_g_kg", "IC_g_kg")),
    frozenset(("CaCO3_g_kg", "IC_g_kg")),
    frozenset(("pH", "pH_CaCl2")),
)
"""Properties that may be equal or proportional: all carbon is organic in soils without carbonate."""


def ratios(data: LaboratoryValues) -> Iterator[Finding]:
    """Median ratios of two properties that no set of soils has."""
    for ratio in RATIOS:
        above, below = data.known(ratio.above), data.known(ratio.below)
        if above is None or below is None or not {ratio.above, ratio.below} & {*data.targets}:
            continue
        valid = (above > 0) & (below > 0)
        if data.count(valid) < FEWEST_RATIOS:
            continue
        median = _median(data, valid, np.divide(above, below, where=valid, out=np.full(len(above), np.nan)))
        high = ratio.high
        if ratio.name == "C:N" and _median(data, valid, below) < MINERAL_N_G_KG:
            high = MINERAL_CN
        if not ratio.low <= median <= high:
            yield _doubt(
                "ratio",
                f"{ratio.above} and {ratio.below}: a median {ratio.name} of {median:.2g} cannot be "
                f"(expected {ratio.low:g} to {high:g}); probably {ratio.cause}; check the units of both columns",
            )


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
    median, sd = _centre(data, valid, ratio)
    for name, sign in ((carbon_name, 1), ("N_g_kg", -1)):
        own_median, own_sd = _centre(data, valid, logs[name])
        rows = valid & (sign * (ratio - median) > max(RATIO_LOG10, RATIO_SD * sd))
        rows &= logs[name] - own_median > HIGH_SD * own_sd
        if rows.any():
            yield _doubt(
                "ratio_outliers",
                f"{name}: {10 ** logs[name][rows][0]:g} in {data.named(rows)}, where the ratio of {carbon_name} to "
                f"N_g_kg is {10 ** ratio[rows][0]:.2g} (median {10**median:.2g}); check the decimal point of these cells",
            )


def levels(data: LaboratoryValues) -> Iterator[Finding]:
    """Medians that suggest another unit, where no second property decides."""
    for name, level in LEVELS.items():
        values = data.targets.get(name)
        if values is None or any(_measured(data, partner) >= FEWEST_RATIOS for partner in level.partners):
            continue
        positive = data.distinct(np.where(values > 0, values, np.nan))
        if len(positive) < FEWEST:
            continue
        median = float(np.median(positive))
        if not level.low <= median <= level.high:
            unit = name.removeprefix(name.split("_")[0] + "_")
            yield _doubt(
                "level",
                f"{name}: the median is {median:.3g}, expected {level.low:g} to {level.high:g}; check whether the "
                f"values are in {'g/kg or percent' if unit == 'g_kg' else 'percent, g/kg or a fraction'}",
            )


def largest(data: LaboratoryValues) -> Iterator[Finding]:
    """Values above those of the purest soil material."""
    for name, limit in LARGEST.items():
        values = data.targets.get(name)
        if values is not None and (rows := values > limit).any():
            yield _doubt(
                "largest",
                f"{name}: {values[rows][0]:g} in {data.named(rows)}, above {limit:g}, the highest possible in soil "
                "material; check the decimal point and the unit",
            )


def exchange(data: LaboratoryValues) -> Iterator[Finding]:
    """CEC against clay and organic carbon."""
    cec = data.targets.get("CEC_cmolc_kg")
    if cec is None or data.count(cec > 0) < FEWEST_RATIOS:
        return
    clay, carbon = data.known("clay_pct"), data.known("OC_g_kg")
    most = CEC_CLAY * _filled(clay, UNKNOWN_CLAY, cec) + CEC_OC * _filled(carbon, UNKNOWN_OC, cec)
    median = _median(data, (cec > 0) & (most > 0), cec / np.where(most > 0, most, np.nan))
    if median > 1:
        yield _doubt(
            "cec",
            f"CEC_cmolc_kg: the median is {median:.2g} times that of pure smectite and humus; probably mmolc/kg under "
            "the name CEC_cmolc_kg; rename the column CEC_mmolc_kg",
        )
    if clay is None or carbon is None:
        return
    least = CEC_LOW * (clay + carbon)
    valid = (cec > 0) & (least > 0)
    if data.count(valid) >= FEWEST_RATIOS and (share := _median(data, valid, cec / np.where(valid, least, np.nan))) < 1:
        yield _doubt(
            "cec",
            f"CEC_cmolc_kg: the median is {share:.2g} times that of pure kaolinite; probably cmolc/kg under a name in "
            "mmolc_kg; check the unit",
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
        median = _median(data, valid, total)
        if median > high or (median < low and len(known) == len(fractions)):
            yield _doubt("texture", f"{named}: the median sum is {median:.3g} %, expected 100 %; check the units")
            return
    rows = total > high
    if len(known) == len(fractions):
        rows |= total < low
    if rows.any():
        yield _doubt(
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
                yield _doubt(
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


def _measured(data: LaboratoryValues, name: str) -> int:
    values = data.known(name)
    return 0 if values is None else data.count(values > 0)


def _filled(values: Values | None, default: float, like: Values) -> Values:
    """The values, `default` where not measured."""
    return np.full(len(like), default) if values is None else np.where(np.isfinite(values), values, default)


def _median(data: LaboratoryValues, valid: Rows, values: Values) -> float:
    """Median of a quantity, each sample once."""
    return float(np.median(data.distinct(np.where(valid, values, np.nan))))


def _centre(data: LaboratoryValues, valid: Rows, values: Values) -> tuple[float, float]:
    """Median and robust SD (quartiles) of a quantity, each sample once."""
    lower, median, upper = np.quantile(data.distinct(np.where(valid, values, np.nan)), [0.25, 0.5, 0.75]).tolist()
    return median, (upper - lower) / 1.349


def _doubt(check: str, message: str) -> Finding:
    return Finding(check=check, severity="warn", message=message)
