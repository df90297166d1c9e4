"""All laboratory values of a table as numbers, to compare rows: also the properties that are not modelled."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.readers.columns import names_role
from relple_tf.spectra.readers.laboratory_names import meaning

_WITH_UNIT = re.compile(
    r"ph(_.*)?|.*_(pct|percent|per_mille|g_kg|mg_kg|g_100g|c?molc?_kg|mmolc?_kg|meq_100g|ppm|[dmu]s_c?m|g_cm3|kg_m3)"
)
"""Normalised names of laboratory columns: pH, or a name that ends in a unit."""
_MISSING_CODE = -9999.0


def measured_values(texts: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[np.float64]]:
    """The numbers of every laboratory column as written, without conversion of units; NaN where a cell is no number.

    A laboratory column has the name of a known property or a name with a unit. Other columns may number the scans or
    hold the temperature of the instrument, which differ between the scans of a sample.

    Args:
        texts: Column name -> n cells.

    Returns:
        Target or column name -> (n,), for the columns with a number. Columns of one target (`OC_pct`, `OC_g_kg`) count
        as one: the first number of a row.
    """
    columns: dict[str, npt.NDArray[np.float64]] = {}
    for name, cells in texts.items():
        known = meaning(name, lucas=True)
        if names_role(name) or (known is None and not _WITH_UNIT.fullmatch(_normalised(name))):
            continue
        values = np.array([_number(cell) for cell in cells])
        key = name if known is None else known.target
        columns[key] = np.where(np.isnan(columns[key]), values, columns[key]) if key in columns else values
    return {key: values for key, values in columns.items() if np.isfinite(values).any()}


def _normalised(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " pct ").replace("(+)", "")).strip("_")


def _number(cell: str) -> float:
    try:
        value = float(cell.replace("_", "?"))
    except ValueError:
        return np.nan
    return value if np.isfinite(value) and value != _MISSING_CODE else np.nan
