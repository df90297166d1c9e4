"""Relevance of targets to each other: the Pearson correlation of their training values. No Keras."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config import ModelConfig

MINIMUM_COMMON_ROWS = 10
"""A correlation over fewer common rows is too uncertain; the pair counts as unrelated (our choice)."""

EPSILON = 1e-3
"""Keeps the logarithm of the soft form finite for unrelated targets; at beta 1 their odds are multiplied by 0.001."""


def pearson(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correlate targets pairwise over the rows where both are measured.

    Args:
        values: (n, K), training rows only, on the modelled scale (standardised, after the square root where used); NaN
            where not measured.

    Returns:
        (K, K), symmetric, 1 on the diagonal; 0 for pairs with fewer than MINIMUM_COMMON_ROWS common rows, or constant
        in them.
    """
    pairwise = pd.DataFrame(values).corr(min_periods=MINIMUM_COMMON_ROWS)
    correlation: npt.NDArray[np.float64] = pairwise.fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def unrelated_for_lack_of_rows(values: npt.NDArray[np.float64], targets: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return pairs of targets with fewer than MINIMUM_COMMON_ROWS common rows, and their number of common rows."""
    measured = (~np.isnan(values)).astype(int)
    common = measured.T @ measured
    return [
        (targets[j], targets[k], int(common[k, j]))
        for k in range(len(targets))
        for j in range(k)
        if common[k, j] < MINIMUM_COMMON_ROWS
    ]


def relevant_targets(
    correlation: npt.NDArray[np.float64], targets: Sequence[str], config: ModelConfig
) -> dict[str, dict[str, float]]:
    """Find the other targets whose experts each target's gate reads, and the offset added to their logits.

    `hard`: the targets with |r| >= tau, offset 0. `soft`: all targets, offset beta * log(|r| + EPSILON).

    Args:
        correlation: (K, K) from `pearson`.
        targets: K names.
        config: Reads `relevance`, `relevance_tau` and `relevance_beta`.

    Returns:
        Target -> {other target: offset}.
    """
    relevance: dict[str, dict[str, float]] = {target: {} for target in targets}
    strength = np.abs(correlation)
    for k, target in enumerate(targets):
        for j, other in enumerate(targets):
            if j == k:
                continue
            if config.relevance == "soft":
                relevance[target][other] = float(config.relevance_beta * np.log(strength[k, j] + EPSILON))
            elif strength[k, j] >= config.relevance_tau:
                relevance[target][other] = 0.0
    return relevance
