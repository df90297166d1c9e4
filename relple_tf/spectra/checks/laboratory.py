"""Checks of laboratory values before training: refuse what cannot be right, warn of what is doubtful.

Each check is a function of `LaboratoryValues` that returns findings. The thresholds are constants, justified by real
sets: OSSL is the 2,106 soils with laboratory values of the Open Soil Spectral Library (doi 10.5281/zenodo.7586622);
the others are NIRsoil, LimeSoDa, datsoilspc, Tavares et al. (2022) and soils of Uganda.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks import laboratory_relations, laboratory_single, laboratory_units
from relple_tf.spectra.checks.finding import CheckResult, Finding
from relple_tf.spectra.checks.laboratory_values import LaboratoryValues
from relple_tf.spectra.library import SpectralLibrary

CHECKS: dict[str, Callable[[LaboratoryValues], Iterable[Finding]]] = {
    "codes for missing values, negative values": laboratory_single.codes,
    "impossible or doubtful pH": laboratory_single.acidity,
    "zeros far from the other values": laboratory_single.zeros,
    "shifted decimal points": laboratory_single.shifted_decimals,
    "classes in place of measured values": laboratory_single.classes,
    "median ratios of two properties": laboratory_units.ratios,
    "rows with an unusual ratio of OC and N": laboratory_relations.ratio_outliers,
    "medians that suggest another unit": laboratory_units.levels,
    "values above those of the purest material": laboratory_relations.largest,
    "CEC against clay and OC": laboratory_units.exchange,
    "sums of clay, silt and sand": laboratory_relations.texture,
    "targets that copy another column": laboratory_relations.copies,
}
"""What a check searches for -> check, in the order of their findings. Rows of statistics (`statistic_rows`) are dropped
before."""


def check_laboratory(
    library: SpectralLibrary, columns: Mapping[str, npt.NDArray[np.float64]] | None = None
) -> tuple[Finding, ...]:
    """Findings of `laboratory_results`, which refuse or warn."""
    return tuple(finding for result in laboratory_results(library, columns) for finding in result.findings)


def laboratory_results(
    library: SpectralLibrary, columns: Mapping[str, npt.NDArray[np.float64]] | None = None
) -> tuple[CheckResult, ...]:
    """Check the laboratory values of a library.

    Args:
        library: Its targets are checked, all in the units of their names.
        columns: Other columns of numbers -> (n,) values, NaN where not measured; a known property has the name and the
            unit of its target (`TC_g_kg`, `sand_pct`). They are compared with the targets.

    Returns:
        The result of each check, with findings that refuse or warn.
    """
    labels = library.ids if library.samples is None else library.samples
    values = LaboratoryValues(
        targets={name: np.where(np.isfinite(v), v, np.nan) for name, v in library.targets.items()},
        columns={name: np.where(np.isfinite(v), v, np.nan) for name, v in (columns or {}).items()},
        ids=library.ids,
        samples=np.unique(labels, return_inverse=True)[1],
        rows=np.arange(1, len(library) + 1) if library.row_numbers is None else library.row_numbers,
    )
    return tuple(CheckResult(name=name, findings=tuple(check(values))) for name, check in CHECKS.items())
