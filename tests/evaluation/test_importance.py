"""Wavelength importance: predictors that read known bands, blocks that join without a step, and the plot."""

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
RNG = np.random.default_rng(0)
SPECTRA = (0.4 + 0.05 * RNG.normal(size=(80, len(NM)))).astype("float32")
BAND = 17
"""1270 nm, in the block from 1250 to 1290."""


def reads_one_band(spectra):
    return {"OC": 10 * spectra[:, BAND].astype("float64")}


NOISY = {"OC": reads_one_band(SPECTRA)["OC"] + 0.2 * RNG.normal(size=80)}


def table_of(predict=reads_one_band, spectra=SPECTRA, values=NOISY, quantity="absorbance", **options):
    return band_importance(predict, spectra, quantity, values, NM, **options)


def test_only_the_block_that_the_predictor_reads_is_important():
    table = table_of()
    contains_band = (table["start_nm"] <= NM[BAND]) & (NM[BAND] <= table["stop_nm"])
    assert table["OC"][contains_band].item() > 0.5
    np.testing.assert_allclose(table["OC"][~contains_band], 0.0, atol=1e-12)


def test_importance_has_its_closed_form():
    """MSE = variance of the noise (SD 0.2) + twice the variance of the permuted part."""
    rng = np.random.default_rng(1)
    spectra = (0.4 + 0.05 * rng.normal(size=(4000, len(NM)))).astype("float32")
    values = {"OC": reads_one_band(spectra)["OC"] + 0.2 * rng.normal(size=4000)}
    got = table_of(spectra=spectra, values=values)["OC"].max()
    # Block of bands 15..19, neighbours 14 and 20: the line at band 17 is the mean of both, with half the variance.
    permuted_variance = 2 * 10**2 * 0.05**2 * (1 + 0.5)
    assert got == pytest.approx(np.sqrt(1 + permuted_variance / 0.2**2) - 1, rel=0.05)


def test_no_block_is_important_for_a_constant_predictor():
    table = table_of(lambda spectra: {"OC": np.full(len(spectra), 3.9)})
    np.testing.assert_allclose(table["OC"], 0.0, atol=1e-12)


def test_each_target_has_a_separate_column():
    values = {"pH": np.linspace(4, 8, 80), **NOISY}
    table = table_of(lambda spectra: {"pH": np.full(len(spectra), 6.0), **reads_one_band(spectra)}, values=values)
    assert list(table.columns) == ["start_nm", "stop_nm", "pH", "OC"]
    np.testing.assert_allclose(table["pH"], 0.0, atol=1e-12)
    np.testing.assert_array_equal(table["OC"], table_of()["OC"])


def test_reflectance_is_transplanted_as_absorbance():
    reflectance = (10.0**-SPECTRA).astype("float32")
    got = table_of(lambda r: reads_one_band(-np.log10(r)), reflectance, quantity="reflectance")
    np.testing.assert_allclose(got["OC"], table_of()["OC"], rtol=1e-4, atol=1e-5)


def test_reflectance_stays_finite_and_not_negative_with_dark_bands():
    dark = (10.0**-SPECTRA).astype("float32")
    dark[:, 20:24] = 0.0
    inputs = []

    def predict(reflectance):
        inputs.append(reflectance)
        return {"OC": np.zeros(len(reflectance))}

    table_of(predict, dark, quantity="reflectance")
    assert all(np.isfinite(scans).all() and (scans >= 0).all() for scans in inputs)


def test_seed_fixes_the_permutations():
    pd.testing.assert_frame_equal(table_of(seed=3), table_of(seed=3))
    assert table_of(seed=3)["OC"].max() != table_of(seed=4)["OC"].max()


def test_the_input_scans_are_not_modified():
    before = SPECTRA.copy()
    table_of()
    np.testing.assert_array_equal(SPECTRA, before)


def test_missing_laboratory_values_are_omitted():
    predictions = {"OC": np.array([1.0, 2.0, 3.0, np.nan])}
    gaps = {"OC": np.array([2.0, np.nan, 5.0, np.nan])}
    assert rmse(predictions, gaps)["OC"] == pytest.approx(np.sqrt(2.5))
    assert np.isnan(rmse(predictions, {"OC": np.full(4, np.nan)})["OC"])
    half = NOISY["OC"].copy()
    half[::2] = np.nan
    got = table_of(
        values={"OC": half, "none": np.full(80, np.nan)}, predict=lambda s: reads_one_band(s) | {"none": s[:, 0]}
    )
    assert (got["OC"] > 0).sum() == 1
    assert got["none"].isna().all()


def test_the_importance_is_nan_if_predictions_are_nan():
    table = table_of(lambda spectra: {"OC": np.full(len(spectra), np.nan)})
    assert table["OC"].isna().all()


def test_the_importance_is_nan_if_the_rmse_is_zero():
    assert table_of(values=reads_one_band(SPECTRA))["OC"].isna().all()


@pytest.mark.parametrize("block_nm", [5.0, 10.0, 50.0, 70.0, 1000.0])
@pytest.mark.parametrize("nm", [NM, np.array([350.0, 351, 352, 400, 401, 700])], ids=["even", "uneven"])
def test_blocks_contain_every_band_once(nm, block_nm):
    slices = list(blocks(nm, block_nm))
    np.testing.assert_array_equal(np.concatenate([np.arange(len(nm))[block] for block in slices]), np.arange(len(nm)))
    assert all(block.stop > block.start for block in slices)


@pytest.mark.parametrize(
    ("last_nm", "stops"),
    [(2398.0, [2298, 2398]), (2400.0, [2298, 2400]), (2448.0, [2298, 2448]), (2460.0, [2398, 2460])],
)
def test_a_remainder_below_half_a_block_joins_the_last_block(last_nm, stops):
    nm = np.arange(1100.0, last_nm + 1, 2.0)
    got = [nm[block.stop - 1] for block in blocks(nm, 100.0)]
    assert got[-2:] == stops
    assert all(np.diff([1098.0, *got[:-1]]) == 100.0)


def test_rounding_errors_of_wavelengths_do_not_change_the_blocks():
    sizes = [block.stop - block.start for block in blocks(1100.3 + 0.1 * np.arange(300), 0.5)]
    assert sizes == [5] * 60


BLOCKS = {"first": slice(0, 5), "middle": slice(15, 20), "single": slice(15, 16), "last": slice(35, 40)}
ROWS = np.arange(80)


@pytest.fixture(params=BLOCKS.values(), ids=BLOCKS)
def block(request):
    return request.param


def test_a_block_transplanted_to_the_same_scan_changes_nothing(block):
    x = SPECTRA.astype("float64")
    np.testing.assert_allclose(transplanted(x, block, ROWS, NM), x[:, block], atol=1e-12)


def test_blocks_of_straight_lines_change_nothing():
    x = RNG.normal(size=(80, 1)) + RNG.normal(size=(80, 1)) * (NM - 1300) / 100
    got = transplanted(x, BLOCKS["middle"], RNG.permutation(80), NM)
    np.testing.assert_allclose(got, x[:, BLOCKS["middle"]], atol=1e-12)


def test_level_and_slope_of_the_donor_are_not_transferred():
    x = SPECTRA[[0, 1, 1]].astype("float64")
    x[2] += 0.3 + (NM - 1100) / 1000
    donors = np.array([1, 1, 1])
    for name in ("middle", "single"):
        plain = transplanted(x, BLOCKS[name], donors, NM)[0]
        with_slope = transplanted(x, BLOCKS[name], donors + 1, NM)[0]
        np.testing.assert_allclose(plain, with_slope, atol=1e-12)


def test_at_an_end_of_the_spectrum_the_level_is_not_transferred():
    x = SPECTRA[[0, 1, 1]].astype("float64")
    x[2] += 0.3
    for name in ("first", "last"):
        plain, shifted = (transplanted(x, BLOCKS[name], np.full(3, donor), NM)[0] for donor in (1, 2))
        np.testing.assert_allclose(plain, shifted, atol=1e-12)


def test_smooth_scans_stay_smooth_at_the_ends_of_a_block(block):
    level = np.linspace(0.2, 0.9, 80)[:, None]
    x = level + 0.1 * level * np.sin(NM / 80)
    joined = x.copy()
    joined[:, block] = transplanted(x, block, ROWS[::-1], NM)
    steps = np.abs(np.diff(joined, axis=1)).max()
    copied = x.copy()
    copied[:, block] = x[::-1, block]
    assert steps < 3 * np.abs(np.diff(x, axis=1)).max()
    assert np.abs(np.diff(copied, axis=1)).max() > 10 * steps


def test_a_block_of_the_whole_spectrum_is_copied():
    donors = RNG.permutation(80)
    np.testing.assert_array_equal(transplanted(SPECTRA, slice(0, len(NM)), donors, NM), SPECTRA[donors])


def test_repeats_are_stacked_below_each_other(block):
    first, second = RNG.permutation(80), RNG.permutation(80)
    x = SPECTRA.astype("float64")
    both = transplanted(x, block, np.concatenate([first, second]), NM)
    np.testing.assert_array_equal(both[:80], transplanted(x, block, first, NM))
    np.testing.assert_array_equal(both[80:], transplanted(x, block, second, NM))


def plot(increase, target="OC_g_kg"):
    nm = np.arange(1400.0, 1800.0, 10.0)
    table = pd.DataFrame({"start_nm": [1400.0, 1500.0, 1600.0, 1700.0], "stop_nm": [1490.0, 1590.0, 1690.0, 1790.0]})
    image = importance(
        nm,
        np.linspace(0.3, 0.4, 40),
        table.assign(**{target: increase}),
        target,
        axis="reflectance (0 to 1)",
        colour="C0",
    )
    return re.search('alt="([^"]*)"', image)[1], base64.b64decode(re.search('base64,([^"]*)', image)[1])


def test_the_alt_text_names_the_blocks_of_the_largest_increase():
    description, svg = plot([0.1, -0.02, 1.43, 0.0])
    assert description.endswith("most at 1600 to 1690 nm (143 %), 1400 to 1490 nm (10 %)")
    assert svg.startswith(b"<?xml")
    assert plot([0.1, -0.02, 1.43, 0.0])[1] == svg


@pytest.mark.parametrize("increase", [[0.0] * 4, [np.nan] * 4, [-0.1] * 4])
def test_the_alt_text_states_that_no_block_increases_the_rmse(increase):
    assert plot(increase)[0].endswith("no block increases it")


def test_target_names_are_escaped_in_the_plot():
    assert "a&lt;b&amp;c" in plot([0.1] * 4, "a<b&c")[0]


def test_absorptions_in_range_are_marked_and_optionally_named():
    for named in (True, False):
        axes = Figure().subplots()
        absorption_lines(axes, np.arange(1700.0, 2250.0, 10.0), named=named)
        assert [line.get_xdata()[0] for line in axes.lines] == [1726, 1914, 2208]
        assert [text.get_text() for text in axes.texts] == ["C-H 1726", "water 1914", "Al-OH 2208"] * named
