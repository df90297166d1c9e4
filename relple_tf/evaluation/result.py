"""A finished run in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.baselines.plsr_baseline import PlsrBaseline
from relple_tf.config import Config
from relple_tf.models.domain import status
from relple_tf.pipeline import FittedModel
from relple_tf.spectra.library import SpectralLibrary

Metrics = dict[str, dict[str, Any]]
"""Part -> target -> metrics, and `baseline` -> model -> target -> metrics."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """A finished run; the run folder, the card and the report are written from it."""

    config: Config
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    fitted: FittedModel
    t2: npt.NDArray[np.float64]
    """(n,) Hotelling's T2 of all rows."""
    q: npt.NDArray[np.float64]
    """(n,) statistic Q of all rows."""
    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    plsr: PlsrBaseline
    importance: pd.DataFrame
    """From `band_importance`, computed on the test soils."""
    outliers: pd.DataFrame
    """From `outliers`: every outlier among the training rows."""
    metrics: Metrics
    notes: tuple[str, ...]

    @property
    def parts(self) -> npt.NDArray[np.str_]:
        """(n,) names from PARTS."""
        return self.fitted.parts

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """(n,) names from STATUSES, all rows."""
        return status(self.predictions, self.t2, self.q, self.fitted.reliability.limits)

    @property
    def outside(self) -> float:
        """Fraction of the test scans whose status is not `ok`; their predictions are not reliable."""
        return float(np.mean(self.status[self.parts == "test"] != "ok"))

    def bounds(self, target: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Lower and upper bounds (n,) of a target's prediction intervals, all rows; None if it has no intervals."""
        interval = self.fitted.reliability.intervals.get(target)
        if interval is None or interval.half_width is None:
            return None
        return interval.bounds(self.predictions[target], self.fitted.reliability.limits.difficulty(self.t2))


def source_name(config: Config) -> str:
    """Short name of the data for folders and headings: the name of the source, or of the file without suffixes."""
    path = Path(config.data.source)
    # The name of a folder `.` or `..` is that of its absolute path.
    return path.name.partition(".")[0] or path.resolve().name.partition(".")[0] or "data"
