"""Properties of the random distortions of training spectra."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from relple_tf.config import AugmentationConfig
from relple_tf.models.front_end import Snv
from relple_tf.training.augmentation import Augment, is_active

GRID = np.arange(1100, 2500, 10.0)
OFF = AugmentationConfig(noise=0, offset=0, slope=0, scatter=0, shift_nm=0)
SIZES = {"noise": 0.01, "offset": 0.02, "slope": 0.03, "scatter": 0.05, "shift_nm": 2.0}


def curves(rows, nm=GRID):
    """Smooth absorbance, (rows, grid): two broad bands on a slope."""
    strength = np.linspace(0.5, 1.5, rows)[:, None]
    bands = 0.3 * np.exp(-(((nm - 1450) / 120) ** 2)) + 0.2 * np.exp(-(((nm - 1930) / 90) ** 2))
    return (0.4 + strength * bands + 1e-4 * (nm - 1100)).astype("float32")


def distorted(x, config, seed=0):
    return np.asarray(Augment(config, GRID, seed)(x, training=True)).astype("float64")


def only(name):
    return replace(OFF, **{name: SIZES[name]})


def test_identity_outside_training():
    x = curves(3)
    layer = Augment(AugmentationConfig(noise=0.0002, offset=0.02, slope=0.02, scatter=0.03, shift_nm=0.5), GRID, 0)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_without_amplitudes_the_layer_is_the_identity_and_not_active():
    np.testing.assert_array_equal(distorted(curves(3), OFF), curves(3))
    assert not is_active(OFF)


@pytest.mark.parametrize("name", SIZES)
def test_every_distortion_is_active_alone_and_changes_every_spectrum(name):
    assert is_active(only(name))
    changed = np.abs(distorted(curves(5), only(name)) - curves(5)).max(axis=1)
    assert (changed > 1e-5).all()


def test_every_field_of_the_config_is_tested():
    assert set(SIZES) == set(vars(OFF))


@pytest.mark.parametrize("name", SIZES)
def test_amplitudes_are_standard_deviations_around_zero(name):
    """With 20,000 rows the standard error is 0.5 % of the SD for an SD, 0.7 % for a mean; limits are 5 times that."""
    rows = 20_000
    x = np.repeat(curves(1), rows, axis=0)
    change = distorted(x, only(name)) - x
    slope = np.gradient(curves(1)[0].astype("float64"), 10.0)
    steep = int(np.argmax(np.abs(slope)))
    random_number = {
        "noise": lambda: change[:, 5],
        "offset": lambda: change[:, 5],
        "slope": lambda: change[:, -1] - change[:, 0],
        "scatter": lambda: np.log1p(change[:, 5] / x[:, 5]),
        "shift_nm": lambda: change[:, steep] / slope[steep],
    }[name]()
    assert random_number.std() == pytest.approx(SIZES[name], rel=0.025)
    assert abs(random_number.mean()) < 0.036 * SIZES[name]


def test_offset_is_a_constant_per_spectrum():
    change = distorted(curves(6), only("offset")) - curves(6)
    np.testing.assert_allclose(change, change[:, :1].repeat(len(GRID), 1), atol=2e-7)
    assert len(np.unique(change[:, 0])) == 6


def test_scatter_is_a_positive_factor_per_spectrum():
    factor = distorted(curves(6), only("scatter")) / curves(6)
    np.testing.assert_allclose(factor, factor[:, :1].repeat(len(GRID), 1), rtol=1e-6)
    assert (factor > 0).all()
    assert len(np.unique(factor[:, 0])) == 6


def test_slope_is_a_straight_line_of_mean_zero():
    change = distorted(curves(6), only("slope")) - curves(6)
    np.testing.assert_allclose(np.diff(change, 2), 0, atol=5e-7)
    np.testing.assert_allclose(change.mean(axis=1), 0, atol=1e-7)


def test_noise_is_independent_between_bands_and_spectra():
    x = np.zeros((4000, len(GRID)), "float32")
    noise = distorted(x, only("noise"))
    correlation = np.corrcoef(noise[:, :10].T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_snv_removes_offset_and_scatter():
    x = curves(6)
    config = replace(OFF, offset=0.05, scatter=0.1)
    np.testing.assert_allclose(Snv()(distorted(x, config).astype("float32")), Snv()(x), atol=2e-5)


def test_shift_equals_a_shifted_smooth_curve_to_first_order():
    x = curves(6)
    inner = slice(1, -1)
    change = (distorted(x, only("shift_nm")) - x)[:, inner]
    slope = np.gradient(x.astype("float64"), 10.0, axis=1)[:, inner]
    shifts = (change * slope).sum(axis=1) / (slope**2).sum(axis=1)
    assert np.abs(shifts).max() > 0.5
    for row, shift in enumerate(shifts):
        exact = (curves(6, GRID + shift)[row] - x[row])[inner]
        # Second order: the shift over the width of a band, and the 10 nm of the central difference.
        np.testing.assert_allclose(change[row], exact, atol=0.05 * np.abs(exact).max() + 3e-7)


def test_two_calls_differ_and_the_same_seed_repeats_both():
    first, second = (
        Augment(AugmentationConfig(noise=0.0002, offset=0.02, slope=0.02, scatter=0.03, shift_nm=0.5), GRID, 7)
        for _ in range(2)
    )
    first_output, second_output = (np.asarray(first(curves(3), training=True)) for _ in range(2))
    assert (first_output != second_output).all()
    for expected in (first_output, second_output):
        np.testing.assert_array_equal(second(curves(3), training=True), expected)
    other = Augment(AugmentationConfig(noise=0.0002, offset=0.02, slope=0.02, scatter=0.03, shift_nm=0.5), GRID, 8)(
        curves(3), training=True
    )
    assert (np.asarray(other) != first_output).any()


def test_state_of_the_generator_is_a_variable_of_the_model():
    layer = Augment(AugmentationConfig(noise=0.0002, offset=0.02, slope=0.02, scatter=0.03, shift_nm=0.5), GRID, 0)
    model = keras.Sequential([keras.Input((len(GRID),)), layer])
    assert len(model.variables) == 1
