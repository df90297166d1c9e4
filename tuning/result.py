"""What a search found, and its table."""

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
"""Best trials side by side."""
FEWEST = 10
"""Trials below which a forest on them says nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """A search that ended."""

    plan: SearchPlan
    trials: tuple[Trial, ...]
    """In the order of their numbers."""
    best: Trial
    rejected: int
    """Draws that did not fit the budget."""
    source: str
    soils: int
    """Rows to learn from."""
    bands: int
    notes: tuple[str, ...]
    data_sha256: str
    """Of the learning rows."""

    @property
    def scored(self) -> list[Trial]:
        """Trials that came to an end."""
        return [trial for trial in self.trials if trial.state == "done"]

    def shown(self) -> list[Trial]:
        """The SHOWN best that fit, best first, and the start if it is not among them."""
        fitting = [trial for trial in self.scored if self.plan.allows(trial.size)]
        best = sorted(fitting, key=lambda trial: -trial.score)[:SHOWN]
        start = [trial for trial in self.scored if trial.number == 0 and trial not in best]
        return best + start


def table(result: SearchResult) -> pd.DataFrame:
    """A row for each trial; fields that a draw leaves without effect are empty."""
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
    """Positions of the trials that no other beats in both, by rising cost (n,) and score (n,)."""
    found: list[int] = []
    best = -math.inf
    for place in np.lexsort((-scores, costs)):
        if scores[place] > best:
            best = float(scores[place])
            found.append(int(place))
    return found


def positions(result: SearchResult) -> tuple[list[str], Floats]:
    """Every trial that ended as numbers 0 to 1 for each field: (n, fields); a field without effect has trial 0's."""
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
                low, high, own = (scale(number) for number in (parameter.low, parameter.high, float(value)))  # type: ignore[arg-type]
                column.append((own - low) / (high - low))
        columns.append(column)
    names = [parameter.field for parameter in parameters]
    budgets = [trial.config.training.max_epochs for trial in result.scored]
    if len(set(budgets)) > 1:
        names.append("training.max_epochs")
        columns.append([budget / max(budgets) for budget in budgets])
    return names, np.array(columns).T


def importance(result: SearchResult) -> tuple[pd.Series, float]:
    """How much a random forest on the trials loses of its R2 when a field is shuffled, and its own R2 out of bag.

    Returns:
        Field -> loss, largest first; empty below FEWEST trials.
    """
    names, x = positions(result)
    y = np.array([trial.score for trial in result.scored])
    if len(y) < FEWEST or np.ptp(y) == 0:
        return pd.Series(dtype=float), math.nan
    forest = RandomForestRegressor(500, oob_score=True, random_state=0, max_features=0.5).fit(x, y)
    lost = permutation_importance(forest, x, y, n_repeats=20, random_state=0).importances_mean
    return pd.Series(lost, index=names).sort_values(ascending=False, kind="stable"), float(forest.oob_score_)
