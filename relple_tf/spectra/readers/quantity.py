"""Reflectance or absorbance, fraction or percent: declared, or told apart by rule."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import ABSORBANCE_RANGE

Spectra = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Wavelengths = npt.NDArray[np.float64]

_CLEAR_SHARE = 0.7
"""Share of the scans that must agree before a rule decides."""
_WIDEST_GAP_NM = 15.0
"""A band this far from a point of a rule does not stand for it."""
_PERCENT = (2.0, 100.0)
"""Half of the values at least lie above the first, which is above all fractions and most absorbances, and half at most
above the second; a scan that stays below the first is no soil in percent."""


def _dips(values: Values, at_nm: Wavelengths) -> npt.NDArray[np.bool_]:
    """Which scans are lower in the centre than the line between the shoulders; `values` is (n, 3)."""
    weight = float((at_nm[1] - at_nm[0]) / (at_nm[2] - at_nm[0]))
    lower: npt.NDArray[np.bool_] = values[:, 1] < (1 - weight) * values[:, 0] + weight * values[:, 2]
    return lower


def _rises(values: Values, _: Wavelengths) -> npt.NDArray[np.bool_]:
    """Which scans are higher at the second of two points; `values` is (n, 2)."""
    higher: npt.NDArray[np.bool_] = values[:, 1] > values[:, 0]
    return higher


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What reflectance does at a place, and absorbance does not."""

    points_nm: tuple[float, ...]
    like_reflectance: Callable[[Values, Wavelengths], npt.NDArray[np.bool_]]
    verbs: tuple[str, str]
    """What scans of reflectance do, and scans of absorbance."""
    place: str

    def bands(self, wavelengths_nm: Wavelengths) -> list[int]:
        """The band nearest to each point; empty where one is not covered."""
        at = [int(np.argmin(np.abs(wavelengths_nm - nm))) for nm in self.points_nm]
        covered = np.abs(wavelengths_nm[at] - self.points_nm) <= _WIDEST_GAP_NM
        return at if covered.all() else []

    def decide(self, share: float) -> tuple[str, str] | None:
        """The quantity where `share` of the scans are like reflectance, and why; None where they disagree."""
        if 1 - _CLEAR_SHARE < share < _CLEAR_SHARE:
            return None
        like = share >= _CLEAR_SHARE
        verb, share = (self.verbs[0], share) if like else (self.verbs[1], 1 - share)
        return "reflectance" if like else "absorbance", f"because {share:.0%} of the scans {verb} {self.place}"


_RULES = (
    # Left shoulder, centre, right shoulder: combination band of water, first overtone of OH.
    _Rule(
        points_nm=(1860.0, 1914.0, 2010.0),
        like_reflectance=_dips,
        verbs=("dip", "peak"),
        place="at the water band near 1914 nm",
    ),
    _Rule(
        points_nm=(1340.0, 1414.0, 1520.0),
        like_reflectance=_dips,
        verbs=("dip", "peak"),
        place="at the water band near 1414 nm",
    ),
    # Iron oxides and organic matter absorb blue most: soil reflectance rises towards red.
    _Rule(points_nm=(450.0, 800.0), like_reflectance=_rises, verbs=("rise", "fall"), place="from 450 to 800 nm"),
)
"""In the order in which they are asked."""


class QuantityCounts:
    """What the rules need of the scans of a table, counted block by block: how they are divided does not matter.

    Args:
        wavelengths_nm: (bands,), ascending.
    """

    def __init__(self, wavelengths_nm: Wavelengths) -> None:
        self.wavelengths_nm = wavelengths_nm
        self.scans = self.values = 0
        self.largest = -np.inf
        self.above = dict.fromkeys((*_PERCENT, ABSORBANCE_RANGE[1]), 0)
        """Number -> values above it."""
        self.rules = [(rule, at) for rule in _RULES if (at := rule.bands(wavelengths_nm))]
        self.like_reflectance = [0] * len(self.rules)
        """Scans that are, by each rule."""
        self.small = 0
        """Scans that stay below _PERCENT."""
        self.first_small: tuple[int, float] | None = None
        """Row of the first of them, from 1, and its largest value."""

    def add(self, spectra: Spectra) -> None:
        """Count the next scans, (n, bands), finite."""
        for number in self.above:
            self.above[number] += int(np.count_nonzero(spectra > number))
        for index, (rule, at) in enumerate(self.rules):
            like = rule.like_reflectance(spectra[:, at].astype(float), self.wavelengths_nm[at])
            self.like_reflectance[index] += int(np.count_nonzero(like))
        largest = spectra.max(axis=1)
        small = np.flatnonzero(largest <= _PERCENT[0])
        if small.size and self.first_small is None:
            self.first_small = self.scans + int(small[0]) + 1, float(largest[small[0]])
        self.small += len(small)
        self.largest = max(self.largest, float(largest.max()))
        self.scans += len(spectra)
        self.values += spectra.size

    def looks(self) -> tuple[str, str] | None:
        """The quantity by the rules, and why; None where no rule decides."""
        limit = ABSORBANCE_RANGE[1]
        if 2 * self.above[limit] >= self.values:
            return "reflectance", f"because half of the values are above {limit:g}, too large for absorbance"
        decided = (
            rule.decide(count / self.scans) for (rule, _), count in zip(self.rules, self.like_reflectance, strict=True)
        )
        return next((decision for decision in decided if decision), None)

    def is_percent(self) -> bool:
        """Whether the values, if reflectance, are percent."""
        low, high = _PERCENT
        return 2 * self.above[high] <= self.values <= 2 * self.above[low]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What the numbers of a table are."""

    name: str
    """`reflectance` or `absorbance`."""
    percent: bool
    """Whether they are reflectance in percent."""
    notes: tuple[str, ...]
    """What was decided, and why."""

    def scale(self, values: Spectra) -> None:
        """Turn percent into 0..1, in place."""
        if self.percent:
            values /= np.float32(100)


def settle_quantity(source: str, counts: QuantityCounts, asked: str, declared: str, fallback: str = "auto") -> Quantity:
    """Decide what the numbers of a table are.

    Args:
        source: Name of the table, for messages.
        counts: Of all its scans.
        asked: `data.quantity`; `auto` leaves it to the column names, then to the rules.
        declared: What the column names say; empty where they say nothing.
        fallback: What to take where no rule decides; `auto` takes nothing.

    Raises:
        InputError: nothing is declared and no rule decides, or some scans are in percent and others not.
    """
    looks = counts.looks()
    if asked != "auto":
        name, why = asked, "as data.quantity says"
    elif declared:
        name, why = declared, "as the band columns say"
    elif looks is not None:
        name, why = looks
    elif fallback != "auto":
        name, why = fallback, "as those that the model was trained on, for no rule tells"
    else:
        raise InputError(
            f"{source}: reflectance and absorbance cannot be told apart from "
            f"{counts.wavelengths_nm[0]:g}..{counts.wavelengths_nm[-1]:g} nm; "
            "add --set data.quantity=reflectance or --set data.quantity=absorbance"
        )
    if looks is not None and looks[0] != name:
        why += f", though they look like {looks[0]}, {looks[1]}"
    notes = [f"the spectra are {name}, {why}"]
    percent = name == "reflectance" and counts.is_percent()
    if percent:
        if counts.first_small:
            row, largest = counts.first_small
            raise InputError(
                f"{source}: the scans are reflectance in percent (up to {counts.largest:.3g}), but {counts.small} of "
                f"{counts.scans} are not: row {row} nowhere exceeds {largest:.3g}; give all in one unit, or leave "
                "those out"
            )
        notes.append(f"reflectance in percent (up to {counts.largest:.3g}) was divided by 100")
    return Quantity(name=name, percent=percent, notes=tuple(notes))
