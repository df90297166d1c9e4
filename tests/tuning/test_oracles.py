"""The oracles: trial 0, seeds, the journal as their whole state, brackets, grids and budgets."""

import itertools
import math

import pytest
from tuning_jobs import FIXED

from relple_tf.config import Config, replace
from tuning.oracles import ALGORITHMS, EPOCHS, NothingFitsError, Oracle, config_of
from tuning.search import ALGORITHMS as NAMED
from tuning.space import space_of

SPACE = space_of(Config(), None)
SMALL = f"""{FIXED}
architecture = ["rs_ple", "ple"]
relevance = ["hard", "soft"]
relevance_tau = [0.6, 0.9]
relevance_beta = 1.0
levels = [1, 2]
expert_units = 32
conv_filters = [16, 32]
"""


def score_of(config):
    return -((math.log10(config.training.learning_rate) + 2.5) ** 2) - abs(config.model.expert_units - 64) / 100


def oracle_of(algorithm, *, trials=14, seed=0, fits=lambda config: True, space=SPACE):
    return Oracle(algorithm, space, trials=trials, seed=seed, fits=fits)


def whole(oracle, score=score_of):
    """Every draw, told its score at once; trial 3 fails."""
    found = []
    while (drawn := oracle.draw()) is not None:
        number, recorded = drawn
        ended = None if number == 3 else score(config_of(oracle.space, recorded.values))
        oracle.end(number, ended)
        found.append((number, recorded, ended))
    return found


def test_the_command_names_what_there_is():
    assert set(NAMED) == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", NAMED)
def test_trial_0_is_the_start_and_numbers_count_up(algorithm):
    found = whole(oracle_of(algorithm))
    assert [number for number, _, _ in found] == list(range(14))
    first = config_of(SPACE, found[0][1].values)
    assert replace(first, training__max_epochs=60, training__max_steps=6000) == SPACE.start


@pytest.mark.parametrize("algorithm", NAMED)
def test_one_seed_draws_the_same_and_another_something_else(algorithm):
    found = whole(oracle_of(algorithm))
    assert whole(oracle_of(algorithm)) == found
    if algorithm != "grid":
        assert whole(oracle_of(algorithm, seed=1))[1:] != found[1:]


@pytest.mark.parametrize("algorithm", NAMED)
@pytest.mark.parametrize("cut", [1, 6, 11])
def test_a_journal_brings_an_oracle_to_where_it_was(algorithm, cut):
    found = whole(oracle_of(algorithm, fits=lambda config: config.model.levels < 3))
    again = oracle_of(algorithm, fits=lambda config: config.model.levels < 3)
    for number, recorded, ended in found[:cut]:
        assert again.replay(number, recorded)
        again.end(number, ended)
    assert whole(again) == found[cut:]


def test_a_journal_of_another_search_is_noticed():
    found = whole(oracle_of("hyperband"))
    other = oracle_of("hyperband")
    assert other.replay(*found[0][:2])
    other.end(0, 0.0)
    wrong = found[1][1]
    wrong.values[EPOCHS] = 59
    assert not other.replay(1, wrong)


def test_hyperband_promotes_the_best_of_a_bracket_that_has_room():
    """12 trials: 8 for 20 of 60 epochs, the best 3 of them for 60, and one more."""
    found = whole(oracle_of("hyperband", trials=12))
    epochs = [recorded.values[EPOCHS] for _, recorded, _ in found]
    assert epochs == [20] * 8 + [60] * 4
    early = [(ended if ended is not None else -math.inf, recorded.values) for _, recorded, ended in found[:8]]
    best = sorted(early, key=lambda pair: -pair[0])[:3]
    fields = [{k: v for k, v in values.items() if not k.startswith("tuner/")} for _, values in best]
    promoted = [{k: v for k, v in r.values.items() if not k.startswith("tuner/")} for _, r, _ in found[8:11]]
    assert promoted == fields
    steps = [config_of(SPACE, recorded.values).training.max_steps for _, recorded, _ in found]
    assert steps == [2000] * 8 + [6000] * 4


def test_hyperband_keeps_places_for_the_promoted_when_many_run_at_once():
    oracle = oracle_of("hyperband", trials=11)
    running = [oracle.draw() for _ in range(8)]
    assert oracle.draw() is None  # the three that are left belong to the best of these
    for number, recorded in running:
        oracle.end(number, score_of(config_of(SPACE, recorded.values)))
    later = [oracle.draw() for _ in range(3)]
    assert [recorded.values[EPOCHS] for _, recorded in later] == [60, 60, 60]


def test_hyperband_goes_on_when_all_of_a_round_fail():
    oracle = oracle_of("hyperband", trials=11)
    count = 0
    while (drawn := oracle.draw()) is not None:
        oracle.end(drawn[0], None)
        count += 1
    assert count == 11


def test_grid_tries_every_combination_once(tmp_path):
    (tmp_path / "space.toml").write_text(SMALL, encoding="utf-8")
    space = space_of(Config(), tmp_path / "space.toml")
    found = whole(oracle_of("grid", trials=100, space=space))
    seen = [config_of(space, recorded.values).model for _, recorded, _ in found]
    combinations = {
        (
            levels,
            architecture,
            relevance if architecture == "rs_ple" else "hard",
            tau if architecture == "rs_ple" and relevance == "hard" else 0.6,
        )
        for levels, architecture, relevance, tau in itertools.product(
            (1, 2), ("rs_ple", "ple"), ("hard", "soft"), (0.6, 0.9)
        )
    }
    assert len(seen) == len(combinations) == 8
    assert {(m.levels, m.architecture, m.relevance, m.relevance_tau) for m in seen} == combinations


def test_random_ends_when_a_small_space_is_used_up(tmp_path):
    (tmp_path / "space.toml").write_text(SMALL, encoding="utf-8")
    space = space_of(Config(), tmp_path / "space.toml")
    found = whole(oracle_of("random", trials=100, space=space))
    keys = [tuple(sorted(recorded.values.items())) for _, recorded, _ in found]
    assert len(keys) == len(set(keys)) <= 8


@pytest.mark.parametrize("algorithm", NAMED)
def test_no_draw_but_trial_0_is_over_the_budget(algorithm):
    def fits(config):
        return config.training.balancing != "uncertainty" and config.training.batch_size > 32

    oracle = oracle_of(algorithm, trials=20, fits=fits)
    found = whole(oracle)
    assert len(found) == 20
    configs = [config_of(SPACE, recorded.values) for _, recorded, _ in found]
    starts = {config_of(SPACE, found[0][1].values).model}
    assert all(
        fits(config) for config in configs[1:] if config.training.learning_rate != 0.003 or config.model not in starts
    )
    assert oracle.rejected > 0


@pytest.mark.parametrize("algorithm", NAMED)
def test_a_budget_that_nothing_fits_is_told(algorithm):
    oracle = oracle_of(algorithm, fits=lambda config: False)
    oracle.end(oracle.draw()[0], 0.0)
    with pytest.raises(NothingFitsError):
        oracle.draw()


def test_bayesian_comes_nearer_to_an_optimum_than_chance():
    """After half of its trials at random, and on a score of two of twenty fields."""

    def best(algorithm):
        return max(ended for _, _, ended in whole(oracle_of(algorithm, trials=24, seed=3)) if ended is not None)

    assert best("bayesian") > best("random")
    assert best("bayesian") > -0.02
