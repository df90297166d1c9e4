"""KerasTuner's oracles under documented names: the only module that calls what KerasTuner keeps private.

`tuning.oracles` subclasses the four oracles below and reads, of KerasTuner itself, only public arguments and the
attributes `trials`, `seed`, `max_trials` and `num_initial_points`. tests/test_kerastuner_adapter.py holds what this
module relies on; a new minor version of KerasTuner is taken only when that file passes.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
import numpy.typing as npt

Values = dict[str, Any]
"""Name of an active hyperparameter -> its value; Hyperband adds names that begin with `tuner/`."""
Floats = npt.NDArray[np.float64]

OBJECTIVE = "score"
"""Higher is better."""


class _Adapter:
    """What the four oracles share; comes before KerasTuner's class among the bases."""

    trials: dict[str, Any]

    @property
    def seed_state(self) -> int:
        """The seed of the next random number; every number that is drawn adds 1."""
        return int(self._seed_state)

    @seed_state.setter
    def seed_state(self, value: int) -> None:
        self._seed_state = value

    def random_values(self: Any) -> Values | None:
        """A random draw that was not tried, or None when KerasTuner finds no other.

        A subclass may override this: KerasTuner takes all its random draws from here.
        """
        values: Values | None = super()._random_values()  # type: ignore[misc]
        return values

    def _random_values(self) -> Values | None:
        return self.random_values()

    def was_tried(self: Any, values: Values) -> bool:
        """Whether a trial has these values; Hyperband does not compare epochs and brackets."""
        return bool(self._duplicate(values))

    def begin_trial(self: Any) -> tuple[int, Values] | None:
        """Number and values of the next trial, counted from 0; None while `populate_space` gives none."""
        client = f"trial{len(self.trials)}"  # KerasTuner gives a client that it knows its old trial again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads' old names, and of a Gaussian process with few points
            trial = self.create_trial(client)
        if trial.status != "RUNNING":
            self.tuner_ids.discard(client)
            return None
        return int(trial.trial_id), dict(trial.hyperparameters.values)

    def finish_trial(self: Any, number: int, score: float | None) -> None:
        """Report the score of a trial; one without a score has failed."""
        trial = next(trial for key, trial in self.trials.items() if int(key) == number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if score is not None:
                self.update_trial(trial.trial_id, {OBJECTIVE: score})
            trial.status = "FAILED" if score is None else "COMPLETED"
            self.end_trial(trial)

    def save(self) -> None:
        """Write nothing: `tuning.trials` keeps a journal instead."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing, for the same reason."""


class RandomOracle(_Adapter, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(_Adapter, keras_tuner.oracles.BayesianOptimizationOracle):
    """A Gaussian process over the hyperparameters, each scaled to 0..1."""

    def completed_points(self) -> tuple[Floats, Floats]:
        """Completed trials: points (n, hyperparameters) in 0..1, and scores (n,) with their sign turned."""
        everything = self.trials
        self.trials = {key: trial for key, trial in everything.items() if trial.status == "COMPLETED"}
        try:
            points, losses = self._vectorize_trials()
        finally:
            self.trials = everything
        return points, losses

    def lower_bounds(self, tried: Floats, losses: Floats, points: Floats) -> Floats:
        """Mean - beta SD of the loss at points (m, hyperparameters), by a process fitted to the tried ones: (m,)."""
        self.gpr.fit(tried, losses)
        mean, sd = self.gpr.predict(points, return_std=True)
        bounds: Floats = mean - self.beta * sd
        return bounds

    def values_at(self, point: Floats) -> Values:
        """The values at a point (hyperparameters,)."""
        values: Values = self._vector_to_values(point)
        return values


class GridOracle(_Adapter, keras_tuner.oracles.GridSearchOracle):
    """Every combination of values."""

    def next_combination(self, values: Mapping[str, Any]) -> Values | None:
        """The combination after `values`, the last hyperparameter changing first; None after the last one."""
        following: Values | None = self._get_next_combination(values)
        return following


class HyperbandOracle(_Adapter, keras_tuner.oracles.HyperbandOracle):
    """Brackets of trials, each bracket with rounds of fewer and longer trials; a higher bracket has more rounds."""

    def bracket_sizes(self) -> dict[int, int]:
        """Bracket -> trials of all its rounds."""
        return {
            bracket: sum(self._get_size(bracket, turn) for turn in range(self._get_num_rounds(bracket)))
            for bracket in range(self._get_num_brackets())
        }

    def begin_with(self, bracket: int) -> None:
        """Forget the brackets that KerasTuner has begun, and begin this one."""
        self._brackets: list[dict[str, Any]] = []
        self._current_bracket = bracket
        self._start_new_bracket()

    def open_places(self) -> int:
        """Trials that the brackets which have begun still have to draw."""
        return sum(
            self._get_size(bracket["bracket_num"], turn) - len(drawn)
            for bracket in self._brackets
            for turn, drawn in enumerate(bracket["rounds"])
        )

    def next_bracket(self) -> int:
        """The bracket to begin when those that have begun can draw no trial; a subclass chooses it."""
        raise NotImplementedError

    def _increment_bracket_num(self) -> None:
        self._current_bracket = self.next_bracket()
