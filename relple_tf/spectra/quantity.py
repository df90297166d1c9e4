"""Reflectance or absorbance, fraction or percent: declared, or told apart by rule."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import ABSORBANCE_RANGE

Spectra = npt.NDArray[np.float32]
Wavelengths = npt.NDArray[np.float64]

_WATER_BANDS_NM = ((1860.0, 1914.0, 2010.0), (1340.0, 1414.0, 1520.0))
"""Left shoulder, centre, right shoulder: combination band of water, first overtone of OH."""
_VISIBLE_NM = (450.0, 800.0)
"""Iron oxides and organic matter absorb blue most: soil reflectance rises towards red."""
_CLEAR_SHARE = 0.7
"""Share of the scans that must agree before a rule decides."""
_WIDEST_GAP_NM = 15.0
"""A band this far from a point of a rule does not stand for it."""
_PERCENT_MEDIAN = (2.0, 100.0)
"""Above all fractions, and most absorbances; a scan that stays below it is no soil in percent."""


def settle_quantity(
    source: str,
    spectra: Spectra,
    wavelengths_nm: Wavelengths,
    asked: str,
    declared: str,
    fallback: str = "auto",
) -> tuple[Spectra, str, list[str]]:
    """Decide what the numbers are, and turn percent into 0..1.

    Args:
        source: Name of the table, for messages.
        spectra: (n, bands), finite.
        wavelengths_nm: (bands,), ascending.
        asked: `data.quantity`; `auto` leaves it to the column names, then to the rules.
        declared: What the column names say; empty where they say nothing.
        fallback: What to take where no rule decides; `auto` takes nothing.

    Returns:
        Spectra with reflectance as 0..1, the quantity, and notes that say what was decided and why.

    Raises:
        InputError: nothing is declared and no rule decides, or some scans are in percent and others not.
    """
    looks = _looks(spectra, wavelengths_nm)
    if asked != "auto":
        quantity, why = asked, "as data.quantity says"
    elif declared:
        quantity, why = declared, "as the band columns say"
    elif looks is not None:
        quantity, why = looks
    elif fallback != "auto":
        quantity, why = fallback, "as those that the model was trained on, for no rule tells"
    else:
        raise InputError(
            f"{source}: reflectance and absorbance cannot be told apart from "
            f"{wavelengths_nm[0]:g}..{wavelengths_nm[-1]:g} nm; "
            "add --set data.quantity=reflectance or --set data.quantity=absorbance"
        )
    if looks is not None and looks[0] != quantity:
        why += f", though they look like {looks[0]}, {looks[1]}"
    notes = [f"the spectra are {quantity}, {why}"]
    median = float(np.median(spectra))
    if quantity == "reflectance" and _PERCENT_MEDIAN[0] < median <= _PERCENT_MEDIAN[1]:
        small = np.flatnonzero(spectra.max(axis=1) <= _PERCENT_MEDIAN[0])
        if len(small):
            raise InputError(
                f"{source}: the scans are reflectance in percent (median {median:.3g}), but {len(small)} of "
                f"{len(spectra)} are not: row {small[0] + 1} nowhere exceeds {spectra[small[0]].max():.3g}; give all "
                "in one unit, or leave those out"
            )
        spectra = spectra / np.float32(100)
        notes.append(f"reflectance in percent (median {median:.3g}) was divided by 100")
    return spectra, quantity, notes


def _looks(spectra: Spectra, wavelengths_nm: Wavelengths) -> tuple[str, str] | None:
    """The quantity by the rules, and why; None where no rule decides."""
    median = float(np.median(spectra))
    if median > ABSORBANCE_RANGE[1]:
        return "reflectance", f"because their median {median:.3g} is too large for absorbance"
    for points in _WATER_BANDS_NM:
        if at := _nearest(wavelengths_nm, points):
            values = spectra[:, at].astype(float)
            share = float(np.mean(values[:, 1] < _line(values, wavelengths_nm[at])))
            if quantity := _clear(share):
                return quantity, _because(share, "dip", "peak", f"at the water band near {points[1]:g} nm")
    if at := _nearest(wavelengths_nm, _VISIBLE_NM):
        share = float(np.mean(spectra[:, at[1]] > spectra[:, at[0]]))
        if quantity := _clear(share):
            place = f"from {_VISIBLE_NM[0]:g} to {_VISIBLE_NM[1]:g} nm"
            return quantity, _because(share, "rise", "fall", place)
    return None


def _because(share: float, reflectance: str, absorbance: str, place: str) -> str:
    """What the scans do at `place`, in words; `share` of them do as reflectance does."""
    verb, share = (reflectance, share) if share > 0.5 else (absorbance, 1 - share)
    return f"because {share:.0%} of the scans {verb} {place}"


def _clear(share: float) -> str:
    """The quantity when `share` of the scans looks like reflectance; empty when they disagree."""
    if share >= _CLEAR_SHARE:
        return "reflectance"
    return "absorbance" if share <= 1 - _CLEAR_SHARE else ""


def _line(values: npt.NDArray[np.float64], at_nm: Wavelengths) -> npt.NDArray[np.float64]:
    """(n,) height at the centre of the line between the shoulders; `values` is (n, 3)."""
    weight = float((at_nm[1] - at_nm[0]) / (at_nm[2] - at_nm[0]))
    height: npt.NDArray[np.float64] = (1 - weight) * values[:, 0] + weight * values[:, 2]
    return height


def _nearest(wavelengths_nm: Wavelengths, points_nm: Sequence[float]) -> list[int]:
    """The band nearest to each point; empty where one is not covered."""
    at = [int(np.argmin(np.abs(wavelengths_nm - nm))) for nm in points_nm]
    covered = np.abs(wavelengths_nm[at] - points_nm) <= _WIDEST_GAP_NM
    return at if covered.all() else []
