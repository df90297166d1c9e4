"""Reflectance or absorbance, fraction or percent: declared, or inferred by rules."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import ABSORBANCE_RANGE

Spectra = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Wavelengths = npt.NDArray[np.float64]

_CLEAR_FRACTION = 0.7
"""Fraction of the scans that must agree before a rule decides."""
_WIDEST_GAP_NM = 15.0
"""Maximum distance in nm between a point of a rule and the band used for it."""
_PERCENT = (2.0, 100.0)
"""Reflectance is in percent if at least half of the values exceed the first number, which exceeds all fractions and
most absorbances, and at most half exceed the second. A scan in percent that never exceeds the first is not a soil."""


def _dips(values: Values, at_nm: Wavelengths) -> npt.NDArray[np.bool_]:
    """(n,) true where a scan is lower in the centre than the line between the shoulders; `values` is (n, 3)."""
    weight = float((at_nm[1] - at_nm[0]) / (at_nm[2] - at_nm[0]))
    lower: npt.NDArray[np.bool_] = values[:, 1] < (1 - weight) * values[:, 0] + weight * values[:, 2]
    return lower


def _rises(values: Values, _: Wavelengths) -> npt.NDArray[np.bool_]:
    """(n,) true where a scan is higher at the second of two points; `values` is (n, 2)."""
    higher: npt.NDArray[np.bool_] = values[:, 1] > values[:, 0]
    return higher


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A spectral feature that is opposite in reflectance and absorbance."""

    points_nm: tuple[float, ...]
    like_reflectance: Callable[[Values, Wavelengths], npt.NDArray[np.bool_]]
    verbs: tuple[str, str]
    """Verbs for notes: behaviour of reflectance, behaviour of absorbance."""
    feature: str

    def bands(self, wavelengths_nm: Wavelengths) -> list[int]:
        """The band nearest to each point; empty if a point is not covered."""
        bands = [int(np.argmin(np.abs(wavelengths_nm - nm))) for nm in self.points_nm]
        covered = np.abs(wavelengths_nm[bands] - self.points_nm) <= _WIDEST_GAP_NM
        return bands if covered.all() else []

    def decide(self, fraction: float) -> tuple[str, str] | None:
        """Quantity and reason, if `fraction` of the scans are like reflectance; None if the scans disagree."""
        if 1 - _CLEAR_FRACTION < fraction < _CLEAR_FRACTION:
            return None
        like = fraction >= _CLEAR_FRACTION
        verb, fraction = (self.verbs[0], fraction) if like else (self.verbs[1], 1 - fraction)
        return "reflectance" if like else "absorbance", f"because {fraction:.0%} of the scans {verb} {self.feature}"


_RULES = (
    # Left shoulder, centre, right shoulder: combination band of water, first overtone of OH.
    _Rule(
        points_nm=(1860.0, 1914.0, 2010.0),
        like_reflectance=_dips,
        verbs=("dip", "peak"),
        feature="at the water band near 1914 nm",
    ),
    _Rule(
        points_nm=(1340.0, 1414.0, 1520.0),
        like_reflectance=_dips,
        verbs=("dip", "peak"),
        feature="at the water band near 1414 nm",
    ),
    # Iron oxides and organic matter absorb most in the blue: soil reflectance rises towards the red.
    _Rule(points_nm=(450.0, 800.0), like_reflectance=_rises, verbs=("rise", "fall"), feature="from 450 to 800 nm"),
)
"""The first rule that decides is used."""


class QuantityCounts:
    """Counts that the rules need, added block by block; the result does not depend on the size of the blocks.

    Args:
        wavelengths_nm: (bands,), ascending.
    """

    def __init__(self, wavelengths_nm: Wavelengths) -> None:
        self.wavelengths_nm = wavelengths_nm
        self.scans = self.values = 0
        self.largest = -np.inf
        self.above = dict.fromkeys((*_PERCENT, ABSORBANCE_RANGE[1]), 0)
        """Limit -> number of values above it."""
        self.rules = [(rule, bands) for rule in _RULES if (bands := rule.bands(wavelengths_nm))]
        self.like_reflectance = [0] * len(self.rules)
        """Number of scans like reflectance, for each rule."""
        self.small = 0
        """Number of scans that never exceed the first number of _PERCENT."""
        self.first_small: tuple[int, float] | None = None
        """Row of the first such scan, from 1, and its largest value."""

    def add(self, spectra: Spectra) -> None:
        """Count the next scans, (n, bands), finite."""
        for limit in self.above:
            self.above[limit] += int(np.count_nonzero(spectra > limit))
        for index, (rule, bands) in enumerate(self.rules):
            like = rule.like_reflectance(spectra[:, bands].astype(float), self.wavelengths_nm[bands])
            self.like_reflectance[index] += int(np.count_nonzero(like))
        largest = spectra.max(axis=1)
        small = np.flatnonzero(largest <= _PERCENT[0])
        if small.size and self.first_small is None:
            self.first_small = self.scans + int(small[0]) + 1, float(largest[small[0]])
        self.small += len(small)
        self.largest = max(self.largest, float(largest.max()))
        self.scans += len(spectra)
        self.values += spectra.size

    def inferred(self) -> tuple[str, str] | None:
        """Quantity and reason by the rules; None if no rule decides."""
        limit = ABSORBANCE_RANGE[1]
        if 2 * self.above[limit] >= self.values:
            return "reflectance", f"because at least half of the values exceed {limit:g}, too large for absorbance"
        decided = (
            rule.decide(count / self.scans) for (rule, _), count in zip(self.rules, self.like_reflectance, strict=True)
        )
        return next((decision for decision in decided if decision), None)

    def is_percent(self) -> bool:
        """Whether the values, if they are reflectance, are in percent."""
        low, high = _PERCENT
        return 2 * self.above[high] <= self.values <= 2 * self.above[low]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Quantity and scale of the numbers of a table."""

    name: str
    """`reflectance` or `absorbance`."""
    percent: bool
    """Whether the numbers are reflectance in percent."""
    notes: tuple[str, ...]
    """The decision and its reason."""

    def scale(self, values: Spectra) -> None:
        """Convert percent to 0..1, in place."""
        if self.percent:
            values /= np.float32(100)


def determine_quantity(
    source: str, counts: QuantityCounts, configured: str, declared: str, fallback: str = "auto"
) -> Quantity:
    """Determine the quantity and scale of a table.

    Args:
        source: Name of the table, for messages.
        counts: Counts of all scans of the table.
        configured: `data.quantity`; `auto` uses the column names, then the rules.
        declared: Quantity in the column names; empty if they contain none.
        fallback: Quantity if no rule decides; `auto` raises instead.

    Raises:
        InputError: nothing is declared and no rule decides, or only a part of the scans is in percent.
    """
    inferred = counts.inferred()
    if configured != "auto":
        name, reason = configured, "as data.quantity declares"
    elif declared:
        name, reason = declared, "as the names of the band columns declare"
    elif inferred is not None:
        name, reason = inferred
    elif fallback != "auto":
        name, reason = fallback, "like the training spectra, because no rule decides"
    else:
        raise InputError(
            f"{source}: cannot infer reflectance or absorbance from "
            f"{counts.wavelengths_nm[0]:g}..{counts.wavelengths_nm[-1]:g} nm; "
            "add --set data.quantity=reflectance or --set data.quantity=absorbance"
        )
    if inferred is not None and inferred[0] != name:
        reason += f", but they look like {inferred[0]}, {inferred[1]}"
    notes = [f"the spectra are {name}, {reason}"]
    percent = name == "reflectance" and counts.is_percent()
    if percent:
        if counts.first_small:
            row, largest = counts.first_small
            raise InputError(
                f"{source}: the scans are reflectance in percent (up to {counts.largest:.3g}), but {counts.small} of "
                f"{counts.scans} are not: row {row} never exceeds {largest:.3g}; convert all scans to the same unit, "
                "or remove these"
            )
        notes.append(f"reflectance in percent (up to {counts.largest:.3g}) was divided by 100")
    return Quantity(name=name, percent=percent, notes=tuple(notes))
