"""Which targets are relevant to each other, and so who may read whose experts. No Keras."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config import ModelConfig

MINIMUM_COMMON_ROWS = 10
"""A correlation of fewer common rows says nothing; the pair counts as unrelated (our choice)."""

EPSILON = 1e-3
"""Keeps the logarithm of the soft form finite for unrelated targets: exp(log(1e-3)) = 0.1 % of the odds."""

Sources = dict[str, dict[str, float]]
"""Target -> {other target whose own experts its gate reads: what is added to their logits}."""


def pearson(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correlate targets pairwise over the rows where both are measured.

    Args:
        values: (n, K), in the space that is modelled (standardised, after the square root where used),
            training rows only; NaN where not measured.

    Returns:
        (K, K), symmetric, 1 on the diagonal; 0 for pairs with fewer than MINIMUM_COMMON_ROWS common
        rows or without variation in them.
    """
    pairwise = pd.DataFrame(values).corr(min_periods=MINIMUM_COMMON_ROWS)
    correlation: npt.NDArray[np.float64] = pairwise.fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def unrelated_for_lack_of_rows(values: npt.NDArray[np.float64], targets: Sequence[str]) -> list[tuple[str, str, int]]:
    """Pairs of targets with fewer than MINIMUM_COMMON_ROWS common rows, and how many they have."""
    measured = (~np.isnan(values)).astype(int)
    common = measured.T @ measured
    return [
        (targets[j], targets[k], int(common[k, j]))
        for k in range(len(targets))
        for j in range(k)
        if common[k, j] < MINIMUM_COMMON_ROWS
    ]


def sources(correlation: npt.NDArray[np.float64], targets: Sequence[str], config: ModelConfig) -> Sources:
    """Whose experts each target's gate reads beside its own and the shared ones.

    Su, Tian, Chen (2025) let the Pearson correlation decide what is shared; the rule is our
    reading: `hard` reads the experts of every target with |r| >= tau and nobody else's, `soft`
    reads all and adds beta * log(|r| + EPSILON) to their logits. Only `rs_ple` shares by relevance;
    the other architectures read no foreign expert.

    Args:
        correlation: (K, K) from `pearson`.
        targets: K names.
        config: Its `architecture`, `relevance`, `relevance_tau` and `relevance_beta` are used.
    """
    read: Sources = {target: {} for target in targets}
    if config.architecture != "rs_ple":
        return read
    strength = np.abs(correlation)
    for k, target in enumerate(targets):
        for j, other in enumerate(targets):
            if j == k:
                continue
            if config.relevance == "soft":
                offset = config.relevance_beta * np.log(strength[k, j] + EPSILON)
                read[target][other] = float(offset)
            elif strength[k, j] >= config.relevance_tau:
                read[target][other] = 0.0
    return read
