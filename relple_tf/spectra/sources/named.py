"""Load a spectral library by name, or a table by its path."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from LimeSoDa import load_dataset

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.laboratory_columns import select_targets
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sensors.profiles import on_sensor, read_sensor

LIMESODA_SETS = ("CV.98", "RP.62", "SA.112", "SC.93", "SL.125", "SSP.460", "UL.120")
"""The LimeSoDa data sets with near-infrared spectra up to 2400 nm; each is a single field."""
_GRID_NM = np.arange(1100.0, 2401.0, 2.0)
_VAN_BEMMELEN = 1.724
"""Mass ratio of organic matter to organic carbon; it assumes 58 % carbon in organic matter."""
_TEST_FOLDS, _VALIDATION_FOLD = (1, 2), 3

_LIMESODA_NOTES = (
    "the data are LimeSoDa, Schmidinger et al. 2025 (arXiv 2502.20139), licence CC BY-SA 4.0",
    "reflectance in percent was divided by 100 and interpolated to 1100..2400 nm, step 2 nm",
    "OC_g_kg is SOC in percent times 10; for SL.125 and UL.120 it is organic matter (SOM) in "
    "percent times 10 / 1.724 (van Bemmelen)",
    "the split uses the folds of LimeSoDa, drawn inside each field: 1 and 2 for test, 3 for validation",
)


def load(config: Config, *, laboratory: bool = True, select: bool = True) -> SpectralLibrary:
    """Load the library that `config.data.source` names, with the targets of `config.data.targets`.

    If `config.data.sensor` is set, the spectra are converted to the bands, resolution and quantity of that sensor.

    Args:
        config: `data`, `limits`, `simulated` and the range of `front_end` are read.
        laboratory: Whether to read the laboratory values of a table; `False` for a table without them.
        select: Whether to leave out targets of a table with too few values to train on.

    Raises:
        NoLaboratoryValuesError: a table has no column of a known target.
        InputError: the source or sensor does not exist, the data or targets are invalid, or the spectra do not cover
            the range of the sensor.
    """
    if not config.data.sensor:
        return _load(config, laboratory, select)
    sensor = read_sensor(config.data.sensor)
    return on_sensor(_load(config, laboratory, select), sensor, config.front_end.start_nm, config.front_end.stop_nm)


def _load(config: Config, laboratory: bool, select: bool) -> SpectralLibrary:
    """The library on its original grid."""
    source = config.data.source
    if config.data.lab and source in ("limesoda", "simulated"):
        raise InputError(
            f"data.lab {config.data.lab!r}: {source} contains its laboratory values; leave out --lab, or give the "
            "scans with --data"
        )
    if source == "limesoda":
        return select_targets(_limesoda(), config.data).checked()
    if source == "simulated":
        from relple_tf.spectra.sources.simulated import simulate

        return select_targets(simulate(config.simulated), config.data).checked()
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(f"no file {source!r}; expected limesoda, simulated or the path of a table or folder")
    if config.data.lab and not Path(config.data.lab).expanduser().exists():
        raise InputError(f"no file {config.data.lab!r} (data.lab); expected the path of a table of laboratory values")
    return read_table(path, config.data, config.limits, laboratory=laboratory, select=select)


def _limesoda() -> SpectralLibrary:
    """1,070 soils of seven fields: OC_g_kg, pH and clay_pct on 651 bands."""
    sets = [limesoda_field(name) for name in LIMESODA_SETS]
    names = sets[0].targets
    return SpectralLibrary(
        source="limesoda",
        spectra=np.concatenate([library.spectra for library in sets]),
        wavelengths_nm=_GRID_NM,
        quantity="reflectance",
        targets={name: np.concatenate([library.targets[name] for library in sets]) for name in names},
        ids=np.concatenate([library.ids for library in sets]),
        groups=np.repeat(LIMESODA_SETS, [len(library) for library in sets]),
        parts=np.concatenate([library.parts for library in sets if library.parts is not None]),
        notes=_LIMESODA_NOTES,
    )


def limesoda_field(name: str) -> SpectralLibrary:
    """A single field of LimeSoDa on the common grid."""
    data = load_dataset(name)
    table, folds = data["Dataset"], np.asarray(data["Folds"])
    bands = [column for column in table.columns if column.startswith("wl_")]
    wavelengths = np.array([float(column.removeprefix("wl_")) for column in bands])
    percent = table[bands].to_numpy(dtype=float)
    spectra = np.stack([np.interp(_GRID_NM, wavelengths, row) for row in percent]) / 100
    return SpectralLibrary(
        source=name,
        spectra=spectra.astype(np.float32),
        wavelengths_nm=_GRID_NM,
        quantity="reflectance",
        targets={
            "OC_g_kg": _organic_carbon(table),
            "pH": table["pH_target"].to_numpy(dtype=float),
            "clay_pct": table["Clay_target"].to_numpy(dtype=float),
        },
        ids=np.array([f"{name}-{row}" for row in range(1, len(table) + 1)]),
        parts=_parts(folds),
    )


def _organic_carbon(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """(n,) g/kg from `SOC_target` or `SOM_target`, both in percent."""
    if "SOC_target" in table:
        carbon: npt.NDArray[np.float64] = table["SOC_target"].to_numpy(dtype=float) * 10
    else:
        carbon = table["SOM_target"].to_numpy(dtype=float) * 10 / _VAN_BEMMELEN
    return carbon


def _parts(folds: npt.NDArray[np.int_]) -> npt.NDArray[np.str_]:
    """(n,) parts from the ten LimeSoDa folds of a field."""
    parts = np.full(len(folds), "train", dtype="<U10")
    parts[folds == _VALIDATION_FOLD] = "validation"
    parts[np.isin(folds, _TEST_FOLDS)] = "test"
    return parts
