"""Reflectance or absorbance, and the scale of the numbers: declared, or inferred by rules."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.checks.summary import WATER_1914, Feature, ScanSummary
from relple_tf.spectra.library import REFLECTANCE_RANGE

Rows = npt.NDArray[np.bool_]

CLEAR_FRACTION = 0.7
"""Fraction of the scans that must agree before a feature decides."""
UNANIMOUS = 0.95
"""Fraction of the scans that show the water band at 1914 nm where it proves that wavelengths are nm; real sets: 1."""
MAJORITY = 0.5
"""Likewise at 1414 nm where the wavelengths begin above LOWEST_MID_INFRARED and 1914 nm is unanimous: .27 of the soils
of Uganda, from 1350 nm on, are contrary there, and up to .38 of 50 of them."""
LOWEST_MID_INFRARED = 1000.0
"""Mid-infrared spectra of soil reach 400 to 700 cm-1."""
SCALES = {2.0: 1.0, 150.0: 100.0, 1_500.0: 1_000.0, 15_000.0: 10_000.0}
"""Upper limit of the median of the scans' highest values -> scale of reflectance. The highest value of a soil scan lies
between 0.1 (Riparian soils of LimeSoDa RP.62) and 1.05 (Lucky Bay sand)."""
BRIGHTEST = 1.05
"""Reflectance up to which scaled numbers are plausible: Lucky Bay sand beside its white reference has 1.05."""
HIGHEST_MEDIAN_ABSORBANCE = 2.2
"""Limit of the median of the scans' mean absorbance; the darkest real library (RP.62) has 1.2, others 0.3 to 0.9."""
TYPICAL_ABSORBANCE = 1.5
"""The scale named for larger numbers is the power of ten that brings them below this value."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the config, the file and the model state about the numbers of a table."""

    quantity: str = "auto"
    """`data.quantity`; `auto` uses the statement of the file, then the features."""
    stated: str = ""
    """Quantity that the file or the names of its bands state; empty if neither does."""
    fallback: str = "auto"
    """Quantity if no feature decides (that of the model); `auto` refuses the table."""
    scale: float = 0.0
    """`data.scale`; 0 detects 1 and 100."""
    model_scale: float = 0.0
    """`data.scale` of the run that predicts: accepted where the numbers have this scale. 0: none."""
    ambiguous_order: str = ""
    """Message for bands that may be nm or cm-1, unless the water bands prove nm; empty: their unit is clear."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Quantity and scale of the numbers of a table."""

    name: str
    """`reflectance` or `absorbance`."""
    scale: float
    """Divisor of the numbers."""
    notes: tuple[str, ...]
    """The decision and its reason."""
    warnings: tuple[str, ...] = ()


def determine_quantity(source: str, summary: ScanSummary, rows: Rows, declared: Declared) -> Quantity:
    """Determine the quantity and scale of a table.

    Args:
        source: Name of the table, for messages.
        summary: All scans of the table.
        rows: (n,) true for the scans to use.
        declared: What is stated about the table.

    Raises:
        InputError: nothing is declared and no feature decides, or the scale is not 1, 100 or declared.
    """
    inferred = _inferred(summary, rows)
    warnings = []
    if declared.quantity != "auto":
        name, reason = declared.quantity, "as data.quantity declares"
    elif declared.stated:
        name, reason = declared.stated, "as the file or the names of its bands state"
    elif inferred is not None:
        name, reason = inferred
    elif declared.fallback != "auto":
        name, reason = declared.fallback, "like the training spectra, because no feature decides"
    else:
        nm = summary.wavelengths_nm
        if WATER_1914 in summary.features:
            like = rows & (summary[WATER_1914.name] > 0)
            first, other = int(np.argmax(like)) + 1, int(np.argmax(rows & ~like)) + 1
            raise InputError(
                f"{source}: expected all scans in one quantity; {like.sum()} of {rows.sum()} look like reflectance at "
                f"{WATER_1914.name} (row {first} is the first), the others like absorbance (row {other} is the first); "
                "convert the scans to one quantity, or declare it with --set data.quantity=..."
            )
        raise InputError(
            f"{source}: cannot infer reflectance or absorbance from {nm[0]:g}..{nm[-1]:g} nm; "
            "add --set data.quantity=reflectance or --set data.quantity=absorbance"
        )
    if inferred is not None and inferred[0] != name:
        warnings.append(f"the spectra were read as {name}, {reason}, but they look like {inferred[0]}, {inferred[1]}")
    if declared.ambiguous_order and not _proves_nm(summary, rows, name):
        raise InputError(f"{source}: {declared.ambiguous_order}")
    scale, scale_notes = _scale(source, summary, rows, name, declared)
    largest = float(summary["high"][rows].max()) / scale
    if name == "reflectance" and scale != 1 and largest > BRIGHTEST:
        warnings.append(
            f"reflectance reaches {largest:.0%} after division by {scale:g}, more than a white reference has; check "
            "the scale of the numbers (data.scale)"
        )
    return Quantity(
        name=name,
        scale=scale,
        notes=(f"the spectra are {name}, {reason}", *scale_notes),
        warnings=tuple(warnings),
    )


def share_like_reflectance(summary: ScanSummary, rows: Rows, feature: Feature) -> float:
    """Fraction of these scans in which the feature is like reflectance."""
    return float(np.mean(summary[feature.name][rows] > 0))


def _inferred(summary: ScanSummary, rows: Rows) -> tuple[str, str] | None:
    """Quantity and reason by the first feature that decides, else by the values; None if neither does."""
    for feature in summary.features:
        fraction = share_like_reflectance(summary, rows, feature)
        if fraction >= CLEAR_FRACTION or fraction <= 1 - CLEAR_FRACTION:
            like = fraction >= CLEAR_FRACTION
            verb = "like" if like else "opposite to"
            return (
                "reflectance" if like else "absorbance",
                f"because {max(fraction, 1 - fraction):.0%} of the scans are {verb} reflectance at {feature.name}",
            )
    highest, percent = REFLECTANCE_RANGE[1], min(SCALES)
    if highest < float(np.median(summary["high"][rows])) <= percent:
        return (
            "absorbance",
            f"because the scans exceed {highest:g}, but not {percent:g}, as reflectance in percent does",
        )
    return None


def _proves_nm(summary: ScanSummary, rows: Rows, name: str) -> bool:
    """Whether the water bands at 1914 and 1414 nm, and the rise from 450 to 800 nm where covered, look like `name`.

    Mid-infrared spectra have bands of quartz and carbonate at 1914 and 1414 cm-1, which do not agree in all scans, and
    they extend below 1000 cm-1.
    """
    agreement = MAJORITY if summary.wavelengths_nm[0] > LOWEST_MID_INFRARED else UNANIMOUS
    shares = {feature: share_like_reflectance(summary, rows, feature) for feature in summary.features}
    like = {feature: share if name == "reflectance" else 1 - share for feature, share in shares.items()}
    return like.get(WATER_1914, 0) >= UNANIMOUS and min(like.values()) >= agreement


def scale_of_reflectance(highest: float) -> float:
    """Scale of reflectance whose scans have this highest value; infinity above the largest of SCALES."""
    return next((scale for limit, scale in SCALES.items() if highest <= limit), math.inf)


def _scale(
    source: str, summary: ScanSummary, rows: Rows, name: str, declared: Declared
) -> tuple[float, tuple[str, ...]]:
    """Divisor of the numbers, and notes on it."""
    highest = float(np.median(summary["high"][rows]))
    level = float(np.median(summary["mean"][rows]))
    if name == "reflectance":
        found, received = scale_of_reflectance(highest), f"numbers up to {highest:.3g} in the median scan"
        expected = "reflectance 0..1 or in percent"
    else:
        found, received = 1.0, f"a mean of {level:.3g} in the median scan"
        expected = f"absorbance log10(1/R), which is below {HIGHEST_MEDIAN_ABSORBANCE:g} on average for soil"
        if level > HIGHEST_MEDIAN_ABSORBANCE:
            found = 10.0 ** math.ceil(math.log10(level / TYPICAL_ABSORBANCE))
    if declared.scale:
        if found / declared.scale > 10 or found / declared.scale < 0.1:
            raise InputError(
                f"{source}: expected {name} times {declared.scale:g}; received {received}, which looks like {name} "
                f"times {found:g}; correct the scale or the numbers"
            )
        note = f"the numbers were divided by data.scale={declared.scale:g}"
        return declared.scale, () if declared.scale == 1 else (note,)
    if found == declared.model_scale:
        return found, (f"the numbers were divided by {found:g}, as for training",)
    if found == 100 and name == "reflectance":
        return 100.0, (f"reflectance in percent (up to {float(summary['high'][rows].max()):.3g}) was divided by 100",)
    if found != 1:
        remedy = f"if they are {name} times {found:g}, declare it with --set data.scale={found:g}"
        if math.isinf(found):
            remedy = "divide them to 0..1, or declare their divisor with --set data.scale=..."
        raise InputError(f"{source}: expected {expected}; received {received}; {remedy}")
    return 1.0, ()
