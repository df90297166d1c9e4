"""Sound tables of real soils: the bases from which `blind.py` makes wrong tables."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from LimeSoDa import load_dataset

Floats = npt.NDArray[np.float64]

FILES = {
    "nirsoil": "absorbance",
    "datsoilspc": "reflectance",
    "tavares_brazil": "reflectance",
    "uganda_benchtop": "absorbance",
    "ossl_neospectra_slice": "reflectance",
}
"""Files of shared/data and the quantity that they hold."""
FIELDS = ("CV.98", "RP.62", "SA.112", "SC.93", "SL.125", "SSP.460", "UL.120", "SP.231")
"""Near-infrared fields of LimeSoDa, in percent of reflectance."""
MID_INFRARED = ("H.138", "NRW.115", "NRW.42", "NRW.62", "O.32")
"""Mid-infrared fields of LimeSoDa: bands in cm-1, descending, percent of reflectance."""
LIMESODA_NAMES = {"SOC_target": "OC_pct", "SOM_target": "OM_pct", "pH_target": "pH", "Clay_target": "clay_pct"}
TARGETS = re.compile(r"^(N|OC|TC|OM|CaCO3|CEC|pH|clay|silt|sand|base_sat|ex[A-Z])", re.ASCII)
KNOWN = re.compile(r"^(N_|OC_|CEC_|pH$|clay_)", re.ASCII)
BAND = re.compile(r"^(?:X|wl_|nm_|spc\.)?(\d+(?:\.\d+)?)(?: ?nm)?$")
STYLES = ("{}", "{}", "{}", "{}", "X{}", "wl_{}", "{} nm")
"""Spellings of a band of so many nm; bare numbers are the usual case."""
ID_NAMES = ("id", "id", "ID", "sample_id", "Sample", "sample")


def bands_of(table: pd.DataFrame) -> list[str]:
    """Names of the bands of a table, in its order."""
    return [name for name in table.columns if BAND.match(str(name))]


def nanometres(table: pd.DataFrame) -> Floats:
    """(n_bands,) wavelengths of a sound table, in nm."""
    return np.array([float(match[1]) for name in table.columns if (match := BAND.match(str(name)))])


def spectra_of(table: pd.DataFrame) -> Floats:
    """(n, n_bands) values of the bands of a table, in its quantity."""
    values: Floats = table[bands_of(table)].to_numpy(float)
    return values


def with_spectra(table: pd.DataFrame, values: npt.NDArray[Any], names: list[str] | None = None) -> pd.DataFrame:
    """The table with other bands in the place of its bands.

    Args:
        table: A table whose bands are contiguous.
        values: (n, n_new_bands), numbers or text.
        names: (n_new_bands,) names of the new bands; None keeps the names of the table.
    """
    old = bands_of(table)
    first = list(table.columns).index(old[0])
    others = table.drop(columns=old)
    new = pd.DataFrame(values, columns=old if names is None else names, index=table.index)
    made = pd.concat([others.iloc[:, :first], new, others.iloc[:, first:]], axis=1)
    made.attrs = dict(table.attrs)
    return made


def targets_of(table: pd.DataFrame) -> list[str]:
    """Names of the laboratory columns of a table."""
    return [name for name in table.columns if TARGETS.match(str(name))]


def id_of(table: pd.DataFrame) -> str:
    """Name of the id column of a table."""
    return next(name for name in ID_NAMES if name in table)


def quantity_of(table: pd.DataFrame) -> str:
    """`reflectance` (0..1), `percent` (0..100) or `absorbance` (log10(1/R))."""
    return str(table.attrs["quantity"])


def converted(values: Floats, source: str, quantity: str) -> Floats:
    """Spectra in another of the three quantities; reflectance is kept above 1e-4 for the logarithm."""
    if source == quantity:
        return values
    fraction: Floats = 10.0**-values if source == "absorbance" else values / (100 if source == "percent" else 1)
    if quantity == "absorbance":
        return np.asarray(-np.log10(np.clip(fraction, 1e-4, None)), float)
    return fraction * (100 if quantity == "percent" else 1)


def load(name: str, folder: Path) -> pd.DataFrame:
    """A whole set with ids, laboratory values and bands named in nm (mid-infrared: cm-1); `attrs` has the quantity."""
    if name in FILES:
        table = pd.read_csv(folder / f"{name}.csv.gz", dtype={"id": str})
        table = table.drop(columns=[c for c in ("train", "field", "source", "land_use", "depth_cm") if c in table])
        # Two columns of Tavares are others in another unit; the OSSL slice has one value of CaCO3.
        table = table.drop(columns=[c for c in ("CEC_mmolc_kg", "OM_g_kg", "CaCO3_pct") if c in table])
        table.attrs = {"quantity": FILES[name], "set": name}
        return table
    frame = load_dataset(name)["Dataset"]
    spectral = [c for c in frame.columns if c.startswith(("wl_", "wn_"))]
    kept = frame[[*[c for c in frame.columns if c in LIMESODA_NAMES], *spectral]].astype(float)
    table = kept.rename(columns=LIMESODA_NAMES | {c: c[3:] for c in spectral}).reset_index(drop=True)
    table.insert(0, "id", [f"{name.split('.')[0]}{row + 1:03d}" for row in range(len(table))])
    if name == "SP.231":
        # Eight scans are two to ten times darker than the rest of the field: wrong already.
        table = table[spectra_of(table).mean(axis=1) > 3].reset_index(drop=True)
    table.attrs = {"quantity": "percent", "set": name}
    return table


def sound_table(
    whole: pd.DataFrame, rng: np.random.Generator, needed: tuple[str, ...] = (), keep_all: bool = False
) -> pd.DataFrame:
    """A sound table as a user could have: some rows, targets and bands of a set, rounded.

    Args:
        whole: A set of `load`.
        rng: Chooses 40 to 200 rows in random order, the targets (at least one that the project models without being
            asked), a band step that leaves 30 to 700 bands, the quantity, 3 to 6 decimals, the spelling of the bands
            and the place of the laboratory columns.
        needed: Targets that stay.
        keep_all: Keep every target.
    """
    rows = rng.permutation(len(whole))[: int(rng.integers(40, 201))]
    table = whole.iloc[rows].reset_index(drop=True)
    all_targets = targets_of(table)
    optional = [t for t in all_targets if t not in needed]
    count = len(optional) if keep_all else int(rng.integers(0 if needed else 1, len(optional) + 1))
    chosen = {*needed, *(str(t) for t in rng.permutation(optional)[:count])}
    if not any(KNOWN.match(t) for t in chosen):
        chosen.add(str(rng.choice([t for t in all_targets if KNOWN.match(t)])))
    table = table.drop(columns=[t for t in all_targets if t not in chosen])
    spectra, bands = spectra_of(table), bands_of(table)
    if rng.random() < 0.3 and len(bands) > 150:
        low, high = int(rng.integers(0, len(bands) // 8)), len(bands) - int(rng.integers(0, len(bands) // 8))
        spectra, bands = spectra[:, low:high], bands[low:high]
    least, most = max(1, -(-len(bands) // 700)), max(1, len(bands) // 30)
    step = int(np.exp(rng.uniform(np.log(least), np.log(most + 1))))
    step = min(max(step, least), most)
    spectra, bands = spectra[:, ::step], bands[::step]
    table = with_spectra(table, spectra, bands)
    source = quantity_of(whole)
    quantity = source if rng.random() < 0.5 else str(rng.choice(["reflectance", "percent", "absorbance"]))
    decimals = max(1, int(rng.integers(3, 7)) - (2 if quantity == "percent" else 0))
    spectra = np.round(converted(spectra, source, quantity), decimals)
    style = str(rng.choice(STYLES))
    table = with_spectra(table, spectra, [style.format(band) for band in bands])
    table = table.rename(columns={"id": str(rng.choice(ID_NAMES))})
    if rng.random() < 0.25:
        table = table[[*[c for c in table.columns if c not in chosen], *[c for c in table.columns if c in chosen]]]
    table.attrs = {"quantity": quantity, "set": whole.attrs["set"]}
    return table
