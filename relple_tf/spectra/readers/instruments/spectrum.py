"""Checks and words that all readers of instrument files share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import MINIMUM_BANDS, RANGE_NM
from relple_tf.spectra.readers.table_file import ScanTable, shortened

NEAR_INFRARED_END_NM = 2500.0
"""Longest near-infrared wavelength (4000 cm-1): a mid-infrared instrument usually starts here."""
_LARGEST_FRACTION = 2.0
"""Reflectance whose median exceeds this number is not a fraction of 1."""

_QUANTITIES = {
    **dict.fromkeys(("absorbance", "abs", "log(1/r)", "log1/r", "log10(1/r)", "-log(r)"), ("absorbance", 1.0)),
    **dict.fromkeys(("reflectance", "diffusereflectance", "reflect.[1.0]", "tgt./ref.[1.0]"), ("reflectance", 1.0)),
    **dict.fromkeys(
        ("%reflectance", "reflectance(%)", "reflectance%", "percentreflectance", "%r", "reflect.%", "tgt./ref.%"),
        ("reflectance", 0.01),
    ),
}
"""Label in lower case without spaces -> quantity, and the factor that converts its values."""

Floats = npt.NDArray[np.floating]


def stated_quantity(path: Path, form: str, label: str) -> tuple[str, float]:
    """The quantity that a label of a file states, and the factor that converts its values to 0..1 or absorbance.

    Raises:
        InputError: the label is neither absorbance nor reflectance.
    """
    known = _QUANTITIES.get("".join(label.lower().split()))
    if known is None:
        raise not_a_quantity(path, form, label)
    return known


def not_a_quantity(path: Path, form: str, received: str) -> InputError:
    """The error for a file that contains neither absorbance nor reflectance."""
    return InputError(
        f"{path}: expected absorbance or reflectance, got {shortened(received) or 'no name of the quantity'} ({form}); "
        "convert the spectrum to absorbance or reflectance in the software of the instrument, or export it as CSV and "
        "declare data.quantity"
    )


def damaged(path: Path, form: str, reason: str) -> InputError:
    """The error for a file that cannot be read to its end."""
    return InputError(f"{path}: damaged or incomplete {form} file ({shortened(reason)}); copy or export it again")


def scan_table(
    path: Path,
    form: str,
    axis: Floats,
    axis_unit: str,
    spectra: Floats,
    quantity: str,
    samples: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ScanTable:
    """Check the scans of an instrument file.

    Args:
        path: File, for messages; its stem is the sample name if the file states none.
        form: Name of the format.
        axis: (bands,) in the unit of `axis_unit`.
        axis_unit: `nm` or `cm-1`.
        spectra: (n, bands).
        quantity: `reflectance` (0..1) or `absorbance`; empty if the file states neither.
        samples: n sample names that the file states; '' where it states none.
        notes: Conversions, one sentence each.

    Raises:
        InputError: the axis does not rise or fall steadily, the spectra are not near-infrared, or a value is not a
            finite number.
    """
    notes = [f"file format: {form}", *notes]
    points: npt.NDArray[np.float64] = np.asarray(axis, dtype=np.float64)
    spectra = np.atleast_2d(spectra)
    if not points.size or spectra.shape[1:] != points.shape or not np.isfinite(points).all():
        raise damaged(path, form, f"{points.size} axis values for {spectra.shape[-1]} values")
    # Fourier transform instruments may store the point at 0 cm-1, which has no wavelength.
    points, spectra = points[points > 0], spectra[:, points > 0]
    steps = np.diff(points)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise damaged(path, form, f"its {'wavenumbers' if axis_unit == 'cm-1' else 'wavelengths'} rise and fall")
    nm = 1e7 / points if axis_unit == "cm-1" else points
    if (inside := int(((nm >= RANGE_NM[0]) & (nm <= NEAR_INFRARED_END_NM)).sum())) < MINIMUM_BANDS:
        raise _not_near_infrared(path, form, nm, inside)
    near = (nm >= RANGE_NM[0]) & (nm <= RANGE_NM[1])
    with np.errstate(over="ignore"):
        values = spectra.astype(np.float32)
    if (bad := np.argwhere(~np.isfinite(values[:, near]))).size:
        band = nm[near][bad[0, 1]]
        raise InputError(
            f"{path}: the value at {band:.6g} nm of scan {bad[0, 0] + 1} is not a finite number ({form}); measure or "
            "export the scan again"
        )
    if quantity == "reflectance" and (median := float(np.median(values[:, near]))) > _LARGEST_FRACTION:
        quantity = ""
        notes.append(f"the file states reflectance, but its median is {median:.3g}, no fraction of 1: read as written")
    names = [name.strip() for name in samples] or [""]
    texts = {"sample": [name or path.stem for name in names]}
    if any(name not in ("", path.stem) for name in names):
        texts["file"] = [path.name] * len(names)
    return ScanTable(
        texts=texts, axis=points, axis_unit=axis_unit, spectra=values, quantity=quantity, notes=tuple(notes)
    )


def _not_near_infrared(path: Path, form: str, nm: Floats, inside: int) -> InputError:
    shortest, longest = (float(end) for end in (nm.min(), nm.max())) if nm.size else (np.nan, np.nan)
    kind = "a mid-infrared spectrum" if shortest > 2000 else "no near-infrared spectrum"
    return InputError(
        f"{path}: {kind} ({form}): expected at least {MINIMUM_BANDS} bands within {RANGE_NM[0]:g}.."
        f"{NEAR_INFRARED_END_NM:g} nm, got {inside}; the file covers {shortest:.6g}..{longest:.6g} nm "
        f"({1e7 / longest:.6g}..{1e7 / shortest:.6g} cm-1); give near-infrared scans"
    )
