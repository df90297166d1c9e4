"""Checks of laboratory values before training: refuse what cannot be right, warn of what is doubtful.

Each check is a function of `LaboratoryValues` that returns findings. The thresholds are constants, justified by real
sets: OSSL is the 2,106 soils with laboratory values of the Open Soil Spectral Library (doi 10.5281/zenodo.7586622);
the others are NIRsoil, LimeSoDa, datsoilspc, Tavares et al. (2022) and soils of Uganda.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks import laboratory_relations, laboratory_single, laboratory_units
from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.checks.laboratory_values import LaboratoryValues
from relple_tf.spectra.library import SpectralLibrary

CHECKS: tuple[Callable[[LaboratoryValues], Iterable[Finding]], ...] = (
    laboratory_single.codes,
    laboratory_single.acidity,
    laboratory_single.zeros,
    laboratory_single.shifted_decimals,
    laboratory_single.classes,
    laboratory_units.ratios,
    laboratory_relations.ratio_outliers,
    laboratory_units.levels,
    laboratory_relations.largest,
    laboratory_units.exchange,
    laboratory_relations.texture,
    laboratory_relations.copies,
)
"""The checks, in the order of their findings. Rows of statistics (`statistic_rows`) are dropped before."""


def check_laboratory(
    library: SpectralLibrary, columns: Mapping[str, npt.NDArray[np.float64]] | None = None
) -> tuple[Finding, ...]:
    """Check the laboratory values of a library.

    Args:
        library: Its targets are checked, all in the units of their names.
        columns: Other columns of numbers -> (n,) values, NaN where not measured; a known property has the name and the
            unit of its target (`TC_g_kg`, `sand_pct`). They are compared with the targets.

    Returns:
        Findings that refuse or warn.
    """
    labels = library.ids if library.samples is None else library.samples
    values = LaboratoryValues(
        targets={name: np.where(np.isfinite(v), v, np.nan) for name, v in library.targets.items()},
        columns={name: np.where(np.isfinite(v), v, np.nan) for name, v in (columns or {}).items()},
        ids=library.ids,
        samples=np.unique(labels, return_inverse=True)[1],
        rows=np.arange(1, len(library) + 1) if library.row_numbers is None else library.row_numbers,
    )
    return tuple(finding for check in CHECKS for finding in check(values))
