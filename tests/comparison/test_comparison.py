"""Comparison: resamples, jobs, and statistics of the results."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG

from relple_tf.comparison import jobs
from relple_tf.comparison.folder import fingerprint
from relple_tf.comparison.jobs import Job, SharedData, run_job
from relple_tf.comparison.resampling import UNUSED, make_resamples, sized
from relple_tf.comparison.statistics import (
    comparison_table,
    medians,
    p_text,
    pairs,
    rows_at,
    sentence,
    signed_rank_p,
)
from relple_tf.config import ComparisonConfig, SimulatedConfig
from relple_tf.config import replace as changed
from relple_tf.errors import InputError
from relple_tf.evaluation.metrics import scores
from relple_tf.spectra.sources.simulated import simulate


@pytest.fixture(scope="module")
def soils():
    """90 scans of 60 samples in 12 fields, with a declared split that divides fields; every third pH is missing."""
    library = simulate(SimulatedConfig(soils=90, step_nm=20.0))
    sample = np.arange(90) * 2 // 3
    ph = library.targets["pH"].copy()
    ph[::3] = np.nan
    declared = np.where(sample % 5 == 0, "test", "train").astype("U10")
    return replace(
        library,
        targets={"OC_g_kg": library.targets["OC_g_kg"], "pH": ph},
        ids=np.array([f"s{number}" for number in sample]),
        groups=np.array([f"field{number // 5}" for number in sample]),
        parts=declared,
    )


@pytest.fixture(scope="module")
def ungrouped(soils):
    return replace(soils, groups=None, parts=None)


def config_of(scheme="repeated", **fields):
    return replace(CONFIG, comparison=ComparisonConfig(scheme=scheme, **fields))


def check_not_divided(labels, parts):
    for label in np.unique(labels):
        assert len(set(parts[labels == label])) == 1


def test_repeats_have_different_splits_that_are_reproducible(ungrouped):
    resamples, notes = make_resamples(ungrouped, config_of(), repeats=4)
    again, _ = make_resamples(ungrouped, config_of(), repeats=4)
    assert [resample.seed for resample in resamples] == [0, 1, 2, 3]
    assert len({tuple(resample.parts) for resample in resamples}) == 4
    assert notes == ()
    for resample, repeated in zip(resamples, again, strict=True):
        np.testing.assert_array_equal(resample.parts, repeated.parts)
        check_not_divided(ungrouped.ids, resample.parts)
        assert resample.soils == np.sum(resample.parts != "test")


def test_repeat_r_has_the_base_seed_plus_r(ungrouped):
    later, _ = make_resamples(ungrouped, changed(config_of(), training__seed=2), repeats=1)
    np.testing.assert_array_equal(later[0].parts, make_resamples(ungrouped, config_of(), repeats=3)[0][2].parts)


def test_auto_replaces_a_declared_split_and_keeps_whether_it_divides_groups(soils):
    resamples, notes = make_resamples(soils, config_of(), repeats=2)
    assert not np.array_equal(resamples[0].parts, resamples[1].parts)
    check_not_divided(soils.ids, resamples[0].parts)
    assert len(set(resamples[0].parts[soils.groups == "field0"])) > 1
    assert any("split.method=given keeps it" in note for note in notes)
    assert any("not for a new field; --set split.method=group" in note for note in notes)
    whole = replace(soils, parts=np.where(np.char.endswith(soils.groups, "1"), "test", "train").astype("U10"))
    resamples, notes = make_resamples(whole, config_of(), repeats=1)
    check_not_divided(soils.groups, resamples[0].parts)
    assert len(notes) == 1


@pytest.mark.parametrize("method", ["given", "group", "kennard_stone"])
def test_a_split_method_other_than_auto_is_kept(soils, method):
    resamples, _ = make_resamples(soils, changed(config_of(), split__method=method), repeats=2)
    test = [resample.parts == "test" for resample in resamples]
    if method == "group":
        check_not_divided(soils.groups, resamples[0].parts)
        assert not np.array_equal(*test)
    else:
        np.testing.assert_array_equal(*test)
    assert np.array_equal(test[0], soils.parts == "test") == (method == "given")


@pytest.mark.parametrize("method", ["auto", "group"])
def test_cross_validation_tests_every_row_once_per_repeat(soils, method):
    config = changed(config_of("cross_validation", folds=4), split__method=method)
    resamples, _ = make_resamples(soils, config, repeats=2)
    assert [(resample.seed, resample.fold) for resample in resamples] == [
        (seed, fold) for seed in (0, 1) for fold in (1, 2, 3, 4)
    ]
    for seed in (0, 1):
        test_counts = sum((resample.parts == "test").astype(int) for resample in resamples if resample.seed == seed)
        np.testing.assert_array_equal(test_counts, 1)
    for resample in resamples:
        check_not_divided(soils.groups if method == "group" else soils.ids, resample.parts)
        assert set(resample.parts) == {"train", "validation", "test"}
    assert not np.array_equal(resamples[0].parts, resamples[4].parts)


@pytest.mark.parametrize("scheme", ["repeated", "cross_validation"])
def test_sizes_are_nested_and_have_the_same_test_rows(ungrouped, scheme):
    resamples, _ = make_resamples(ungrouped, config_of(scheme, sizes=(40, 20, 60), folds=4), repeats=2)
    for first, second, third in zip(resamples[::3], resamples[1::3], resamples[2::3], strict=True):
        assert [resample.soils for resample in (first, second, third)] == [20, 40, 60]
        for smaller, larger in ((first, second), (second, third)):
            np.testing.assert_array_equal(smaller.parts == "test", larger.parts == "test")
            used = smaller.parts != UNUSED
            np.testing.assert_array_equal(smaller.parts[used], larger.parts[used])
        for resample in (first, second, third):
            assert np.isin(resample.parts, ("train", "validation")).sum() == resample.soils


def test_sizes_keep_the_fraction_of_validation_rows(ungrouped):
    parts = np.array(["train"] * 60 + ["validation"] * 20 + ["test"] * 10)
    kept = sized(ungrouped, parts, (12, 40), seed=0)
    assert [(kept[size] == "validation").sum() for size in (12, 40)] == [3, 10]


def test_the_rows_of_a_size_depend_on_the_seed_only(ungrouped):
    parts = np.array(["train"] * 60 + ["validation"] * 20 + ["test"] * 10)
    first, again, other = (sized(ungrouped, parts, (20,), seed)[20] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


REFUSED = {
    "more soils than available": (config_of(sizes=(20, 85)), ["85", "seed 0", "development soils"]),
    "folds of a declared split": (
        changed(config_of("cross_validation"), split__method="given"),
        ["method=given", "repeated"],
    ),
    "folds of a split file": (changed(config_of("cross_validation"), split__file="a.csv"), ["split.file=a.csv"]),
    "groups of ungrouped data": (changed(config_of("cross_validation"), split__method="group"), ["needs groups"]),
}


@pytest.mark.parametrize(("config", "named"), REFUSED.values(), ids=REFUSED)
def test_impossible_splits_are_refused(ungrouped, config, named):
    with pytest.raises(InputError) as error:
        make_resamples(ungrouped, config, repeats=1)
    for words in named:
        assert words in str(error.value)


def test_a_size_with_too_few_laboratory_values_is_refused(ungrouped):
    values = np.full(90, np.nan)
    values[[0, 1, 30, 31, 60, 61]] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    parts = np.repeat(["train", "validation", "test"], 30)
    library = replace(ungrouped, targets={"pH": values})
    assert sized(library, parts, (60,), seed=0)
    with pytest.raises(InputError, match=r"comparison.sizes holds 10: pH then has [01] different measured values"):
        sized(library, parts, (10,), seed=0)


def test_the_fingerprint_depends_on_the_data_and_on_every_part(ungrouped):
    resamples, _ = make_resamples(ungrouped, config_of(), repeats=2)
    other, _ = make_resamples(ungrouped, config_of(), repeats=3)
    swapped = resamples[0].parts.copy()
    swapped[[0, 1]] = ["test", "train"] if swapped[0] == "train" else ["train", "test"]
    hashes = {
        fingerprint("a", resamples),
        fingerprint("b", resamples),
        fingerprint("a", resamples[:1]),
        fingerprint("a", other),
        fingerprint("a", [replace(resamples[0], parts=swapped), resamples[1]]),
    }
    assert len(hashes) == 5
    assert fingerprint("a", resamples) == fingerprint("a", make_resamples(ungrouped, config_of(), repeats=2)[0])


def rows_of_job(shared, job):
    run_job(shared, job)
    return json.loads((shared.jobs / job.file).read_text())


def test_a_job_scores_the_test_rows_and_gets_no_unused_row(ungrouped, tmp_path, monkeypatch):
    (resample,) = make_resamples(ungrouped, config_of(sizes=(30,)), repeats=1)[0]
    received = {}

    def predict(library, parts, config):
        received.update(ids=library.ids, parts=parts, seed=config.training.seed)
        reliability = {"OC_g_kg": {"coverage": 0.5, "flagged": 0.25}}
        return {name: np.arange(len(library), dtype=float) for name in library.targets}, reliability

    monkeypatch.setattr(jobs, "network_predictions", predict)
    config = changed(CONFIG, training__seed=99)
    rows = rows_of_job(
        SharedData(library=ungrouped, models={"net": config}, jobs=tmp_path), Job(model="net", resample=resample)
    )
    used = resample.parts != UNUSED
    np.testing.assert_array_equal(received["ids"], ungrouped.ids[used])
    np.testing.assert_array_equal(received["parts"], resample.parts[used])
    assert received["seed"] == resample.seed == 0
    test = resample.parts[used] == "test"
    for row, (name, values) in zip(rows, ungrouped.targets.items(), strict=True):
        expected = scores(values[used][test], np.flatnonzero(test).astype(float))
        assert {key: row[key] for key in expected} == expected
        assert (row["target"], row["model"], row["soils"], row["fold"]) == (name, "net", 30, 0)
    assert [(row["coverage"], row["flagged"]) for row in rows] == [(0.5, 0.25), (None, None)]


def test_a_baseline_job_fits_train_and_validation_rows(ungrouped, tmp_path, monkeypatch):
    (resample,) = make_resamples(ungrouped, config_of(), repeats=1)[0]
    received = {}

    def baseline(absorbance, targets, fitted, groups, scales, **rest):
        received.update(rest, fitted=fitted, groups=groups, rows=len(absorbance))
        return {name: np.zeros(len(absorbance)) for name in targets}, {"OC_g_kg": "C 3"}

    monkeypatch.setitem(jobs.BASELINES, "svr", baseline)
    shared = SharedData(library=ungrouped, models={"svr": CONFIG}, jobs=tmp_path)
    rows = rows_of_job(shared, Job(model="svr", resample=resample))
    np.testing.assert_array_equal(received["fitted"], resample.parts != "test")
    assert len(np.unique(received["groups"])) == len(np.unique(ungrouped.ids))
    assert (received["rows"], received["seed"], received["polynomial"]) == (90, 0, 2)
    assert [row["settings"] for row in rows] == ["C 3", ""]


@pytest.mark.slow
def test_a_network_depends_on_its_development_rows_only(ungrouped, tmp_path, capsys, monkeypatch):
    """Not on earlier networks of the same process, and not on the laboratory values of the test rows."""
    monkeypatch.setattr(jobs, "scores", lambda measured, predicted: {"predicted": predicted.tolist()})
    first, second = make_resamples(ungrouped, config_of(), repeats=2)[0]
    altered = {name: np.where(first.parts == "test", 14.0, values) for name, values in ungrouped.targets.items()}
    config = changed(CONFIG, training__max_epochs=1)
    predicted = []
    for resample, targets in ((first, ungrouped.targets), (second, ungrouped.targets), (first, altered)):
        shared = SharedData(library=replace(ungrouped, targets=targets), models={"net": config}, jobs=tmp_path)
        predicted.append([row["predicted"] for row in rows_of_job(shared, Job(model="net", resample=resample))])
    assert predicted[0] == predicted[2] != predicted[1]
    assert capsys.readouterr().err == ""


def table_of(r2, target="pH", soils=100):
    """Rows of compare.csv: model -> R2 of each repeat."""
    return pd.DataFrame(
        [
            {"seed": seed, "fold": 0, "soils": soils, "model": model, "target": target, "n": 20, "r2": value}
            | {"rmse": 1 - value, "rpiq": 2 * value}
            for model, values in r2.items()
            for seed, value in enumerate(values)
        ]
    )


def test_medians_and_quartiles_equal_values_calculated_by_hand():
    row = medians(table_of({"a": [0.1, 0.5, 0.2, 0.4, 0.3]})).loc[("pH", 100, "a")]
    expected = {"repeats": 5, "r2": 0.3, "r2_low": 0.2, "r2_high": 0.4, "rmse": 0.7, "rmse_low": 0.6, "rmse_high": 0.8}
    for name, value in {**expected, "rpiq": 0.6}.items():
        assert row[name] == pytest.approx(value), name


def test_pairs_equal_values_calculated_by_hand():
    """Differences .1 to .5 and -.6: the negative rank sum is 6; 14 of the 64 sign patterns have at most 6."""
    other = [0.3, 0.2, 0.4, 0.1, 0.35, 0.2]
    first = np.add(other, [0.1, 0.2, 0.3, 0.4, 0.5, -0.6])
    rows = pd.concat([table_of({"a": first, "b": other}), table_of({"a": other, "b": first}, soils=50)])
    table = pairs(rows, ["a", "b"])
    row = rows_at(table, "pH", 100).loc["b"]
    assert (row.repeats, row.wins) == (6, 5)
    assert row.difference == pytest.approx(0.25)
    assert row.p == pytest.approx(28 / 64)
    assert rows_at(table, "pH", 50).loc["b"].wins == 1


def test_pairs_compare_the_same_repeat_for_any_order_of_rows():
    rows = table_of({"a": [0.1, 0.9, 0.5], "b": [0.0, 0.8, 0.6]})
    shuffled = rows.sample(frac=1, random_state=3)
    assert rows_at(pairs(shuffled, ["a", "b"]), "pH", 100).loc["b"].wins == 2


def test_folds_of_a_seed_are_separate_pairs_and_equal_scores_are_no_win():
    rows = pd.concat([table_of({"a": [0.5], "b": [0.5]}), table_of({"a": [0.9], "b": [0.2]}).assign(fold=1)])
    pair = rows_at(pairs(rows, ["a", "b"]), "pH", 100).loc["b"]
    assert (pair.repeats, pair.wins) == (2, 1)
    assert pair.difference == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("differences", "p"),
    [([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2 / 64), ([0.0] * 8, 1.0), ([0.1] * 5, np.nan), ([], np.nan)],
)
def test_signed_rank_p_values(differences, p):
    np.testing.assert_allclose(signed_rank_p(np.array(differences)), p)


@pytest.mark.parametrize(
    ("wins", "difference", "p", "expected"),
    [
        (8, 0.021, 0.02, "a is better than b in 8 of 10 repeats, median difference of R² 0.021, p 0.020"),
        (1, -0.03, 0.0004, "b is better than a in 9 of 10 repeats, median difference of R² 0.030, p <0.001"),
        (
            6,
            0.004,
            0.56,
            "a and b: no clear difference (a is better in 6 of 10 repeats, median difference of R² +0.004, p 0.56)",
        ),
        (
            4,
            0.004,
            0.01,
            "a and b: no clear difference (a is better in 4 of 10 repeats, median difference of R² +0.004, p 0.010)",
        ),
        (10, 0.1, np.nan, "a is better than b in 10 of 10 repeats; too few repeats for a test"),
    ],
)
def test_sentences_follow_the_rule_of_the_page(wins, difference, p, expected):
    pair = pd.Series({"repeats": 10, "wins": wins, "difference": difference, "p": p})
    assert sentence("a", "b", pair, "repeats") == expected


def test_p_has_its_significant_digits():
    assert [p_text(p) for p in (np.nan, 1e-5, 0.0312, 0.25)] == ["too few repeats", "<0.001", "0.031", "0.25"]


def test_the_printed_table_is_sorted_by_target_and_size():
    rows = pd.concat([table_of({"a": [0.5], "b": [0.4]}, target, size) for size in (50, 100) for target in ("N", "pH")])
    lines = comparison_table(rows, ["a", "b"], "soils: medians").splitlines()
    assert lines[0] == "soils: medians"
    assert [line.split()[:2] for line in lines[2::2]] == [["N", "50"], ["N", "100"], ["pH", "50"], ["pH", "100"]]
    assert lines[3].split()[:2] == ["b", "0.400"]
    assert lines[3].endswith("1 of 1   +0.100  too few repeats")
