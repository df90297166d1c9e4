"""Laboratory values of a library, as the checks read them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.checks.finding import Finding
from relple_tf.spectra.readers.table_file import shortened

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

FEWEST = 20
"""Number of samples from which the distribution of a target is checked."""
_NAMED = 3
"""Number of rows that a message names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LaboratoryValues:
    """Targets and other laboratory columns, with the names of the rows."""

    targets: Mapping[str, Values]
    """Target with its unit -> (n,) values; NaN where not measured."""
    columns: Mapping[str, Values]
    """Other columns of numbers -> (n,) values. They are compared with the targets, not checked themselves."""
    ids: npt.NDArray[np.str_]
    """(n,) names of the rows, for messages."""
    samples: npt.NDArray[np.intp]
    """(n,) number of the sample of each row. Scans of one sample share their values, so they count once."""
    rows: npt.NDArray[np.intp]
    """(n,) numbers of the rows in the source, for messages."""

    def known(self, name: str) -> Values | None:
        """(n,) values of a target or another column of this name; None if there is none."""
        values = self.targets.get(name)
        return self.columns.get(name) if values is None else values

    def distinct(self, values: Values) -> Values:
        """Measured values, each once per sample."""
        measured = np.isfinite(values)
        pairs = np.column_stack([self.samples[measured].astype(np.float64), values[measured]])
        once: Values = np.unique(pairs, axis=0)[:, 1]
        return once

    def count(self, rows: Rows) -> int:
        """Number of samples in `rows`."""
        return len(np.unique(self.samples[rows]))

    def measured(self, name: str) -> int:
        """Number of samples with a positive value of a target or another column."""
        values = self.known(name)
        return 0 if values is None else self.count(values > 0)

    def median(self, valid: Rows, values: Values) -> float:
        """Median of the values in the rows `valid`, each sample once."""
        return float(np.median(self.distinct(np.where(valid, values, np.nan))))

    def centre(self, valid: Rows, values: Values) -> tuple[float, float]:
        """Median and robust SD (from the quartiles) of the values in the rows `valid`, each sample once."""
        distinct = self.distinct(np.where(valid, values, np.nan))
        lower, median, upper = np.quantile(distinct, [0.25, 0.5, 0.75]).tolist()
        return median, (upper - lower) / 1.349

    def named(self, rows: Rows) -> str:
        """The number of `rows`, and the names of the first ones, for messages."""
        positions = np.flatnonzero(rows)
        names = [f"{self.rows[row]} ({shortened(str(self.ids[row]))})" for row in positions[:_NAMED]]
        more = f" and {len(positions) - _NAMED} more" if len(positions) > _NAMED else ""
        return f"{'row' if len(positions) == 1 else f'{len(positions)} rows:'} {', '.join(names)}{more}"


def measured_unit(name: str, unit: str) -> bool:
    """Whether the name of a target ends in the unit, such as `g_kg`; `pH` holds for every medium (`pH_CaCl2`)."""
    return name == unit or name.endswith(f"_{unit}") or (unit == "pH" and name.startswith("pH_"))


def doubt(check: str, message: str) -> Finding:
    """A finding that warns."""
    return Finding(check=check, severity="warn", message=message)
