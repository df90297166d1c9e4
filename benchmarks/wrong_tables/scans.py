"""Wrong scans, made from sound tables: one function per kind, and the share that the checks find.

    python -m benchmarks.wrong_tables.scans DATA [--tables 12] [--seed 0] [--alarms]

DATA is a folder with nirsoil, datsoilspc, tavares_brazil, uganda_benchtop and ossl_neospectra_slice (.csv.gz); the
fields of LimeSoDa are added. Prints for each kind how many of `--tables` wrong tables are refused, lose the wrong rows
by name, are warned of, or pass. With `--alarms` the sound sets are read instead, each in six forms (as it is, percent,
absorbance, reversed, wavenumbers, decimal comma) and in 100 draws of 50 rows, and every refusal, dropped row and
warning is printed.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import LIMESODA_SETS, limesoda_field

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

SETS = {
    "nirsoil": ("N_g_kg", "OC_pct", "CEC_cmolc_kg"),
    "datsoilspc": ("TC_pct", "clay_pct", "silt_pct", "sand_pct"),
    "tavares_brazil": ("OC_pct", "CEC_cmolc_kg", "pH", "clay_g_kg"),
    "uganda_benchtop": ("TC_g_kg", "N_g_kg"),
    "ossl_neospectra_slice": ("N_pct", "OC_pct", "TC_pct", "pH", "clay_pct"),
}
"""Set -> targets."""
ABSORBANCE = ("nirsoil", "uganda_benchtop")
"""Sets that hold absorbance; the others hold reflectance."""


class Soils:
    """A sound set: reflectance, wavelengths and the other columns.

    Args:
        name: Name of the set.
        nm: (bands,), ascending.
        reflectance: (n, bands), 0..1.
        others: (n, columns) ids and laboratory values.
    """

    def __init__(self, name: str, nm: Floats, reflectance: Floats, others: pd.DataFrame) -> None:
        self.name, self.nm, self.reflectance, self.others = name, nm, reflectance, others

    @property
    def absorbance(self) -> Floats:
        """(n, bands) log10(1/R)."""
        return -np.log10(np.maximum(self.reflectance, 1e-4))

    def rows(self, index: npt.NDArray[np.intp]) -> "Soils":
        """A set with these rows."""
        return Soils(self.name, self.nm, self.reflectance[index], self.others.iloc[index].reset_index(drop=True))

    def table(self, numbers: Floats, names: list[str] | None = None) -> pd.DataFrame:
        """A table with these numbers (n, bands) as bands."""
        names = [f"{nm:.10g}" for nm in self.nm] if names is None else names
        return self.others.join(pd.DataFrame(numbers, columns=names))


def sets(folder: Path) -> Iterator[Soils]:
    """The sets of the folder, and the fields of LimeSoDa with all of them together."""
    for name in SETS:
        table = pd.read_csv(folder / f"{name}.csv.gz")
        bands = sorted((column for column in table if re.fullmatch(r"\d+(\.\d+)?", column)), key=float)
        numbers = table[bands].to_numpy(float)
        others = table.drop(columns=bands)
        reflectance = 10.0**-numbers if name in ABSORBANCE else numbers
        yield Soils(name, np.array(bands, float), reflectance, others.reset_index(drop=True))
    fields = [limesoda_field(name) for name in LIMESODA_SETS]
    others = [
        pd.DataFrame({"id": field.ids, "field": name, **field.targets})
        for name, field in zip(LIMESODA_SETS, fields, strict=True)
    ]
    spectra = [field.spectra.astype(float) for field in fields]
    yield Soils("limesoda", fields[0].wavelengths_nm, np.concatenate(spectra), pd.concat(others, ignore_index=True))


def _some(soils: Soils, rng: Rng, low: float = 0.02, high: float = 0.3) -> npt.NDArray[np.intp]:
    """Random rows: 2 to 30 % of them, at least one."""
    count = max(1, int(rng.uniform(low, high) * len(soils.reflectance)))
    return rng.choice(len(soils.reflectance), count, replace=False)


def _changed(soils: Soils, numbers: Floats, rows: npt.NDArray[np.intp], values: Floats) -> pd.DataFrame:
    changed = numbers.copy()
    changed[rows] = values
    return soils.table(changed)


def band_numbers(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Names 1..n, 0..n-1, or with a prefix."""
    start, prefix = int(rng.integers(0, 2)), str(rng.choice(["", "X", "wl_"]))
    return soils.table(soils.reflectance, [f"{prefix}{start + band}" for band in range(len(soils.nm))])


def mid_infrared(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Bare mid-infrared wavenumbers, descending, with smooth bands that differ between soils."""
    step = float(rng.choice([4.0, 10.0, 20.0]))
    per_cm = np.arange(float(rng.choice([1800.0, 2400.0])), 650.0, -step)
    centres, widths = rng.uniform(650, 1800, 12), rng.uniform(15, 80, 12)
    shapes = np.exp(-(((per_cm - centres[:, None]) / widths[:, None]) ** 2))
    absorbance = 0.4 + rng.gamma(2, 0.1, (len(soils.reflectance), 12)) @ shapes
    return soils.others.join(pd.DataFrame(absorbance, columns=[f"{value:g}" for value in per_cm]))


def twin_block(soils: Soils, rng: Rng) -> pd.DataFrame:
    """The bands twice, as pandas names a repeated column."""
    names = [f"{nm:.10g}" for nm in soils.nm]
    table = soils.table(soils.reflectance)
    return table.join(pd.DataFrame(soils.reflectance * rng.normal(1, 0.01), columns=[f"{name}.1" for name in names]))


def micrometres(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Names in micrometres."""
    return soils.table(soils.reflectance, [f"{nm / 1000:.4f}" for nm in soils.nm])


def derivative(soils: Soils, rng: Rng) -> pd.DataFrame:
    """First or second difference of absorbance or reflectance, per band or per nm."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance
    for _ in range(int(rng.integers(1, 3))):
        numbers = np.gradient(numbers, soils.nm if rng.random() < 0.5 else np.arange(len(soils.nm)), axis=1)
    return soils.table(numbers)


def snv(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Standard normal variate."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance
    return soils.table((numbers - numbers.mean(axis=1, keepdims=True)) / numbers.std(axis=1, keepdims=True))


def msc(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Multiplicative scatter correction."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance
    mean = numbers.mean(axis=0)
    slope, offset = np.polynomial.polynomial.polyfit(mean, numbers.T, 1)[::-1]
    return soils.table((numbers - offset[:, None]) / slope[:, None])


def centred(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Each band minus its mean, or standardised."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance
    numbers = numbers - numbers.mean(axis=0)
    return soils.table(numbers / numbers.std(axis=0) if rng.random() < 0.5 else numbers)


def continuum_removed(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Reflectance divided by its upper hull."""
    numbers = np.empty_like(soils.reflectance)
    for row, scan in enumerate(soils.reflectance):
        hull = [0]
        for band in range(1, len(scan)):
            while len(hull) > 1:
                first, last = hull[-2], hull[-1]
                rise = (scan[band] - scan[first]) / (soils.nm[band] - soils.nm[first])
                if scan[last] > scan[first] + rise * (soils.nm[last] - soils.nm[first]):
                    break
                hull.pop()
            hull.append(band)
        numbers[row] = scan / np.interp(soils.nm, soils.nm[hull], scan[hull])
    return soils.table(numbers)


def unit_norm(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Each scan divided by its norm, its mean or its range."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance
    kind = rng.integers(3)
    if kind == 0:
        return soils.table(numbers / np.linalg.norm(numbers, axis=1, keepdims=True))
    if kind == 1:
        return soils.table(numbers / numbers.mean(axis=1, keepdims=True))
    low = numbers.min(axis=1, keepdims=True)
    return soils.table((numbers - low) / (numbers.max(axis=1, keepdims=True) - low))


def absorbance_scaled(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Absorbance times 10, 100, 1,000 or 10,000."""
    return soils.table(soils.absorbance * float(rng.choice([10, 100, 1000, 10_000])))


def reflectance_scaled(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Reflectance 0..1000, 0..10000 or divided by 100."""
    return soils.table(soils.reflectance * float(rng.choice([1000, 10_000, 0.01])))


def mixed_quantity(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Absorbance in some rows."""
    rows = _some(soils, rng)
    return _changed(soils, soils.reflectance, rows, soils.absorbance[rows])


def mixed_percent(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Percent in some rows."""
    rows = _some(soils, rng)
    return _changed(soils, soils.reflectance, rows, 100 * soils.reflectance[rows])


def white_reference(soils: Soils, rng: Rng) -> pd.DataFrame:
    """One scan of a white reference, with noise, in reflectance or percent."""
    scale = float(rng.choice([1.0, 100.0]))
    scan = rng.uniform(0.97, 1.0) + rng.normal(0, rng.uniform(2e-4, 2e-3), len(soils.nm))
    return _changed(soils, scale * soils.reflectance, rng.integers(0, len(soils.reflectance), 1), scale * scan)


def dark_reference(soils: Soils, rng: Rng) -> pd.DataFrame:
    """One scan without light, with noise."""
    scale = float(rng.choice([1.0, 100.0]))
    scan = np.abs(rng.normal(0.002, 0.001, len(soils.nm)))
    return _changed(soils, scale * soils.reflectance, rng.integers(0, len(soils.reflectance), 1), scale * scan)


def zeros(soils: Soils, rng: Rng) -> pd.DataFrame:
    """A run of zeros in one scan."""
    numbers = soils.absorbance if rng.random() < 0.5 else soils.reflectance.copy()
    row, length = int(rng.integers(len(numbers))), int(rng.integers(3, len(soils.nm) // 3))
    first = int(rng.integers(0, len(soils.nm) - length))
    numbers[row, first : first + length] = 0
    return soils.table(numbers)


def band_code(soils: Soils, rng: Rng) -> pd.DataFrame:
    """A code for a missing value in bands of one scan."""
    numbers = soils.reflectance.copy()
    row, length = int(rng.integers(len(numbers))), int(rng.integers(1, 20))
    numbers[row, :length] = float(rng.choice([-999, -9999, 999, 9999, -1, 1e30]))
    return soils.table(numbers)


def statistics(soils: Soils, rng: Rng) -> pd.DataFrame:
    """Rows of means and SDs, perhaps with minimum and maximum, below the table, without a label."""
    table = soils.table(soils.reflectance if rng.random() < 0.5 else soils.absorbance)
    numbers = table.select_dtypes("number")
    rows = [numbers.mean(), numbers.std()] + ([numbers.min(), numbers.max()] if rng.random() < 0.5 else [])
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)


KINDS: dict[str, Callable[[Soils, Rng], pd.DataFrame]] = {
    function.__name__: function
    for function in (
        *(
            band_numbers,
            mid_infrared,
            twin_block,
            micrometres,
            derivative,
            snv,
            msc,
            centred,
            continuum_removed,
            unit_norm,
        ),
        *(absorbance_scaled, reflectance_scaled, mixed_quantity, mixed_percent, white_reference, dark_reference, zeros),
        *(band_code, statistics),
    )
}


def outcome(table: pd.DataFrame, targets: tuple[str, ...], folder: Path, **form: str) -> tuple[str, str]:
    """Read a table: `refused`, `dropped`, `warned` or `silent`, and the message."""
    path = folder / "table.csv"
    table.to_csv(path, index=False, **form)
    try:
        library = read_table(path, DataConfig(minimum_values=10, targets=targets))
    except InputError as error:
        return "refused", str(error).removeprefix(f"{path}: ")
    if library.dropped:
        return "dropped", "; ".join(reason.removeprefix(f"{path}: ") for _, _, reason in library.dropped)
    return ("warned", "; ".join(library.warnings)) if library.warnings else ("silent", library.quantity)


def detection(folder: Path, count: int, seed: int) -> None:
    """Print the outcomes of each kind, and the tables that pass."""
    sound = list(sets(folder))
    with tempfile.TemporaryDirectory() as temporary:
        for kind, wrong in KINDS.items():
            outcomes: Counter[str] = Counter()
            messages: dict[str, str] = {}
            for number in range(count):
                rng = np.random.default_rng([seed, len(kind), number])
                soils = sound[int(rng.integers(len(sound)))]
                size = min(len(soils.reflectance), int(rng.integers(40, 200)))
                soils = soils.rows(rng.choice(len(soils.reflectance), size, replace=False))
                digits = int(rng.integers(4, 7))
                found, message = outcome(wrong(soils, rng).round(digits), (), Path(temporary))
                outcomes[found] += 1
                messages[f"{found} ({soils.name})"] = message
            print(f"{kind}: {', '.join(f'{name} {number}' for name, number in sorted(outcomes.items()))}")
            for found, message in messages.items():
                print(f"    {found}: {message[:200]}")


def alarms(folder: Path, draws: int = 100, rows: int = 50) -> None:
    """Print every refusal, dropped row and warning of the sound sets in all forms and draws."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        for soils in sets(folder):
            targets = SETS.get(soils.name, ())
            stated = soils.absorbance if soils.name in ABSORBANCE else soils.reflectance
            forms: dict[str, tuple[pd.DataFrame, dict[str, str]]] = {
                "as it is": (soils.table(stated), {}),
                "percent": (soils.table(100 * soils.reflectance), {}),
                "absorbance": (soils.table(soils.absorbance), {}),
                "reversed": (soils.table(stated[:, ::-1], [f"{nm:.10g}" for nm in soils.nm[::-1]]), {}),
                "wavenumbers": (soils.table(stated, [f"wn_{1e7 / nm:.6f}" for nm in soils.nm]), {}),
                "decimal comma": (soils.table(stated), {"sep": ";", "decimal": ","}),
            }
            for name, (table, form) in forms.items():
                found, message = outcome(table, targets, Path(temporary), **form)
                print(f"{soils.name}, {name}: {found} {'' if found == 'silent' else message}")
            counts: Counter[str] = Counter()
            for _ in range(draws):
                index = rng.choice(len(soils.reflectance), min(rows, len(soils.reflectance)), replace=False)
                names = list(forms)
                table, form = forms[names[int(rng.integers(len(names)))]]
                found, message = outcome(table.iloc[index], (), Path(temporary), **form)
                counts[found if found == "silent" else f"{found}: {message}"] += 1
            print(f"{soils.name}, {draws} draws of {rows}: {dict(counts)}")


def main() -> None:
    """Parse the arguments and print detection or false alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of the real sets")
    parser.add_argument("--tables", type=int, default=12, help="wrong tables per kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alarms", action="store_true", help="read the sound sets instead")
    options = parser.parse_args()
    if options.alarms:
        alarms(options.data)
    else:
        detection(options.data, options.tables, options.seed)


if __name__ == "__main__":
    main()
