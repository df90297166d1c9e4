"""Ends of a range of wavelengths: bands that end a little before it are read, and the value at their end is held.

`export/runtime/soil_scan.py` applies the same rule on a device.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAME_NM = 1e-3
"""Wavelengths that differ by no more are equal; names of bands are often rounded to this precision."""


def end_tolerance_nm(grid_nm: Floats, other_nm: Floats) -> tuple[float, float]:
    """Compute by how much bands may end before a range: the larger spacing of two grids at each end.

    Over so short a distance the spectrum of a soil hardly changes, and devices of one kind differ by so much in their
    calibration.

    Args:
        grid_nm: (n,) ascending wavelengths, such as those that a model reads from a scan.
        other_nm: (m,) ascending wavelengths of the second grid, such as that of the front end.

    Returns:
        Tolerance at the low and at the high end, in nm.
    """
    (low, high), (other_low, other_high) = _end_spacings_nm(grid_nm), _end_spacings_nm(other_nm)
    return max(low, other_low), max(high, other_high)


def missed_ends(bands_nm: Floats, range_nm: Floats, tolerance_nm: tuple[float, float]) -> str:
    """Describe the ends of a range that bands miss by more than the tolerance; empty if there are none.

    Args:
        bands_nm: (n,) ascending wavelengths of the bands.
        range_nm: (m,) ascending wavelengths to cover.
        tolerance_nm: Tolerance at the low and at the high end.
    """
    ends = zip(_missing_nm(bands_nm, range_nm), range_nm[[0, -1]], tolerance_nm, strict=True)
    return " and ".join(
        f"{nm_text(end)} nm by {nm_text(missing)} nm, more than {nm_text(tolerance)} nm"
        for missing, end, tolerance in ends
        if missing > tolerance + SAME_NM
    )


def held_ends(bands_nm: Floats, range_nm: Floats, owner: str) -> list[str]:
    """Notes on the ends of a range that the bands miss, where the first or last value is held.

    Args:
        bands_nm: (n,) ascending wavelengths of the bands.
        range_nm: (m,) ascending wavelengths to cover.
        owner: What has the range, such as `the model`.
    """
    low_nm, high_nm = _missing_nm(bands_nm, range_nm)
    notes = []
    # A difference below 1e-6 nm is rounding of float64.
    if low_nm > 1e-6:
        notes.append(
            f"the bands start {low_nm:.3g} nm above {nm_text(range_nm[0])} nm, the first wavelength of {owner}: their "
            "first value is held"
        )
    if high_nm > 1e-6:
        notes.append(
            f"the bands stop {high_nm:.3g} nm below {nm_text(range_nm[-1])} nm, the last wavelength of {owner}: their "
            "last value is held"
        )
    return notes


def nm_text(wavelength_nm: float) -> str:
    """A wavelength with up to 4 decimals, so that values that differ by more than SAME_NM never look equal."""
    return f"{wavelength_nm:.4f}".rstrip("0").rstrip(".")


def _missing_nm(bands_nm: Floats, range_nm: Floats) -> tuple[float, float]:
    """How far bands end inside a range at its low and high end; negative where they reach beyond it."""
    return float(bands_nm[0] - range_nm[0]), float(range_nm[-1] - bands_nm[-1])


def _end_spacings_nm(grid_nm: Floats) -> tuple[float, float]:
    """Spacing of a grid at its low and high end."""
    steps = np.diff(grid_nm).tolist()
    if len(steps) < 2:
        return sum(steps), sum(steps)
    # Twice the next spacing at most: a band far from all others must not permit an end far from the range.
    return min(steps[0], 2 * steps[1]), min(steps[-1], 2 * steps[-2])
