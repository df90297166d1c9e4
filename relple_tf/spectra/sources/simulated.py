"""Physical simulation of soil spectra with five laboratory values, to train and test without data.

A soil is a mixture of constituents. Each constituent absorbs at its known bands, the grains scatter, and the theory of
Kubelka and Munk (1931, Z. Tech. Phys. 12, 593-601) gives the reflectance. Strong bands saturate, so absorbance is not
linear in the contents, as in real soils.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from threadpoolctl import threadpool_limits

from relple_tf.config import SimulatedConfig
from relple_tf.spectra.library import SpectralLibrary

Floats = npt.NDArray[np.float64]
Bands = tuple[tuple[float, float, float, float], ...]

TARGETS = ("N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH")
NOTE = "simulated: no soil was scanned; never report its scores as real"

BLOCK = 512
"""Soils drawn at a time. Whole blocks are drawn and the last is truncated, so soil i is the same in any library."""

VARIATES = (
    *("clay", "oc", "carbon_nitrogen", "carbonate", "acidity", "weathering", "exchange", "buffer"),
    *("moisture", "iron", "soot", "quartz", "grain", "grain_slope"),
    *("gain", "offset", "tilt", "splice_1000", "splice_1830"),
    *(f"lab_{target}" for target in TARGETS),
)
"""Standard normal variates of a soil: composition, nuisance factors, scan effects, laboratory errors."""

BANDS: dict[str, Bands] = {
    "water": ((1414, 0.7, 15, 28), (1455, 0.4, 45, 90), (1914, 3.3, 15, 28), (1940, 1.5, 35, 80)),
    "smectite": (
        *((1414, 0.06, 13, 18), (2208, 0.15, 17, 17)),
        *((2345, 0.05, 22, 22), (2445, 0.1, 30, 30)),
    ),
    "kaolinite": (
        *((1396, 0.05, 10, 10), (1413, 0.11, 9, 15)),
        *((2165, 0.07, 20, 13), (2208, 0.2, 12, 13)),
    ),
    "carbonate": (
        *((1875, 0.03, 20, 20), (1995, 0.06, 24, 24), (2160, 0.06, 25, 25)),
        *((2340, 0.4, 36, 20), (2530, 0.6, 60, 40)),
    ),
    "carbon": (
        *((1726, 0.3, 16, 20), (1760, 0.15, 14, 14), (2309, 0.5, 16, 16), (2348, 0.4, 12, 14)),
        *((1100, 1.0, 500, 500), (350, 12.0, 1, 280)),
    ),
    "nitrogen": ((1510, 1.4, 30, 45), (2060, 3.2, 28, 35), (2180, 2.6, 22, 24)),
    "iron": ((515, 10.0, 80, 55), (650, 2.0, 45, 45), (890, 3.5, 80, 110), (1100, 0.7, 200, 300)),
}
"""Constituent -> its bands: centre in nm, strength (K over S per mass fraction), and the SD in nm
of the Gaussian on the short and on the long side. The last two bands of `carbon` model the dark
colour of humus. Positions: Stenberg et al. 2010 (Adv. Agron. 107, 163-215), Viscarra Rossel & Behrens 2010
(Geoderma 158, 46-54), Ben-Dor & Banin 1995 (SSSAJ 59, 364-372), Clark et al. 1990 (JGR 95,
12653-12680; clays, carbonates). Strengths are chosen so that spectra look like those of air-dried
topsoils."""


def simulate(config: SimulatedConfig) -> SpectralLibrary:
    """Draw soils, and simulate their spectra and laboratory values, reproducible by seed.

    Soil i does not depend on the number of soils. A coarser grid samples the same curves; only the detector noise
    differs. Missing laboratory values do not change the spectra.

    Returns:
        A library of `config.soils` reflectance spectra and the targets of TARGETS.
    """
    wavelengths_nm = grid(config)
    # The order of summation in BLAS depends on its threads; soils must not depend on the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        spectra, values = scanned_soils(wavelengths_nm, config.soils, config.seed)
    missing = np.random.default_rng([config.seed, 2]).random(values.shape) < config.missing
    values[missing] = np.nan
    return SpectralLibrary(
        source="simulated",
        spectra=spectra,
        wavelengths_nm=wavelengths_nm,
        quantity="reflectance",
        targets={name: values[:, column].copy() for column, name in enumerate(TARGETS)},
        ids=np.array([f"sim{number:05d}" for number in range(1, config.soils + 1)]),
        notes=(NOTE,),
    ).checked()


def scanned_soils(wavelengths_nm: Floats, count: int, seed: int) -> tuple[npt.NDArray[np.float32], Floats]:
    """Reflectance of `count` soils on any grid, (count, bands), and their laboratory values, (count, targets)."""
    curves = absorption_curves(wavelengths_nm)
    spectra = np.empty((count, len(wavelengths_nm)), np.float32)
    values = np.empty((count, len(TARGETS)))
    for block, start in enumerate(range(0, count, BLOCK)):
        rng = np.random.default_rng([seed, 0, block])
        variates = rng.standard_normal((BLOCK, len(VARIATES)))
        soil = _soils(dict(zip(VARIATES, variates.T, strict=True)))
        noise = np.random.default_rng([seed, 1, block])
        rows = slice(start, start + BLOCK)
        kept = min(BLOCK, count - start)
        values[rows] = laboratory(soil)[:kept]
        spectra[rows] = _scan(soil, wavelengths_nm, curves, noise)[:kept]
    return spectra, values


def grid(config: SimulatedConfig) -> Floats:
    """(bands,) wavelengths in nm, from `start_nm` to `stop_nm` in steps of `step_nm`."""
    # 1e-6 keeps the last band when step_nm is not exact in binary.
    steps = math.floor((config.stop_nm - config.start_nm) / config.step_nm + 1e-6)
    return config.start_nm + config.step_nm * np.arange(steps + 1, dtype=np.float64)


def absorption_curves(wavelengths_nm: Floats, table: Mapping[str, Bands] = BANDS) -> dict[str, Floats]:
    """(bands,) specific absorption of each constituent of `table`; for soils, K over S per mass fraction."""
    curves = {}
    for constituent, bands in table.items():
        curve = np.zeros_like(wavelengths_nm)
        for centre, strength, short_sd, long_sd in bands:
            sd = np.where(wavelengths_nm < centre, short_sd, long_sd)
            curve += strength * np.exp(-0.5 * ((wavelengths_nm - centre) / sd) ** 2)
        curves[constituent] = curve
    return curves


def _soils(z: dict[str, Floats]) -> dict[str, Floats]:
    """Composition and properties of soils similar to European topsoils, from standard normal variates.

    Medians and tails follow LUCAS 2009 (Toth et al. 2013, JRC83529): organic carbon is log-normal with a tail of
    organic soils, most soils contain no carbonate, and carbonate buffers pH.

    Args:
        z: Name of VARIATES -> (n,).

    Returns:
        Name -> (n,): mass fractions 0..1 of the constituents of BANDS, the true value of each target, and the
        variates `z`, which the scan and the laboratory errors need.
    """
    # The quadratic term bends the log-normal towards peat; C:N widens from 11 to about 20 there.
    log_oc = 0.65 * z["oc"] + 0.3 * np.maximum(z["oc"] - 1.5, 0) ** 2
    oc_g_kg = np.minimum(20 * np.exp(log_oc), 480)
    n_g_kg = oc_g_kg / (11 * np.exp(0.21 * z["carbon_nitrogen"]) * (1 + oc_g_kg / 600))
    mineral = 1 - 1.724 * oc_g_kg / 1000
    excess = np.maximum(z["carbonate"] - 0.3, 0)
    carbonate = mineral * (0.0005 * np.exp(z["buffer"]) + 0.85 * (1 - np.exp(-0.22 * excess**1.4)))
    clay = expit(-1.2 + 0.75 * z["clay"])
    # Weathered clays are kaolinitic: sharper bands, less charge, lower pH and more iron oxide.
    kaolinitic = expit(1.3 * z["weathering"])
    charge = (0.62 - 0.3 * kaolinitic) * np.exp(0.12 * z["exchange"])
    unbuffered = 5.8 + 0.38 * z["acidity"] - 0.75 * z["weathering"] - 0.4 * log_oc
    buffered = carbonate / (carbonate + 0.004)
    silicate = mineral - carbonate
    return z | {
        "N_g_kg": n_g_kg,
        "OC_g_kg": oc_g_kg,
        "CaCO3_g_kg": 1000 * carbonate,
        "CEC_cmolc_kg": 100 * charge * clay * silicate + 0.2 * oc_g_kg,
        "pH": (1 - buffered) * np.clip(unbuffered, 3.7, 7.5) + buffered * (7.8 + 0.12 * z["buffer"]),
        # Air-dried soils keep a variable amount of water, bound by clay (mainly smectite) and humus.
        "water": (0.005 + 0.09 * clay * (1 - 0.6 * kaolinitic) + 0.00025 * oc_g_kg) * np.exp(0.35 * z["moisture"]),
        "smectite": silicate * clay * (1 - kaolinitic),
        "kaolinite": silicate * clay * kaolinitic,
        "carbonate": carbonate,
        "carbon": oc_g_kg / 1000,
        "nitrogen": n_g_kg / 1000,
        "iron": silicate * 0.025 * np.exp(0.45 * z["iron"] + 0.3 * z["weathering"]),
    }


def laboratory(soil: dict[str, Floats]) -> Floats:
    """(n, targets) laboratory values: the true value times a log-normal error; for pH plus a normal error."""
    relative = {"N_g_kg": 0.07, "OC_g_kg": 0.04, "CaCO3_g_kg": 0.04, "CEC_cmolc_kg": 0.06}
    columns = [soil[name] * np.exp(sd * soil[f"lab_{name}"]) for name, sd in relative.items()]
    return np.column_stack([*columns, soil["pH"] + 0.08 * soil["lab_pH"]])


def _scan(
    soil: dict[str, Floats],
    wavelengths_nm: Floats,
    curves: dict[str, Floats],
    noise: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """(n, bands) reflectance of the soils as measured by a bench spectrometer with three detectors."""
    # -1 and 1 at the ends of 350..2500 nm, independent of the grid.
    position = ((wavelengths_nm - 1425) / 1075).astype(np.float32)
    scatter = _column(0.11 * soil["grain"] + 0.1 * soil["quartz"]) + _column(0.08 * soil["grain_slope"]) * position
    ratio = _absorption(soil, wavelengths_nm, curves) * np.exp(-scatter)
    # Kubelka-Munk: R of an infinitely thick layer with the ratio K over S (absorption over scattering).
    absorbance = -np.log10(1 + ratio - np.sqrt(ratio * (ratio + 2)))
    absorbance *= _column(np.exp(0.06 * soil["gain"]))
    absorbance += _column(0.02 * soil["offset"]) + _column(0.012 * soil["tilt"]) * position
    for splice_nm in (1000, 1830):
        step = _column(0.0012 * soil[f"splice_{splice_nm}"])
        absorbance += step * (wavelengths_nm > splice_nm).astype(np.float32)
    reflectance: npt.NDArray[np.float32] = 10**-absorbance
    # Lamps are dim and detectors insensitive at the ends; SD 0.0001 is that of a mean of some dozens of scans.
    noise_sd = (1e-4 * (1 + 6 * position**8)).astype(np.float32)
    reflectance += noise_sd * noise.standard_normal(reflectance.shape, dtype=np.float32)
    return reflectance.clip(0.01, 1.0)


def _absorption(soil: dict[str, Floats], wavelengths_nm: Floats, curves: dict[str, Floats]) -> npt.NDArray[np.float32]:
    """(n, bands) ratio of absorption to scattering of the mixtures: a continuum plus the constituents."""
    # Continuum: grey matter without bands, the edge towards the visible, and the wing of the OH stretching bands
    # beyond 2500 nm, which increases with clay and water.
    edge = np.exp(-(wavelengths_nm - 350) / 420)
    wing = np.exp((wavelengths_nm - 2500) / 170)
    grey = 0.15 * np.exp(0.35 * soil["soot"])
    rise = 0.05 + 0.45 * (soil["smectite"] + 0.6 * soil["kaolinite"]) + 1.2 * soil["water"]
    amounts = [grey, grey * np.exp(0.3 * soil["iron"]), rise, *(soil[name] for name in curves)]
    shapes = [np.ones_like(edge), 4 * edge, wing, *curves.values()]
    mixed = np.column_stack(amounts).astype(np.float32) @ np.stack(shapes).astype(np.float32)
    return np.asarray(mixed, np.float32)


def _column(values: Floats) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)[:, None]
