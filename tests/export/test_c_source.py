"""The C front end, domain statistics and target scaling agree with the layers of the model, and with SciPy."""

import ctypes
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from c_library import (
    CC,
    FLAT,
    NOT_FINITE,
    OK,
    OUT_OF_RANGE,
    OUTSIDE,
    checked_in_c,
    compiled,
    features_in_c,
    statistics_in_c,
)
from scipy.signal import savgol_filter

from export.c import domain as c_domain
from export.c import front_end as c_front_end
from export.c import scan as c_scan
from export.c import source as c_source
from relple_tf.config import CHANNELS, FrontEndConfig
from relple_tf.models import front_end
from relple_tf.models.domain import DomainStatistics
from relple_tf.models.target_scaling import InverseTargetScaling, TargetScale
from relple_tf.training.intervals import Interval

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")

CONFIG = FrontEndConfig(step_nm=40.0, derivative_window_nm=200.0, channels=CHANNELS, views=("absorbance+snv_d1",))
LIMITS = (9.0, 4.0)


def model_of(library, config):
    """A model of the two front-end stages, fitted on all soils, and the part of its card that C needs."""
    absorbance = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config)
    rows = front_end.apply(absorbance, library.spectra)
    channels = front_end.channel_stage(rows.shape[1], config)
    front_end.fit_channel_stage(channels, rows)
    spectrum = keras.Input(absorbance.input.shape[1:])
    model = keras.Model(spectrum, channels(absorbance(spectrum)))
    # The stages keep their names as layers of this model.
    return model, {"input": {"quantity": library.quantity}, "front_end": {"channels": list(config.channels)}}


def absorbance_of(library):
    return replace(library, spectra=(-np.log10(library.spectra)).astype("float32"), quantity="absorbance")


def write_files(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def stages(library):
    return model_of(library, CONFIG)


@pytest.fixture(scope="module")
def constants(stages):
    return c_front_end.FrontEnd.of(*stages)


@pytest.fixture(scope="module")
def domain(library, stages):
    """DomainStatistics of the first view: features, T2 and Q, its constants for C, the layer."""
    features = front_end.apply(stages[0], library.spectra)
    channels = (CHANNELS.index("absorbance"), CHANNELS.index("snv_d1"))
    bands = features[:, :, list(channels)].transpose(0, 2, 1).reshape(len(features), -1)
    kernel = (np.linalg.svd(bands - bands.mean(axis=0), full_matrices=False)[2][:6].T * 0.3).astype("float32")
    bias = (-bands.mean(axis=0) @ kernel).astype("float32")
    layer = DomainStatistics()
    layer.build((bands.shape, (None, 6)))
    layer.fit(bands, kernel)
    return (
        features,
        [np.asarray(value)[:, 0] for value in layer((bands, bands @ kernel + bias))],
        c_domain.Domain(
            channels=channels,
            kernel=kernel.T,
            bias=bias,
            mean=np.asarray(layer.mean),
            inverse_sd=np.asarray(layer.inverse_sd),
            inverse_scale=np.asarray(layer.inverse_scale),
            neighbours=np.asarray(layer.neighbours),
            closeness=np.asarray(layer.closeness),
        ),
        layer,
    )


@pytest.fixture(scope="module")
def c(tmp_path_factory, constants, domain):
    files = c_scan.scan(constants, LIMITS) | c_front_end.front_end(constants) | c_domain.domain(domain[2])
    return compiled(write_files(tmp_path_factory.mktemp("c"), files))


def features_of(c, constants, scan):
    return features_in_c(c, scan, constants.mean.shape, len(constants.weights))


def test_c_gives_the_features_of_the_model(c, constants, library, stages):
    results = [features_of(c, constants, scan) for scan in library.spectra]
    assert all(status == OK for status, _ in results)
    exact = constants.features(library.spectra)
    np.testing.assert_allclose(np.stack([features for _, features in results]), exact, rtol=1e-5, atol=1e-5)
    # The model computes in float32, in which a derivative is a small difference with a larger error.
    np.testing.assert_allclose(front_end.apply(stages[0], library.spectra), exact, rtol=0, atol=1e-3)


def test_the_reference_in_double_precision_agrees_with_scipy(constants, library):
    scan_absorbance = -np.log10(library.spectra.astype("float64"))
    nm = library.wavelengths_nm
    grid = front_end.grid_nm(nm, CONFIG)
    absorbance = np.sum(scan_absorbance[:, constants.neighbours] * constants.weights, axis=2)
    # Except at the ends, interpolation reproduces a straight line.
    np.testing.assert_allclose(
        np.sum(nm[constants.neighbours] * constants.weights, axis=1)[1:-1], grid[1:-1], rtol=1e-6
    )
    snv = (absorbance - absorbance.mean(axis=1, keepdims=True)) / absorbance.std(axis=1, keepdims=True)
    points = front_end.window_points(CONFIG)
    half = points // 2
    for channel, name in enumerate(CHANNELS):
        source = snv if name.startswith("snv") else absorbance
        if name[-1].isdigit():
            source = savgol_filter(source, points, CONFIG.derivative_polynomial, int(name[-1]), delta=CONFIG.step_nm)
        expected = source[:, half : source.shape[1] - half]
        expected = (expected - constants.mean[:, channel]) * constants.inverse_sd[:, channel]
        np.testing.assert_allclose(constants.features(library.spectra)[:, :, channel], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step_nm", [20.0, 10.0])
def test_c_reads_absorbance_on_its_grid_or_a_finer_grid(tmp_path, library, step_nm):
    soils = absorbance_of(library)
    config = replace(CONFIG, step_nm=step_nm, channels=("snv_d2", "absorbance"), views=())
    constants = c_front_end.FrontEnd.of(*model_of(soils, config))
    c = compiled(write_files(tmp_path, c_scan.scan(constants, LIMITS) | c_front_end.front_end(constants)))
    for scan, expected in zip(soils.spectra[:5], constants.features(soils.spectra[:5]), strict=True):
        status, features = features_of(c, constants, scan)
        assert status == OK
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda scan: np.where(np.arange(len(scan)) == 7, np.nan, scan), NOT_FINITE),
        (lambda scan: np.where(np.arange(len(scan)) == len(scan) - 1, np.inf, scan), NOT_FINITE),
        (lambda scan: np.where(np.arange(len(scan)) == 0, -np.inf, scan), NOT_FINITE),
        (lambda scan: 100 * scan, OUT_OF_RANGE),
        (lambda scan: scan - 1, OUT_OF_RANGE),
        (lambda scan: np.full_like(scan, 0.4), FLAT),
        # All values are below the reflectance floor and count as equal.
        (lambda scan: 1e-5 * scan, FLAT),
    ],
)
def test_an_invalid_scan_has_a_status_and_no_features(c, constants, library, spoil, expected):
    status, features = features_of(c, constants, spoil(library.spectra[0]))
    assert status == expected
    assert np.isnan(features).all()
    assert checked_in_c(c, spoil(library.spectra[0])) == expected


def test_the_check_alone_accepts_soils_and_needs_no_table(tmp_path, constants, library):
    """A device that runs the deployed model compiles only this code of a few hundred bytes."""
    files = c_scan.scan(constants, LIMITS)
    c = compiled(write_files(tmp_path, files))
    assert {checked_in_c(c, scan) for scan in library.spectra} == {OK}
    assert "static const" not in files["scan.c"]


def test_nan_is_detected_under_ffast_math(tmp_path, constants, library):
    files = c_scan.scan(constants, LIMITS) | c_front_end.front_end(constants)
    c = compiled(write_files(tmp_path, files), "-O3", "-ffast-math")
    for value in (np.nan, np.inf, -np.inf):
        scan = library.spectra[0].copy()
        scan[3] = value
        assert features_of(c, constants, scan)[0] == checked_in_c(c, scan) == NOT_FINITE


def test_c_gives_the_t2_and_q_of_the_layer(c, domain):
    features, (t2, q), constants, _ = domain
    statistics = np.array([statistics_in_c(c, scan, len(constants.bias)) for scan in features])
    np.testing.assert_allclose(statistics[:, 0], t2, rtol=1e-4)
    # Q is a difference of squares; in float32 its error is about a millionth of the larger square.
    np.testing.assert_allclose(
        statistics[:, 1], q, rtol=1e-4, atol=1e-5 * float(np.max(np.sum(features**2, axis=(1, 2))))
    )


def test_q_is_large_for_a_distant_scan_without_residual(c, domain):
    """If the residual is zero, Q is the scaled distance to the nearest training soil."""
    features, (_, usual), constants, layer = domain
    bands = constants.mean + 40 * constants.kernel[1] / np.linalg.norm(constants.kernel[1])
    far = np.zeros_like(features[0])
    far[:, list(constants.channels)] = bands.reshape(len(constants.channels), -1).T
    scores = bands[None] @ constants.kernel.T + constants.bias
    expected = np.array([np.asarray(value).item() for value in layer((bands[None].astype("float32"), scores))])
    statistics = statistics_in_c(c, far, len(constants.bias))
    assert expected[1] > 100 * usual.max()
    np.testing.assert_allclose(statistics, expected, rtol=1e-4)


def test_a_scan_is_outside_from_just_above_a_limit(c):
    def soil_status(t2, q):
        return c.soil_trust(ctypes.c_float(t2), ctypes.c_float(q))

    assert soil_status(*LIMITS) == OK
    assert soil_status(np.nextafter(np.float32(LIMITS[0]), np.float32(99)), 0) == OUTSIDE
    assert soil_status(0, np.nextafter(np.float32(LIMITS[1]), np.float32(99))) == OUTSIDE
    assert soil_status(np.nan, 0) == soil_status(0, np.inf) == NOT_FINITE
    assert c.soil_difficulty(ctypes.c_float(4 * LIMITS[0])) == pytest.approx(2)


def test_c_gives_the_laboratory_values_and_intervals_of_python(tmp_path):
    scales = [
        TargetScale(name="OC_g_kg", root=True, mean=1.0, sd=0.5, low=-2.0, high=3.0, non_negative=True),
        TargetScale(name="pH", root=False, mean=6.5, sd=1.0, low=-2.0, high=2.0, non_negative=True),
        TargetScale(name='d13C "per mil"', root=False, mean=-20.0, sd=4.0, low=-2.0, high=2.0, non_negative=False),
    ]
    intervals = [
        Interval(
            target=scale.name,
            coverage=0.9,
            half_width=width,
            growth=0.5,
            root=scale.root,
            non_negative=scale.non_negative,
            n=99,
        )
        for scale, width in zip(scales, (0.3, None, 25.0), strict=True)
    ]
    card = {
        "targets": {
            scale.name: {"unit": "", "interval": asdict(interval)}
            for scale, interval in zip(scales, intervals, strict=True)
        }
    }
    c = compiled(write_files(tmp_path, c_source.target_scaling([asdict(scale) for scale in scales], card)))
    c.soil_target_name.restype = ctypes.c_char_p
    for index, (scale, interval) in enumerate(zip(scales, intervals, strict=True)):
        assert c.soil_target_name(index).decode() == scale.name
        for modelled in (-9.0, -1.3, 0.0, 0.7, 9.0):
            value = c.soil_to_lab(index, ctypes.c_float(modelled))
            layer = float(InverseTargetScaling([scale])(np.array([[modelled]], "float32"))[0, 0])
            assert value == pytest.approx(layer, rel=1e-5, abs=1e-5)
            low, high = ctypes.c_float(np.nan), ctypes.c_float(np.nan)
            has_interval = c.soil_interval(
                index, ctypes.c_float(value), ctypes.c_float(1.7), ctypes.byref(low), ctypes.byref(high)
            )
            assert bool(has_interval) == (interval.half_width is not None)
            np.testing.assert_allclose([low.value, high.value], interval.bounds(value, 1.7), rtol=1e-5, atol=1e-5)
        assert np.isnan(c.soil_to_lab(index, ctypes.c_float(np.nan)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_without_a_c_constant_are_refused(value):
    with pytest.raises(ValueError, match="no C constant"), np.errstate(over="ignore"):
        c_source.literal(value)


def test_constants_read_back_to_the_same_bits():
    values = np.random.default_rng(0).normal(size=500).astype("float32") * np.float32(10) ** np.arange(-30, 20, 0.1)
    values = values.astype("float32")
    assert all(np.float32(c_source.literal(value)[:-1]) == value for value in values)
