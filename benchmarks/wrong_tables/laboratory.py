"""Wrong laboratory values, made from sound tables: one function per kind, and the share that the checks find.

    python -m benchmarks.wrong_tables.laboratory [--seeds 50] [--data DIR] [--alarms]

The base tables are 100 simulated soils and, with `--data`, 100 soils drawn from DIR/neospectra_labs_2106.csv.gz (OSSL;
their bands are simulated). Prints the share of wrong tables per kind that are refused, warned of or lose the rows of
statistics; a warning counts only if the sound table has none of this text. With `--alarms` the sound real sets are read
instead, each whole and in 100 draws of 50 rows, and every refusal and warning is printed.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from relple_tf.config import Config, DataConfig, SimulatedConfig, changed
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.sources.simulated import simulate

Rng = np.random.Generator
Kind = Callable[[pd.DataFrame, Rng], pd.DataFrame]

TARGETS = ("N_pct", "OC_pct", "CEC_cmolc_kg", "pH", "clay_pct", "EC_mS_m")
CONTENTS = ("N_pct", "OC_pct", "CEC_cmolc_kg", "clay_pct")
MINIMUM_VALUES = 10
CODES = (-999, 999, 9999, -1, -99, 99999, -99999)
SETS: dict[str, tuple[str, ...]] = {
    "nirsoil": ("N_g_kg", "OC_pct", "CEC_cmolc_kg"),
    "datsoilspc": ("TC_pct", "clay_pct", "silt_pct", "sand_pct"),
    "tavares_brazil": ("OC_pct", "CEC_cmolc_kg", "pH", "clay_g_kg", "base_sat_pct", "exP", "exK", "exCa", "exMg"),
    "uganda_benchtop": ("TC_g_kg", "N_g_kg"),
    "ossl_neospectra_slice": ("N_pct", "OC_pct", "TC_pct", "pH", "clay_pct"),
    "neospectra_labs_2106": (*CONTENTS, "TC_pct", "CaCO3_pct", "pH", "silt_pct", "sand_pct"),
    "datEPO_moisture": ("TC_pct",),
}
"""Real set -> targets that are read."""


def bands(rows: int, seed: int = 0) -> pd.DataFrame:
    """Reflectance of simulated soils on 47 bands."""
    config = SimulatedConfig(soils=rows, start_nm=1400, stop_nm=2320, step_nm=20, seed=seed)
    library = simulate(config)
    return pd.DataFrame(library.spectra.round(5), columns=[f"{nm:g}" for nm in library.wavelengths_nm])


def simulated_base(rng: Rng, rows: int = 100) -> pd.DataFrame:
    """Laboratory values of simulated soils, rounded as laboratories do, with bands."""
    config = SimulatedConfig(soils=rows, start_nm=1400, stop_nm=2320, step_nm=20, seed=int(rng.integers(1 << 30)))
    library = simulate(config)
    values = library.targets
    clay = np.clip((values["CEC_cmolc_kg"] - 0.2 * values["OC_g_kg"]) / 0.45, 2, 85)
    silt = (100 - clay) * rng.uniform(0.15, 0.85, rows)
    frame = pd.DataFrame(
        {
            "id": [f"s{row}" for row in range(1, rows + 1)],
            "N_pct": (values["N_g_kg"] / 10).round(3),
            "OC_pct": (values["OC_g_kg"] / 10).round(2),
            "CEC_cmolc_kg": values["CEC_cmolc_kg"].round(1),
            "pH": values["pH"].round(2),
            "clay_pct": clay.round(1),
            "silt_pct": silt.round(1),
            "sand_pct": (100 - clay.round(1) - silt.round(1)).round(1),
            "EC_mS_m": np.exp(rng.normal(3, 0.8, rows)).round(1),
        }
    )
    return frame.join(pd.DataFrame(library.spectra.round(5), columns=[f"{nm:g}" for nm in library.wavelengths_nm]))


def real_base(rng: Rng, table: pd.DataFrame, rows: int = 100) -> pd.DataFrame:
    """Soils of OSSL drawn at random, with simulated EC and bands."""
    columns = ["id", "N_pct", "OC_pct", "CEC_cmolc_kg", "pH", "clay_pct", "silt_pct", "sand_pct"]
    frame = table.loc[table["OC_pct"] > 0, columns].sample(rows, random_state=int(rng.integers(1 << 30)))
    frame = frame.reset_index(drop=True).assign(EC_mS_m=np.exp(rng.normal(3, 0.8, rows)).round(1))
    return frame.join(bands(rows))


def _cells(frame: pd.DataFrame, rng: Rng, low: int, high: int) -> list[int]:
    return sorted(rng.choice(len(frame), int(rng.integers(low, high + 1)), replace=False).tolist())


def _set(frame: pd.DataFrame, column: str, rows: list[int], values: object) -> pd.DataFrame:
    frame = frame.astype({column: object})
    frame.loc[rows, column] = values
    return frame


def _scaled(frame: pd.DataFrame, column: str, factor: float) -> pd.DataFrame:
    return frame.assign(**{column: (frame[column] * factor).round(4)})


def code_repeated(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A code for a missing value in several cells of a target."""
    return _set(frame, str(rng.choice(TARGETS)), _cells(frame, rng, 2, 12), int(rng.choice(CODES)))


def code_single(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A code for a missing value in one cell of a target."""
    return _set(frame, str(rng.choice(TARGETS)), _cells(frame, rng, 1, 1), int(rng.choice(CODES)))


def code_unknown_unit(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A code in a target whose unit is not known."""
    return _set(frame, "EC_mS_m", _cells(frame, rng, 1, 12), int(rng.choice(CODES)))


def negative_single(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """One negative number in a target whose unit is not known."""
    return _set(frame, "EC_mS_m", _cells(frame, rng, 1, 1), round(-float(rng.uniform(0.5, 50)), 1))


def low_ph(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A pH of 0, or a pH divided by ten, in some cells."""
    rows = _cells(frame, rng, 1, 10)
    return _set(frame, "pH", rows, 0 if rng.random() < 0.5 else (frame["pH"][rows] / 10).round(2).tolist())


def zeros_missing(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Zeros where OC, N, CEC or clay was not measured, in 5 to 20 % of the rows."""
    return _set(frame, str(rng.choice(CONTENTS)), _cells(frame, rng, len(frame) // 20 + 1, len(frame) // 5), 0)


def nitrogen_in_g_kg(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """N in g/kg under the name N_pct."""
    return _scaled(frame, "N_pct", 10)


def nitrogen_in_percent(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """N in percent under the name N_g_kg."""
    return frame.rename(columns={"N_pct": "N_g_kg"})


def carbon_in_g_kg(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """OC in g/kg under the name OC_pct."""
    return _scaled(frame, "OC_pct", 10)


def carbon_in_g_kg_alone(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """OC in g/kg under the name OC_pct, in a table without N."""
    return _scaled(frame, "OC_pct", 10).drop(columns="N_pct")


def carbon_in_percent_alone(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """OC in percent under the name OC_g_kg, in a table without N."""
    return frame.rename(columns={"OC_pct": "OC_g_kg"}).drop(columns="N_pct")


def total_carbon_in_percent(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Total carbon in percent under the name TC_g_kg."""
    return frame.assign(TC_g_kg=(frame["OC_pct"] * rng.uniform(1, 1.5, len(frame))).round(2))


def carbonate_in_g_kg(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """CaCO3 in g/kg under the name CaCO3_pct."""
    return frame.assign(CaCO3_pct=np.maximum(rng.normal(20, 120, len(frame)), 0).round(0))


def inorganic_carbon_unit(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Inorganic carbon in percent beside CaCO3 in percent, named g/kg."""
    carbonate = rng.uniform(0.5, 40, len(frame)).round(1)
    return frame.assign(CaCO3_pct=carbonate, IC_g_kg=(carbonate * 0.12).round(2))


def cec_in_mmolc(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """CEC in mmolc/kg under the name CEC_cmolc_kg."""
    return _scaled(frame, "CEC_cmolc_kg", 10)


def cec_in_mmolc_alone(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """CEC in mmolc/kg under the name CEC_cmolc_kg, in a table without clay and carbon."""
    return _scaled(frame, "CEC_cmolc_kg", 10).drop(columns=["clay_pct", "silt_pct", "sand_pct", "OC_pct", "N_pct"])


def cec_in_cmolc(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """CEC in cmolc/kg under the name CEC_mmolc_kg."""
    return frame.rename(columns={"CEC_cmolc_kg": "CEC_mmolc_kg"})


def texture_sum(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A fraction in another unit, or clay and sand swapped against the sum in some rows."""
    if rng.random() < 0.5:
        return _scaled(frame, str(rng.choice(["silt_pct", "sand_pct"])), 0.01)
    rows = _cells(frame, rng, 1, 5)
    return _set(frame, "sand_pct", rows, (frame["sand_pct"][rows] + 45).round(1).tolist())


def clay_fraction(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Clay as a fraction 0..1 under the name clay_pct."""
    return _scaled(frame, "clay_pct", 0.01).drop(columns=["silt_pct", "sand_pct"])


def carbon_above_humus(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """More organic carbon than humus contains, in a few rows."""
    return _set(frame, "OC_pct", _cells(frame, rng, 1, 3), round(float(rng.uniform(59, 99)), 1))


def _decimals(factor: int) -> Kind:
    def kind(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
        column = str(rng.choice(["N_pct", "OC_pct", "CEC_cmolc_kg", "EC_mS_m"]))
        rows = _cells(frame, rng, 1, 3)
        return _set(frame, column, rows, (frame[column][rows] * factor).round(3).tolist())

    kind.__doc__ = f"A decimal point lost: {factor} times the value in one to three cells."
    return kind


def copy_of_row_number(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """The row number in the column of a target."""
    return frame.assign(**{str(rng.choice(["EC_mS_m", "CEC_cmolc_kg"])): np.arange(1, len(frame) + 1)})


def copy_of_target(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """The values of one target under the name of another."""
    first, second = rng.choice(["CEC_cmolc_kg", "clay_pct", "EC_mS_m"], 2, replace=False)
    return frame.assign(**{str(first): frame[str(second)]})


def classes(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Classes in the column of a target."""
    return frame.assign(EC_mS_m=rng.integers(1, int(rng.integers(3, 9)), len(frame)))


def _statistics(frame: pd.DataFrame, labels: list[str], digits: int) -> pd.DataFrame:
    numbers = frame.drop(columns="id")
    below = pd.concat([numbers.mean().to_frame().T, numbers.std().to_frame().T], ignore_index=True).round(digits)
    below = below.iloc[: len(labels)].assign(id=labels)
    return pd.concat([frame, below], ignore_index=True)


def statistics_labelled(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A row of means and a row of SDs below the table, with labels."""
    pairs = [["mean", "SD"], ["Average", "StDev"], ["Mittelwert", "Standardabweichung"], ["moyenne", "écart-type"]]
    return _statistics(frame, pairs[int(rng.integers(len(pairs)))], 4)


def statistics_unlabelled(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A row of means, or of means and SDs, below the table, named as a soil."""
    return _statistics(frame, ["s101", "s102"][: int(rng.integers(1, 3))], 3)


def lucas_names(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Values in percent under the names of LUCAS, without unit and without another column of LUCAS."""
    frame = frame.assign(CaCO3=rng.uniform(0, 5, len(frame)).round(1))
    return frame.rename(columns={"N_pct": "N", "OC_pct": "OC", "pH": "pH_H2O"})


def columns_disagree(frame: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A second column of organic carbon with other values in some rows."""
    rows = _cells(frame, rng, 1, 20)
    return _set(frame.assign(SOC_pct=frame["OC_pct"]), "SOC_pct", rows, (frame["OC_pct"][rows] * 1.3 + 0.1).tolist())


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        *(code_repeated, code_single, code_unknown_unit, negative_single, low_ph, zeros_missing),
        *(nitrogen_in_g_kg, nitrogen_in_percent, carbon_in_g_kg, carbon_in_g_kg_alone, carbon_in_percent_alone),
        *(total_carbon_in_percent, carbonate_in_g_kg, inorganic_carbon_unit, cec_in_mmolc, cec_in_mmolc_alone),
        *(cec_in_cmolc, texture_sum, clay_fraction, carbon_above_humus, copy_of_row_number, copy_of_target, classes),
        *(statistics_labelled, statistics_unlabelled, lucas_names, columns_disagree),
    )
} | {f"decimals_x{factor}": _decimals(factor) for factor in (10, 100, 1000)}
"""Kind -> function (sound table, generator) -> wrong table."""


def outcome(frame: pd.DataFrame, folder: Path, targets: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
    """Read a table: `refused`, `dropped`, `warned` or `silent`, and the messages."""
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    wanted = targets or tuple(name for name in frame if str(name).partition("_")[0] in _PROPERTIES)
    wanted = () if {"OC", "SOC_pct"} & {*frame} else wanted  # a named column is not merged with others
    try:
        library = read_table(path, DataConfig(targets=wanted, minimum_values=MINIMUM_VALUES, quantity="reflectance"))
    except InputError as error:
        return "refused", (str(error),)
    dropped = tuple(f"{row}: {reason}" for row, _, reason in library.dropped)
    return "dropped" if dropped else "warned" if library.warnings else "silent", (*dropped, *library.warnings)


_PROPERTIES = ("N", "OC", "CEC", "pH", "clay", "EC", "CaCO3")


def detection(seeds: int, table: pd.DataFrame | None) -> None:
    """Print the share of wrong tables that are not silent, per kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, change in {"sound": lambda frame, rng: frame, **KINDS}.items():
            counts: Counter[str] = Counter()
            for seed in range(seeds):
                rng = np.random.default_rng([seed, *kind.encode()])
                frame = simulated_base(rng) if table is None else real_base(rng, table)
                before = outcome(frame, folder)[1]
                result, messages = outcome(change(frame, rng), folder)
                counts[result if kind == "sound" or set(messages) - set(before) else "silent"] += 1
            found = seeds - counts["silent"]
            print(f"{kind:28} {found / seeds:6.0%}  {dict(counts)}", flush=True)


def sound_sets(data: Path | None) -> Iterator[tuple[str, pd.DataFrame, tuple[str, ...]]]:
    """Laboratory columns of the real sets and of the simulated soils, with their targets."""
    for source in ("limesoda", "simulated"):
        library: SpectralLibrary = load(changed(Config(), {"data": {"source": source}}))
        yield source, library.values.round(4).assign(id=library.ids), tuple(library.targets)
    for name, targets in SETS.items() if data else ():
        frame = pd.read_csv(data / f"{name}.csv.gz")  # type: ignore[operator]
        frame = frame[[column for column in frame if not str(column)[0].isdigit()]]
        if name == "neospectra_labs_2106":  # `SpectralLibrary.checked` refuses 22 negative contents
            frame = frame.assign(
                **{column: frame[column].where(frame[column] >= 0) for column in ("OC_pct", "CaCO3_pct")}
            )
        yield name, frame, targets


def alarms(data: Path | None, draws: int = 100, rows: int = 50) -> None:
    """Print every refusal, warning and dropped row of the sound sets."""
    with tempfile.TemporaryDirectory() as folder:
        for name, frame, targets in sound_sets(data):
            counts: Counter[str] = Counter()
            for draw in range(-1, draws):
                part = frame if draw < 0 else frame.sample(min(rows, len(frame)), random_state=draw)
                part = part.reset_index(drop=True)
                enough = tuple(target for target in targets if part[target].notna().sum() >= MINIMUM_VALUES)
                result, messages = outcome(part.join(bands(len(part))), Path(folder), enough)
                counts[result] += 1
                for message in messages if result != "silent" else ():
                    print(f"  {name} {'whole' if draw < 0 else f'draw {draw}'}: {result}: {message}", flush=True)
            print(f"{name:24} {dict(counts)}", flush=True)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--alarms", action="store_true")
    options = parser.parse_args()
    if options.alarms:
        alarms(options.data)
        return
    print("simulated soils")
    detection(options.seeds, None)
    if options.data:
        print("soils of OSSL")
        detection(options.seeds, pd.read_csv(options.data / "neospectra_labs_2106.csv.gz"))


if __name__ == "__main__":
    main()
