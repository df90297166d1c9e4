"""Checks that find the wrong unit of a whole column."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.laboratory_values import FEWEST, LaboratoryValues, Values, doubt

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

CEC_CLAY, CEC_OC = 1.2, 0.4
"""CEC, cmolc/kg, of 1 % smectite and of 1 g/kg of OC in humus. The median soil has half of their sum in OSSL, a sixth
in Tavares; ten times too high values have 5 and 1.6 times."""
CEC_LOW = 0.05
"""CEC, cmolc/kg, of 1 % kaolinite, and of 1 g/kg OC at low pH. The median soil has 7.9 times their sum in OSSL, 3.1
times in Tavares (Ferralsols)."""
UNKNOWN_CLAY, UNKNOWN_OC = 50.0, 20.0
"""Clay in percent and OC in g/kg of a soil where they are not measured, for the upper limit of CEC."""


def ratios(data: LaboratoryValues) -> Iterator[Finding]:
    """Median ratios of two properties that no set of soils has."""
    for ratio in RATIOS:
        above, below = data.known(ratio.above), data.known(ratio.below)
        if above is None or below is None or not {ratio.above, ratio.below} & {*data.targets}:
            continue
        valid = (above > 0) & (below > 0)
        if data.count(valid) < FEWEST_RATIOS:
            continue
        median = data.median(valid, np.divide(above, below, where=valid, out=np.full(len(above), np.nan)))
        high = ratio.high
        if ratio.name == "C:N" and data.median(valid, below) < MINERAL_N_G_KG:
            high = MINERAL_CN
        if not ratio.low <= median <= high:
            yield doubt(
                "ratio",
                f"{ratio.above} and {ratio.below}: a median {ratio.name} of {median:.2g} cannot be "
                f"(expected {ratio.low:g} to {high:g}); probably {ratio.cause}; check the units of both columns",
            )


def levels(data: LaboratoryValues) -> Iterator[Finding]:
    """Medians that suggest another unit, where no second property decides."""
    for name, level in LEVELS.items():
        values = data.targets.get(name)
        if values is None or any(data.measured(partner) >= FEWEST_RATIOS for partner in level.partners):
            continue
        positive = data.distinct(np.where(values > 0, values, np.nan))
        if len(positive) < FEWEST:
            continue
        median = float(np.median(positive))
        if not level.low <= median <= level.high:
            unit = name.removeprefix(name.split("_")[0] + "_")
            yield doubt(
                "level",
                f"{name}: the median is {median:.3g}, expected {level.low:g} to {level.high:g}; check whether the "
                f"values are in {'g/kg or percent' if unit == 'g_kg' else 'percent, g/kg or a fraction'}",
            )


def exchange(data: LaboratoryValues) -> Iterator[Finding]:
    """CEC against clay and organic carbon."""
    cec = data.targets.get("CEC_cmolc_kg")
    if cec is None or data.count(cec > 0) < FEWEST_RATIOS:
        return
    clay, carbon = data.known("clay_pct"), data.known("OC_g_kg")
    most = CEC_CLAY * _filled(clay, UNKNOWN_CLAY, cec) + CEC_OC * _filled(carbon, UNKNOWN_OC, cec)
    median = data.median((cec > 0) & (most > 0), cec / np.where(most > 0, most, np.nan))
    if median > 1:
        yield doubt(
            "cec",
            f"CEC_cmolc_kg: the median is {median:.2g} times that of pure smectite and humus; probably mmolc/kg under "
            "the name CEC_cmolc_kg; rename the column CEC_mmolc_kg",
        )
    if clay is None or carbon is None:
        return
    least = CEC_LOW * (clay + carbon)
    valid = (cec > 0) & (least > 0)
    if data.count(valid) >= FEWEST_RATIOS and (share := data.median(valid, cec / np.where(valid, least, np.nan))) < 1:
        yield doubt(
            "cec",
            f"CEC_cmolc_kg: the median is {share:.2g} times that of pure kaolinite; probably cmolc/kg under a name in "
            "mmolc_kg; check the unit",
        )


def _filled(values: Values | None, default: float, like: Values) -> Values:
    """The values, `default` where not measured."""
    return np.full(len(like), default) if values is None else np.where(np.isfinite(values), values, default)
