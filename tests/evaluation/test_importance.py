"""Laws of the wavelength importance: predictors whose reading is known, blocks that join, and the picture."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from relple_tf.evaluation.importance import band_importance, blocks, rmse, transplanted
from relple_tf.report.plots.figures import absorption_lines
from relple_tf.report.plots.importance import importance

NM = np.arange(1100.0, 1500.0, 10.0)
DRAW = np.random.default_rng(0)
SPECTRA = (0.4 + 0.05 * DRAW.normal(size=(80, len(NM)))).astype("float32")
BAND = 17
"""1270 nm, in the block from 1250 to 1290."""


def reads_one_band(spectra):
    return {"OC": 10 * spectra[:, BAND].astype("float64")}


NOISY = {"OC": reads_one_band(SPECTRA)["OC"] + 0.2 * DRAW.normal(size=80)}


def table_of(predict=reads_one_band, spectra=SPECTRA, values=NOISY, quantity="absorbance", **options):
    return band_importance(predict, spectra, quantity, values, NM, **options)


def test_a_predictor_that_reads_one_band_misses_its_block_and_no_other():
    table = table_of()
    holds = (table["start_nm"] <= NM[BAND]) & (NM[BAND] <= table["stop_nm"])
    assert table["OC"][holds].item() > 0.5
    np.testing.assert_allclose(table["OC"][~holds], 0.0, atol=1e-12)


def test_importance_has_its_closed_form():
    """Errors of the noise and of twice the variance of what moves add up: the noise has SD 0.2."""
    draw = np.random.default_rng(1)
    spectra = (0.4 + 0.05 * draw.normal(size=(4000, len(NM)))).astype("float32")
    values = {"OC": reads_one_band(spectra)["OC"] + 0.2 * draw.normal(size=4000)}
    got = table_of(spectra=spectra, values=values)["OC"].max()
    # Block of bands 15..19, neighbours 14 and 20: the line at 17 is the mean of the two, of half the variance.
    moved_variance = 2 * 10**2 * 0.05**2 * (1 + 0.5)
    assert got == pytest.approx(np.sqrt(1 + moved_variance / 0.2**2) - 1, rel=0.05)


def test_a_predictor_that_reads_nothing_misses_nothing():
    table = table_of(lambda spectra: {"OC": np.full(len(spectra), 3.9)})
    np.testing.assert_allclose(table["OC"], 0.0, atol=1e-12)


def test_targets_have_columns_of_their_own():
    values = {"pH": np.linspace(4, 8, 80), **NOISY}
    table = table_of(lambda spectra: {"pH": np.full(len(spectra), 6.0), **reads_one_band(spectra)}, values=values)
    assert list(table.columns) == ["start_nm", "stop_nm", "pH", "OC"]
    np.testing.assert_allclose(table["pH"], 0.0, atol=1e-12)
    np.testing.assert_array_equal(table["OC"], table_of()["OC"])


def test_reflectance_is_transplanted_as_absorbance():
    reflectance = (10.0**-SPECTRA).astype("float32")
    got = table_of(lambda r: reads_one_band(-np.log10(r)), reflectance, quantity="reflectance")
    np.testing.assert_allclose(got["OC"], table_of()["OC"], rtol=1e-4, atol=1e-5)


def test_dark_bands_are_no_reason_for_impossible_reflectance():
    dark = (10.0**-SPECTRA).astype("float32")
    dark[:, 20:24] = 0.0
    seen = []

    def predict(reflectance):
        seen.append(reflectance)
        return {"OC": np.zeros(len(reflectance))}

    table_of(predict, dark, quantity="reflectance")
    assert all(np.isfinite(one).all() and (one >= 0).all() for one in seen)


def test_seed_fixes_the_permutations():
    pd.testing.assert_frame_equal(table_of(seed=3), table_of(seed=3))
    assert table_of(seed=3)["OC"].max() != table_of(seed=4)["OC"].max()


def test_scans_given_are_left_as_they_are():
    before = SPECTRA.copy()
    table_of()
    np.testing.assert_array_equal(SPECTRA, before)


def test_values_that_were_not_measured_are_left_out():
    estimated = {"OC": np.array([1.0, 2.0, 3.0, np.nan])}
    gaps = {"OC": np.array([2.0, np.nan, 5.0, np.nan])}
    assert rmse(estimated, gaps)["OC"] == pytest.approx(np.sqrt(2.5))
    assert np.isnan(rmse(estimated, {"OC": np.full(4, np.nan)})["OC"])
    half = NOISY["OC"].copy()
    half[::2] = np.nan
    got = table_of(
        values={"OC": half, "none": np.full(80, np.nan)}, predict=lambda s: reads_one_band(s) | {"none": s[:, 0]}
    )
    assert (got["OC"] > 0).sum() == 1
    assert got["none"].isna().all()


def test_estimates_that_are_no_numbers_give_no_importance():
    table = table_of(lambda spectra: {"OC": np.full(len(spectra), np.nan)})
    assert table["OC"].isna().all()


def test_a_predictor_without_error_has_no_share_of_it():
    assert table_of(values=reads_one_band(SPECTRA))["OC"].isna().all()


@pytest.mark.parametrize("block_nm", [5.0, 10.0, 50.0, 70.0, 1000.0])
@pytest.mark.parametrize("nm", [NM, np.array([350.0, 351, 352, 400, 401, 700])], ids=["even", "uneven"])
def test_blocks_hold_every_band_once(nm, block_nm):
    found = list(blocks(nm, block_nm))
    np.testing.assert_array_equal(np.concatenate([np.arange(len(nm))[one] for one in found]), np.arange(len(nm)))
    assert all(one.stop > one.start for one in found)


@pytest.mark.parametrize(
    ("last_nm", "stops"),
    [(2398.0, [2298, 2398]), (2400.0, [2298, 2400]), (2448.0, [2298, 2448]), (2460.0, [2398, 2460])],
)
def test_a_short_rest_joins_the_last_block(last_nm, stops):
    nm = np.arange(1100.0, last_nm + 1, 2.0)
    got = [nm[one.stop - 1] for one in blocks(nm, 100.0)]
    assert got[-2:] == stops
    assert all(np.diff([1098.0, *got[:-1]]) == 100.0)


def test_rounding_of_wavelengths_moves_no_band_to_another_block():
    sizes = [one.stop - one.start for one in blocks(1100.3 + 0.1 * np.arange(300), 0.5)]
    assert sizes == [5] * 60


BLOCKS = {"first": slice(0, 5), "middle": slice(15, 20), "single": slice(15, 16), "last": slice(35, 40)}
ROWS = np.arange(80)


@pytest.fixture(params=BLOCKS.values(), ids=BLOCKS)
def block(request):
    return request.param


def test_a_scan_that_gets_its_own_block_stays_as_it_is(block):
    x = SPECTRA.astype("float64")
    np.testing.assert_allclose(transplanted(x, block, ROWS, NM), x[:, block], atol=1e-12)


def test_blocks_of_straight_lines_change_nothing():
    x = DRAW.normal(size=(80, 1)) + DRAW.normal(size=(80, 1)) * (NM - 1300) / 100
    got = transplanted(x, BLOCKS["middle"], DRAW.permutation(80), NM)
    np.testing.assert_allclose(got, x[:, BLOCKS["middle"]], atol=1e-12)


def test_level_and_slope_of_the_donor_do_not_come_along():
    x = SPECTRA[[0, 1, 1]].astype("float64")
    x[2] += 0.3 + (NM - 1100) / 1000
    donors = np.array([1, 1, 1])
    for which in ("middle", "single"):
        one = transplanted(x, BLOCKS[which], donors, NM)[0]
        other = transplanted(x, BLOCKS[which], donors + 1, NM)[0]
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_at_an_end_of_the_spectrum_the_level_does_not_come_along():
    x = SPECTRA[[0, 1, 1]].astype("float64")
    x[2] += 0.3
    for which in ("first", "last"):
        one, other = (transplanted(x, BLOCKS[which], np.full(3, donor), NM)[0] for donor in (1, 2))
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_smooth_scans_stay_smooth_at_the_ends_of_a_block(block):
    level = np.linspace(0.2, 0.9, 80)[:, None]
    x = level + 0.1 * level * np.sin(NM / 80)
    moved = x.copy()
    moved[:, block] = transplanted(x, block, ROWS[::-1], NM)
    steps = np.abs(np.diff(moved, axis=1)).max()
    cut = x.copy()
    cut[:, block] = x[::-1, block]
    assert steps < 3 * np.abs(np.diff(x, axis=1)).max()
    assert np.abs(np.diff(cut, axis=1)).max() > 10 * steps


def test_the_whole_spectrum_goes_as_it_is():
    donors = DRAW.permutation(80)
    np.testing.assert_array_equal(transplanted(SPECTRA, slice(0, len(NM)), donors, NM), SPECTRA[donors])


def test_repeats_are_stacked_below_each_other(block):
    one, other = DRAW.permutation(80), DRAW.permutation(80)
    x = SPECTRA.astype("float64")
    both = transplanted(x, block, np.concatenate([one, other]), NM)
    np.testing.assert_array_equal(both[:80], transplanted(x, block, one, NM))
    np.testing.assert_array_equal(both[80:], transplanted(x, block, other, NM))


def drawn(share, target="OC_g_kg"):
    nm = np.arange(1400.0, 1800.0, 10.0)
    table = pd.DataFrame({"start_nm": [1400.0, 1500.0, 1600.0, 1700.0], "stop_nm": [1490.0, 1590.0, 1690.0, 1790.0]})
    image = importance(
        nm, np.linspace(0.3, 0.4, 40), table.assign(**{target: share}), target, axis="reflectance (0 to 1)", colour="C0"
    )
    return re.search('alt="([^"]*)"', image)[1], base64.b64decode(re.search('base64,([^"]*)', image)[1])


def test_picture_tells_the_blocks_of_the_largest_rise():
    told, svg = drawn([0.1, -0.02, 1.43, 0.0])
    assert told.endswith("most at 1600 to 1690 nm (143 %), 1400 to 1490 nm (10 %)")
    assert svg.startswith(b"<?xml")
    assert drawn([0.1, -0.02, 1.43, 0.0])[1] == svg


@pytest.mark.parametrize("share", [[0.0] * 4, [np.nan] * 4, [-0.1] * 4])
def test_picture_of_a_target_that_reads_nothing(share):
    assert drawn(share)[0].endswith("no block raises it")


def test_picture_keeps_a_name_from_being_markup():
    assert "a&lt;b&amp;c" in drawn([0.1] * 4, "a<b&c")[0]


def test_absorptions_in_range_are_marked_and_named_on_demand():
    for named in (True, False):
        axes = Figure().subplots()
        absorption_lines(axes, np.arange(1700.0, 2250.0, 10.0), named=named)
        assert [line.get_xdata()[0] for line in axes.lines] == [1726, 1914, 2208]
        assert [text.get_text() for text in axes.texts] == ["C-H 1726", "water 1914", "Al-OH 2208"] * named
