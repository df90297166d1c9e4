"""Contract with KerasTuner: its undocumented behaviour that `tuning.kerastuner_adapter` relies on.

Each failure message names the change in KerasTuner. Then adapt tuning/kerastuner_adapter.py, or pin the older version.
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
    """Choice `kind`; choice `size`, active if kind is "b"; log-uniform `rate`."""
    parameters = HyperParameters()
    parameters.Choice("kind", ["a", "b"], default="a")
    with parameters.conditional_scope("kind", ["b"]):
        parameters.Choice("size", [1, 2], default=1)
    parameters.Float("rate", 0.001, 1.0, sampling="log", default=0.1)
    return parameters


def oracle_of(kind, *, seed=1, **settings):
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
    """Draw and end up to `count` trials; returns [(number, values)]."""
    trials = []
    while len(trials) < count and (trial := oracle.begin_trial()) is not None:
        oracle.finish_trial(trial[0], score(trial[1]))
        trials.append(trial)
    return trials


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, methods in SIGNATURES.items() for name in methods], ids=str
)
def test_a_private_method_has_the_arguments_that_the_adapter_passes(kind, name):
    method = getattr(kind, name, None)
    assert method is not None, f"{NAME}: {kind.__name__} has no method {name}"
    arguments = list(inspect.signature(method).parameters)[1:]
    assert arguments == SIGNATURES[kind][name], f"{NAME}: {kind.__name__}.{name} has the arguments {arguments}"


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_an_oracle_has_the_attributes_that_the_adapter_reads(kind):
    oracle = oracle_of(kind)
    missing = {name for name in ATTRIBUTES[kind] if not hasattr(oracle, name)}
    assert not missing, f"{NAME}: an instance of {kind.__mro__[2].__name__} has no {', '.join(sorted(missing))}"


def private_names(path):
    """Names with one leading underscore that a module uses as attributes, and those that it defines."""
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
    assert used - defined <= {"_exit"}  # of os


def test_a_seed_of_0_counts_as_no_seed():
    """Therefore `tuning.oracles` adds 1."""
    seeds = {oracle_of(adapter.RandomOracle, seed=0).seed for _ in range(8)}
    assert 0 not in seeds, f"{NAME}: keeps a seed of 0; remove the + 1 in tuning/oracles.py"
    assert len(seeds) > 1
    assert oracle_of(adapter.RandomOracle, seed=1).seed == oracle_of(adapter.RandomOracle, seed=1).seed_state == 1


def test_the_seed_state_counts_random_numbers_and_restores_the_following_draws():
    oracle = oracle_of(adapter.RandomOracle, seed=5)
    values = oracle.random_values()
    assert oracle.seed_state == 5 + len(values), f"{NAME}: an active value does not add 1 to the seed state"
    after = oracle.seed_state
    following = oracle.random_values()
    oracle.seed_state = after
    assert oracle.random_values() == following


@pytest.mark.parametrize("kind", [adapter.RandomOracle, adapter.BayesianOracle, adapter.HyperbandOracle])
def test_every_random_draw_comes_from_random_values(kind):
    class Fixed(kind):
        def random_values(self):
            return {"kind": "b", "size": 2, "rate": 0.5}

    number, values = oracle_of(Fixed).begin_trial()
    assert number == 0
    assert {"kind": "b", "size": 2, "rate": 0.5}.items() <= values.items(), (
        f"{NAME}: {kind.__mro__[2].__name__}.populate_space does not call _random_values"
    )


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_trials_count_from_0_failed_trials_are_not_repeated_and_no_file_is_written(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    oracle = oracle_of(kind)
    numbers = []
    for _ in range(3):
        number, _ = oracle.begin_trial()
        oracle.finish_trial(number, None)
        numbers.append(number)
    assert numbers == [0, 1, 2], f"{NAME}: trials are numbered {numbers}"
    assert [trial.status for trial in oracle.trials.values()] == ["FAILED"] * 3
    assert not list(tmp_path.iterdir())


def test_an_idle_oracle_gives_no_trial_and_continues_later():
    class Waiting(adapter.RandomOracle):
        status = "IDLE"

        def populate_space(self, trial_id):
            return {"status": self.status, "values": self.random_values()}

    oracle = oracle_of(Waiting)
    assert oracle.begin_trial() is None
    assert not oracle.trials
    Waiting.status = "RUNNING"
    assert oracle.begin_trial()[0] == 0


def test_values_count_as_tried_exactly_if_a_trial_has_them():
    oracle = oracle_of(adapter.RandomOracle)
    assert not oracle.was_tried({"kind": "a", "rate": 0.25})
    _, values = oracle.begin_trial()
    assert oracle.was_tried(values), f"{NAME}: _duplicate ignores the values of a running trial"
    assert not oracle.was_tried({**values, "rate": values["rate"] / 2})


def test_completed_trials_are_points_of_the_unit_cube_with_negative_scores():
    oracle = oracle_of(adapter.BayesianOracle, num_initial_points=10)
    trials = scored(oracle, 6)
    oracle.finish_trial(oracle.begin_trial()[0], None)
    oracle.begin_trial()
    points, losses = oracle.completed_points()
    assert points.shape == (6, 3), f"{NAME}: _vectorize_trials includes other trials or hyperparameters"
    assert points.min() >= 0
    assert points.max() <= 1
    assert losses.tolist() == [values["rate"] for _, values in trials]
    assert len(oracle.trials) == 8
    for point, (_, values) in zip(points, trials, strict=True):
        restored = oracle.values_at(point)
        assert restored.keys() == values.keys(), f"{NAME}: _vector_to_values does not return the active hyperparameters"
        assert restored == pytest.approx(values) if values["kind"] == "a" else restored["size"] == values["size"]


def test_the_lower_bound_is_close_to_the_losses_at_tried_points_and_low_far_away():
    oracle = oracle_of(adapter.BayesianOracle, num_initial_points=20)
    scored(oracle, 12)
    points, losses = oracle.completed_points()
    bounds = oracle.lower_bounds(points, losses, points)
    assert (bounds < losses + 0.05).all()
    assert abs(bounds - losses).max() < 0.5
    assert oracle.lower_bounds(points, losses, points + 10).max() < bounds.max()  # the SD is large far away


def test_the_grid_changes_the_last_hyperparameter_first_and_omits_inactive_ones():
    oracle = oracle_of(adapter.GridOracle)
    values, combinations = {"kind": "a", "rate": 0.1}, []
    while values is not None:
        combinations.append(values)
        values = oracle.next_combination(values)
    kinds = [(combination["kind"], combination.get("size")) for combination in combinations]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [("a", None), ("b", 1), ("b", 2)], (
        f"{NAME}: _get_next_combination has another order or other hyperparameters"
    )
    rates = [combination["rate"] for combination in combinations]
    assert len(set(rates)) == len(combinations) / 3


def test_the_size_of_a_bracket_is_the_sum_of_its_rounds():
    oracle = oracle_of(adapter.HyperbandOracle, max_epochs=60, factor=3)
    # Each round has a third of the trials of the round before, rounded up.
    expected = {0: 5, 1: 8 + 3, 2: 15 + 5 + 2, 3: 34 + 12 + 4 + 2}
    assert oracle.bracket_sizes() == expected, f"{NAME}: _get_size, _get_num_rounds or _get_num_brackets changed"


def test_hyperband_asks_for_the_next_bracket_when_no_started_bracket_can_draw():
    remaining = []

    class Asking(adapter.HyperbandOracle):
        def next_bracket(self):
            remaining.append(self.undrawn_trials())
            return 0

    oracle = oracle_of(Asking, max_epochs=60, factor=3, hyperband_iterations=10**6)
    oracle.start_with(1)
    assert oracle.undrawn_trials() == 11
    trials = scored(oracle, 11)
    assert oracle.undrawn_trials() == 0
    assert not remaining, f"{NAME}: leaves a bracket before all its trials are drawn"
    assert [values["tuner/epochs"] for _, values in trials] == [20] * 8 + [60] * 3
    oracle.begin_trial()
    assert remaining == [0], f"{NAME}: populate_space does not call _increment_bracket_num"
    assert oracle.undrawn_trials() == oracle.bracket_sizes()[0] - 1
