"""The loop of a search and the executors of its trials: no failure of a trial ends the search."""

import math
import os
import re
import time

import pytest
from tuning_jobs import FIXED, CountedData, config_with_units, failing, process_of, slow, toy

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.processes import WorkerPool
from tuning.executors import InThisProcess
from tuning.oracles import Oracle
from tuning.space import space_of
from tuning.trials import Search

SIZE = {"weights": 1, "flash_bytes": 1, "arena_bytes": 1, "operations": 1}
SPACE = space_of(Config(), None)


def processes(objective, shared, workers=2, limit_s=60.0):
    return WorkerPool(objective, shared, workers=workers, limit_s=limit_s)


def search_of(
    algorithm="random", *, trials=8, space=SPACE, notify=lambda line: None, journals=None, allowed=lambda size: True
):
    stored = [] if journals is None else journals
    return Search(
        Oracle(algorithm, space, trials=trials, seed=0, fits=lambda config: True),
        space,
        trials=trials,
        size=lambda config: dict(SIZE),
        allowed=allowed,
        save=lambda journal: stored.append(list(journal)),
        notify=notify,
    )


def results(search):
    """Number, config, state and score or message of the ended trials; no times."""
    return [(t.number, t.config, t.state, t.score if t.state == "done" else t.message) for t in search.ended()]


ONE_FIELD = f"""{FIXED}
architecture = "ple"
levels = 1
conv_filters = [8]
expert_units = [1, 2, 3, 4, 5, 6, 7, 8]
"""


@pytest.fixture(scope="module")
def units_only(tmp_path_factory):
    """A space of eight configs; a grid tries them in the order of their units."""
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(ONE_FIELD, encoding="utf-8")
    return space_of(config_with_units(1), path)


@pytest.fixture(scope="module")
def failed_search(tmp_path_factory, units_only):
    """A finished search of `failing` in two processes: search, folder, lines of progress."""
    folder, lines = tmp_path_factory.mktemp("failing"), []
    search = search_of("grid", space=units_only, notify=lines.append)
    search.run(processes(failing, folder, limit_s=20.0))
    return search, folder, lines


def test_a_failed_trial_is_recorded_with_its_reason_and_the_search_continues(failed_search):
    search, _, _ = failed_search
    states = {trial.config.model.expert_units: (trial.state, trial.message) for trial in search.ended()}
    assert {units for units, (state, _) in states.items() if state == "done"} == {1, 2, 8}
    assert "signal 9" in states[3][1]
    assert states[4][1] == "hung: not done after 20 s"
    assert states[5][1] == "ValueError: five is refused"
    assert "not finite" in states[6][1]
    assert states[7][1] == "MemoryError:"
    assert search.best().config.model.expert_units == 8


def test_only_a_killed_trial_is_run_once_more(failed_search):
    _, folder, lines = failed_search
    runs = {units: len(list(folder.glob(f"{units}-*"))) for units in range(1, 9)}
    assert runs == {1: 1, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}
    assert sum("run again" in line for line in lines) == 2


def test_a_line_of_progress_holds_the_best_score_and_the_remaining_time(failed_search):
    _, _, lines = failed_search
    ended = [line for line in lines if " of 8, about " in line]
    # Which of two processes ends first is not determined.
    assert [int(line.split("; ")[-1].split(" of ")[0]) for line in ended] == list(range(1, 9))
    scored = [re.match(r"trial (\d): R2 (\S+); best (\S+) \(trial (\d)\)", line) for line in ended]
    found = {int(match[1]): float(match[2]) for match in scored if match}
    assert found[0] == 0.01
    assert len(found) == 3
    seen = {}
    for match in filter(None, scored):
        seen[int(match[1])] = float(match[2])
        assert float(match[3]) == max(seen.values()) == seen[int(match[4])]
    assert lines[-1].split("; ")[-1].startswith("8 of 8, about 0 s")


def test_shared_data_are_sent_to_each_process_once(tmp_path):
    search = search_of(trials=8)
    search.run(processes(process_of, CountedData(tmp_path)))
    used = {trial.score for trial in search.ended()}
    assert len(search.ended()) == 8
    assert 1 <= len(used) <= 2
    assert os.getpid() not in used
    assert len(list(tmp_path.glob("unpickled-*"))) <= 2


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband", "grid"])
def test_a_worker_process_gives_the_same_trials_as_this_process(algorithm):
    here, there = search_of(algorithm, trials=6), search_of(algorithm, trials=6)
    here.run(InThisProcess(toy, None))
    there.run(processes(toy, None, workers=1))
    assert len(here.ended()) == 6
    assert results(there) == results(here)
    assert here.trials[0].config.model == Config().model


@pytest.mark.parametrize("cut", [1, 2, 7, 10])
def test_a_search_resumed_from_any_journal_ends_with_the_same_trials(cut):
    journals = []
    uninterrupted = search_of("bayesian", journals=journals)
    uninterrupted.run(InThisProcess(toy, None))
    resumed = search_of("bayesian")
    resumed.resume(journals[cut])
    before = results(resumed)
    assert len(before) == (cut + 1) // 2
    resumed.run(InThisProcess(toy, None))
    assert results(resumed)[: len(before)] == before
    assert results(resumed) == results(uninterrupted)
    times = [trial.ended_s for trial in resumed.ended()]
    assert times == sorted(times)


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid"])
def test_a_search_without_further_fitting_draws_ends_with_its_trials(algorithm):
    """Also after it is resumed."""
    lines, journals = [], []
    search = search_of(algorithm, trials=9, notify=lines.append, journals=journals)
    search.oracle.oracle.fits = lambda values: len(search.trials) < 4
    search.run(InThisProcess(toy, None))
    assert [trial.state for trial in search.ended()] == ["done"] * 4
    assert sum("none of 200 draws in a row fits the library and the budget" in line for line in lines) == 1
    resumed = search_of(algorithm, trials=9)
    resumed.oracle.oracle.fits = lambda values: False
    resumed.resume(journals[-1])
    resumed.run(InThisProcess(toy, None))
    assert results(resumed) == results(search)


@pytest.mark.parametrize(("algorithm", "allowed"), [("random", False), ("hyperband", True)])
def test_a_search_without_any_fitting_draw_is_refused(algorithm, allowed):
    """Hyperband's first trials are networks of a few epochs; none of them may be the best config."""
    search = search_of(algorithm, trials=20, allowed=lambda size: allowed)
    search.oracle.oracle.fits = lambda values: len(search.trials) < 4
    if not allowed:
        search.oracle.oracle.fits = lambda values: False
    with pytest.raises(InputError, match="none of 200 draws in a row fits the library and the budget; raise --max"):
        search.run(InThisProcess(toy, None))


def test_a_journal_with_another_draw_is_refused():
    journals = []
    search_of("grid", journals=journals, trials=3).run(InThisProcess(toy, None))
    wrong = [dict(event) for event in journals[-1]]
    wrong[2] = wrong[2] | {"values": wrong[0]["values"] | {"model.levels": 3}, "draw": 2}
    with pytest.raises(InputError, match="differs from the draw of this version"):
        search_of("grid", trials=3).resume(wrong)


def test_ctrl_c_loses_only_the_running_trials():
    journals, count = [], []

    def stopped(shared, config):
        count.append(config)
        if len(count) == 4:
            raise KeyboardInterrupt
        return toy(shared, config)

    search = search_of("hyperband", journals=journals, trials=8)
    with pytest.raises(KeyboardInterrupt):
        search.run(InThisProcess(stopped, None))
    resumed = search_of("hyperband", trials=8)
    resumed.resume(journals[-1])
    assert len(resumed.ended()) == 3
    resumed.run(InThisProcess(toy, None))
    uninterrupted = search_of("hyperband", trials=8)
    uninterrupted.run(InThisProcess(toy, None))
    assert results(resumed) == results(uninterrupted)


def test_closing_an_executor_ends_its_processes(tmp_path):
    executor = processes(slow, tmp_path)
    executor.start(0, config_with_units(1))
    running = [worker.process for worker in executor.running]
    until = time.monotonic() + 20
    while not (tmp_path / "began-1").exists() and time.monotonic() < until:
        time.sleep(0.05)
    executor.close()
    assert not any(process.is_alive() for process in running)
    assert running[0].exitcode == -9


def test_an_idle_worker_that_dies_costs_no_trial():
    executor = processes(toy, None, workers=1)
    executor.start(0, Config())
    while not (ended := executor.wait()):
        pass
    executor.running[0].process.kill()
    executor.running[0].process.join()
    executor.start(1, Config())
    while not (ended := executor.wait()):
        pass
    assert ended[0].value == toy(None, Config())
    executor.close()


def test_a_trial_over_the_budget_is_never_the_best():
    search = search_of(trials=4, allowed=lambda size: False)
    search.run(InThisProcess(toy, None))
    assert len(search.ended()) == 4
    assert search.best() is None


def test_a_score_is_the_mean_over_the_targets():
    search = search_of(trials=2)
    search.run(InThisProcess(toy, None))
    trial = search.ended()[1]
    assert trial.r2 == toy(None, trial.config)
    assert math.isclose(trial.score, (trial.r2["a"] + trial.r2["b"]) / 2)
