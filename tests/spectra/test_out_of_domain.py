"""Laws of the foreign scans: each kind is what it says, physically, and no soil."""

import itertools

import numpy as np
import pytest

from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sources.out_of_domain import KINDS, LEAF_BANDS, PLASTIC_BANDS, SENSOR_RANGES_NM, foreign_scans
from relple_tf.spectra.sources.simulated import absorption_curves, scanned_soils

FULL = np.arange(350.0, 2501.0, 2.0)
GRIDS = {
    "full": FULL,
    "nir": np.arange(1100.0, 2499.0, 2.0),
    "handheld": np.arange(900.0, 1701.0, 4.0),
    "silicon": np.arange(400.0, 1001.0, 5.0),
    "wide": np.linspace(1350.0, 2550.0, 601),
    "uneven": 1e7 / np.linspace(9000, 4000, 80),
    "few": np.linspace(1000.0, 2400.0, 10),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_library_accepts_every_kind_on_every_grid(kind, grid):
    scans = foreign_scans(kind, GRIDS[grid], 40, 0)
    library = SpectralLibrary(
        source=kind,
        spectra=scans,
        wavelengths_nm=GRIDS[grid],
        quantity="reflectance",
        targets={},
        ids=np.arange(40).astype(str),
    )
    assert library.checked().spectra.shape == (40, len(GRIDS[grid]))
    assert scans.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_seed_decides_the_scans(kind):
    scans = foreign_scans(kind, FULL, 5, 3)
    np.testing.assert_array_equal(foreign_scans(kind, FULL, 5, 3), scans)
    assert not np.any(np.all(foreign_scans(kind, FULL, 5, 4) == scans, axis=1))
    # No scan twice: each is one of its own.
    assert len(np.unique(scans, axis=0)) == 5


def test_kinds_draw_from_streams_of_their_own():
    levels = [foreign_scans(kind, FULL[::50], 500, 0).mean(axis=1) for kind in ("white_reference", "dark_scan")]
    assert abs(np.corrcoef(levels)[0, 1]) < 0.2


def test_kinds_differ_from_each_other_and_from_soils():
    """The mean curves of any two are unlike: apart by 0.05 in reflectance or more somewhere in 1100..2498 nm."""
    grid = GRIDS["nir"]
    means = {kind: foreign_scans(kind, grid, 60, 0).mean(axis=0) for kind in KINDS}
    means["soil"] = scanned_soils(grid, 60, 0)[0].mean(axis=0)
    for one, other in itertools.combinations(means, 2):
        assert np.abs(means[one] - means[other]).max() > 0.05, (one, other)


def test_a_white_reference_is_one_and_flat():
    scans = foreign_scans("white_reference", FULL, 500, 0)
    assert scans.min() > 0.97
    assert scans.max() < 1.03
    # By the mean of 50 bands: the noise of one band is not a slope.
    smooth = scans[:, :1050].reshape(500, -1, 50).mean(axis=2)
    assert np.ptp(smooth, axis=1).max() < 0.012


def test_a_dark_scan_is_dark_and_not_all_zero():
    scans = foreign_scans("dark_scan", FULL, 500, 0)
    assert scans.max() < 0.02
    assert scans.min() >= 0
    assert scans.mean(axis=1).min() > 0


def test_noise_is_that_of_a_handheld_sensor():
    """About 0.001 where everything is reflected, 0.0005 where nothing is; from second differences of smooth curves."""
    for kind, sd in (("white_reference", 1.1e-3), ("dark_scan", 5e-4)):
        bumps = np.diff(foreign_scans(kind, FULL, 100, 0).astype(float), 2, axis=1)
        # Zero cuts off some of the noise of the darkest scans.
        assert bumps.std() / np.sqrt(6) == pytest.approx(sd, rel=0.05)


def depth(scans, band, left, right, grid=FULL):
    """(n,) absorbance at the band above the line between its shoulders, mean of 5 bands each."""
    absorbance = -np.log10(np.maximum(scans, 1e-4))
    heights = []
    for nm in (left, band, right):
        at = np.searchsorted(grid, nm)
        heights.append(absorbance[:, at - 2 : at + 3].mean(axis=1))
    weight = (band - left) / (right - left)
    return heights[1] - (1 - weight) * heights[0] - weight * heights[2]


WATER = [(970, 900, 1060), (1200, 1090, 1275), (1450, 1300, 1660), (1940, 1800, 2220)]
CELLULOSE = [(2100, 2020, 2220), (2270, 2220, 2305), (2340, 2305, 2420), (1730, 1660, 1755)]


@pytest.mark.parametrize(("band", "left", "right"), WATER)
def test_fresh_leaves_hold_water(band, left, right):
    assert depth(foreign_scans("plant_leaf", FULL, 200, 0)[::2], band, left, right).min() > 0.005


@pytest.mark.parametrize(("band", "left", "right"), CELLULOSE)
def test_dry_leaves_show_cellulose_and_lignin(band, left, right):
    assert np.median(depth(foreign_scans("plant_leaf", FULL, 200, 0)[1::2], band, left, right)) > 0.005


def test_fresh_leaves_are_green_with_a_red_edge_and_dry_ones_hold_far_less_water():
    scans = foreign_scans("plant_leaf", FULL, 200, 0)
    at = {nm: scans[:, np.searchsorted(FULL, nm)] for nm in (450, 550, 676, 780)}
    fresh = np.arange(200) % 2 == 0
    assert np.all(at[780][fresh] > 5 * at[676][fresh])
    assert np.all(at[550][fresh] > at[450][fresh])
    assert np.all(at[550][fresh] > at[676][fresh])
    assert np.all(at[780][~fresh] < 3.5 * at[676][~fresh])
    water = depth(scans, 1450, 1300, 1660)
    assert water[fresh].min() > 2 * water[~fresh].max()


@pytest.mark.parametrize(
    ("polymer", "band", "left", "right"),
    [
        (0, 1215, 1150, 1280),
        (0, 1415, 1350, 1470),
        (0, 1728, 1670, 1850),
        (0, 2310, 2220, 2600),
        (1, 1195, 1130, 1280),
        (1, 1395, 1340, 1470),
        (1, 1726, 1640, 1850),
        (1, 2280, 2200, 2600),
        (2, 1130, 1080, 1180),
        (2, 1660, 1600, 1700),
        (2, 2130, 2050, 2220),
    ],
)
def test_plastics_absorb_at_the_overtones_of_their_bonds(polymer, band, left, right):
    grid = np.arange(350.0, 2601.0, 2.0)
    scans = foreign_scans("plastic", grid, 300, 0)[polymer::3]
    assert depth(scans, band, left, min(right, 2590), grid).min() > 0.005


def test_thicker_plastic_absorbs_more_everywhere_it_absorbs():
    """Depths at two bands of one sheet go together, for thickness makes both."""
    scans = foreign_scans("plastic", FULL, 300, 0)[::3]
    first, second = depth(scans, 1215, 1150, 1280), depth(scans, 1415, 1350, 1470)
    assert np.corrcoef(first, second)[0, 1] > 0.95
    assert first.max() > 4 * first.min()


@pytest.mark.parametrize("table", [LEAF_BANDS, PLASTIC_BANDS])
def test_bands_absorb(table):
    for curve in absorption_curves(FULL, table).values():
        assert curve.min() >= 0
        assert curve.max() > 0


@pytest.mark.parametrize("grid", GRIDS)
def test_another_sensor_is_never_the_model_s_own(grid):
    """Each scan is a soil of one of the other ranges: its curve is that of soils there, at the same places."""
    nm = GRIDS[grid]
    own = [ends for ends in SENSOR_RANGES_NM if abs(ends[0] - nm[0]) + abs(ends[1] - nm[-1]) <= 500]
    others = [ends for ends in SENSOR_RANGES_NM if ends not in own]
    scans = foreign_scans("other_sensor", nm, 400, 0)
    share = (nm - nm[0]) / (nm[-1] - nm[0])
    for turn, (low, high) in enumerate(others):
        there = scanned_soils(low + (high - low) * share, 400, 9)[0].mean(axis=0)
        mean = scans[turn :: len(others)].mean(axis=0)
        assert np.corrcoef(mean, there)[0, 1] > 0.99
    assert len(own) <= 1


def test_a_saturated_scan_is_cut_at_a_ceiling_and_brighter_than_its_soil():
    scans = foreign_scans("saturated", GRIDS["nir"], 200, 0)
    assert np.median(scans) > 0.85
    # Water bands of most soils are cut off.
    assert np.median(depth(scans, 1914, 1850, 2130, GRIDS["nir"])) < 0.01
    soils = scanned_soils(GRIDS["nir"], 200, 0)[0]
    assert np.median(depth(soils, 1914, 1850, 2130, GRIDS["nir"])) > 0.03


def test_half_covered_soil_is_paler_and_its_bands_shallower():
    scans = foreign_scans("soil_half_covered", GRIDS["nir"], 300, 0)
    soils = scanned_soils(GRIDS["nir"], 300, 0)[0]
    assert np.median(scans) > np.median(soils) + 0.1
    shallow, deep = (np.median(depth(x, 1914, 1850, 2130, GRIDS["nir"])) for x in (scans, soils))
    assert 0 < shallow < 0.6 * deep
