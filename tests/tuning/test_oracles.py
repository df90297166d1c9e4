"""The oracles: trial 0, seeds, replay of a journal, brackets, grids and budgets."""

import itertools
import math

import pytest
from tuning_jobs import FIXED

from relple_tf.config import Config, replace
from tuning.oracles import ALGORITHMS, EPOCHS, NothingFitsError, Oracle, config_of
from tuning.search import ALGORITHMS as NAMES
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


def all_trials(oracle, score=score_of):
    """(number, draw, score) of every trial, each ended before the next is drawn; trial 3 fails."""
    trials = []
    while (numbered := oracle.draw()) is not None:
        number, draw = numbered
        result = None if number == 3 else score(config_of(oracle.space, draw.values))
        oracle.end(number, result)
        trials.append((number, draw, result))
    return trials


def test_the_command_offers_every_algorithm():
    assert set(NAMES) == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", NAMES)
def test_trial_0_has_the_start_config_and_numbers_count_up(algorithm):
    trials = all_trials(oracle_of(algorithm))
    assert [number for number, _, _ in trials] == list(range(14))
    first = config_of(SPACE, trials[0][1].values)
    assert replace(first, training__max_epochs=60, training__max_steps=6000) == SPACE.start


@pytest.mark.parametrize("algorithm", NAMES)
def test_equal_seeds_give_equal_draws_and_other_seeds_other_draws(algorithm):
    trials = all_trials(oracle_of(algorithm))
    assert all_trials(oracle_of(algorithm)) == trials
    if algorithm != "grid":
        assert all_trials(oracle_of(algorithm, seed=1))[1:] != trials[1:]


@pytest.mark.parametrize("algorithm", NAMES)
@pytest.mark.parametrize("cut", [1, 6, 11])
def test_an_oracle_continues_after_a_replayed_journal_as_if_uninterrupted(algorithm, cut):
    trials = all_trials(oracle_of(algorithm, fits=lambda config: config.model.levels < 3))
    again = oracle_of(algorithm, fits=lambda config: config.model.levels < 3)
    for number, draw, result in trials[:cut]:
        assert again.replay(number, draw)
        again.end(number, result)
    assert all_trials(again) == trials[cut:]


def test_a_draw_of_another_search_is_not_replayed():
    trials = all_trials(oracle_of("hyperband"))
    other = oracle_of("hyperband")
    assert other.replay(*trials[0][:2])
    other.end(0, 0.0)
    wrong = trials[1][1]
    wrong.values[EPOCHS] = 59
    assert not other.replay(1, wrong)


def test_hyperband_promotes_the_best_trials_of_a_bracket():
    """12 trials: 8 with 20 of 60 epochs, the best 3 of them with 60, and one further trial."""
    trials = all_trials(oracle_of("hyperband", trials=12))
    epochs = [draw.values[EPOCHS] for _, draw, _ in trials]
    assert epochs == [20] * 8 + [60] * 4
    early = [(result if result is not None else -math.inf, draw.values) for _, draw, result in trials[:8]]
    best = sorted(early, key=lambda pair: -pair[0])[:3]
    fields = [{k: v for k, v in values.items() if not k.startswith("tuner/")} for _, values in best]
    promoted = [{k: v for k, v in draw.values.items() if not k.startswith("tuner/")} for _, draw, _ in trials[8:11]]
    assert promoted == fields
    steps = [config_of(SPACE, draw.values).training.max_steps for _, draw, _ in trials]
    assert steps == [2000] * 8 + [6000] * 4


def test_hyperband_reserves_trials_for_promotion_when_many_run_at_once():
    oracle = oracle_of("hyperband", trials=11)
    running = [oracle.draw() for _ in range(8)]
    assert oracle.draw() is None  # the remaining three are reserved for the best of these
    for number, draw in running:
        oracle.end(number, score_of(config_of(SPACE, draw.values)))
    later = [oracle.draw() for _ in range(3)]
    assert [draw.values[EPOCHS] for _, draw in later] == [60, 60, 60]


def test_hyperband_continues_when_all_trials_of_a_round_fail():
    oracle = oracle_of("hyperband", trials=11)
    count = 0
    while (numbered := oracle.draw()) is not None:
        oracle.end(numbered[0], None)
        count += 1
    assert count == 11


def test_grid_tries_every_combination_once(tmp_path):
    (tmp_path / "space.toml").write_text(SMALL, encoding="utf-8")
    space = space_of(Config(), tmp_path / "space.toml")
    trials = all_trials(oracle_of("grid", trials=100, space=space))
    seen = [config_of(space, draw.values).model for _, draw, _ in trials]
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


def test_random_search_ends_when_every_config_of_a_small_space_was_tried(tmp_path):
    (tmp_path / "space.toml").write_text(SMALL, encoding="utf-8")
    space = space_of(Config(), tmp_path / "space.toml")
    trials = all_trials(oracle_of("random", trials=100, space=space))
    keys = [tuple(sorted(draw.values.items())) for _, draw, _ in trials]
    assert len(keys) == len(set(keys)) <= 8


@pytest.mark.parametrize("algorithm", NAMES)
def test_only_trial_0_may_exceed_the_budget(algorithm):
    def fits(config):
        return config.training.balancing != "uncertainty" and config.training.batch_size > 32

    oracle = oracle_of(algorithm, trials=20, fits=fits)
    trials = all_trials(oracle)
    assert len(trials) == 20
    configs = [config_of(SPACE, draw.values) for _, draw, _ in trials]
    starts = {config_of(SPACE, trials[0][1].values).model}
    assert all(
        fits(config) for config in configs[1:] if config.training.learning_rate != 0.003 or config.model not in starts
    )
    assert oracle.rejected > 0


@pytest.mark.parametrize("algorithm", NAMES)
def test_a_budget_that_no_draw_fits_raises(algorithm):
    oracle = oracle_of(algorithm, fits=lambda config: False)
    oracle.end(oracle.draw()[0], 0.0)
    with pytest.raises(NothingFitsError):
        oracle.draw()


def test_bayesian_search_finds_a_better_score_than_random_search():
    """The score depends on two of about twenty fields; the first quarter of the trials is random."""

    def best(algorithm):
        return max(result for _, _, result in all_trials(oracle_of(algorithm, trials=24, seed=3)) if result is not None)

    assert best("bayesian") > best("random")
    assert best("bayesian") > -0.02
