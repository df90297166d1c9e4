"""Laws of the target scales and of the layer that converts predictions to laboratory units."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from relple_tf.models.target_scaling import MARGIN, InverseTargetScaling, TargetScale

DRAW = np.random.default_rng(0)
VALUES = {
    "symmetric": DRAW.normal(7, 0.8, 200),
    "skewed": np.exp(DRAW.normal(2, 1, 200)),
    "skewed below zero": np.exp(DRAW.normal(2, 1, 200)) - 5,
    "with zeros": np.concatenate([np.zeros(20), np.exp(DRAW.normal(2, 1, 180))]),
}
NON_NEGATIVE = ("symmetric", "skewed", "with zeros")


@pytest.fixture(params=VALUES, ids=list(VALUES))
def case(request):
    values = VALUES[request.param]
    return values, TargetScale.fit("OC_g_kg", values)


def layer_of(scale, modelled):
    return np.asarray(InverseTargetScaling([scale])(np.asarray(modelled, "float32")[:, None]))[:, 0]


def test_modelled_training_values_have_mean_zero_and_sd_one(case):
    values, scale = case
    modelled = scale.to_model(values)
    assert modelled.mean() == pytest.approx(0, abs=1e-12)
    assert modelled.std() == pytest.approx(1, abs=1e-12)


def test_layer_equals_to_lab_and_its_closed_form(case):
    _, scale = case
    z = np.linspace(-6, 6, 101)
    y = np.clip(z, scale.low, scale.high) * scale.sd + scale.mean
    expected = y**2 if scale.root else y
    expected = np.maximum(expected, 0) if scale.non_negative else expected
    np.testing.assert_allclose(scale.to_lab(z), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer_of(scale, z), expected, rtol=2e-5, atol=1e-5)


def test_each_target_is_scaled_independently_of_the_others():
    scales = [TargetScale.fit("OC_g_kg", values) for values in VALUES.values()]
    assert len({(scale.root, scale.non_negative) for scale in scales}) == 3
    z = np.random.default_rng(3).normal(0, 4, size=(50, len(scales))).astype("float32")
    z[0] = np.nan
    together = np.asarray(InverseTargetScaling(scales)(z))
    for column, scale in enumerate(scales):
        np.testing.assert_allclose(together[:, column], layer_of(scale, z[:, column]), rtol=1e-6, atol=1e-6)


def test_round_trip_inside_the_range(case):
    values, scale = case
    np.testing.assert_allclose(scale.to_lab(scale.to_model(values)), values, atol=1e-9)
    np.testing.assert_allclose(layer_of(scale, scale.to_model(values)), values, rtol=2e-5, atol=1e-4)


def test_an_extreme_prediction_exceeds_the_training_range_by_a_tenth_at_most(case):
    values, scale = case
    modelled = np.sqrt(values) if scale.root else values
    margin = 0.1 * np.ptp(modelled)
    low, high = modelled.min() - margin, modelled.max() + margin
    if values.min() >= 0:
        low = max(low, 0)
    expected = np.array([low, high]) ** (2 if scale.root else 1)
    assert MARGIN == 0.1
    np.testing.assert_allclose(scale.to_lab(np.array([-1e9, 1e9])), expected, atol=1e-9)
    got = layer_of(scale, [-1e30, 1e30, -np.inf, np.inf])
    np.testing.assert_allclose(got, np.tile(expected, 2), rtol=2e-5, atol=1e-5)


def test_nan_stays_nan(case):
    _, scale = case
    assert np.isnan(layer_of(scale, [np.nan])).all()
    assert np.isnan(scale.to_model(np.array([np.nan]))).all()


@pytest.mark.parametrize("name", NON_NEGATIVE)
def test_a_concentration_is_not_predicted_below_zero(name):
    scale = TargetScale.fit("OC_g_kg", VALUES[name])
    # Up to rounding of float32; test_no_prediction_is_below_zero_even_by_rounding is the strict form.
    assert layer_of(scale, [-1e9])[0] >= -1e-5
    assert scale.to_lab(np.array(-1e9)) >= -1e-12


def test_no_prediction_is_below_zero_even_by_rounding():
    for seed in range(100):
        draw = np.random.default_rng(seed)
        values = np.exp(draw.normal(size=50) * draw.uniform(0.1, 2)) * draw.uniform(0.1, 30)
        for may_root in (True, False):
            scale = TargetScale.fit("OC_g_kg", values, may_root=may_root)
            # The lower end of the range alone does not ensure it: rounding may put it below 0.
            assert layer_of(replace(scale, low=-scale.mean / scale.sd), [-1e9])[0] >= 0


def test_the_root_of_a_negative_value_is_minus_the_root_of_its_absolute_value():
    scale = TargetScale.fit("OC_g_kg", VALUES["skewed"])
    low, zero, high = scale.to_model(np.array([-4.0, 0.0, 4.0]))
    assert low - zero == pytest.approx(zero - high)
    assert low < zero


@pytest.mark.parametrize(
    ("name", "root"),
    {
        "symmetric": False,
        "skewed": True,
        "skewed below zero": False,
        "with zeros": True,
    }.items(),
)
def test_the_root_is_chosen_only_for_skewed_targets_without_negative_values(name, root):
    assert TargetScale.fit("OC_g_kg", VALUES[name]).root is root


def test_missing_values_do_not_change_the_scale():
    values = VALUES["skewed"]
    with_missing = np.concatenate([values, np.full(30, np.nan)])
    assert TargetScale.fit("OC_g_kg", with_missing) == TargetScale.fit("OC_g_kg", values)


def test_a_saved_layer_gives_the_same_outputs(case, tmp_path):
    _, scale = case
    scan = keras.Input((1,))
    model = keras.Model(scan, InverseTargetScaling([scale], name="lab")(scan))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    z = np.linspace(-4, 4, 33, dtype="float32")[:, None]
    np.testing.assert_array_equal(loaded(z), model(z))
    assert loaded.get_layer("lab").scales == (replace(scale),)
