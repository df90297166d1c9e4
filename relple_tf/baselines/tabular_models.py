"""Pretrained models of tables, TabPFN and TabICL; their packages are imported when a comparison names them.

Both are given principal-component scores, because they were pretrained on tables of few, unlike columns.
"""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = npt.NDArray[np.float64]

MAXIMUM_ROWS = 10_000
"""Largest number of rows to fit on: the limit that the authors of TabPFN 2 state."""
COMPONENTS = (10, 30)
"""Numbers of principal components to try."""


def tabpfn(bands: int, seed: int) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    """TabPFN (Hollmann et al. 2025, Nature 637, 319-326) on principal-component scores."""
    from tabpfn import TabPFNRegressor

    return _on_scores(TabPFNRegressor(random_state=seed))


def tabicl(bands: int, seed: int) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    """TabICL (Qu et al. 2025, ICML; arXiv 2502.05564) on principal-component scores."""
    from tabicl import TabICLRegressor

    return _on_scores(TabICLRegressor(random_state=seed))


def _on_scores(regressor: BaseEstimator) -> tuple[BaseEstimator, dict[str, list[Any]]]:
    scores = make_pipeline(StandardScaler(), LeadingScores(), regressor)
    return scores, {"leadingscores__components": list(COMPONENTS)}


class LeadingScores(TransformerMixin, BaseEstimator):
    """Principal-component scores; fewer than `components` where rows or bands are fewer."""

    def __init__(self, components: int = COMPONENTS[0]) -> None:
        self.components = components

    def fit(self, x: Floats, y: Floats | None = None) -> Self:
        """Fit on features (n, bands)."""
        self.pca_ = PCA(min(self.components, *x.shape), svd_solver="full").fit(x)
        return self

    def transform(self, x: Floats) -> Floats:
        """(n, components) scores."""
        scores: Floats = self.pca_.transform(x)
        return scores
