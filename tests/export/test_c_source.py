"""The C sources: check of a scan, limits of T2 and Q, intervals."""

import ctypes
from dataclasses import asdict

import numpy as np
import pytest
from c_library import CC, FLAT, NOT_FINITE, OK, OUT_OF_RANGE, OUTSIDE, checked_in_c, compiled, interval_in_c

from export.c import source as c_source
from export.c.scan import scan_files
from export.c.targets import targets_files
from export.runtime.soil_scan import STATUS_TEXTS, shows_values
from relple_tf.training.intervals import Interval

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")

LIMITS = (9.0, 4.0)


def write_files(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def c(tmp_path_factory, library):
    library_in_c = compiled(
        write_files(tmp_path_factory.mktemp("c"), scan_files(library.quantity, len(library.wavelengths_nm), LIMITS))
    )
    library_in_c.soil_difficulty.restype = ctypes.c_float
    return library_in_c


def test_soils_pass_the_check(c, library):
    assert {checked_in_c(c, soil) for soil in library.spectra} == {OK}


def test_soils_in_absorbance_pass_the_check_of_absorbance(tmp_path, library):
    c = compiled(write_files(tmp_path, scan_files("absorbance", len(library.wavelengths_nm), LIMITS)))
    absorbance = -np.log10(library.spectra)
    assert {checked_in_c(c, soil) for soil in absorbance} == {OK}
    assert checked_in_c(c, np.full_like(absorbance[0], 0.4)) == FLAT
    assert checked_in_c(c, 100 * absorbance[0]) == OUT_OF_RANGE


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
def test_an_invalid_scan_has_a_status(c, library, spoil, expected):
    assert checked_in_c(c, spoil(library.spectra[0])) == expected


def test_nan_is_detected_under_ffast_math(tmp_path, library):
    files = scan_files(library.quantity, len(library.wavelengths_nm), LIMITS)
    c = compiled(write_files(tmp_path, files), "-O3", "-ffast-math")
    for value in (np.nan, np.inf, -np.inf):
        soil = library.spectra[0].copy()
        soil[3] = value
        assert checked_in_c(c, soil) == NOT_FINITE


def test_a_scan_is_outside_from_just_above_a_limit(c):
    def soil_status(t2, q):
        return c.soil_trust(ctypes.c_float(t2), ctypes.c_float(q))

    assert soil_status(*LIMITS) == OK
    assert soil_status(np.nextafter(np.float32(LIMITS[0]), np.float32(99)), 0) == OUTSIDE
    assert soil_status(0, np.nextafter(np.float32(LIMITS[1]), np.float32(99))) == OUTSIDE
    assert soil_status(np.nan, 0) == soil_status(0, np.inf) == NOT_FINITE
    assert c.soil_difficulty(ctypes.c_float(4 * LIMITS[0])) == pytest.approx(2)


def test_the_text_of_each_status_is_that_of_soil_scan(c):
    c.soil_status_text.restype = ctypes.c_char_p
    assert [c.soil_status_text(status).decode() for status in range(len(STATUS_TEXTS))] == list(STATUS_TEXTS.values())


@pytest.mark.parametrize(
    ("status", "name"), [(OK, "ok"), (OUTSIDE, "outside"), (NOT_FINITE, "invalid"), (FLAT, "invalid")]
)
@pytest.mark.parametrize("user_asks", [False, True])
def test_c_shows_values_when_soil_scan_does(c, status, name, user_asks):
    assert bool(c.soil_shows_values(status, int(user_asks))) == shows_values(name, user_asks)


def test_c_gives_the_intervals_of_python(tmp_path):
    intervals = [
        Interval(
            target=name, coverage=0.9, half_width=half_width, growth=0.5, root=root, non_negative=non_negative, n=99
        )
        for name, half_width, root, non_negative in (
            ("OC_g_kg", 0.3, True, True),
            ("pH", None, False, True),
            ("CaCO3_pct", 25.0, False, True),
            ('d13C "per mil"', 25.0, False, False),
        )
    ]
    facts_of = {interval.target: {"unit": "", "interval": asdict(interval)} for interval in intervals}
    facts_of["N_g_kg"] = {"unit": "g/kg", "interval": None}
    c = compiled(write_files(tmp_path, targets_files(facts_of)))
    c.soil_target_name.restype = c.soil_target_unit.restype = ctypes.c_char_p
    for index, (name, facts) in enumerate(facts_of.items()):
        assert (c.soil_target_name(index).decode(), c.soil_target_unit(index).decode()) == (name, facts["unit"])
    for index, interval in enumerate(intervals):
        for value in (0.0, 0.7, 30.0):
            ends = interval_in_c(c, index, value, 1.7)
            assert (ends is None) == (interval.half_width is None)
            if ends is not None:
                np.testing.assert_allclose(ends, interval.bounds(value, 1.7), rtol=1e-5, atol=1e-5)
    assert interval_in_c(c, len(intervals), 1.0, 1.7) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_without_a_c_constant_are_refused(value):
    with pytest.raises(ValueError, match="no C constant"), np.errstate(over="ignore"):
        c_source.literal(value)


def test_constants_read_back_to_the_same_bits():
    values = np.random.default_rng(0).normal(size=500).astype("float32") * np.float32(10) ** np.arange(-30, 20, 0.1)
    values = values.astype("float32")
    assert all(np.float32(c_source.literal(value)[:-1]) == value for value in values)
