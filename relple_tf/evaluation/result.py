"""A finished run in memory, and its card."""

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
"""Part -> target -> figures, and `baseline` -> model -> the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """A finished run in memory; the run folder and the report are made from it."""

    config: Config
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    fitted: FittedModel
    t2: npt.NDArray[np.float64]
    """(n,) Hotelling's T2 of all rows."""
    q: npt.NDArray[np.float64]
    """(n,) likewise Q."""
    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    plsr: PlsrBaseline
    importance: pd.DataFrame
    """From `band_importance`, of test soils."""
    outliers: pd.DataFrame
    """From `outliers`, all of the learning soils that have a reason."""
    metrics: Metrics
    notes: tuple[str, ...]

    @property
    def parts(self) -> npt.NDArray[np.str_]:
        """(n,) of PARTS."""
        return self.fitted.parts

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """(n,) of STATUSES, all rows."""
        return status(self.predictions, self.t2, self.q, self.fitted.reliability.limits)

    @property
    def outside(self) -> float:
        """Share of the test scans whose estimates are not to be trusted."""
        return float(np.mean(self.status[self.parts == "test"] != "ok"))

    def bounds(self, target: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Lower and upper ends (n,) of a target's intervals, all rows; None where there are none."""
        interval = self.fitted.reliability.intervals.get(target)
        if interval is None or interval.half_width is None:
            return None
        return interval.bounds(self.predictions[target], self.fitted.reliability.limits.difficulty(self.t2))


def source_name(config: Config) -> str:
    """Short name of the data for folders and headings: a source's name, or a file's without its suffixes."""
    return Path(config.data.source).name.partition(".")[0]
