"""Laws of the front end: equality with other tools, identities, statistics of training rows only."""

from dataclasses import replace

import chemotools.derivative
import chemotools.scatter
import keras
import numpy as np
import pytest
from conftest import CONFIG
from scipy.signal import savgol_filter

from relple_tf.config import CHANNELS, FrontEndConfig
from relple_tf.errors import InputError
from relple_tf.models.front_end import (
    BandStandardise,
    InvalidIsNan,
    Resample,
    SavitzkyGolay,
    Snv,
    ToAbsorbance,
    absorbance_stage,
    apply,
    channel_stage,
    fit_channel_stage,
    grid_nm,
    integer_stride,
    triangle_weights,
    window_points,
)
from relple_tf.spectra.library import ABSORBANCE_RANGE, REFLECTANCE_RANGE, SpectralLibrary
from relple_tf.training.preparation import whitening

GRID = np.arange(1100, 1500, 4.0)
ALL = FrontEndConfig(channels=CHANNELS, views=(), step_nm=4.0, derivative_window_nm=28.0)


@pytest.fixture
def spectra():
    """(40, 100) absorbance: peaks of random height and position on a slope, with some noise."""
    draw = np.random.default_rng(0)
    height, centre, slope = (draw.uniform(*r, (40, 1)) for r in ((0.1, 1), (1200, 1400), (0, 1e-3)))
    x = 0.4 + height * np.exp(-(((GRID - centre) / 40) ** 2)) + slope * (GRID - 1100)
    return (x + draw.normal(0, 1e-3, x.shape)).astype("float32")


def assert_close(got, expected):
    """Tolerance 1e-5 of the range of `expected`, because derivatives per nm are small numbers."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_snv_equals_chemotools(spectra):
    expected = chemotools.scatter.StandardNormalVariate().fit_transform(spectra.astype("float64"))
    assert_close(Snv()(spectra), expected)


def test_snv_has_mean_zero_and_population_sd_one(spectra):
    out = np.asarray(Snv()(spectra), "float64")
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=1, ddof=0), 1, rtol=1e-5)


def test_snv_ignores_offset_and_gain(spectra):
    np.testing.assert_allclose(Snv()(3 * spectra + 7), Snv()(spectra), atol=5e-5)


@pytest.mark.parametrize("derivative", [0, 1, 2])
@pytest.mark.parametrize(("points", "polynomial"), [(3, 2), (7, 2), (11, 4)])
def test_savitzky_golay_equals_scipy(spectra, points, polynomial, derivative):
    got = SavitzkyGolay(points, polynomial, derivative, 4.0)(spectra)
    half = points // 2
    expected = savgol_filter(spectra.astype("float64"), points, polynomial, deriv=derivative, delta=4.0)
    assert_close(got, expected[:, half:-half])


@pytest.mark.parametrize("derivative", [1, 2])
def test_savitzky_golay_equals_chemotools_per_band(spectra, derivative):
    tool = chemotools.derivative.SavitzkyGolay(window_length=7, polyorder=2, deriv=derivative)
    expected = tool.fit_transform(spectra.astype("float64"))[:, 3:-3]
    assert_close(np.asarray(SavitzkyGolay(7, 2, derivative, 5.0)(spectra)) * 5.0**derivative, expected)


@pytest.mark.parametrize("step_nm", [1.0, 2.0, 5.0])
def test_derivative_of_a_parabola_is_per_nm_for_every_step(step_nm):
    nm = step_nm * np.arange(41)
    x = (0.3 + 2e-3 * nm + 3e-5 * nm**2)[None].astype("float32")
    first, second = (SavitzkyGolay(9, 2, order, step_nm)(x)[0] for order in (1, 2))
    np.testing.assert_allclose(first, (2e-3 + 6e-5 * nm)[4:-4], rtol=1e-3)
    np.testing.assert_allclose(second, 6e-5, rtol=5e-3)


@pytest.mark.parametrize("step_nm", [1.0, 2.0, 5.0])
def test_derivative_of_a_line_is_its_slope_per_nm(step_nm):
    line = (0.3 + 2e-3 * step_nm * np.arange(30))[None].astype("float32")
    np.testing.assert_allclose(SavitzkyGolay(7, 2, 1, step_nm)(line), 2e-3, rtol=1e-4)


def test_absorbance_is_minus_log10_of_reflectance():
    r = np.linspace(0.001, 1.2, 50, dtype="float32")[None]
    np.testing.assert_allclose(ToAbsorbance()(r), -np.log10(r), atol=1e-6)


def test_absorbance_of_a_dark_band_is_four():
    np.testing.assert_allclose(ToAbsorbance()(np.array([[0.0, 5e-5, 1e-4]], "float32")), 4, atol=1e-6)


def test_absorbance_passes_bit_for_bit(spectra):
    np.testing.assert_array_equal(ToAbsorbance("absorbance")(spectra), spectra)


@pytest.mark.parametrize("quantity", ["reflectance", "absorbance"])
def test_a_band_is_nan_exactly_where_a_library_is_refused(quantity):
    """At the ends of the range, to the last bit, and far outside it."""
    low, high = np.float32(REFLECTANCE_RANGE if quantity == "reflectance" else ABSORBANCE_RANGE)
    # Runtimes round numbers nearer to 0 than `tiny` to 0.
    below, above = low - max(np.spacing(-low), np.finfo("float32").tiny), np.nextafter(high, np.float32(9))
    inside = np.array([low, np.nextafter(low, high), 0.3, np.nextafter(high, low), high], "float32")
    outside = np.array([np.nan, np.inf, -np.inf, below, above, -1, 100, -1e30, 1e30], "float32")
    bands = np.asarray(ToAbsorbance(quantity)(np.concatenate([inside, outside])[None]))[0]
    assert np.isfinite(bands[: len(inside)]).all()
    assert np.isnan(bands[len(inside) :]).all()
    for value in (*inside, *outside):
        scan = np.array([[0.2, 0.4, value, 0.6]], "float32")
        library = SpectralLibrary(
            source="test",
            spectra=scan,
            wavelengths_nm=np.arange(1100.0, 1104.0),
            quantity=quantity,
            targets={},
            ids=np.array(["a"]),
        )
        if np.isnan(np.asarray(ToAbsorbance(quantity)(scan))).any():
            with pytest.raises(InputError):
                library.checked()
        else:
            library.checked()


def test_a_saved_layer_without_a_quantity_reads_reflectance():
    """As in runs of versions in which the layer had no quantity."""
    assert ToAbsorbance.from_config({"name": "absorbance"}).quantity == "reflectance"
    assert ToAbsorbance.from_config(ToAbsorbance("absorbance").get_config()).quantity == "absorbance"


UNEVEN = np.concatenate([np.arange(1000, 1100, 5.0), np.arange(1100, 1301, 10.0)])


@pytest.mark.parametrize("old", [np.arange(1000, 1301, 10.0), UNEVEN], ids=["even", "uneven"])
def test_resampling_to_a_finer_grid_is_linear_interpolation(old):
    new = np.arange(1001, 1299, 2.5)
    x = np.random.default_rng(0).normal(size=(3, len(old))).astype("float32")
    expected = np.stack([np.interp(new, old, row) for row in x])
    np.testing.assert_allclose(Resample(old, new)(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "coarser": (np.arange(1000, 1301, 2.0), np.arange(1003, 1290, 9.0)),
        "uneven": (UNEVEN, np.arange(1020, 1280, 20.0)),
        "finer": (np.arange(1000, 1301, 10.0), np.arange(1000, 1301, 3.0)),
        "same": (GRID, GRID),
    }.values(),
    ids=["coarser", "uneven", "finer", "same"],
)
def test_resampling_weights_sum_to_one_and_keep_constants_and_lines(old, new):
    _, weights = triangle_weights(old, new)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights >= -1e-9).all()
    layer = Resample(old, new)
    np.testing.assert_allclose(layer(np.full((1, len(old)), 0.7, "float32")), 0.7, rtol=1e-6)
    line = layer(((old - 1100) / 100)[None].astype("float32"))
    # At the ends a triangle is truncated; where the old step changes it is asymmetric, by a fraction of the step.
    tolerance = 0.02 if old is UNEVEN else 1e-5
    np.testing.assert_allclose(line[0, 2:-2], ((new - 1100) / 100)[2:-2], atol=tolerance)


@pytest.mark.parametrize(("first", "after"), [(0, 0), (0, 3), (1, 0), (2, 1), (9, 9)])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_resampling_as_a_convolution_is_the_weighted_sum_of_bands(stride, first, after):
    """Integer strides, with `first` and `after` old bands outside the new grid: triangles are truncated or complete."""
    old = 1100 + 2.0 * np.arange(first + 12 * stride + 1 + after)
    new = old[first : first + 12 * stride + 1 : stride]
    assert integer_stride(old, new) == stride
    bands, weights = triangle_weights(old, new)
    x = np.random.default_rng(0).normal(size=(3, len(old))).astype("float32")
    np.testing.assert_allclose(Resample(old, new)(x), np.sum(x[:, bands] * weights, axis=2), atol=1e-6)


@pytest.mark.parametrize(
    "new",
    [
        np.arange(1100, 1200, 2.0),
        np.arange(1101, 1200, 4.0),
        np.arange(1100, 1200, 5.0),
        np.array([1100, 1104, 1110.0]),
    ],
    ids=["same step", "between bands", "half a stride", "uneven"],
)
def test_other_grids_have_no_integer_stride(new):
    assert integer_stride(np.arange(1100, 1201, 2.0), new) == 0
    assert integer_stride(np.geomspace(1100, 1201, 51), np.arange(1100, 1200, 4.0)) == 0


def test_resampling_to_a_coarser_grid_averages_noise():
    old, new = np.arange(1000, 1301, 1.0), np.arange(1010, 1290, 10.0)
    noise = np.random.default_rng(0).normal(size=(400, len(old))).astype("float32")
    sd = np.asarray(Resample(old, new)(noise)).std()
    # The squared weights of a triangle of half width h sum to 2/(3h).
    assert sd == pytest.approx(np.sqrt(2 / 30), rel=0.05)


def test_resampling_to_the_same_grid_changes_nothing(spectra):
    np.testing.assert_allclose(Resample(GRID, GRID)(spectra), spectra, rtol=1e-6)


@pytest.mark.parametrize("new", [[1090, 1200], [1200, 1500]])
def test_resampling_beyond_the_range_is_refused(new):
    with pytest.raises(ValueError, match=r"cannot resample 1100\.\.1496 nm"):
        Resample(GRID, new)


def test_grid_lies_inside_the_library_and_the_configured_range():
    config = FrontEndConfig(start_nm=1150, stop_nm=1400, step_nm=8.0)
    np.testing.assert_allclose(grid_nm(GRID, config), np.arange(1150, 1401, 8.0))
    whole = grid_nm(GRID, FrontEndConfig(step_nm=4.0))
    np.testing.assert_allclose(whole, GRID)
    with pytest.raises(InputError, match=r"1600\.\.1496 nm .* 1100\.\.1496 nm leaves 0 bands"):
        grid_nm(GRID, FrontEndConfig(start_nm=1600))


@pytest.mark.parametrize(
    ("window", "step", "polynomial"),
    [(28, 4, 2), (28, 2, 2), (28, 20, 2), (1, 50, 5), (300, 10, 3), (29, 1, 4)],
)
def test_window_is_odd_as_wide_as_configured_and_large_enough_for_the_polynomial(window, step, polynomial):
    config = FrontEndConfig(derivative_window_nm=window, step_nm=step, derivative_polynomial=polynomial)
    points = window_points(config)
    assert points % 2
    assert points > polynomial
    assert abs((points - 1) * step - window) <= step or points - 2 <= polynomial


def test_channels_are_aligned_on_the_same_bands(spectra):
    smooth = savgol_filter(spectra, 15, 2).astype("float32")
    out = np.asarray(channel_stage(len(GRID), ALL)(smooth), "float64")
    half = window_points(ALL) // 2
    channel = {name: out[:, :, i] for i, name in enumerate(ALL.channels)}
    np.testing.assert_array_equal(channel["absorbance"], smooth[:, half:-half])
    np.testing.assert_array_equal(channel["snv"], np.asarray(Snv()(smooth))[:, half:-half])
    for source, first, second in (("absorbance", "d1", "d2"), ("snv", "snv_d1", "snv_d2")):
        for below, above in ((source, first), (first, second)):
            numeric = np.gradient(channel[below], 4.0, axis=1)[:, 3:-3]
            derivative = channel[above][:, 3:-3]
            by_lag = [np.corrcoef(np.roll(numeric, n, axis=1).ravel(), derivative.ravel())[0, 1] for n in (-1, 0, 1)]
            assert np.argmax(by_lag) == 1
            assert by_lag[1] > 0.9
            assert np.polyfit(numeric.ravel(), derivative.ravel(), 1)[0] == pytest.approx(1, abs=0.15)


def test_channel_order_is_that_of_the_config(spectra):
    reversed_order = replace(ALL, channels=CHANNELS[::-1])
    features, reversed_features = (np.asarray(channel_stage(len(GRID), c)(spectra)) for c in (ALL, reversed_order))
    np.testing.assert_array_equal(features, reversed_features[:, :, ::-1])


def test_training_features_have_mean_zero_and_sd_one_per_band(spectra):
    stage = channel_stage(len(GRID), ALL)
    fit_channel_stage(stage, spectra)
    out = apply(stage, spectra).astype("float64")
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=2e-4)
    np.testing.assert_allclose(out.std(axis=0), 1, rtol=2e-4)


def test_statistics_do_not_depend_on_the_block_size(spectra):
    many = np.tile(spectra, (8, 1))
    stages = [channel_stage(len(GRID), ALL) for _ in range(2)]
    for stage, rows in zip(stages, (spectra, many), strict=True):
        fit_channel_stage(stage, rows)
    of_one_block, of_blocks = (stage.get_layer("standardise").get_weights() for stage in stages)
    for expected, statistic in zip(of_one_block, of_blocks, strict=True):
        np.testing.assert_allclose(statistic, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("value", [0.1, 0.3, 2.0, 4.0])
def test_a_constant_band_becomes_zero(spectra, value):
    config = FrontEndConfig(channels=("absorbance",), views=(), step_nm=4.0)
    spectra[:, 20] = value
    stage = channel_stage(len(GRID), config)
    fit_channel_stage(stage, spectra)
    other = spectra.copy()
    other[:, 20] += 0.05
    out = apply(stage, other)[:, 20 - window_points(config) // 2]
    np.testing.assert_allclose(out, 0, atol=1e-3)


@pytest.mark.parametrize("bad", ["nan", "one nan", "constant"])
def test_an_impossible_scan_is_nan_and_does_not_change_the_others(spectra, bad):
    config = FrontEndConfig(step_nm=4.0)
    channels = channel_stage(len(GRID), config)
    fit_channel_stage(channels, spectra)
    first = absorbance_stage(GRID, "absorbance", config)
    stage = keras.Model(first.input, channels(first.output))
    before = apply(stage, spectra)
    spectra[3] = {"nan": np.nan, "constant": 0.5}.get(bad, spectra[3])
    if bad == "one nan":
        spectra[3, 50] = np.nan
    after = apply(stage, spectra)
    assert np.isnan(after[3]).all()
    others = np.arange(len(spectra)) != 3
    np.testing.assert_array_equal(after[others], before[others])


def test_outputs_are_nan_where_any_band_is_nan_and_pass_bit_for_bit_elsewhere(spectra):
    outputs = np.random.default_rng(0).normal(size=(len(spectra), 3)).astype("float32")
    bad = [(row, band) for row, band in ((0, 0), (1, 50), (2, len(GRID) - 1))]
    for row, band in bad:
        spectra[row, band] = np.nan
    spectra[3] = np.nan
    after = np.asarray(InvalidIsNan()((spectra, outputs)))
    assert np.isnan(after[:4]).all()
    np.testing.assert_array_equal(after[4:], outputs[4:])


@pytest.mark.parametrize("level", [ABSORBANCE_RANGE[0], ABSORBANCE_RANGE[1], -np.log10(REFLECTANCE_RANGE[1])])
def test_outputs_of_the_brightest_and_darkest_possible_scan_pass(level):
    absorbance, outputs = np.full((1, 500), level, "float32"), np.ones((1, 2), "float32")
    np.testing.assert_array_equal(InvalidIsNan()((absorbance, outputs)), outputs)


@pytest.mark.parametrize("quantity", ["reflectance", "absorbance"])
@pytest.mark.parametrize("step_nm", [4.0, 10.0])
def test_every_constant_scan_is_nan(quantity, step_nm):
    stage = absorbance_stage(GRID, quantity, FrontEndConfig(step_nm=step_nm))
    levels = np.linspace(0.05, 0.95, 40, dtype="float32")
    assert np.isnan(apply(stage, np.tile(levels[:, None], (1, len(GRID))))).all()


def test_nan_reflectance_is_nan_absorbance_after_resampling():
    reflectance = np.tile(np.linspace(0.2, 0.5, len(GRID), dtype="float32"), (2, 1))
    reflectance[1] = np.nan
    config = FrontEndConfig(step_nm=6.0)
    out = apply(absorbance_stage(GRID, "reflectance", config), reflectance)
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("quantity", ["reflectance", "absorbance"])
@pytest.mark.parametrize("step_nm", [4.0, 10.0])
def test_absorbance_stage_is_its_layers_in_order(spectra, quantity, step_nm):
    config = FrontEndConfig(step_nm=step_nm)
    rows = 10**-spectra if quantity == "reflectance" else spectra
    stage = absorbance_stage(GRID, quantity, config)
    expected = ToAbsorbance(quantity)(rows)
    if step_nm != 4.0:
        expected = Resample(GRID, grid_nm(GRID, config))(expected)
    np.testing.assert_array_equal(apply(stage, rows), expected)
    assert (Resample in {type(layer) for layer in stage.layers}) == (step_nm != 4.0)


def test_apply_in_blocks_equals_one_pass(spectra):
    stage = channel_stage(len(GRID), ALL)
    many = np.tile(spectra, (15, 1))[:515]
    np.testing.assert_allclose(apply(stage, many), stage(many), atol=1e-5)


def test_saved_stages_give_the_same_bits(spectra, tmp_path):
    config = replace(ALL, step_nm=6.0)
    absorbance = absorbance_stage(GRID, "reflectance", config)
    on_grid = apply(absorbance, 10**-spectra)
    channels = channel_stage(on_grid.shape[1], config)
    fit_channel_stage(channels, on_grid)
    for name, stage, rows in (("a", absorbance, 10**-spectra), ("c", channels, on_grid)):
        stage.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras", safe_mode=True)
        np.testing.assert_array_equal(apply(loaded, rows), apply(stage, rows))


def test_statistics_are_not_trainable():
    layer = BandStandardise()
    layer.build((None, 4, 2))
    assert not layer.trainable_weights
    assert [tuple(w.shape) for w in layer.weights] == [(4, 2), (4, 2)]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_whitened_scores_have_the_documented_variances(exponent):
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(80, 4)) * [5, 2, 1, 0.3]) @ draw.normal(size=(4, 30)) + 3
    x = (x + 0.01 * draw.normal(size=x.shape)).astype("float32")
    config = replace(CONFIG, front_end=replace(CONFIG.front_end, whitening_exponent=exponent))
    kernel, bias = whitening(x, config)
    scores = x.astype("float64") @ kernel + bias
    covariance = np.cov(scores.T)
    sd = np.linalg.svd(x - x.mean(axis=0))[1][:6] / np.sqrt(79)
    expected = sd ** (2 - 2 * exponent)
    np.testing.assert_allclose(np.diag(covariance), expected / expected.mean(), rtol=1e-3)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-4)
    assert np.diag(covariance).mean() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_whitening_does_not_amplify_directions_without_variance(exponent):
    draw = np.random.default_rng(0)
    x = np.tile(draw.normal(size=(3, 20)), (10, 1)).astype("float32")
    config = replace(CONFIG, front_end=replace(CONFIG.front_end, whitening_exponent=exponent))
    kernel, bias = whitening(x, config)
    assert np.abs(kernel).max() < 10
    other = draw.normal(size=(50, 20)) @ kernel + bias
    assert np.abs(other).max() < 30


def test_the_number_of_rows_limits_the_number_of_components():
    x = np.random.default_rng(0).normal(size=(4, 20)).astype("float32")
    kernel, bias = whitening(x, CONFIG)
    assert kernel.shape == (20, 3)
    assert bias.shape == (3,)
