"""Keep or send: laws of the rule, of the curve and of its needs."""

import numpy as np
import pytest

from relple_tf.evaluation.formatting import rounded_up
from relple_tf.evaluation.keep_or_send import curve_point, half_widths, is_kept, needs_at, typical_need
from relple_tf.training.intervals import Interval

ROOT = Interval(target="OC", coverage=0.9, half_width=0.4, growth=0.5, root=True, non_negative=True, n=50)
PLAIN = Interval(target="pH", coverage=0.9, half_width=0.4, growth=0.0, root=False, non_negative=True, n=50)


def scans(count=200, seed=0):
    """Half widths, status and errors of scans, some of them outside, invalid or not measured."""
    rng = np.random.default_rng(seed)
    half_width = rng.gamma(4.0, 0.5, count)
    status = rng.choice(["ok", "ok", "ok", "outside", "invalid"], count)
    error = rng.laplace(0, 0.4 * half_width)
    half_width[status == "invalid"] = np.nan
    error[::9] = np.nan
    return half_width, status, error


def test_a_larger_need_never_turns_keep_into_send():
    half_width, status, _ = scans()
    kept = np.stack([is_kept(half_width, status, need) for need in np.geomspace(1e-9, 1e9, 500)])
    assert (kept[:-1] <= kept[1:]).all()
    assert kept.any(axis=0).tolist() == (status == "ok").tolist()


def test_a_tiny_need_sends_all_and_a_huge_need_keeps_exactly_the_ok_scans():
    half_width, status, _ = scans()
    assert not is_kept(half_width, status, 1e-300).any()
    np.testing.assert_array_equal(is_kept(half_width, status, 1e300), status == "ok")


@pytest.mark.parametrize("interval", [ROOT, PLAIN])
def test_the_half_width_is_the_smallest_need_that_holds_both_ends(interval):
    estimated, difficulty = np.linspace(0, 60, 40), np.linspace(0, 1, 40)
    lower, upper = interval.bounds(estimated, difficulty)
    width = half_widths(estimated, lower, upper)
    ends = np.stack([lower, upper])
    assert (np.abs(ends - estimated) <= width + 1e-12).all()
    assert (np.abs(ends - estimated).max(axis=0) >= width - 1e-12).all()
    # A clipped lower end does not make an interval narrower than its upper part.
    assert width[0] >= upper[0] - estimated[0] > estimated[0] - lower[0]


def test_an_error_within_the_interval_of_a_kept_scan_is_within_the_need():
    estimated = np.linspace(0.1, 60, 400)
    lower, upper = ROOT.bounds(estimated, np.linspace(0, 1, 400))
    status = np.full(400, "ok")
    for need in (0.5, 2.0, 6.0):
        kept = is_kept(half_widths(estimated, lower, upper), status, need)
        assert 0 < kept.sum() < 400
        for measured in (lower, upper, (lower + upper) / 2):
            assert (np.abs(measured - estimated)[kept] <= need * (1 + 1e-6)).all()


def test_a_need_equal_to_the_half_width_keeps_in_float32_too():
    for estimated in np.linspace(1, 900, 50):
        lower, upper = PLAIN.bounds(np.float32(estimated), np.float32(0.3))
        assert is_kept(half_widths(np.float32(estimated), lower, upper), np.array("ok"), 0.4)
        assert not is_kept(half_widths(np.float32(estimated), lower, upper), np.array("ok"), 0.39999)


@pytest.mark.parametrize("need", [1.0, 2.0, 5.0, 1e9])
def test_a_point_of_the_curve_equals_the_definition(need):
    half_width, status, error = scans()
    rows = [row for row in range(len(error)) if status[row] == "ok" and half_width[row] <= need]
    measured = [error[row] for row in rows if not np.isnan(error[row])]
    point = curve_point(half_width, status, error, need)
    assert point["need"] == need
    assert point["kept"] == pytest.approx(len(rows) / len(error))
    assert point["n"] == len(measured)
    assert point["rmse"] == pytest.approx(np.sqrt(sum(value**2 for value in measured) / len(measured)))
    assert point["beyond"] == pytest.approx(sum(abs(value) > need for value in measured) / len(measured))


def test_a_point_without_kept_scans_has_no_error():
    assert curve_point(*scans(), 1e-9) == {"need": 1e-9, "kept": 0.0, "n": 0, "rmse": None, "beyond": None}


def test_equal_half_widths_give_a_single_need_which_keeps_every_ok_scan():
    estimated = np.linspace(1, 900, 300).astype("float32")
    width = half_widths(estimated, *PLAIN.bounds(estimated, np.zeros(300)))
    assert len(np.unique(width)) > 1  # by rounding
    (need,) = needs_at(width, np.linspace(0, 1, 200))
    assert need == 0.4
    assert is_kept(width, np.full(300, "ok"), need).all()


@pytest.mark.parametrize("width", [1.0000005, 1.00000049999, 9.9999995, 0.123456749, 123456.749])
def test_rounding_of_a_need_sends_no_scan(width):
    (need,) = needs_at(np.array([width]), [1.0])
    assert is_kept(np.array(width), np.array("ok"), need)


def test_needs_ascend_and_the_last_keeps_every_ok_scan():
    half_width, status, error = scans()
    needs = needs_at(half_width[status == "ok"], np.linspace(0, 1, 11))
    assert needs == sorted(set(needs))
    points = [curve_point(half_width, status, error, need) for need in needs]
    assert points[-1]["kept"] == np.mean(status == "ok")
    for decile, point in zip(np.linspace(0, 1, 11), points, strict=True):
        assert point["kept"] / points[-1]["kept"] == pytest.approx(decile, abs=0.01)
    assert needs_at(np.array([np.nan, 0.0]), [0.5]) == []
    assert typical_need(np.array([])) is None


@pytest.mark.parametrize(
    ("value", "expected"), [(0.29, 0.29), (0.2901, 0.3), (1.0, 1.0), (99.5, 100.0), (123.4, 130.0), (4.4e-5, 4.4e-5)]
)
def test_a_number_is_rounded_up_to_two_digits(value, expected):
    assert rounded_up(value) == expected
