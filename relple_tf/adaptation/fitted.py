"""Adaptation of a model in memory, for `SoilRegressor.adapt`."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from relple_tf.adaptation.combination import COMBINED, METHODS
from relple_tf.adaptation.result import Adaptation
from relple_tf.adaptation.stored_run import StoredRun
from relple_tf.models.deployed import T2, Q
from relple_tf.pipeline import FittedModel
from relple_tf.spectra.library import SpectralLibrary


def stored_run(fitted: FittedModel, library: SpectralLibrary) -> StoredRun:
    """A fitted model with the entries of the card that an adaptation reads.

    Args:
        fitted: The model.
        library: The rows that it was fitted on.
    """
    reliability = fitted.reliability
    intervals = {name: reliability.intervals.get(name) for name in library.targets}
    limits = reliability.limits
    return StoredRun(
        folder=Path("fit"),
        config=fitted.config,
        card={
            "targets": {name: {"interval": entry and asdict(entry)} for name, entry in intervals.items()},
            "domain": {"limits": {T2: limits.t2, Q: limits.q}, "share_within": limits.share},
        },
        model=fitted.model,
        library=library,
        parts=fitted.parts,
    )


def adapted_table(result: Adaptation) -> pd.DataFrame:
    """Weights of the methods and RMSE of left-out soils; a row per adapted target."""
    rows = {
        name: {("weight", method): weight for method, weight in result.combination(name).weights.items()}
        | {("rmse", method): result.rmse(name, method) for method in (*METHODS, COMBINED)}
        for name in result.adapted
    }
    return pd.DataFrame.from_dict(rows, orient="index")
