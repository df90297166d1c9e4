"""The contract with KerasTuner: what `tuning.kerastuner_adapter` relies on that KerasTuner does not promise.

Each failure names what changed. Then adapt tuning/kerastuner_adapter.py, or keep the older minor version pinned.
"""

import ast
import inspect
import itertools
from importlib.metadata import version
from pathlib import Path

import keras_tuner
import pytest
from keras_tuner import HyperParameters, oracles

from tuning import kerastuner_adapter as adapter

ROOT = Path(__file__).parents[2]
NAME = f"keras-tuner {version('keras-tuner')}"
TUNING = sorted((ROOT / "tuning").glob("*.py"))

SIGNATURES = {
    oracles.RandomSearchOracle: {"_random_values": [], "_duplicate": ["values"], "_save_trial": ["trial"], "save": []},
    oracles.BayesianOptimizationOracle: {"_vectorize_trials": [], "_vector_to_values": ["vector"]},
    oracles.GridSearchOracle: {"_get_next_combination": ["values"]},
    oracles.HyperbandOracle: {
        "_start_new_bracket": [],
        "_increment_bracket_num": [],
        "_get_size": ["bracket_num", "round_num"],
        "_get_num_rounds": ["bracket_num"],
        "_get_num_brackets": [],
    },
}
"""Oracle -> method that the adapter calls or overrides -> its arguments without self."""

ATTRIBUTES = {
    adapter.RandomOracle: {"_seed_state", "seed", "trials", "tuner_ids", "max_trials", "verbose"},
    adapter.BayesianOracle: {"gpr", "beta", "num_initial_points"},
    adapter.GridOracle: set(),
    adapter.HyperbandOracle: {"_brackets", "_current_bracket"},
}
"""Oracle -> attributes of an instance that the adapter and `tuning.oracles` read or set."""


def space():
    """Two choices and, where the first is "b", a number."""
    drawn = HyperParameters()
    drawn.Choice("kind", ["a", "b"], default="a")
    with drawn.conditional_scope("kind", ["b"]):
        drawn.Choice("size", [1, 2], default=1)
    drawn.Float("rate", 0.001, 1.0, sampling="log", default=0.1)
    return drawn


def made(kind, *, seed=1, **settings):
    oracle = kind(
        objective=keras_tuner.Objective(adapter.OBJECTIVE, "max"),
        hyperparameters=space(),
        allow_new_entries=False,
        tune_new_entries=False,
        seed=seed,
        max_consecutive_failed_trials=10**9,
        **settings,
    )
    oracle.verbose = 0
    return oracle


def scored(oracle, count, score=lambda values: -values["rate"]):
    """Draw and end up to `count` trials: [(number, values)]."""
    drawn = []
    while len(drawn) < count and (begun := oracle.begin_trial()) is not None:
        oracle.finish_trial(begun[0], score(begun[1]))
        drawn.append(begun)
    return drawn


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, methods in SIGNATURES.items() for name in methods], ids=str
)
def test_a_private_method_exists_and_takes_what_the_adapter_gives(kind, name):
    method = getattr(kind, name, None)
    assert method is not None, f"{NAME}: {kind.__name__} has no {name} any more"
    found = list(inspect.signature(method).parameters)[1:]
    assert found == SIGNATURES[kind][name], f"{NAME}: {kind.__name__}.{name} takes {found}"


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_an_oracle_has_the_attributes_that_are_read(kind):
    oracle = made(kind)
    missing = {name for name in ATTRIBUTES[kind] if not hasattr(oracle, name)}
    assert not missing, f"{NAME}: an instance of {kind.__mro__[2].__name__} has no {', '.join(sorted(missing))}"


def private_names(path):
    """Names with one leading underscore that a module reads or sets as attributes, and those that it defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    return [{name for name in names if name.startswith("_") and not name.startswith("__")} for names in (used, defined)]


def test_this_contract_covers_every_private_name_of_the_adapter():
    used, defined = private_names(ROOT / "tuning/kerastuner_adapter.py")
    covered = {name for methods in SIGNATURES.values() for name in methods} | set().union(*ATTRIBUTES.values())
    assert (used | defined) - {"_Adapter"} <= covered


@pytest.mark.parametrize("path", TUNING, ids=lambda path: path.stem)
def test_only_the_adapter_uses_private_names_of_keras_tuner(path):
    if path.stem == "kerastuner_adapter":
        return
    used, defined = private_names(path)
    private = {name for methods in SIGNATURES.values() for name in methods} | set().union(*ATTRIBUTES.values())
    assert not (used | defined) & {name for name in private if name.startswith("_")}
    assert used - defined <= {"_exit"}  # of os, in places.py


def test_a_seed_of_0_counts_as_none():
    """Why `tuning.oracles` adds 1."""
    drawn = {made(adapter.RandomOracle, seed=0).seed for _ in range(8)}
    assert 0 not in drawn, f"{NAME}: a seed of 0 is kept now; drop the + 1 in tuning/oracles.py"
    assert len(drawn) > 1
    assert made(adapter.RandomOracle, seed=1).seed == made(adapter.RandomOracle, seed=1).seed_state == 1


def test_the_seed_state_counts_the_numbers_drawn_and_brings_back_the_draws_after_it():
    oracle = made(adapter.RandomOracle, seed=5)
    values = oracle.random_values()
    assert oracle.seed_state == 5 + len(values), f"{NAME}: one number per active value does not add 1 any more"
    after = oracle.seed_state
    following = oracle.random_values()
    oracle.seed_state = after
    assert oracle.random_values() == following


@pytest.mark.parametrize("kind", [adapter.RandomOracle, adapter.BayesianOracle, adapter.HyperbandOracle])
def test_every_random_draw_comes_from_random_values(kind):
    class Fixed(kind):
        def random_values(self):
            return {"kind": "b", "size": 2, "rate": 0.5}

    number, values = made(Fixed).begin_trial()
    assert number == 0
    assert {"kind": "b", "size": 2, "rate": 0.5}.items() <= values.items(), (
        f"{NAME}: {kind.__mro__[2].__name__}.populate_space does not call _random_values any more"
    )


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_trials_are_numbered_from_0_a_failed_one_is_not_repeated_and_nothing_is_written(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    oracle = made(kind)
    numbers = []
    for _ in range(3):
        number, _ = oracle.begin_trial()
        oracle.finish_trial(number, None)
        numbers.append(number)
    assert numbers == [0, 1, 2], f"{NAME}: trials are numbered {numbers}"
    assert [trial.status for trial in oracle.trials.values()] == ["FAILED"] * 3
    assert not list(tmp_path.iterdir())


def test_an_oracle_that_waits_gives_no_trial_and_goes_on_later():
    class Waiting(adapter.RandomOracle):
        status = "IDLE"

        def populate_space(self, trial_id):
            return {"status": self.status, "values": self.random_values()}

    oracle = made(Waiting)
    assert oracle.begin_trial() is None
    assert not oracle.trials
    Waiting.status = "RUNNING"
    assert oracle.begin_trial()[0] == 0


def test_values_that_a_trial_has_count_as_tried_and_no_others():
    oracle = made(adapter.RandomOracle)
    assert not oracle.was_tried({"kind": "a", "rate": 0.25})
    _, values = oracle.begin_trial()
    assert oracle.was_tried(values), f"{NAME}: _duplicate does not know the values of a running trial any more"
    assert not oracle.was_tried({**values, "rate": values["rate"] / 2})


def test_completed_trials_are_points_of_the_unit_cube_with_the_sign_of_their_score_turned():
    oracle = made(adapter.BayesianOracle, num_initial_points=10)
    drawn = scored(oracle, 6)
    oracle.finish_trial(oracle.begin_trial()[0], None)
    oracle.begin_trial()
    points, losses = oracle.completed_points()
    assert points.shape == (6, 3), f"{NAME}: _vectorize_trials counts other trials or hyperparameters"
    assert points.min() >= 0
    assert points.max() <= 1
    assert losses.tolist() == [values["rate"] for _, values in drawn]
    assert len(oracle.trials) == 8
    for point, (_, values) in zip(points, drawn, strict=True):
        there = oracle.values_at(point)
        assert there.keys() == values.keys(), f"{NAME}: _vector_to_values gives other names than the active ones"
        assert there == pytest.approx(values) if values["kind"] == "a" else there["size"] == values["size"]


def test_the_lower_bound_is_that_of_a_process_that_passes_through_what_was_tried():
    oracle = made(adapter.BayesianOracle, num_initial_points=20)
    scored(oracle, 12)
    points, losses = oracle.completed_points()
    bounds = oracle.lower_bounds(points, losses, points)
    assert (bounds < losses + 0.05).all()
    assert abs(bounds - losses).max() < 0.5
    assert oracle.lower_bounds(points, losses, points + 10).max() < bounds.max()  # far away the SD is large


def test_the_grid_changes_the_last_hyperparameter_first_and_leaves_inactive_ones_out():
    oracle = made(adapter.GridOracle)
    values, combinations = {"kind": "a", "rate": 0.1}, []
    while values is not None:
        combinations.append(values)
        values = oracle.next_combination(values)
    kinds = [(found["kind"], found.get("size")) for found in combinations]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [("a", None), ("b", 1), ("b", 2)], (
        f"{NAME}: _get_next_combination has another order or other names"
    )
    rates = [found["rate"] for found in combinations]
    assert len(set(rates)) == len(combinations) / 3


def test_a_bracket_takes_as_many_trials_as_its_rounds_have_places():
    oracle = made(adapter.HyperbandOracle, max_epochs=60, factor=3)
    # Each round has a third of the trials of the one before, rounded up.
    expected = {0: 5, 1: 8 + 3, 2: 15 + 5 + 2, 3: 34 + 12 + 4 + 2}
    assert oracle.bracket_sizes() == expected, f"{NAME}: _get_size, _get_num_rounds or _get_num_brackets changed"


def test_hyperband_asks_for_the_next_bracket_when_those_begun_can_draw_nothing():
    asked = []

    class Asking(adapter.HyperbandOracle):
        def next_bracket(self):
            asked.append(self.open_places())
            return 0

    oracle = made(Asking, max_epochs=60, factor=3, hyperband_iterations=10**6)
    oracle.begin_with(1)
    assert oracle.open_places() == 11
    drawn = scored(oracle, 11)
    assert oracle.open_places() == 0
    assert not asked, f"{NAME}: a bracket is left before all its places are drawn"
    assert [values["tuner/epochs"] for _, values in drawn] == [20] * 8 + [60] * 3
    oracle.begin_trial()
    assert asked == [0], f"{NAME}: populate_space does not call _increment_bracket_num any more"
    assert oracle.open_places() == oracle.bracket_sizes()[0] - 1
