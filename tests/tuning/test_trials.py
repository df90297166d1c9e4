"""The loop of a search, and the executors of its trials: nothing that happens to a trial ends the search."""

import math
import os
import time

import pytest
from tuning_jobs import FIXED, Counted, one_with_units, process_of, slow, toy, troubled

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.processes import WorkerPool
from tuning.executors import InThisProcess
from tuning.oracles import Oracle
from tuning.space import space_of
from tuning.trials import Search

SIZE = {"weights": 1, "flash_bytes": 1, "arena_bytes": 1, "operations": 1}
SPACE = space_of(Config(), None)


def processes(do, shared, workers=2, limit_s=60.0):
    return WorkerPool(do, shared, workers=workers, limit_s=limit_s)


def search_of(
    algorithm="random", *, trials=8, space=SPACE, notify=lambda line: None, journals=None, allowed=lambda size: True
):
    kept = [] if journals is None else journals
    return Search(
        Oracle(algorithm, space, trials=trials, seed=0, fits=lambda config: True),
        space,
        trials=trials,
        size=lambda config: dict(SIZE),
        allowed=allowed,
        keep=lambda journal: kept.append(list(journal)),
        notify=notify,
    )


def ends(search):
    """What a search found, without times."""
    return [(t.number, t.config, t.state, t.score if t.state == "done" else t.message) for t in search.done()]


ONE_FIELD = f"""{FIXED}
architecture = "ple"
levels = 1
conv_filters = [8]
expert_units = [1, 2, 3, 4, 5, 6, 7, 8]
"""


@pytest.fixture(scope="module")
def units_only(tmp_path_factory):
    """A space of eight configs, which a grid tries in the order of their units."""
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(ONE_FIELD, encoding="utf-8")
    return space_of(one_with_units(1), path)


@pytest.fixture(scope="module")
def in_trouble(tmp_path_factory, units_only):
    """Numbers of units that mean trouble to `troubled`, tried by two processes."""
    folder, said = tmp_path_factory.mktemp("trouble"), []
    search = search_of("grid", space=units_only, notify=said.append)
    search.run(processes(troubled, folder, limit_s=20.0))
    return search, folder, said


def test_a_search_goes_on_whatever_happens_to_a_trial(in_trouble):
    search, _, _ = in_trouble
    states = {trial.config.model.expert_units: (trial.state, trial.message) for trial in search.done()}
    assert {units for units, (state, _) in states.items() if state == "done"} == {1, 2, 8}
    assert "signal 9" in states[3][1]
    assert states[4][1] == "hung: not done after 20 s"
    assert states[5][1] == "ValueError: five is refused"
    assert "not finite" in states[6][1]
    assert states[7][1] == "MemoryError:"
    assert search.best().config.model.expert_units == 8


def test_a_killed_trial_is_run_once_more_and_no_other_is(in_trouble):
    _, folder, said = in_trouble
    runs = {units: len(list(folder.glob(f"{units}-*"))) for units in range(1, 9)}
    assert runs == {1: 1, 2: 2, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}
    assert sum("run again" in line for line in said) == 2


def test_progress_tells_best_and_what_is_left(in_trouble):
    _, _, said = in_trouble
    assert any(line.startswith("trial 0: R2 0.010; best 0.010 (trial 0); 1 of 8, about ") for line in said)
    assert said[-1].split("; ")[-1].startswith("8 of 8, about 0 s")


def test_what_is_shared_reaches_each_process_once(tmp_path):
    search = search_of(trials=8)
    search.run(processes(process_of, Counted(tmp_path)))
    used = {trial.score for trial in search.done()}
    assert len(search.done()) == 8
    assert 1 <= len(used) <= 2
    assert os.getpid() not in used
    assert len(list(tmp_path.glob("unpacked-*"))) <= 2


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband", "grid"])
def test_processes_find_what_one_process_finds(algorithm):
    here, there = search_of(algorithm, trials=6), search_of(algorithm, trials=6)
    here.run(InThisProcess(toy, None))
    there.run(processes(toy, None, workers=1))
    assert len(here.done()) == 6
    assert ends(there) == ends(here)
    assert here.trials[0].config.model == Config().model


@pytest.mark.parametrize("cut", [1, 2, 7, 10])
def test_every_journal_resumes_to_the_same_end(cut):
    journals = []
    whole = search_of("bayesian", journals=journals)
    whole.run(InThisProcess(toy, None))
    resumed = search_of("bayesian")
    resumed.resume(journals[cut])
    before = ends(resumed)
    assert len(before) == (cut + 1) // 2
    resumed.run(InThisProcess(toy, None))
    assert ends(resumed)[: len(before)] == before
    assert ends(resumed) == ends(whole)
    times = [trial.ended_s for trial in resumed.done()]
    assert times == sorted(times)


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid"])
def test_a_search_that_finds_nothing_more_that_fits_ends_with_what_it_has(algorithm):
    """Also when it is resumed."""
    said, journals = [], []
    search = search_of(algorithm, trials=9, notify=said.append, journals=journals)
    search.oracle.oracle.fits = lambda values: len(search.trials) < 4
    search.run(InThisProcess(toy, None))
    assert [trial.state for trial in search.done()] == ["done"] * 4
    assert sum("none of 200 draws in a row fits the library and the budget" in line for line in said) == 1
    resumed = search_of(algorithm, trials=9)
    resumed.oracle.oracle.fits = lambda values: False
    resumed.resume(journals[-1])
    resumed.run(InThisProcess(toy, None))
    assert ends(resumed) == ends(search)


@pytest.mark.parametrize(("algorithm", "allowed"), [("random", False), ("hyperband", True)])
def test_a_search_of_which_nothing_fits_is_refused(algorithm, allowed):
    """Hyperband's first trials are networks of a few epochs, of which none may be called the best."""
    search = search_of(algorithm, trials=20, allowed=lambda size: allowed)
    search.oracle.oracle.fits = lambda values: len(search.trials) < 4
    if not allowed:
        search.oracle.oracle.fits = lambda values: False
    with pytest.raises(
        InputError, match="none of 200 draws in a row fits the library and the budget; allow more by --max"
    ):
        search.run(InThisProcess(toy, None))


def test_a_journal_of_another_seed_is_refused():
    journals = []
    search_of("grid", journals=journals, trials=3).run(InThisProcess(toy, None))
    wrong = [dict(event) for event in journals[-1]]
    wrong[2] = wrong[2] | {"values": wrong[0]["values"] | {"model.levels": 3}, "draw": 2}
    with pytest.raises(InputError, match="not what this version draws"):
        search_of("grid", trials=3).resume(wrong)


def test_ctrl_c_loses_the_trials_in_flight_only():
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
    assert len(resumed.done()) == 3
    resumed.run(InThisProcess(toy, None))
    whole = search_of("hyperband", trials=8)
    whole.run(InThisProcess(toy, None))
    assert ends(resumed) == ends(whole)


def test_closing_a_place_ends_its_processes(tmp_path):
    place = processes(slow, tmp_path)
    place.start(0, one_with_units(1))
    running = [worker.process for worker in place.running]
    until = time.monotonic() + 20
    while not (tmp_path / "began-1").exists() and time.monotonic() < until:
        time.sleep(0.05)
    place.close()
    assert not any(process.is_alive() for process in running)
    assert running[0].exitcode == -9


def test_a_worker_that_dies_while_it_waits_costs_no_trial():
    place = processes(toy, None, workers=1)
    place.start(0, Config())
    while not (ended := place.wait()):
        pass
    place.running[0].process.kill()
    place.running[0].process.join()
    place.start(1, Config())
    while not (ended := place.wait()):
        pass
    assert ended[0].value == toy(None, Config())
    place.close()


def test_what_is_over_the_budget_never_wins():
    search = search_of(trials=4, allowed=lambda size: False)
    search.run(InThisProcess(toy, None))
    assert len(search.done()) == 4
    assert search.best() is None


def test_a_score_is_the_mean_over_targets():
    search = search_of(trials=2)
    search.run(InThisProcess(toy, None))
    trial = search.done()[1]
    assert trial.r2 == toy(None, trial.config)
    assert math.isclose(trial.score, (trial.r2["a"] + trial.r2["b"]) / 2)
