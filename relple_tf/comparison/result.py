"""A finished comparison in memory."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from relple_tf.comparison.statistics import medians, pairs
from relple_tf.config import Config
from relple_tf.spectra.library import SpectralLibrary


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonResult:
    """Results of a comparison; its folder and the printed table are written from it."""

    config: Config
    """Data, split, comparison and base seed; also the front end of the baselines."""
    models: tuple[str, ...]
    """The first model is compared with each other model."""
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    table: pd.DataFrame
    """Rows of compare.csv: seed, fold, soils, model, target, the metrics of `scores`, coverage (fraction of the test
    values inside their prediction intervals) and flagged (fraction of the test scans whose status is not `ok`), both
    empty for baselines; fit_s (seconds), settings."""
    notes: tuple[str, ...]
    repeats: int

    @cached_property
    def figures(self) -> pd.DataFrame:
        """`table`; without comparison.sizes, `soils` is its median, because groups make it vary slightly."""
        if self.config.comparison.sizes:
            return self.table
        return self.table.assign(soils=int(self.table["soils"].median()))

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of development soils (training + validation), ascending."""
        return sorted(self.figures["soils"].unique().tolist())

    @cached_property
    def medians(self) -> pd.DataFrame:
        """From `medians`."""
        return medians(self.figures)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """From `pairs`."""
        return pairs(self.figures, self.models)

    @property
    def repeat_word(self) -> str:
        """`folds` for cross-validation, else `repeats`."""
        return "folds" if self.config.comparison.scheme == "cross_validation" else "repeats"
