"""The loop of a search: draw, run and record trials. Every result is stored before the next draw."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.processes import JobResult
from tuning.executors import Executor
from tuning.oracles import MAX_DRAWS, Draw, NothingFitsError, Oracle, config_of
from tuning.space import Space

Event = dict[str, Any]
"""Entry of the journal: a draw, or the end of a trial."""


@dataclass(kw_only=True)
class Trial:
    """A config and its result."""

    number: int
    """Trial 0 has the start config."""
    config: Config
    values: dict[str, Any]
    """Drawn values, encoded for the oracle."""
    size: dict[str, int]
    """Estimates; the keys are the fields of `Size`."""
    state: str = "running"
    """`running`, `done` or `failed`."""
    score: float = math.nan
    """Objective of a done trial; otherwise NaN."""
    r2: dict[str, float] = field(default_factory=dict)
    """R2 of each target."""
    message: str = ""
    """Reason of the failure."""
    seconds: float = math.nan
    """Wall time in the process of the trial."""
    ended_s: float = math.nan
    """Search time until the end of the trial, without interruptions."""


class Search:
    """A search and its journal."""

    def __init__(
        self,
        oracle: Oracle,
        space: Space,
        *,
        trials: int,
        size: Callable[[Config], dict[str, int]],
        allowed: Callable[[dict[str, int]], bool],
        save: Callable[[list[Event]], None],
        notify: Callable[[str], None],
    ) -> None:
        """Create a search without trials.

        Args:
            oracle: A new oracle.
            space: The space of the oracle.
            trials: Total number of trials.
            size: Estimates the size of a config.
            allowed: Whether such estimates keep within the budget. Trial 0 may exceed it, and then cannot win.
            save: Stores the journal atomically; called after every event.
            notify: Receives one line per finished trial.
        """
        self.oracle, self.space, self.max_trials = oracle, space, trials
        self.size, self.allowed, self.save, self.notify = size, allowed, save, notify
        self.journal: list[Event] = []
        self.trials: dict[int, Trial] = {}
        self.searched_s = 0.0

    def resume(self, journal: list[Event]) -> None:
        """Restore the state that a journal records; trials without a recorded end run again.

        Raises:
            InputError: this version of the program draws other trials than those of the journal.
        """
        for event in journal:
            if "draw" in event:
                draw = Draw(values=event["values"], seed_state=event["seed_state"])
                if not self.oracle.replay(event["draw"], draw):
                    raise InputError(
                        f"trial {event['draw']} of the journal differs from the draw of this version; resume with the "
                        "package versions that began the search, or start a new search"
                    )
                self._add(event)
            else:
                self._end(event)
        self.journal = list(journal)
        self.searched_s = max((trial.ended_s for trial in self.ended()), default=0.0)

    def ended(self) -> list[Trial]:
        """Trials that are done or failed, in the order of their numbers."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.state != "running"]

    def best(self) -> Trial | None:
        """The trial with the highest score within the budget; of equal scores, the earlier trial."""
        scored = [trial for trial in self.ended() if trial.state == "done" and self.allowed(trial.size)]
        return max(scored, key=lambda trial: trial.score, default=None)

    def run(self, executor: Executor) -> None:
        """Run trials until all have ended or no draw is left.

        A trial whose process is killed runs once more; if the process is killed again, the trial has failed.
        """
        began_s = time.monotonic() - self.searched_s
        waiting = [trial for trial in self.trials.values() if trial.state == "running"]
        running: set[int] = set()
        lost: set[int] = set()
        draws = self._draws()
        try:
            while True:
                nothing_left = False
                while executor.free() > 0 and not nothing_left:
                    trial = waiting.pop(0) if waiting else next(draws)
                    nothing_left = trial is None
                    if trial is not None:
                        executor.start(trial.number, trial.config)
                        running.add(trial.number)
                if nothing_left and not running:
                    return
                for result in executor.wait():
                    running.discard(result.number)
                    if result.lost and result.number not in lost:
                        lost.add(result.number)
                        self.notify(f"trial {result.number}: {result.message}; the trial is run again")
                        waiting.append(self.trials[result.number])
                        continue
                    self._finish(result, time.monotonic() - began_s, executor.free() + len(running))
        finally:
            executor.close()

    def _draws(self) -> Iterator[Trial | None]:
        """Yield new trials; None while there is no draw."""
        while True:
            numbered_draw = None
            if len(self.trials) < self.max_trials:
                try:
                    numbered_draw = self.oracle.draw()
                except NothingFitsError:
                    reason = f"none of {MAX_DRAWS} draws in a row fits the library and the budget"
                    # An incomplete bracket holds only networks of a few epochs, which are no result.
                    none_allowed = not any(self.allowed(trial.size) for trial in self.trials.values())
                    if none_allowed or self.oracle.algorithm == "hyperband":
                        raise InputError(
                            f"{reason}; raise --max-flash and --max-arena, use a smaller --preset and a --space of "
                            "smaller sizes, or use --algorithm random"
                        ) from None
                    self.notify(f"{reason}: the search ends with {len(self.trials)} trials")
                    self.max_trials = len(self.trials)
            if numbered_draw is None:
                yield None
                continue
            number, draw = numbered_draw
            event: Event = {"draw": number, "values": draw.values, "seed_state": draw.seed_state}
            event["size"] = self.size(config_of(self.space, draw.values))
            event["rejected"] = self.oracle.rejected
            self.journal.append(event)
            self.save(self.journal)
            yield self._add(event)

    def _add(self, event: Event) -> Trial:
        config = config_of(self.space, event["values"])
        trial = Trial(number=event["draw"], config=config, values=event["values"], size=event["size"])
        self.trials[trial.number] = trial
        self.oracle.oracle.rejected = event["rejected"]
        return trial

    def _finish(self, result: JobResult, at_s: float, parallel: int) -> None:
        """Record the end of a trial in the journal, and report it; `parallel` trials can run at once."""
        event: Event = {"end": result.number, "seconds": round(result.seconds, 2), "ended_s": round(at_s, 2)}
        score = math.nan
        if result.value is not None:
            score = sum(result.value.values()) / len(result.value)
        if math.isfinite(score):
            event |= {"score": score, "r2": result.value}
        else:
            event["message"] = result.message or "diverged: the score is not finite"
        self.journal.append(event)
        self._end(event)
        self.save(self.journal)
        self.notify(self._progress(self.trials[result.number], max(1, parallel)))

    def _end(self, event: Event) -> None:
        trial = self.trials[event["end"]]
        trial.seconds, trial.ended_s = event["seconds"], event["ended_s"]
        if "score" in event:
            trial.state, trial.score, trial.r2 = "done", event["score"], event["r2"]
        else:
            trial.state, trial.message = "failed", event["message"]
        self.oracle.end(trial.number, trial.score if trial.state == "done" else None)

    def _progress(self, trial: Trial, parallel: int) -> str:
        """One line about a finished trial, the best score and the remaining time."""
        outcome = f"R2 {trial.score:.3f}" if trial.state == "done" else f"failed: {trial.message}"
        best, ended = self.best(), self.ended()
        so_far = f"best {best.score:.3f} (trial {best.number})" if best else "no score yet"
        left_s = (self.max_trials - len(ended)) * median(trial.seconds for trial in ended) / parallel
        left = f"about {math.ceil(left_s / 60)} min left" if left_s > 90 else f"about {math.ceil(left_s)} s left"
        return f"trial {trial.number}: {outcome}; {so_far}; {len(ended)} of {self.max_trials}, {left}"
