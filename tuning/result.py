"""The result of a search, its table, its Pareto front and the importance of its fields."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from tuning.folder import SearchPlan
from tuning.oracles import EPOCHS, encoded
from tuning.space import is_active, value_of
from tuning.trials import Trial

Floats = npt.NDArray[np.float64]

SHOWN = 5
"""Number of best trials in the side-by-side table."""
MIN_TRIALS = 10
"""Smallest number of trials for a random forest of the scores."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """Result of a finished search."""

    plan: SearchPlan
    trials: tuple[Trial, ...]
    """In the order of their numbers."""
    best: Trial
    rejected: int
    """Number of draws that did not fit the budget."""
    source: str
    soils: int
    """Number of development rows."""
    bands: int
    notes: tuple[str, ...]
    data_sha256: str
    """Hash of the development rows."""

    @property
    def scored(self) -> list[Trial]:
        """Trials with a score."""
        return [trial for trial in self.trials if trial.state == "done"]

    def shown(self) -> list[Trial]:
        """The SHOWN best trials within the budget, best first; then trial 0 if it is not among them."""
        fitting = [trial for trial in self.scored if self.plan.allows(trial.size)]
        best = sorted(fitting, key=lambda trial: -trial.score)[:SHOWN]
        start = [trial for trial in self.scored if trial.number == 0 and trial not in best]
        return best + start


def table(result: SearchResult) -> pd.DataFrame:
    """One row per trial; inactive fields are empty."""
    rows = []
    for trial in result.trials:
        fields = {
            parameter.field: encoded(value_of(trial.config, parameter.field))
            if is_active(parameter, trial.config)
            else None
            for parameter in result.plan.space.parameters
        }
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state,
                "score": trial.score,
                **{f"r2_{target}": value for target, value in trial.r2.items()},
                "epochs": trial.values.get(EPOCHS, trial.config.training.max_epochs),
                "seconds": trial.seconds,
                "ended_s": trial.ended_s,
                **trial.size,
                **fields,
                "message": trial.message,
            }
        )
    return pd.DataFrame(rows)


def front(costs: Floats, scores: Floats) -> list[int]:
    """Indices of the Pareto front of costs (n,) and scores (n,), by rising cost."""
    on_front: list[int] = []
    best = -math.inf
    for trial in np.lexsort((-scores, costs)):
        if scores[trial] > best:
            best = float(scores[trial])
            on_front.append(int(trial))
    return on_front


def scaled_values(result: SearchResult) -> tuple[list[str], Floats]:
    """Values of the trials with a score, scaled to 0..1 for each field.

    Returns:
        Names of the fields; (n, fields). An inactive field has its value in trial 0.
    """
    parameters = result.plan.space.parameters
    columns = []
    for parameter in parameters:
        column = []
        for trial in result.scored:
            value = value_of(trial.config, parameter.field)
            if parameter.options:
                column.append(parameter.options.index(value) / (len(parameter.options) - 1))
            else:
                scale = math.log if parameter.log else float
                low, high, scaled = (scale(number) for number in (parameter.low, parameter.high, float(value)))  # type: ignore[arg-type]
                column.append((scaled - low) / (high - low))
        columns.append(column)
    names = [parameter.field for parameter in parameters]
    budgets = [trial.config.training.max_epochs for trial in result.scored]
    if len(set(budgets)) > 1:
        names.append("training.max_epochs")
        columns.append([budget / max(budgets) for budget in budgets])
    return names, np.array(columns).T


def importance(result: SearchResult) -> tuple[pd.Series, float]:
    """Permutation importance of the fields in a random forest that predicts the score of a trial.

    Returns:
        Field -> loss of R2 when the field is shuffled, largest first, empty below MIN_TRIALS trials; out-of-bag R2 of
        the forest.
    """
    names, x = scaled_values(result)
    y = np.array([trial.score for trial in result.scored])
    if len(y) < MIN_TRIALS or np.ptp(y) == 0:
        return pd.Series(dtype=float), math.nan
    forest = RandomForestRegressor(100, oob_score=True, random_state=0, max_features=0.5).fit(x, y)
    losses = permutation_importance(forest, x, y, n_repeats=10, random_state=0).importances_mean
    return pd.Series(losses, index=names).sort_values(ascending=False, kind="stable"), float(forest.oob_score_)
