"""Properties of the simulated soils."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from relple_tf.config import SimulatedConfig
from relple_tf.spectra.sources import simulated as simulator
from relple_tf.spectra.sources.simulated import NOTE, TARGETS, simulate

# More soils than a block, and not a multiple of its size.
SMALL = SimulatedConfig(soils=600, step_nm=10.0)


@pytest.fixture(scope="module")
def soils():
    return simulate(SimulatedConfig(soils=3000))


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL)


def test_the_library_is_marked_as_simulated(small):
    assert (small.source, small.quantity, small.groups, small.parts) == (
        "simulated",
        "reflectance",
        None,
        None,
    )
    assert small.notes == (NOTE,)
    assert tuple(small.targets) == TARGETS == ("N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH")
    assert small.spectra.dtype == np.float32
    assert (small.ids[0], small.ids[-1], len(set(small.ids))) == ("sim00001", "sim00600", 600)


@pytest.mark.parametrize(
    ("start", "stop", "step", "bands", "last"),
    [
        (1100, 2498, 2, 700, 2498),
        (400, 2499.5, 0.5, 4200, 2499.5),
        (1100, 1201, 2, 51, 1200),
        (350, 2500, 0.1, 21501, 2500),
    ],
)
def test_the_grid_starts_at_start_and_never_exceeds_stop(start, stop, step, bands, last):
    grid = simulator.grid(SimulatedConfig(start_nm=start, stop_nm=stop, step_nm=step))
    assert len(grid) == bands
    assert grid[0] == start
    assert grid[-1] == pytest.approx(last)


@pytest.mark.parametrize("count", [1, 511, 512, 513])
def test_a_soil_does_not_depend_on_the_number_of_soils(small, count):
    fewer = simulate(replace(SMALL, soils=count))
    np.testing.assert_array_equal(fewer.spectra, small.spectra[:count])
    for target in TARGETS:
        np.testing.assert_array_equal(fewer.targets[target], small.targets[target][:count])


@pytest.mark.parametrize("start_nm", [400, 1100])
def test_a_coarser_or_shorter_grid_samples_the_same_curves(start_nm):
    wide = SimulatedConfig(soils=50, start_nm=400, stop_nm=2500, step_nm=2)
    fine, coarse = simulate(wide), simulate(replace(wide, start_nm=start_nm, step_nm=20))
    same = np.searchsorted(fine.wavelengths_nm, coarse.wavelengths_nm)
    # The noise differs, with SD 0.0001 inside the range; 0.001 is far below the depth of any band.
    inner = (coarse.wavelengths_nm > 700) & (coarse.wavelengths_nm < 2200)
    expected = fine.spectra[:, same][:, inner]
    np.testing.assert_allclose(coarse.spectra[:, inner], expected, rtol=0, atol=0.001)
    for target in TARGETS:
        np.testing.assert_array_equal(fine.targets[target], coarse.targets[target])


def test_soils_are_reproducible_by_seed(small):
    np.testing.assert_array_equal(simulate(SMALL).spectra, small.spectra)
    assert not np.any(simulate(replace(SMALL, seed=1)).targets["pH"] == small.targets["pH"])


def test_missing_removes_a_fraction_of_the_values_and_changes_nothing_else(small):
    gaps = simulate(replace(SMALL, missing=0.3))
    np.testing.assert_array_equal(gaps.spectra, small.spectra)
    for target, values in gaps.targets.items():
        measured = np.isfinite(values)
        # 600 draws at 0.3 have an SD of 0.019.
        assert measured.mean() == pytest.approx(0.7, abs=0.08)
        np.testing.assert_array_equal(values[measured], small.targets[target][measured])
    masks = [np.isnan(values) for values in gaps.targets.values()]
    other = simulate(replace(SMALL, missing=0.3, seed=1)).targets["pH"]
    assert np.any(np.isnan(other) != np.isnan(gaps.targets["pH"]))
    assert all(np.any(a != b) for a, b in itertools.pairwise(masks))


def test_reflectance_is_in_the_range_of_soils():
    spectra = simulate(SimulatedConfig(soils=2000, start_nm=350, stop_nm=2500, step_nm=10)).spectra
    assert spectra.min() >= 0.01
    assert spectra.max() <= 1
    assert 0.3 < np.median(spectra) < 0.6


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ("N_g_kg", "OC_g_kg", 0.85, 0.97),
        ("OC_g_kg", "CEC_cmolc_kg", 0.3, 0.7),
        ("N_g_kg", "CEC_cmolc_kg", 0.3, 0.7),
        ("CaCO3_g_kg", "pH", 0.4, 0.65),
        ("CEC_cmolc_kg", "pH", -0.2, 0.2),
        ("OC_g_kg", "pH", -0.4, 0.0),
        ("OC_g_kg", "CaCO3_g_kg", -0.2, 0.1),
    ],
)
def test_correlations_of_targets_are_in_the_range_of_soils(soils, first, second, low, high):
    assert low < np.corrcoef(soils.targets[first], soils.targets[second])[0, 1] < high


def test_targets_are_in_the_range_of_topsoils(soils):
    values = soils.targets
    assert 15 < np.median(values["OC_g_kg"]) < 25
    assert values["OC_g_kg"].max() > 150
    assert 9 < np.median(values["OC_g_kg"] / values["N_g_kg"]) < 13
    assert np.mean(values["CaCO3_g_kg"] < 5) > 0.5
    assert np.quantile(values["CaCO3_g_kg"], 0.95) > 150
    calcareous = values["pH"][values["CaCO3_g_kg"] > 50]
    assert np.all((calcareous > 7) & (calcareous < 8.5))
    # The lowest true pH is 3.7; the laboratory error has an SD of 0.08.
    assert values["pH"].min() > 3.3
    assert values["pH"].max() < 8.5


@pytest.mark.parametrize(
    ("target", "band", "shoulders", "minimum"),
    [
        ("CaCO3_g_kg", 2340, (2270, 2380), 0.9),
        ("OC_g_kg", 1726, (1680, 1790), 0.7),
        ("N_g_kg", 2060, (2000, 2130), 0.4),
        ("CEC_cmolc_kg", 1914, (1850, 2130), 0.4),
        ("CEC_cmolc_kg", 2208, (2130, 2260), 0.2),
        ("CEC_cmolc_kg", 1414, (1350, 1480), 0.3),
    ],
)
def test_band_depth_correlates_with_the_target_that_absorbs_there(soils, target, band, shoulders, minimum):
    absorbance = -np.log10(soils.spectra)
    at = {nm: absorbance[:, np.searchsorted(soils.wavelengths_nm, nm)] for nm in (band, *shoulders)}
    left, right = shoulders
    weight = (band - left) / (right - left)
    depth = at[band] - (1 - weight) * at[left] - weight * at[right]
    assert np.corrcoef(depth, soils.targets[target])[0, 1] > minimum


@pytest.mark.parametrize(
    ("constituent", "assigned"),
    [
        ("water", (1414, 1914)),
        ("smectite", (1414, 2208)),
        ("kaolinite", (1414, 2165, 2208)),
        ("carbonate", (1875, 1995, 2160, 2340)),
        ("carbon", (1726, 2309, 2348)),
        ("nitrogen", (1510, 2060, 2180)),
        ("iron", (515, 890)),
    ],
)
def test_constituents_absorb_at_the_bands_of_the_literature(constituent, assigned):
    wavelengths_nm = np.arange(400.0, 2500.0)
    curve = simulator.absorption_curves(wavelengths_nm)[constituent]
    peaks = wavelengths_nm[1:-1][(curve[1:-1] > curve[:-2]) & (curve[1:-1] > curve[2:])]
    for nm in assigned:
        # The flank of a neighbouring band shifts a peak by a few nm.
        assert np.abs(peaks - nm).min() <= 12, (nm, peaks)


def test_absorbance_predicts_every_target_but_none_exactly(soils):
    """Ridge regression on SNV-corrected absorbance explains a large part of each target, but not all of it."""
    x = -np.log10(soils.spectra[:, ::5]).astype(float)
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    y = np.column_stack(list(soils.targets.values()))
    train, test = slice(0, 2000), slice(2000, None)
    mean = x[train].mean(axis=0)
    a, b = x[train] - mean, y[train] - y[train].mean(axis=0)
    weights = np.linalg.solve(a.T @ a + 1e-2 * np.eye(a.shape[1]), a.T @ b)
    residual = y[test] - y[train].mean(axis=0) - (x[test] - mean) @ weights
    r2 = dict(zip(TARGETS, 1 - residual.var(axis=0) / y[test].var(axis=0), strict=True))
    for target, (low, high) in {
        "N_g_kg": (0.7, 0.97),
        "OC_g_kg": (0.7, 0.97),
        "CaCO3_g_kg": (0.85, 0.995),
        "CEC_cmolc_kg": (0.65, 0.95),
        "pH": (0.4, 0.8),
    }.items():
        assert low < r2[target] < high, (target, r2[target])


def test_soils_do_not_depend_on_the_number_of_blas_threads():
    spectra = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            spectra.append(simulate(SimulatedConfig(soils=400, step_nm=2.0)).spectra)
    np.testing.assert_array_equal(*spectra)
