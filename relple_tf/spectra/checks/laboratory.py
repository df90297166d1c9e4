"""Checks of laboratory values before training: refuse what cannot be right, warn of what is doubtful.

Each check is a function of `LaboratoryValues` that returns findings. The thresholds are constants, justified by real
sets: OSSL is the 2,106 soils with laboratory values of the Open Soil Spectral Library (doi 10.5281/zenodo.7586622);
the others are NIRsoil, LimeSoDa, datsoilspc, Tavares et al. (2022) and soils of Uganda.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks import laboratory_relations, laboratory_single, laboratory_units
from relple_tf.spectra.checks.finding import Finding, warnings
from relple_tf.spectra.checks.laboratory_values import LaboratoryValues
from relple_tf.spectra.checks.statistic_rows import statistic_rows
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
"""The checks, in the order of their findings. Rows of statistics are dropped before."""


def check_laboratory(
    library: SpectralLibrary, columns: Mapping[str, npt.NDArray[np.float64]] | None = None
) -> tuple[Finding, ...]:
    """Check the laboratory values of a library.

    Args:
        library: Its targets are checked, all in the units of their names.
        columns: Other columns of numbers -> (n,) values, NaN where not measured; a known property has the name and the
            unit of its target (`TC_g_kg`, `sand_pct`). They are compared with the targets.

    Returns:
        Findings: `drop` for rows of statistics, then `refuse` and `warn` for the values of the other rows.
    """
    dropped = statistic_rows(library.ids, library.targets)
    kept = np.ones(len(library), bool)
    for finding in dropped:
        kept[list(finding.rows)] = False
    labels = library.ids if library.samples is None else library.samples
    values = LaboratoryValues(
        targets={name: np.where(kept & np.isfinite(v), v, np.nan) for name, v in library.targets.items()},
        columns={name: np.where(kept & np.isfinite(v), v, np.nan) for name, v in (columns or {}).items()},
        ids=library.ids,
        samples=np.unique(labels, return_inverse=True)[1],
        first_row=library.first_row,
    )
    return (*dropped, *(finding for check in CHECKS for finding in check(values)))


def without_dropped(library: SpectralLibrary, findings: Iterable[Finding]) -> SpectralLibrary:
    """The library without the rows that findings drop, and with the warnings of the findings.

    Dropped rows are listed in `dropped` with their declared part and the reason, and named in the notes.
    """
    findings = tuple(findings)
    drops = [finding for finding in findings if finding.severity == "drop"]
    kept = np.ones(len(library), bool)
    dropped = []
    for finding in drops:
        for row in finding.rows:
            part = "" if library.parts is None else str(library.parts[row])
            if kept[row]:
                dropped.append((str(library.ids[row]), part, finding.check.replace("_", " ")))
            kept[row] = False
    notes = tuple(f"dropped {len(finding.rows)} of {len(library)} rows: {finding.message}" for finding in drops)
    rows = library if kept.all() else library.rows(kept)
    return replace(
        rows,
        notes=(*library.notes, *notes),
        warnings=(*library.warnings, *warnings(findings)),
        dropped=(*library.dropped, *dropped),
    )
