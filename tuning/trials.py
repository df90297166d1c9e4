"""The loop of a search: what to try next, where it runs, how it ended; every end is kept before the next draw."""

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
from tuning.oracles import MOST_DRAWS, NothingFitsError, Oracle, Recorded, config_of
from tuning.space import Space

Event = dict[str, Any]
"""Of the journal: a draw, or the end of a trial."""


@dataclass(kw_only=True)
class Trial:
    """One config and what became of it."""

    number: int
    """0 is the start."""
    config: Config
    values: dict[str, Any]
    """What was drawn, in the oracle's words."""
    size: dict[str, int]
    """Estimates, by the names of `Size`."""
    state: str = "running"
    """`running`, `done` or `failed`."""
    score: float = math.nan
    """The objective, where it is done."""
    r2: dict[str, float] = field(default_factory=dict)
    """R2 of each target."""
    message: str = ""
    """Why it failed."""
    seconds: float = math.nan
    """Wall time in its process."""
    ended_s: float = math.nan
    """Seconds of searching before its end, breaks left out."""


class Search:
    """One search and its journal."""

    def __init__(
        self,
        oracle: Oracle,
        space: Space,
        *,
        trials: int,
        size: Callable[[Config], dict[str, int]],
        allowed: Callable[[dict[str, int]], bool],
        keep: Callable[[list[Event]], None],
        notify: Callable[[str], None],
    ) -> None:
        """Begin an empty search.

        Args:
            oracle: At its beginning.
            space: The oracle's.
            trials: To make in all.
            size: Estimates of a config.
            allowed: Whether such estimates keep within the budget; those of trial 0 may not, and then it cannot win.
            keep: Keeps the journal, whole or not at all; called after every event.
            notify: Told how each trial ended.
        """
        self.oracle, self.space, self.most = oracle, space, trials
        self.size, self.allowed, self.keep, self.notify = size, allowed, keep, notify
        self.journal: list[Event] = []
        self.trials: dict[int, Trial] = {}
        self.searched_s = 0.0

    def resume(self, journal: list[Event]) -> None:
        """Take up what a journal tells; trials that it leaves open are run again.

        Raises:
            InputError: this version draws other trials than those of the journal.
        """
        for event in journal:
            if "draw" in event:
                recorded = Recorded(values=event["values"], seed_state=event["seed_state"])
                if not self.oracle.replay(event["draw"], recorded):
                    raise InputError(
                        f"trial {event['draw']} of the journal is not what this version draws; resume with the "
                        "versions that began the search, or start a new one"
                    )
                self._add(event)
            else:
                self._end(event)
        self.journal = list(journal)
        self.searched_s = max((trial.ended_s for trial in self.done()), default=0.0)

    def done(self) -> list[Trial]:
        """The trials that ended, in the order of their numbers."""
        return [trial for _, trial in sorted(self.trials.items()) if trial.state != "running"]

    def best(self) -> Trial | None:
        """The trial with the highest score within the budget; the earlier of two equal ones."""
        scored = [trial for trial in self.done() if trial.state == "done" and self.allowed(trial.size)]
        return max(scored, key=lambda trial: trial.score, default=None)

    def run(self, executor: Executor) -> None:
        """Run trials until there are enough, or there is nothing left to draw.

        A trial whose process is killed is run once more, then counts as failed.
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
                for ended in executor.wait():
                    running.discard(ended.number)
                    if ended.lost and ended.number not in lost:
                        lost.add(ended.number)
                        self.notify(f"trial {ended.number}: {ended.message}; it is run again")
                        waiting.append(self.trials[ended.number])
                        continue
                    self._finish(ended, time.monotonic() - began_s, executor.free() + len(running))
        finally:
            executor.close()

    def _draws(self) -> Iterator[Trial | None]:
        """New trials; None while there is none."""
        while True:
            drawn = None
            if len(self.trials) < self.most:
                try:
                    drawn = self.oracle.draw()
                except NothingFitsError:
                    tell = f"none of {MOST_DRAWS} draws in a row fits the library and the budget"
                    # A bracket that cannot be filled leaves networks of a few epochs, which are no result.
                    nothing = not any(self.allowed(trial.size) for trial in self.trials.values())
                    if nothing or self.oracle.algorithm == "hyperband":
                        raise InputError(
                            f"{tell}; allow more by --max-flash and --max-arena, begin with a smaller --preset and a "
                            "--space of smaller sizes, or use --algorithm random"
                        ) from None
                    self.notify(f"{tell}: no more trials than these {len(self.trials)}")
                    self.most = len(self.trials)
            if drawn is None:
                yield None
                continue
            number, recorded = drawn
            event: Event = {"draw": number, "values": recorded.values, "seed_state": recorded.seed_state}
            event["size"] = self.size(config_of(self.space, recorded.values))
            event["rejected"] = self.oracle.rejected
            self.journal.append(event)
            self.keep(self.journal)
            yield self._add(event)

    def _add(self, event: Event) -> Trial:
        config = config_of(self.space, event["values"])
        trial = Trial(number=event["draw"], config=config, values=event["values"], size=event["size"])
        self.trials[trial.number] = trial
        self.oracle.oracle.rejected = event["rejected"]
        return trial

    def _finish(self, ended: JobResult, at_s: float, places: int) -> None:
        """Keep the end of a trial, and notify it."""
        event: Event = {"end": ended.number, "seconds": round(ended.seconds, 2), "ended_s": round(at_s, 2)}
        score = math.nan
        if ended.value is not None:
            score = sum(ended.value.values()) / len(ended.value)
        if math.isfinite(score):
            event |= {"score": score, "r2": ended.value}
        else:
            event["message"] = ended.message or "diverged: its score is not finite"
        self.journal.append(event)
        self._end(event)
        self.keep(self.journal)
        self.notify(self._told(self.trials[ended.number], max(1, places)))

    def _end(self, event: Event) -> None:
        trial = self.trials[event["end"]]
        trial.seconds, trial.ended_s = event["seconds"], event["ended_s"]
        if "score" in event:
            trial.state, trial.score, trial.r2 = "done", event["score"], event["r2"]
        else:
            trial.state, trial.message = "failed", event["message"]
        self.oracle.end(trial.number, trial.score if trial.state == "done" else None)

    def _told(self, trial: Trial, places: int) -> str:
        """One line of progress."""
        what = f"R2 {trial.score:.3f}" if trial.state == "done" else f"failed: {trial.message}"
        best, done = self.best(), self.done()
        so_far = f"best {best.score:.3f} (trial {best.number})" if best else "none done yet"
        left_s = (self.most - len(done)) * median(one.seconds for one in done) / places
        left = f"about {math.ceil(left_s / 60)} min left" if left_s > 90 else f"about {math.ceil(left_s)} s left"
        return f"trial {trial.number}: {what}; {so_far}; {len(done)} of {self.most}, {left}"
