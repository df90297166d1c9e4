"""Properties of the simulated out-of-domain scans: each kind is physically plausible and differs from soils."""

import itertools

import numpy as np
import pytest

from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sources.out_of_domain import (
    KINDS,
    LEAF_BANDS,
    PLASTIC_BANDS,
    SENSOR_RANGES_NM,
    out_of_domain_scans,
)
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
def test_every_kind_on_every_grid_is_a_valid_library(kind, grid):
    scans = out_of_domain_scans(kind, GRIDS[grid], 40, 0)
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
def test_scans_are_reproducible_by_seed(kind):
    scans = out_of_domain_scans(kind, FULL, 5, 3)
    np.testing.assert_array_equal(out_of_domain_scans(kind, FULL, 5, 3), scans)
    assert not np.any(np.all(out_of_domain_scans(kind, FULL, 5, 4) == scans, axis=1))
    # All scans are different.
    assert len(np.unique(scans, axis=0)) == 5


def test_kinds_have_separate_random_streams():
    levels = [out_of_domain_scans(kind, FULL[::50], 500, 0).mean(axis=1) for kind in ("white_reference", "dark_scan")]
    assert abs(np.corrcoef(levels)[0, 1]) < 0.2


def test_kinds_differ_from_each_other_and_from_soils():
    """The mean curves of any two kinds differ by more than 0.05 in reflectance at some wavelength of 1100..2498 nm."""
    grid = GRIDS["nir"]
    means = {kind: out_of_domain_scans(kind, grid, 60, 0).mean(axis=0) for kind in KINDS}
    means["soil"] = scanned_soils(grid, 60, 0)[0].mean(axis=0)
    for first, second in itertools.combinations(means, 2):
        assert np.abs(means[first] - means[second]).max() > 0.05, (first, second)


def test_a_white_reference_has_reflectance_1_and_no_slope():
    scans = out_of_domain_scans("white_reference", FULL, 500, 0)
    assert scans.min() > 0.97
    assert scans.max() < 1.03
    # Means of 50 bands, so that noise does not count as a slope.
    smooth = scans[:, :1050].reshape(500, -1, 50).mean(axis=2)
    assert np.ptp(smooth, axis=1).max() < 0.012


def test_a_dark_scan_is_nearly_0_but_not_constant_0():
    scans = out_of_domain_scans("dark_scan", FULL, 500, 0)
    assert scans.max() < 0.02
    assert scans.min() >= 0
    assert scans.mean(axis=1).min() > 0


def test_noise_is_in_the_range_of_a_handheld_sensor():
    """SD of about 0.001 at reflectance 1 and 0.0005 at reflectance 0, from second differences of smooth curves."""
    for kind, sd in (("white_reference", 1.1e-3), ("dark_scan", 5e-4)):
        differences = np.diff(out_of_domain_scans(kind, FULL, 100, 0).astype(float), 2, axis=1)
        # Clipping at 0 removes some of the noise of the darkest scans.
        assert differences.std() / np.sqrt(6) == pytest.approx(sd, rel=0.05)


def depth(scans, band, left, right, grid=FULL):
    """(n,) absorbance at the band minus the line between its shoulders, each a mean of 5 bands."""
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
def test_fresh_leaves_have_water_bands(band, left, right):
    assert depth(out_of_domain_scans("plant_leaf", FULL, 200, 0)[::2], band, left, right).min() > 0.005


@pytest.mark.parametrize(("band", "left", "right"), CELLULOSE)
def test_dry_leaves_have_cellulose_and_lignin_bands(band, left, right):
    assert np.median(depth(out_of_domain_scans("plant_leaf", FULL, 200, 0)[1::2], band, left, right)) > 0.005


def test_fresh_leaves_are_green_with_a_red_edge_and_dry_leaves_have_weaker_water_bands():
    scans = out_of_domain_scans("plant_leaf", FULL, 200, 0)
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
    scans = out_of_domain_scans("plastic", grid, 300, 0)[polymer::3]
    assert depth(scans, band, left, min(right, 2590), grid).min() > 0.005


def test_thicker_plastic_absorbs_more_at_all_its_bands():
    """Depths at two bands of a sheet correlate, because both are proportional to its thickness."""
    scans = out_of_domain_scans("plastic", FULL, 300, 0)[::3]
    first, second = depth(scans, 1215, 1150, 1280), depth(scans, 1415, 1350, 1470)
    assert np.corrcoef(first, second)[0, 1] > 0.95
    assert first.max() > 4 * first.min()


@pytest.mark.parametrize("table", [LEAF_BANDS, PLASTIC_BANDS])
def test_absorption_curves_are_not_negative_and_not_0(table):
    for curve in absorption_curves(FULL, table).values():
        assert curve.min() >= 0
        assert curve.max() > 0


@pytest.mark.parametrize("grid", GRIDS)
def test_other_sensor_never_has_the_range_of_the_model(grid):
    """Each scan is a soil scanned over another range, at the same relative positions in the range."""
    nm = GRIDS[grid]
    same_range = [ends for ends in SENSOR_RANGES_NM if abs(ends[0] - nm[0]) + abs(ends[1] - nm[-1]) <= 500]
    others = [ends for ends in SENSOR_RANGES_NM if ends not in same_range]
    scans = out_of_domain_scans("other_sensor", nm, 400, 0)
    position = (nm - nm[0]) / (nm[-1] - nm[0])
    for index, (low, high) in enumerate(others):
        expected = scanned_soils(low + (high - low) * position, 400, 9)[0].mean(axis=0)
        mean = scans[index :: len(others)].mean(axis=0)
        assert np.corrcoef(mean, expected)[0, 1] > 0.99
    assert len(same_range) <= 1


def test_a_saturated_scan_is_bright_and_clipped():
    scans = out_of_domain_scans("saturated", GRIDS["nir"], 200, 0)
    assert np.median(scans) > 0.85
    # The ceiling removes the water bands of most soils.
    assert np.median(depth(scans, 1914, 1850, 2130, GRIDS["nir"])) < 0.01
    soils = scanned_soils(GRIDS["nir"], 200, 0)[0]
    assert np.median(depth(soils, 1914, 1850, 2130, GRIDS["nir"])) > 0.03


def test_half_covered_soil_is_brighter_with_shallower_bands():
    scans = out_of_domain_scans("soil_half_covered", GRIDS["nir"], 300, 0)
    soils = scanned_soils(GRIDS["nir"], 300, 0)[0]
    assert np.median(scans) > np.median(soils) + 0.1
    shallow, deep = (np.median(depth(x, 1914, 1850, 2130, GRIDS["nir"])) for x in (scans, soils))
    assert 0 < shallow < 0.6 * deep
