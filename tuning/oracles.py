"""KerasTuner's oracles without its Tuner: trial 0 is the start, draws keep within a budget, a journal replays them.

An oracle here is a function of its seed, its space and the journal of what was drawn and how it ended. So the journal
is all that is kept of it; KerasTuner's own files, which a kill may leave torn, are not written.
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
"""Hyperband's name for how long a trial is trained."""
MOST_DRAWS = 200
"""Draws for one trial, each built in half a second; if none of them fits a device, hardly any config does."""
POINTS = 2000
"""Of which the Gaussian process chooses."""
FACTOR = 3
"""Of Hyperband: one in so many goes on to so many times the epochs (Li et al. 2018, JMLR 18 (185))."""


def encoded(value: Value) -> int | float | str:
    """An option as KerasTuner takes it: numbers, or text."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


def hyperparameters(space: Space) -> HyperParameters:
    """The space in KerasTuner's words; the default of each field is that of trial 0."""
    drawn = HyperParameters()
    for parameter in space.parameters:
        _add(drawn, parameter, list(parameter.when), value_of(space.start, parameter.field))
    return drawn


def _add(drawn: HyperParameters, parameter: Parameter, when: list[Any], own: Value) -> None:
    if when:
        parent, values = when[0]
        with drawn.conditional_scope(parent, [encoded(value) for value in values]):
            _add(drawn, parameter, when[1:], own)
    elif parameter.options:
        drawn.Choice(parameter.field, [encoded(option) for option in parameter.options], default=encoded(own))
    else:
        drawn.Float(
            parameter.field,
            parameter.low,
            parameter.high,
            sampling="log" if parameter.log else "linear",
            default=float(own),  # type: ignore[arg-type]
        )


def start_values(space: Space) -> Values:
    """Trial 0 in KerasTuner's words."""
    return {
        parameter.field: encoded(value_of(space.start, parameter.field))
        if parameter.options
        else float(value_of(space.start, parameter.field))  # type: ignore[arg-type]
        for parameter in space.parameters
        if is_active(parameter, space.start)
    }


def config_of(space: Space, values: Values) -> Config:
    """The Config of a draw; Hyperband's epochs are its budget, and the most steps shrink with them."""
    found: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.field not in values:
            continue
        value, own = values[parameter.field], value_of(space.start, parameter.field)
        if parameter.options:
            found[parameter.field] = {encoded(option): option for option in parameter.options}[value]
        else:
            found[parameter.field] = own if value == own else rounded(parameter, value, own)
    config, training = space.config(found), space.start.training
    if (epochs := values.get(EPOCHS, training.max_epochs)) < training.max_epochs:
        steps = max(1, round(training.max_steps * epochs / training.max_epochs))
        config = replace(config, training__max_epochs=epochs, training__max_steps=steps)
    return config


class NothingFitsError(Exception):
    """No draw keeps within the budget."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a journal says of a draw."""

    values: Values
    seed_state: int


class _Replayable:
    """What the four oracles below share: the start as trial 0, the budget, the journal. Comes first among the bases."""

    space: Space
    trials: dict[str, Any]
    fits: Callable[[Values], bool]
    replayed: dict[int, Recorded]
    rejected: int

    def prepare(self: Any, space: Space, trials: int, fits: Callable[[Values], bool]) -> None:
        """Take what KerasTuner's constructors do not know."""
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
        """The next random draw that fits, or the one that the journal tells."""
        number = len(self.trials)
        if number == 0:
            return start_values(self.space)
        if number in self.replayed:
            self.seed_state = self.replayed[number].seed_state
            return {k: v for k, v in self.replayed[number].values.items() if not k.startswith("tuner/")}
        for _ in range(MOST_DRAWS):
            values: Values | None = super().random_values()  # type: ignore[misc]
            if values is None or self.fits(values):
                return values
            self.rejected += 1
        raise NothingFitsError


class Random(_Replayable, RandomOracle):
    """Draws at random."""


class Bayesian(_Replayable, BayesianOracle):
    """Draws where a Gaussian process of the trials so far hopes for most.

    Process and bound are KerasTuner's. Its search for the highest bound, fifty runs of L-BFGS with numerical gradients,
    took 11 to 88 s a draw with the default space; the best of many random points takes a fraction of a second.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        done = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        if int(trial_id) in self.replayed:
            return {"status": "RUNNING", "values": self.random_values()}
        if len(done) < self.num_initial_points:
            return super().populate_space(trial_id)
        values = self._hopeful(int(trial_id))
        return {"status": "RUNNING" if values else "STOPPED", "values": values}

    def _hopeful(self, number: int) -> Values | None:
        """The point with the highest bound that fits and was not tried; half of the points lie around the best trial.

        Trials under way are left out; other points for each draw keep two of them apart.
        """
        rng = np.random.default_rng([self.seed, number])  # of its own for each trial, so that no state must be kept
        x, y = self.completed_points()
        points = rng.uniform(size=(POINTS, x.shape[1]))
        own = x[np.argmin(y)]  # scores with their sign turned
        kept = rng.uniform(size=points.shape) < 0.8
        kept[POINTS // 2 :] = False
        points = np.where(kept, own, points)
        ranked = (self.values_at(points[place]) for place in np.argsort(self.lower_bounds(x, y, points)))
        for values in itertools.islice((values for values in ranked if not self.was_tried(values)), MOST_DRAWS):
            if self.fits(values):
                return values
            self.rejected += 1
        return self.random_values()


class Grid(_Replayable, GridOracle):
    """Tries every combination, the last field first, from that of trial 0; a range counts as ten values."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = int(trial_id)
        if number == 0:
            self.last = start_values(self.space)
            return {"status": "RUNNING", "values": dict(self.last)}
        if number in self.replayed:
            self.last = self.replayed[number].values
            return {"status": "RUNNING", "values": dict(self.last)}
        for _ in range(MOST_DRAWS):
            values = self.next_combination(self.last)
            if values is None:
                return {"status": "STOPPED", "values": None}
            self.last = values
            if self.fits(values):
                return {"status": "RUNNING", "values": dict(values)}
            self.rejected += 1
        raise NothingFitsError


class _NotYetError(Exception):
    """No new bracket is to begin while the trials that are left are promised to older ones."""


class Hyperband(_Replayable, HyperbandOracle):
    """Many configs for few epochs, the best of them for more; as many brackets as the number of trials has room for.

    KerasTuner's begins with a bracket of 34 configs for 3 of 60 epochs, of which fewer trials than that never see an
    end. Here each bracket is the most aggressive one that can be finished.
    """

    def prepare(self, space: Space, trials: int, fits: Callable[[Values], bool]) -> None:
        super().prepare(space, trials, fits)
        self.begin_with(self._largest_bracket(trials))

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        try:
            return super().populate_space(trial_id)
        except _NotYetError:
            return {"status": "IDLE"}

    def next_bracket(self) -> int:
        left = self.max_trials - len(self.trials) - self.open_places()
        if left <= 0:
            raise _NotYetError
        return self._largest_bracket(left)

    def _largest_bracket(self, trials: int) -> int:
        return max((bracket for bracket, size in self.bracket_sizes().items() if size <= trials), default=0)


ALGORITHMS: dict[str, type] = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband, "grid": Grid}
"""Name on the command line -> oracle; `search.ALGORITHMS` names them too."""


class Oracle:
    """One search: what to try next, told how it went."""

    def __init__(self, algorithm: str, space: Space, *, trials: int, seed: int, fits: Callable[[Config], bool]) -> None:
        """Begin at trial 0.

        Args:
            algorithm: One of ALGORITHMS.
            space: What may be drawn.
            trials: At most; trial 0 is one of them.
            seed: 0 or more.
            fits: Whether a config keeps within the budget; asked for every draw but trial 0.
        """
        own: dict[str, Any] = {}
        if algorithm == "hyperband":
            own = {"max_epochs": space.start.training.max_epochs, "factor": FACTOR, "hyperband_iterations": 10**6}
        elif algorithm == "bayesian":
            # KerasTuner's three times the number of fields would leave nothing of most searches but chance.
            own = {"num_initial_points": max(4, trials // 4)}
        self.space, self.algorithm = space, algorithm
        self.oracle = ALGORITHMS[algorithm](
            objective=Objective(OBJECTIVE, "max"),
            hyperparameters=hyperparameters(space),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=seed + 1,  # KerasTuner takes a seed of 0 for none
            max_consecutive_failed_trials=10**9,
            **own,
        )
        self.oracle.prepare(space, trials, lambda values: fits(config_of(space, values)))

    @property
    def rejected(self) -> int:
        """Draws that did not fit so far."""
        return int(self.oracle.rejected)

    def draw(self) -> tuple[int, Recorded] | None:
        """Number and values of the next trial; None while there is none, and when there will be none.

        Raises:
            NothingFitsError: no draw keeps within the budget.
        """
        begun = self.oracle.begin_trial()
        if begun is None:
            return None
        number, values = begun
        return number, Recorded(values=values, seed_state=self.oracle.seed_state)

    def replay(self, number: int, recorded: Recorded) -> bool:
        """Draw what a journal tells was drawn; whether it is."""
        self.oracle.replayed[number] = recorded
        drawn = self.draw()
        return drawn is not None and drawn[0] == number and drawn[1].values == recorded.values

    def end(self, number: int, score: float | None) -> None:
        """Tell how a trial ended; None is failed."""
        if score is None and self.algorithm == "hyperband":
            score = float("-inf")  # Hyperband waits for a failed trial's rivals for ever; it has lost
        self.oracle.finish_trial(number, score)
