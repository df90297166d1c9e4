"""Checks of scans: quantity, scale, preprocessing, rows in another quantity, and scans that cannot be soils."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.checks.finding import CheckResult, Finding, refuse
from relple_tf.spectra.checks.preprocessing import constant_bands, preprocessed
from relple_tf.spectra.checks.quantity import Declared, Quantity, determine_quantity
from relple_tf.spectra.checks.summary import RISE, WATER_1914, ScanSummary
from relple_tf.spectra.library import RANGES, REFLECTANCE_FLOOR, impossible_scans

Rows = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MOST_BAD = 0.05
"""Largest fraction of rows that `data.bad_scans=drop` drops."""
DARKEST_REFLECTANCE, DARK_REFLECTANCE = 0.012, 0.005
"""Mean reflectance of a library that was divided, and of a scan without light; the darkest real soil has 0.044."""
DARKEST_LIBRARY = 1.6
"""Median of the mean absorbance up to which a library has soils; the darkest has 1.2."""
DEEPEST_NOISE = 0.01
"""Depth of a water band, as a fraction of the range of the scan, up to which it has no direction; soils have 0.016."""
WHITE_ABSORBANCE, WHITE_RANGE, WHITE_DEPTH, WHITE_NOISE = 0.05, 0.08, 0.05, 5
"""A scan of a white reference has a smaller mean and range of absorbance, and a water band of less depth, as a fraction
of its range or as a multiple of its noise. The whitest real sample, Lucky Bay sand, has 0.003, 0.029 and a depth of
0.08."""
FLATTEST_RANGE = 0.006
"""Range of absorbance of a reference tile; the flattest soil has 0.0084 (UL.120, 1100..1680 nm), 0.03 over 1000 nm."""
LIKE_OTHERS = 0.5
"""Correlation of a scan's shape with the median shape of the others, in absolute value, from which it is a soil."""
LONGEST_ZEROS = 3
"""Consecutive bands of exactly 0: dead detector elements, or padding."""
STATISTIC_ROWS, STATISTIC_SD, FEWEST_ABOVE = 8, 0.01, 5
"""Rows at the end of a table that may be statistics of the rows above; their largest distance from a statistic in SD
(rounding to three digits); and the fewest rows above. A real scan equals the minimum of others now and then, so one row
must be the mean or the SD."""
NAMED = 5
"""Rows named in a message."""
QUANTITY_CHECK = "quantity and scale"
"""Name of the check that decides the quantity."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a check reads."""

    summary: ScanSummary
    rows: Rows
    """(n,) true for scans without missing values."""
    quantity: Quantity
    name: Callable[[int], str]
    """Name of a row, counted from 0, for messages."""

    def scaled(self, column: str) -> Floats:
        """(n,) or (n, anchors) numbers of the summary in the unit of the quantity."""
        return self.summary[column].astype(np.float64) / self.quantity.scale

    def absorbance(self) -> tuple[Floats, Floats]:
        """(n,) mean and range of absorbance; for reflectance, the mean is that of the mean reflectance."""
        low, high, mean = self.scaled("low"), self.scaled("high"), self.scaled("mean")
        if self.quantity.name == "reflectance":
            low, high, mean = (-np.log10(np.maximum(values, REFLECTANCE_FLOOR)) for values in (high, low, mean))
        return mean, high - low

    def named(self, rows: Rows) -> str:
        """The first rows by name, and the number of the others."""
        first = [self.name(int(row)) for row in np.flatnonzero(rows)]
        more = f" and {len(first) - NAMED} more" if len(first) > NAMED else ""
        return ", ".join(first[:NAMED]) + more

    def similarity(self, others: Rows) -> Floats:
        """(n,) correlation of the shape of each scan, over the anchors, with the median shape of `others`."""
        anchors = self.summary["anchors"].astype(np.float64)
        shapes = anchors - anchors.mean(axis=1, keepdims=True)
        shapes /= np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), 1e-12)
        typical = np.median(shapes[others], axis=0)
        correlation: Floats = shapes @ (typical / max(float(np.linalg.norm(typical)), 1e-12))
        return correlation

    def drop(self, check: str, rows: Rows, reason: Callable[[int], str]) -> list[Finding]:
        """A finding for each of these rows."""
        return [
            Finding(check=check, severity="drop", message=reason(int(row)), rows=(int(row),))
            for row in np.flatnonzero(rows & self.rows)
        ]


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Result of the checks of the scans of a table."""

    quantity: Quantity
    bad: Mapping[int, str]
    """Row, from 0 -> why its scan cannot be a soil."""
    checks: tuple[CheckResult, ...]
    """The checks in the order in which they ran."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the quantity."""
        return self.quantity.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the quantity."""
        return self.quantity.warnings


def assess(
    source: str,
    summary: ScanSummary,
    declared: Declared,
    bad_cells: Mapping[int, str] | None = None,
    name: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Assessment:
    """Determine quantity and scale, and find the scans that cannot be soils.

    Args:
        source: Name of the table, for messages.
        summary: All scans of the table, as written.
        declared: What config, file and model state.
        bad_cells: Row, from 0 -> message on a band cell that is not a number.
        name: Name of a row, from 0, for messages.

    Raises:
        InputError: the numbers cannot be raw scans in one quantity, or the quantity or scale is unknown.
    """
    bad = dict(bad_cells or {})
    rows = np.isfinite(summary["low"])
    if not rows.any():
        raise InputError(next(iter(bad.values()), f"{source}: no rows; expected at least one scan"))
    refuse(source, (*constant_bands(summary, rows), *preprocessed(summary, rows)))
    quantity = determine_quantity(source, summary, rows, declared)
    checks = [
        CheckResult(
            name="band cells that are not numbers",
            findings=tuple(
                Finding(check="cells", severity="drop", message=message, rows=(row,)) for row, message in bad.items()
            ),
        ),
        CheckResult(name="bands with one value in all scans"),
        CheckResult(name="preprocessed spectra"),
        CheckResult(
            name=QUANTITY_CHECK,
            findings=tuple(Finding(check="quantity", severity="warn", message=text) for text in quantity.warnings),
            decision="; ".join(quantity.notes),
        ),
    ]
    for check_name, check in CHECKS.items():
        # Without the rows that earlier checks dropped: an SD row is not a scan in another quantity.
        valid = rows & ~np.isin(np.arange(len(rows)), list(bad))
        if not valid.any():
            break
        found = check(Context(summary=summary, rows=valid, quantity=quantity, name=name))
        refuse(source, found)
        checks.append(CheckResult(name=check_name, findings=tuple(found)))
        for finding in found:
            for row in finding.rows:
                bad.setdefault(row, f"{source}: {name(row)} {finding.message}")
    return Assessment(quantity=quantity, bad=dict(sorted(bad.items())), checks=tuple(checks))


def check_share(source: str, bad: Mapping[int, str], count: int, policy: str) -> None:
    """Refuse a table with too many bad scans.

    Args:
        source: Name of the table, for messages.
        bad: Row -> reason, from `assess`.
        count: Number of rows.
        policy: `data.bad_scans`.

    Raises:
        InputError: `policy` is `refuse` and a scan is bad, or more than MOST_BAD of the rows are.
    """
    if not bad or (policy == "drop" and len(bad) <= MOST_BAD * count):
        return
    first = next(iter(bad.values()))
    if len(bad) == 1:
        raise InputError(f"{first}; remove the scan")
    limit = f"; at most {MOST_BAD:.0%} are dropped by name" if policy == "drop" else ""
    raise InputError(f"{first} ({len(bad)} of {count} scans cannot be soils{limit}); remove these scans")


def _other_scale(context: Context) -> list[Finding]:
    """Refuse a table in which some rows are in percent and others are not."""
    level = np.median(context.summary["anchors"], axis=1)
    if context.quantity.scale == 1:
        other, unit = level > (2.0 if context.quantity.name == "reflectance" else 6.0), "in percent or another scale"
    elif context.quantity.name == "absorbance":
        return []
    else:
        # A scan without light has noise, a soil in another unit the shape of the others.
        small = context.summary["high"] <= 2.0
        if not (context.rows & ~small).any():
            return []
        other = small & (np.abs(context.similarity(context.rows & ~small)) > LIKE_OTHERS)
        unit = "fractions or absorbance"
    other &= context.rows
    if not other.any():
        return []
    return [
        Finding(
            check="other_scale",
            severity="refuse",
            message=f"expected all scans in one unit; {other.sum()} of {len(other)} are {unit}, unlike the others: "
            f"{context.named(other)}; convert or remove them",
        )
    ]


def _other_quantity(context: Context) -> list[Finding]:
    """Refuse a table in which some rows are reflectance and others absorbance.

    At 1914 nm the direction of the water band decides, elsewhere the direction at 1414 nm together with a shape that is
    opposite to the median of the others.
    """
    features = [feature for feature in context.summary.features if feature != RISE]
    if not features or context.rows.sum() < 3:
        return []
    feature = features[0]
    like = context.summary[feature.name] > 0
    most = float(np.mean(like[context.rows])) >= 0.5
    span = context.summary["high"] - context.summary["low"]
    minority = context.rows & (like != most) & (np.abs(context.summary[feature.name]) > DEEPEST_NOISE * span)
    if not minority.any():
        return []
    similarity = context.similarity(context.rows & ~minority)
    other = minority & (similarity < (0.0 if feature == WATER_1914 else -0.5))
    if not other.any():
        return []
    names = ("absorbance", "reflectance") if most else ("reflectance", "absorbance")
    return [
        Finding(
            check="other_quantity",
            severity="refuse",
            message=f"expected all scans in one quantity; {other.sum()} of {int(context.rows.sum())} look like "
            f"{names[0]} at {feature.name}, the others like {names[1]}: {context.named(other)}; convert or remove them",
        )
    ]


def _too_dark(context: Context) -> list[Finding]:
    """Refuse reflectance that was divided by a factor."""
    level = float(np.median(context.scaled("mean")[context.rows]))
    if context.quantity.name != "reflectance" or level >= DARKEST_REFLECTANCE:
        return []
    return [
        Finding(
            check="too_dark",
            severity="refuse",
            message=f"expected reflectance of soil, 0.04 or more on average; the median scan has {level:.2g}; multiply "
            "the numbers, or declare their divisor with --set data.scale=...",
        )
    ]


def _zeros(context: Context) -> list[Finding]:
    zeros = context.summary["zeros"]
    return context.drop(
        "zeros", zeros >= LONGEST_ZEROS, lambda row: f"is exactly 0 in {zeros[row]:.0f} consecutive bands"
    )


def _impossible(context: Context) -> list[Finding]:
    """Scans out of range, or constant."""
    name = context.quantity.name
    low, high = context.scaled("low"), context.scaled("high")
    bad = impossible_scans(low.astype(np.float32), high.astype(np.float32), name)

    def reason(row: int) -> str:
        for end in (low[row], high[row]):
            if not RANGES[name][0] <= end <= RANGES[name][1]:
                return f"is {end:g} at a band, outside {RANGES[name][0]:g}..{RANGES[name][1]:g} for {name}"
        return f"is constant ({low[row]:g} at all bands)"

    return context.drop("impossible", bad, reason)


def _references(context: Context) -> list[Finding]:
    """Scans of a white reference or of a reference tile."""
    mean, range_ = context.absorbance()
    low, high = context.scaled("low"), context.scaled("high")
    depth = np.full(len(mean), np.inf)
    if WATER_1914 in context.summary.features:
        depth = np.abs(context.scaled(WATER_1914.name))
    shallow = depth < np.maximum(WHITE_DEPTH * (high - low), WHITE_NOISE * context.scaled("noise"))
    white = (mean < WHITE_ABSORBANCE) & (range_ < WHITE_RANGE) & shallow

    def reason(row: int) -> str:
        if low[row] == high[row]:
            return f"is constant ({low[row]:g} at all bands)"
        return f"is flat (absorbance within {range_[row]:.2g}, mean {mean[row]:.2g}), like a scan of a reference tile"

    return context.drop("reference", white | (range_ < FLATTEST_RANGE), reason)


def _dark_noise(context: Context) -> list[Finding]:
    """Dark scans that are not soils in another unit: those have the shape of the others, or its opposite."""
    return [
        finding for finding in _dark(context) if abs(context.similarity(context.rows)[finding.rows[0]]) < LIKE_OTHERS
    ]


def _dark(context: Context) -> list[Finding]:
    """Scans with a closed shutter or without a lamp."""
    mean, _ = context.absorbance()
    # A library of dark scans may be another material; beside soils, such a scan is dark.
    typical = float(np.median(mean[context.rows]))
    limit = DARK_REFLECTANCE if typical > DARKEST_LIBRARY or context.rows.sum() < FEWEST_ABOVE else DARKEST_REFLECTANCE
    return context.drop(
        "dark",
        mean > -np.log10(limit),
        lambda row: f"is dark (mean absorbance {mean[row]:.2g}), like a scan without light",
    )


def _statistic_rows(context: Context) -> list[Finding]:
    """Rows at the end of a table that repeat the mean, SD or another statistic of the rows above them."""
    anchors = context.summary["anchors"].astype(np.float64)
    count = len(anchors)
    for first in range(max(FEWEST_ABOVE, count - STATISTIC_ROWS), count):
        above = anchors[:first][context.rows[:first]]
        if len(above) < FEWEST_ABOVE:
            continue
        sd = above.std(axis=0)
        statistics = {"mean": above.mean(axis=0), "SD": above.std(axis=0, ddof=1), "median": np.median(above, axis=0)}
        statistics |= {"minimum": above.min(axis=0), "maximum": above.max(axis=0)}
        matches = {
            row: name
            for row in range(first, count)
            for name, values in statistics.items()
            if context.rows[row] and np.all(np.abs(anchors[row] - values) <= STATISTIC_SD * sd)
        }
        if first in matches and {"mean", "SD"} & set(matches.values()):
            return [
                Finding(
                    check="statistic_row", severity="drop", rows=(row,), message=f"is the {name} of the rows above it"
                )
                for row, name in matches.items()
            ]
    return []


CHECKS: dict[str, Callable[[Context], list[Finding]]] = {
    "rows of means, SDs or other statistics": _statistic_rows,
    "runs of exact zeros": _zeros,
    "scans of references": _references,
    "dark scans unlike the others": _dark_noise,
    "rows in another scale": _other_scale,
    "rows in another quantity": _other_quantity,
    "reflectance too dark for soil": _too_dark,
    "impossible or constant scans": _impossible,
    "dark scans": _dark,
}
"""What a check searches for -> check, in this order. The first refusal is raised, and the first reason to drop a row is
reported."""
