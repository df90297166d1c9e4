"""KerasTuner's oracles without its Tuner. Trial 0 is the start config; draws keep within a budget.

The state of an oracle is a function of its seed, its space and the journal of draws and results. Therefore only the
journal is stored, and a resumed search replays it. KerasTuner's state files are not written: a kill may leave them
half written.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras_tuner import HyperParameters, Objective

from relple_tf.config import Config, replace
from tuning.kerastuner_adapter import OBJECTIVE, BayesianOracle, GridOracle, HyperbandOracle, RandomOracle, Values
from tuning.space import Parameter, Space, Value, is_active, rounded, value_of

EPOCHS = "tuner/epochs"
"""Hyperband's name for the epochs of a trial."""
MAX_DRAWS = 200
"""Draws for one trial, half a second each to build; if none of them fits the device, hardly any config does."""
POINTS = 2000
"""Random points from which the Gaussian process chooses the next trial."""
FACTOR = 3
"""Hyperband promotes one in FACTOR trials to FACTOR times the epochs (Li et al. 2018, JMLR 18 (185))."""


def encoded(value: Value) -> int | float | str:
    """Encode an option for KerasTuner, as a number or as text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def hyperparameters(space: Space) -> HyperParameters:
    """The space as KerasTuner's HyperParameters; the default of each field is its value in trial 0."""
    parameters = HyperParameters()
    for parameter in space.parameters:
        _add(parameters, parameter, list(parameter.when), value_of(space.start, parameter.field))
    return parameters


def _add(parameters: HyperParameters, parameter: Parameter, when: list[Any], start: Value) -> None:
    if when:
        parent, values = when[0]
        with parameters.conditional_scope(parent, [encoded(value) for value in values]):
            _add(parameters, parameter, when[1:], start)
    elif parameter.options:
        parameters.Choice(parameter.field, [encoded(option) for option in parameter.options], default=encoded(start))
    else:
        parameters.Float(
            parameter.field,
            parameter.low,
            parameter.high,
            sampling="log" if parameter.log else "linear",
            default=float(start),  # type: ignore[arg-type]
        )


def start_values(space: Space) -> Values:
    """Values of trial 0, encoded for KerasTuner."""
    return {
        parameter.field: encoded(value_of(space.start, parameter.field))
        if parameter.options
        else float(value_of(space.start, parameter.field))  # type: ignore[arg-type]
        for parameter in space.parameters
        if is_active(parameter, space.start)
    }


def config_of(space: Space, values: Values) -> Config:
    """The Config of a draw. Hyperband reduces `max_epochs`, and `max_steps` in proportion."""
    fields: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.field not in values:
            continue
        value, start = values[parameter.field], value_of(space.start, parameter.field)
        if parameter.options:
            fields[parameter.field] = {encoded(option): option for option in parameter.options}[value]
        else:
            fields[parameter.field] = start if value == start else rounded(parameter, value, start)
    config, training = space.config(fields), space.start.training
    if (epochs := values.get(EPOCHS, training.max_epochs)) < training.max_epochs:
        steps = max(1, round(training.max_steps * epochs / training.max_epochs))
        config = replace(config, training__max_epochs=epochs, training__max_steps=steps)
    return config


class NothingFitsError(Exception):
    """No draw keeps within the budget."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A draw: values of the active hyperparameters, and the random state after it."""

    values: Values
    seed_state: int


class _Replayable:
    """Methods of all four oracles: trial 0, budget, replay of a journal. Must be the first base class."""

    space: Space
    trials: dict[str, Any]
    fits: Callable[[Values], bool]
    replayed: dict[int, Draw]
    rejected: int

    def prepare(self: Any, space: Space, trials: int, fits: Callable[[Values], bool]) -> None:
        """Set the attributes that KerasTuner's constructors do not have."""
        self.space, self.max_trials, self.fits = space, trials, fits
        self.replayed, self.rejected = {}, 0
        self.verbose = 0

    def populate_space(self: Any, trial_id: str) -> dict[str, Any]:
        response: dict[str, Any] = super().populate_space(trial_id)  # type: ignore[misc]
        if int(trial_id) == 0 and response["status"] == "RUNNING":
            budget = {name: value for name, value in response["values"].items() if name.startswith("tuner/")}
            response["values"] = start_values(self.space) | budget
        return response

    def random_values(self: Any) -> Values | None:
        """Return the next random draw that fits, or the draw recorded in the journal."""
        number = len(self.trials)
        if number == 0:
            return start_values(self.space)
        if number in self.replayed:
            self.seed_state = self.replayed[number].seed_state
            return {k: v for k, v in self.replayed[number].values.items() if not k.startswith("tuner/")}
        for _ in range(MAX_DRAWS):
            values: Values | None = super().random_values()  # type: ignore[misc]
            if values is None or self.fits(values):
                return values
            self.rejected += 1
        raise NothingFitsError


class Random(_Replayable, RandomOracle):
    """Random search."""


class Bayesian(_Replayable, BayesianOracle):
    """Bayesian search: draws the point with the lowest confidence bound of the loss under a Gaussian process.

    Process and bound are KerasTuner's. KerasTuner minimises the bound by fifty runs of L-BFGS with numerical gradients,
    which took 11 to 88 s per draw with the default space. POINTS random points take a fraction of a second.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        done = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        if int(trial_id) in self.replayed:
            return {"status": "RUNNING", "values": self.random_values()}
        if len(done) < self.num_initial_points:
            return super().populate_space(trial_id)
        values = self._best_candidate(int(trial_id))
        return {"status": "RUNNING" if values else "STOPPED", "values": values}

    def _best_candidate(self, number: int) -> Values | None:
        """Return the point with the lowest bound that fits and was not tried.

        Half of the points are uniform; the other half keep each value of the best trial with probability 0.8. Running
        trials are ignored; since every draw has new points, two of them rarely choose the same values.
        """
        rng = np.random.default_rng(
            [self.seed, number]
        )  # a new generator per trial, so that there is no state to store
        x, y = self.completed_points()
        points = rng.uniform(size=(POINTS, x.shape[1]))
        best = x[np.argmin(y)]  # y holds losses
        kept = rng.uniform(size=points.shape) < 0.8
        kept[POINTS // 2 :] = False
        points = np.where(kept, best, points)
        ranked = (self.values_at(points[row]) for row in np.argsort(self.lower_bounds(x, y, points)))
        for values in itertools.islice((values for values in ranked if not self.was_tried(values)), MAX_DRAWS):
            if self.fits(values):
                return values
            self.rejected += 1
        return self.random_values()


class Grid(_Replayable, GridOracle):
    """Grid search from trial 0 on; the last field changes first. A range has ten values."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = int(trial_id)
        if number == 0:
            self.last = start_values(self.space)
            return {"status": "RUNNING", "values": dict(self.last)}
        if number in self.replayed:
            self.last = self.replayed[number].values
            return {"status": "RUNNING", "values": dict(self.last)}
        for _ in range(MAX_DRAWS):
            values = self.next_combination(self.last)
            if values is None:
                return {"status": "STOPPED", "values": None}
            self.last = values
            if self.fits(values):
                return {"status": "RUNNING", "values": dict(values)}
            self.rejected += 1
        raise NothingFitsError


class _TrialsReservedError(Exception):
    """No new bracket can start: all remaining trials are reserved for started brackets."""


class Hyperband(_Replayable, HyperbandOracle):
    """Hyperband: many configs for few epochs, the best of them for more.

    KerasTuner starts with a bracket of 34 configs for 3 of 60 epochs, and a search of fewer trials never completes it.
    Here each bracket is the largest that the remaining trials can complete.
    """

    def prepare(self, space: Space, trials: int, fits: Callable[[Values], bool]) -> None:
        super().prepare(space, trials, fits)
        self.start_with(self._largest_bracket(trials))

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        try:
            return super().populate_space(trial_id)
        except _TrialsReservedError:
            return {"status": "IDLE"}

    def next_bracket(self) -> int:
        left = self.max_trials - len(self.trials) - self.undrawn_trials()
        if left <= 0:
            raise _TrialsReservedError
        return self._largest_bracket(left)

    def _largest_bracket(self, trials: int) -> int:
        return max((bracket for bracket, size in self.bracket_sizes().items() if size <= trials), default=0)


ALGORITHMS: dict[str, type] = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}
"""Name on the command line -> oracle; `search.ALGORITHMS` lists the same names."""


class Oracle:
    """Chooses the trials of one search from the scores reported to it."""

    def __init__(self, algorithm: str, space: Space, *, trials: int, seed: int, fits: Callable[[Config], bool]) -> None:
        """Create the oracle; its first draw is trial 0.

        Args:
            algorithm: Key of ALGORITHMS.
            space: The search space.
            trials: Largest number of trials, trial 0 included.
            seed: 0 or more.
            fits: Whether a config keeps within the budget; called for every draw except trial 0.
        """
        settings: dict[str, Any] = {}
        if algorithm == "hyperband":
            settings = {"max_epochs": space.start.training.max_epochs, "factor": FACTOR, "hyperband_iterations": 10**6}
        elif algorithm == "bayesian":
            # KerasTuner's default, three times the number of fields, would make most searches random only.
            settings = {"num_initial_points": max(4, trials // 4)}
        self.space, self.algorithm = space, algorithm
        self.oracle = ALGORITHMS[algorithm](
            objective=Objective(OBJECTIVE, "max"),
            hyperparameters=hyperparameters(space),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed + 1,  # KerasTuner treats a seed of 0 as no seed
            max_consecutive_failed_trials=10**9,
            **settings,
        )
        self.oracle.prepare(space, trials, lambda values: fits(config_of(space, values)))

    @property
    def rejected(self) -> int:
        """Number of draws so far that did not fit."""
        return int(self.oracle.rejected)

    def draw(self) -> tuple[int, Draw] | None:
        """Draw the next trial: its number and values. None while no trial can start, and at the end of the search.

        Raises:
            NothingFitsError: no draw keeps within the budget.
        """
        trial = self.oracle.begin_trial()
        if trial is None:
            return None
        number, values = trial
        return number, Draw(values=values, seed_state=self.oracle.seed_state)

    def replay(self, number: int, recorded: Draw) -> bool:
        """Repeat a draw of the journal; returns whether this oracle draws the same."""
        self.oracle.replayed[number] = recorded
        repeated = self.draw()
        return repeated is not None and repeated[0] == number and repeated[1].values == recorded.values

    def end(self, number: int, score: float | None) -> None:
        """Report the score of a trial; None if the trial failed."""
        if score is None and self.algorithm == "hyperband":
            score = float("-inf")  # Hyperband would wait without end for a round with a failed trial
        self.oracle.finish_trial(number, score)
