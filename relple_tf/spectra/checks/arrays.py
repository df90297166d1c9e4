"""Checks of a library that was made of arrays, whose quantity and scale the caller states."""

from relple_tf.errors import InputError
from relple_tf.spectra.checks.finding import refuse, warnings
from relple_tf.spectra.checks.laboratory import check_laboratory
from relple_tf.spectra.checks.quantity import Declared, share_like_reflectance
from relple_tf.spectra.checks.scans import NAMED, assess
from relple_tf.spectra.checks.summary import WATER_1914, ScanSummary
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.cells import BLOCK_ROWS

OPPOSITE = 0.9
"""Fraction of scans that contradict the stated quantity at 1914 nm from which it is wrong; real sets have 0 or 1."""
FEWEST_SCANS = 5
"""Fewest scans from which a stated quantity is called wrong."""


def check_arrays(library: SpectralLibrary) -> tuple[str, ...]:
    """Check the spectra and laboratory values of a library without dropping rows.

    Returns:
        Warnings: on the quantity, on scans that look like references or have dead bands, by row, and on laboratory
        values.

    Raises:
        InputError: the spectra are preprocessed, in another scale or in another quantity, or laboratory values cannot
            be right.
    """
    if library.quantity == "features":
        return ()
    summary = ScanSummary(library.wavelengths_nm)
    for start in range(0, len(library), BLOCK_ROWS):
        summary.add(library.spectra[start : start + BLOCK_ROWS])
    assessment = assess(library.source, summary, Declared(quantity=library.quantity, scale=1.0))
    if WATER_1914 in summary.features and len(library) >= FEWEST_SCANS:
        like = share_like_reflectance(summary, summary["low"] == summary["low"], WATER_1914)
        contrary = 1 - like if library.quantity == "reflectance" else like
        if contrary >= OPPOSITE:
            other = "absorbance" if library.quantity == "reflectance" else "reflectance"
            raise InputError(
                f"{library.source}: expected {library.quantity}; {contrary:.0%} of the scans look like {other} at "
                f"{WATER_1914.name}; state quantity={other!r}"
            )
    findings = check_laboratory(library)
    refuse(library.source, findings)
    bad = list(assessment.bad.values())
    more = (f"{len(bad) - NAMED} more scans cannot be soils",) if len(bad) > NAMED else ()
    return (*assessment.warnings, *bad[:NAMED], *more, *warnings(findings))
