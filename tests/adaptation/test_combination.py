"""Methods that adapt a run, and their combination: the layer is their weighted mean, and nothing leaks."""

import dataclasses

import keras
import numpy as np
import pytest

from relple_tf.adaptation.combination import COMBINED, FEWEST_SAMPLES, METHODS, LocalSoils, combine

NAMES = ("OC", "pH", "N")
SOILS = 24


def field(seed=0, soils=SOILS, scans=1, bias=0.0, local_effect=0.0, noise=0.05):
    """Estimates, values, views and samples of local soils whose values differ from the estimates as stated."""
    rng = np.random.default_rng(seed)
    kernel, _ = np.linalg.qr(rng.normal(size=(40, 6)))
    scores = np.repeat(rng.normal(size=(soils, 6)), scans, axis=0) + 0.01 * rng.normal(size=(soils * scans, 6))
    estimated = {name: scores[:, column] for column, name in enumerate(NAMES)}
    soil_noise = np.repeat(noise * rng.normal(size=soils), scans)
    measured = {
        name: estimated[name] + bias + local_effect * scores[:, 4] + soil_noise for name in NAMES if name != "N"
    }
    return LocalSoils(
        estimated=estimated,
        measured=measured,
        scores=(scores.astype("float32"),),
        kernels=(kernel.astype("float32"),),
        samples=np.repeat(np.arange(soils), scans),
    )


def rms(values):
    return float(np.sqrt(np.nanmean(np.square(values))))


def errors(combination, measured):
    return {method: rms(values - measured) for method, values in combination.held_out.items()}


def combined_by_layer(combination, regression, estimated, name, scores):
    column = list(regression.targets).index(name)
    slope = combination[name].slope if name in combination else 1.0
    return slope * estimated[name] + keras.ops.convert_to_numpy(regression([scores]))[:, column]


def test_the_layer_predicts_the_weighted_mean_of_the_methods():
    """Fitted to soils whose values are exactly linear, so that every method of estimate and bias is known."""
    soils = field(bias=0.7, noise=0.0)
    combination, regression = combine(soils, SOILS, 0)
    weights = combination["OC"].weights
    assert list(weights) == list(METHODS)
    assert sum(weights.values()) == pytest.approx(1)
    # Bias, slope and bias, and residual regression are exact here; the others are wrong by known amounts.
    local_only = weights["local regression"] + weights["local mean"]
    received = combined_by_layer(combination, regression, soils.estimated, "OC", soils.scores[0])
    error = received - soils.measured["OC"]
    assert local_only < 0.2
    mean_of_none = -0.7 * weights["none"]
    assert np.mean(error) == pytest.approx(mean_of_none, abs=0.01)
    assert rms(error) < 0.1 * rms(soils.measured["OC"])


def test_a_target_without_values_stays_as_it_is():
    soils = field(bias=2.0)
    combination, regression = combine(soils, SOILS, 0)
    assert list(combination) == ["OC", "pH"]
    np.testing.assert_array_equal(
        combined_by_layer(combination, regression, soils.estimated, "N", soils.scores[0]), soils.estimated["N"]
    )


@pytest.mark.parametrize(
    ("truth", "best"),
    [
        ({"bias": 1.0}, {"bias", "slope and bias", "residual regression"}),
        ({"local_effect": 1.0}, {"residual regression", "local regression"}),
    ],
    ids=["a bias", "an effect that the run lacks"],
)
def test_weight_goes_to_the_methods_that_can_describe_the_field(truth, best):
    soils = field(soils=30, **truth)
    combination, _ = combine(soils, 30, 0)
    weights = combination["OC"].weights
    assert sum(weights[method] for method in best) > 0.85
    received = errors(combination["OC"], soils.measured["OC"])
    assert received[COMBINED] < 0.4 * received["none"]


def test_values_without_relation_to_the_scan_get_about_the_local_mean():
    soils = field(soils=20)
    unrelated = {"pH": 3 + np.random.default_rng(5).normal(size=20)}
    combination, _ = combine(dataclasses.replace(soils, measured=unrelated), 20, 0)
    received = errors(combination["pH"], unrelated["pH"])
    assert received[COMBINED] < 1.1 * received["local mean"]
    assert received["none"] > 2 * received["local mean"]


def test_held_out_estimates_do_not_depend_on_the_value_of_the_sample():
    """Both scans of a sample are left out together."""
    soils = field(soils=10, scans=2, bias=1.0)
    changed = {name: values.copy() for name, values in soils.measured.items()}
    changed["OC"][4:6] += 50
    before, after = (
        combine(dataclasses.replace(soils, measured=values), 20, 0)[0]["OC"].held_out
        for values in (soils.measured, changed)
    )
    for method in (*METHODS, COMBINED):
        np.testing.assert_allclose(before[method][4:6], after[method][4:6], rtol=1e-5, err_msg=method)
    for method in ("bias", "local mean", "local regression"):
        assert (np.delete(before[method], (4, 5)) != np.delete(after[method], (4, 5))).all()


def test_scans_of_a_sample_count_as_one_soil():
    soils = field(soils=12, bias=0.5, local_effect=0.3, noise=0.3)
    once, _ = combine(soils, 24, 0)
    again, _ = combine(soils.rows(np.repeat(np.arange(12), 2)), 24, 0)
    assert list(again["OC"].weights.values()) == pytest.approx(list(once["OC"].weights.values()), abs=0.02)


def test_soils_without_a_value_have_no_influence_on_corrections_and_their_estimates_are_missing():
    soils = field(soils=FEWEST_SAMPLES + 3, bias=1.0)
    soils.measured["OC"][:2] = np.nan
    combination, _ = combine(soils, 10, 0)
    for method, values in combination["OC"].held_out.items():
        assert np.isnan(values[:2]).all(), method
        assert np.isfinite(values[2:]).all(), method


def test_values_far_from_the_library_are_not_clipped():
    """The Gaussian process clips values at six standard deviations, but of the local soils."""
    soils = field(soils=30, bias=40.0)
    combination, _ = combine(soils, 30, 0)
    assert errors(combination["OC"], soils.measured["OC"])["local regression"] < 0.8


def test_the_device_compares_with_at_most_the_landmarks_of_the_preset():
    soils = field(soils=30)
    _, regression = combine(soils, 8, 0)
    assert regression.landmark.shape == (1, 8, 6)


def test_equal_values_but_one_end_in_finite_numbers():
    soils = field(soils=6)
    equal = {"OC": np.array([1.0, 1.0, 1.0, 1.0, 1.0, 2.0])}
    with np.errstate(all="raise", under="ignore"):
        combination, _ = combine(dataclasses.replace(soils, measured=equal), 6, 0)
    assert all(np.isfinite(values).all() for values in combination["OC"].held_out.values())


def test_folds_without_a_value_of_a_target_are_passed_over():
    """Few values among many soils: an inner fold may hold all of them."""
    soils = field(soils=20, bias=1.0)
    rare = np.full(20, np.nan)
    rare[:FEWEST_SAMPLES] = soils.measured["pH"][:FEWEST_SAMPLES]
    for seed in range(2):
        combination, _ = combine(
            dataclasses.replace(soils, measured={"OC": soils.measured["OC"], "pH": rare}), 30, seed
        )
        held_out = combination["pH"].held_out[COMBINED]
        np.testing.assert_array_equal(np.isfinite(held_out), np.isfinite(rare))
