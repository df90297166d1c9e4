"""A finished comparison in memory."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from relple_tf.comparison.statistics import medians, pairs
from relple_tf.config import Config
from relple_tf.spectra.library import SpectralLibrary


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonResult:
    """What the folder of a comparison is written from, and what the command prints."""

    config: Config
    """Data, split, comparison and base seed; also the front end of the baselines."""
    models: tuple[str, ...]
    """The first is compared with the others."""
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    table: pd.DataFrame
    """Rows of compare.csv: seed, fold, soils, model, target, the figures of `scores`, coverage (share of the test
    values within their intervals) and flagged (share of the test scans), empty for baselines; fit_s (seconds),
    settings."""
    notes: tuple[str, ...]
    repeats: int

    @cached_property
    def figures(self) -> pd.DataFrame:
        """`table`, with one number of soils for repeats that take all, although groups make it vary a little."""
        if self.config.comparison.sizes:
            return self.table
        return self.table.assign(soils=int(self.table["soils"].median()))

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of soils to learn from, ascending."""
        return sorted(self.figures["soils"].unique().tolist())

    @cached_property
    def middle(self) -> pd.DataFrame:
        """From `medians`."""
        return medians(self.figures)

    @cached_property
    def against(self) -> pd.DataFrame:
        """From `pairs`."""
        return pairs(self.figures, self.models)

    @property
    def repeat_word(self) -> str:
        """What a point of the comparison is one of."""
        return "folds" if self.config.comparison.scheme == "cross_validation" else "repeats"
