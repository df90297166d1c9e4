"""KerasTuner's oracles under documented names. The only module that uses private names of KerasTuner.

`tuning.oracles` subclasses the four oracles below. Of KerasTuner itself it uses only public arguments and the
attributes `trials`, `seed`, `max_trials` and `num_initial_points`. tests/tuning/test_kerastuner_adapter.py tests what
this module relies on; adopt a new minor version of KerasTuner only when that file passes.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
import numpy.typing as npt

Values = dict[str, Any]
"""Name of an active hyperparameter -> value; Hyperband adds names that begin with `tuner/`."""
Floats = npt.NDArray[np.float64]

OBJECTIVE = "score"
"""Name of the objective, which is maximised."""


class _Adapter:
    """Methods of all four oracles; must come before KerasTuner's class among the bases."""

    trials: dict[str, Any]

    @property
    def seed_state(self) -> int:
        """Seed of the next random number; every random number adds 1."""
        return int(self._seed_state)

    @seed_state.setter
    def seed_state(self, value: int) -> None:
        self._seed_state = value

    def random_values(self: Any) -> Values | None:
        """Draw values that no trial has, or None if KerasTuner finds none.

        A subclass may override this method: KerasTuner takes all its random draws from it.
        """
        values: Values | None = super()._random_values()  # type: ignore[misc]
        return values

    def _random_values(self) -> Values | None:
        return self.random_values()

    def was_tried(self: Any, values: Values) -> bool:
        """Whether a trial has these values; Hyperband ignores epochs and brackets in this comparison."""
        return bool(self._duplicate(values))

    def begin_trial(self: Any) -> tuple[int, Values] | None:
        """Number (from 0) and values of the next trial; None while `populate_space` returns no values."""
        client = f"trial{len(self.trials)}"  # a client name used before would get its previous trial again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated names in `threading`; a Gaussian process with few points
            trial = self.create_trial(client)
        if trial.status != "RUNNING":
            self.tuner_ids.discard(client)
            return None
        return int(trial.trial_id), dict(trial.hyperparameters.values)

    def finish_trial(self: Any, number: int, score: float | None) -> None:
        """Report the score of a trial; None if the trial failed."""
        trial = next(trial for key, trial in self.trials.items() if int(key) == number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if score is not None:
                self.update_trial(trial.trial_id, {OBJECTIVE: score})
            trial.status = "FAILED" if score is None else "COMPLETED"
            self.end_trial(trial)

    def save(self) -> None:
        """Write nothing: `tuning.trials` writes a journal instead."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing, for the same reason."""


class RandomOracle(_Adapter, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(_Adapter, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian search: a Gaussian process over the hyperparameters, each scaled to 0..1."""

    def completed_points(self) -> tuple[Floats, Floats]:
        """Completed trials: points (n, hyperparameters) in 0..1, and losses (n,), the negative scores."""
        all_trials = self.trials
        self.trials = {key: trial for key, trial in all_trials.items() if trial.status == "COMPLETED"}
        try:
            points, losses = self._vectorize_trials()
        finally:
            self.trials = all_trials
        return points, losses

    def lower_bounds(self, tried: Floats, losses: Floats, points: Floats) -> Floats:
        """Lower confidence bound of the loss: mean - beta SD of a Gaussian process.

        Args:
            tried: (n, hyperparameters), points that the process is fitted to.
            losses: (n,).
            points: (m, hyperparameters).

        Returns:
            (m,).
        """
        self.gpr.fit(tried, losses)
        mean, sd = self.gpr.predict(points, return_std=True)
        bounds: Floats = mean - self.beta * sd
        return bounds

    def values_at(self, point: Floats) -> Values:
        """Hyperparameter values at a point (hyperparameters,)."""
        values: Values = self._vector_to_values(point)
        return values


class GridOracle(_Adapter, keras_tuner.oracles.GridSearchOracle):
    """Grid search: every combination of values."""

    def next_combination(self, values: Mapping[str, Any]) -> Values | None:
        """The combination after `values`; the last hyperparameter changes first. None after the last combination."""
        combination: Values | None = self._get_next_combination(values)
        return combination


class HyperbandOracle(_Adapter, keras_tuner.oracles.HyperbandOracle):
    """Hyperband: brackets of trials; each round of a bracket has fewer and longer trials than the round before.

    A bracket with a higher number has more rounds.
    """

    def bracket_sizes(self) -> dict[int, int]:
        """Bracket -> number of trials in all its rounds."""
        return {
            bracket: sum(self._get_size(bracket, round_number) for round_number in range(self._get_num_rounds(bracket)))
            for bracket in range(self._get_num_brackets())
        }

    def start_with(self, bracket: int) -> None:
        """Drop the brackets that KerasTuner has started, and start this bracket."""
        self._brackets: list[dict[str, Any]] = []
        self._current_bracket = bracket
        self._start_new_bracket()

    def undrawn_trials(self) -> int:
        """Number of trials that the started brackets have not drawn yet."""
        return sum(
            self._get_size(bracket["bracket_num"], round_number) - len(trials)
            for bracket in self._brackets
            for round_number, trials in enumerate(bracket["rounds"])
        )

    def next_bracket(self) -> int:
        """Choose the bracket to start when no started bracket can draw a trial; defined by a subclass."""
        raise NotImplementedError

    def _increment_bracket_num(self) -> None:
        self._current_bracket = self.next_bracket()
