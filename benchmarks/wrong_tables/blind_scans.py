"""Mistakes in bands and scans, kinds 1 to 11. Written from the list of kinds alone; see `blind.py`.

Each function takes a sound table and a generator, and returns a wrong copy. `attrs["description"]` holds what was
done, `attrs["rows"]` the positions of the wrong rows where only some are wrong.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import savgol_filter
from scipy.spatial import ConvexHull

from benchmarks.wrong_tables.blind_bases import (
    Floats,
    bands_of,
    converted,
    id_of,
    nanometres,
    quantity_of,
    spectra_of,
    targets_of,
    with_spectra,
)


def described(table: pd.DataFrame, description: str, rows: Iterable[int] = ()) -> pd.DataFrame:
    """The table with its description and the positions of its wrong rows."""
    table.attrs["description"] = description
    table.attrs["rows"] = sorted(int(row) for row in rows)
    return table


def some_rows(n: int, rng: np.random.Generator, least: int = 1) -> tuple[npt.NDArray[np.intp], str]:
    """Positions of one row, 3 %, 10 % or 25 % of n rows, together or scattered, and both in words."""
    share, label = [
        (0.0, "one row" if least == 1 else "two rows"),
        (0.03, "3 % of rows"),
        (0.1, "10 % of rows"),
        (0.25, "25 % of rows"),
    ][int(rng.integers(4))]
    count = max(least, round(share * n))
    place = str(rng.choice(["start", "middle", "end", "scattered"]))
    if place == "scattered":
        return np.sort(rng.permutation(n)[:count]), f"{label} ({count} of {n}), scattered"
    first = {"start": 0, "middle": (n - count) // 2, "end": n - count}[place]
    return np.arange(first, first + count), f"{label} ({count} of {n}), {place}"


def significant(values: Floats, digits: int) -> Floats:
    """Values rounded to significant digits."""
    with np.errstate(divide="ignore"):
        power = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    scale = 10.0 ** (digits - 1 - power)
    return np.asarray(np.round(values * scale) / scale, float)


def band_numbers(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 1: numbers of bands in place of wavelengths."""
    count, nm = len(bands_of(table)), nanometres(table)
    pattern = str(rng.choice(["{}", "{}", "{}", "X{}", "V{}", "band_{}", "Band {}", "B{}", "wl_{}", "{}.0"]))
    step = int(rng.choice([2, 3, 4, 5, 10]))
    # An instrument counts its pixels from 1; a user who trims the noisy edge keeps the numbers of the others.
    ways: list[tuple[Iterable[int], str]] = [
        (range(1, count + 1), "1..n"),
        (range(count), "0..n-1"),
        (range(1, count * step + 1, step), f"every {step}th band number from 1"),
        (range(501, 501 + count), "1..n after the first 500 bands were cut off"),
        (range(6, 6 + count), "column numbers, spectra from the sixth column"),
        (np.round(nm - 349).astype(int), "ASD band numbers (first nm - 349)"),
    ]
    numbers, words = ways[int(rng.integers(6))]
    names = [pattern.format(number) for number in numbers]
    made = with_spectra(table, spectra_of(table), names)
    return described(made, f"{words}: {names[0]!r}..{names[-1]!r} for {nm[0]:g}..{nm[-1]:g} nm, {count} bands")


def bare_wavenumbers(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 2: descending mid-infrared wavenumbers without unit; `table` is a mid-infrared set with bands in cm-1."""
    spectra, cm1 = spectra_of(table), nanometres(table)
    high, low = [(4000, 600), (4000, 400), (3600, 800), (2500, 600), (1800, 700), (6000, 400), (2400, 1000)][
        int(rng.integers(7))
    ]
    inside = (cm1 <= high) & (cm1 >= low)
    step = max(1, int(inside.sum()) // int(rng.integers(60, 701)))
    spectra, cm1 = spectra[:, inside][:, ::step], cm1[inside][::step]
    names = [f"{value:g}" for value in cm1]
    spelling = str(rng.choice(["as measured", "whole numbers", "with X of R"]))
    if spelling == "whole numbers" and np.min(-np.diff(cm1)) > 1.05:
        names = [f"{value:.0f}" for value in cm1]
    elif spelling == "with X of R":
        names = [f"X{value:g}" for value in cm1]
    made = with_spectra(table, spectra, names)
    quantity = quantity_of(table)
    return described(made, f"{names[0]}..{names[-1]}, {len(names)} bands, {quantity} of {table.attrs['set']}")


def twin_block(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 3: a second block of the same bands, renamed as pandas and R rename double columns."""
    spectra, names = spectra_of(table), bands_of(table)
    count = len(names)
    way = int(rng.integers(6))
    span = [slice(0, count)] * 4 + [
        slice(count // 3, count // 3 + max(3, count // 10)),
        slice(count // 2, count // 2 + 1),
    ]
    second, words = [
        (spectra * (1 + rng.normal(0, 0.01, (len(spectra), 1))) + rng.normal(0, 0.001, spectra.shape), "second scan"),
        (spectra, "exact copy"),
        (derivative(spectra, nanometres(table), 1), "first derivative"),
        (snv(spectra), "SNV"),
        (spectra * 1.01, "overlap of two detectors"),
        (spectra, "one double band"),
    ][way]
    part = span[way]
    blocks, labels, texts = [spectra], [names], [words]
    twice = way < 2 and rng.random() < 0.25
    for number in (1, 2) if twice else (1,):
        blocks.append(significant(second[:, part], 6))
        labels.append([f"{name}.{number}" for name in names[part]])
    values, all_names = np.hstack(blocks), [name for label in labels for name in label]
    if rng.random() < 0.3:
        order = np.argsort(
            [names.index(name.rsplit(".", 1)[0] if name not in names else name) for name in all_names], kind="stable"
        )
        values, all_names = values[:, order], [all_names[i] for i in order]
        texts.append("interleaved")
    if twice:
        texts.append("two extra blocks")
    made = with_spectra(table, values, all_names)
    return described(
        made, f"{', '.join(texts)}: {labels[1][0]!r}..{labels[1][-1]!r} beside {names[0]!r}..{names[-1]!r}"
    )


def micrometres(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 4: bands named in micrometres."""
    nm = nanometres(table)
    pattern = str(rng.choice(["{}", "{}", "{}", "X{}", "wl_{}", "um_{}", "{} um"]))
    step = float(np.min(np.diff(nm)))
    decimals = 2 if step > 10.5 and rng.random() < 0.5 else 3 if step > 1.05 else 5
    fixed = rng.random() < 0.5
    texts = [f"{value / 1000:.{decimals}f}" if fixed else f"{round(value / 1000, decimals):g}" for value in nm]
    if len(set(texts)) < len(texts):
        texts = [f"{value / 1000:.5f}" for value in nm]
    names = [pattern.format(text) for text in texts]
    made = with_spectra(table, spectra_of(table), names)
    return described(made, f"{names[0]!r}, {names[1]!r}..{names[-1]!r}")


def derivative(spectra: Floats, nm: Floats, order: int, window: int = 11) -> Floats:
    """Savitzky-Golay derivative per band (second-order polynomial), same number of bands."""
    window = min(window, len(nm) - 1 + len(nm) % 2)
    return np.asarray(savgol_filter(spectra, window, 2, deriv=order), float)


def snv(spectra: Floats) -> Floats:
    """Each scan centred and divided by its SD."""
    centred = spectra - spectra.mean(axis=1, keepdims=True)
    return np.asarray(centred / spectra.std(axis=1, ddof=1, keepdims=True), float)


def msc(spectra: Floats) -> Floats:
    """Multiplicative scatter correction to the mean scan."""
    mean = spectra.mean(axis=0)
    fits = [np.polyfit(mean, scan, 1) for scan in spectra]
    return np.array([(scan - offset) / slope for scan, (slope, offset) in zip(spectra, fits, strict=True)])


def continuum_removed(spectra: Floats, nm: Floats, way: str) -> Floats:
    """Scans divided by (or subtracted from) their upper convex hull (Clark & Roush 1984)."""
    result = np.empty_like(spectra)
    for row, scan in enumerate(spectra):
        corners = np.column_stack([np.r_[nm[0], nm, nm[-1]], np.r_[scan.min() - 1, scan, scan.min() - 1]])
        scaled = (corners - corners.min(axis=0)) / np.ptp(corners, axis=0)
        used = np.sort(ConvexHull(scaled).vertices)
        used = used[(used > 0) & (used < len(nm) + 1)] - 1
        hull = np.interp(nm, nm[used], scan[used])
        result[row] = scan / hull if way == "divided" else hull - scan
    return result


def detrended(spectra: Floats, nm: Floats) -> Floats:
    """SNV, then minus a parabola (Barnes et al. 1989)."""
    scaled = snv(spectra)
    x = (nm - nm.mean()) / np.ptp(nm)
    return np.array([scan - np.polyval(np.polyfit(x, scan, 2), x) for scan in scaled])


def preprocessed(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 5: preprocessed spectra saved as if they were raw."""
    x, nm, names = spectra_of(table), nanometres(table), bands_of(table)
    width = int(rng.choice([5, 11, 15, 21]))
    trimmed = width // 2 if len(nm) > 3 * width and rng.random() < 0.5 else 0
    lag = int(rng.choice([1, 2, 5]))
    step = float(np.median(np.diff(nm)))
    ranges = np.ptp(x, axis=1, keepdims=True)
    smooth = np.asarray(savgol_filter(x, min(width, 11), 2), float)
    choices: dict[str, Callable[[], Floats]] = {
        f"first derivative, Savitzky-Golay {width}": lambda: derivative(x, nm, 1, width),
        f"first derivative per nm, Savitzky-Golay {width}": lambda: derivative(x, nm, 1, width) / step,
        f"second derivative, Savitzky-Golay {width}": lambda: derivative(x, nm, 2, width),
        "second derivative per nm2, times 10000": lambda: derivative(x, nm, 2, width) / step**2 * 1e4,
        f"gap difference, {lag} bands": lambda: np.hstack([np.zeros((len(x), lag)), x[:, lag:] - x[:, :-lag]]),
        "np.gradient": lambda: np.gradient(x, nm, axis=1),
        "first derivative times 1000": lambda: derivative(x, nm, 1, width) * 1000,
        "SNV": lambda: snv(x),
        "SNV, then first derivative": lambda: derivative(snv(x), nm, 1, width),
        "first derivative, then SNV": lambda: snv(derivative(x, nm, 1, width)),
        "SNV and detrending": lambda: detrended(x, nm),
        "MSC": lambda: msc(x),
        "smoothed, MSC": lambda: msc(smooth),
        "centred bands": lambda: x - x.mean(axis=0),
        "standardised bands": lambda: (x - x.mean(axis=0)) / x.std(axis=0, ddof=1).clip(1e-9),
        "bands divided by their SD": lambda: x / x.std(axis=0, ddof=1).clip(1e-9),
        "centred scans": lambda: x - x.mean(axis=1, keepdims=True),
        "minimum of each scan subtracted": lambda: x - x.min(axis=1, keepdims=True),
        "continuum removed, divided": lambda: continuum_removed(x, nm, "divided"),
        "continuum removed, subtracted": lambda: continuum_removed(x, nm, "subtracted"),
        "min-max of each scan, 0..1": lambda: (x - x.min(axis=1, keepdims=True)) / ranges,
        "min-max of each band, 0..1": lambda: (x - x.min(axis=0)) / np.ptp(x, axis=0).clip(1e-9),
        "min-max of each scan, -1..1": lambda: 2 * (x - x.min(axis=1, keepdims=True)) / ranges - 1,
        "scans of unit length": lambda: x / np.linalg.norm(x, axis=1, keepdims=True),
        "scans of unit area": lambda: x / x.mean(axis=1, keepdims=True),
        "scans of sum 1": lambda: x / x.sum(axis=1, keepdims=True),
        "scans divided by their maximum": lambda: x / x.max(axis=1, keepdims=True),
    }
    choice = str(rng.choice(list(choices)))
    values = choices[choice]()
    if trimmed and "Savitzky" in choice:
        values, names = values[:, trimmed:-trimmed], names[trimmed:-trimmed]
    digits = int(rng.integers(4, 7))
    made = with_spectra(table, significant(values, digits), names)
    spread = np.quantile(values, [0, 0.5, 1])
    return described(
        made,
        f"{choice} of {quantity_of(table)}, {len(names)} bands, step {step:g} nm, "
        f"minimum {spread[0]:.3g}, median {spread[1]:.3g}, maximum {spread[2]:.3g}",
    )


def multiplied_absorbance(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 6: absorbance times 10, 100 or 1000."""
    factor = int(rng.choice([10, 100, 1000]))
    values = converted(spectra_of(table), quantity_of(table), "absorbance") * factor
    decimals = int(rng.integers(0, 5)) if factor > 10 else int(rng.integers(2, 5))
    values = np.round(values, decimals)
    low, high = np.quantile(values, [0, 1])
    text = f"absorbance times {factor}, {decimals} decimals, {low:.4g}..{high:.4g}"
    shown = values.astype(int) if decimals == 0 else values
    return described(with_spectra(table, shown), text)


def multiplied_reflectance(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 7: reflectance as 0..1000 or 0..10000."""
    top = int(rng.choice([1000, 10000]))
    values = converted(spectra_of(table), quantity_of(table), "reflectance") * top
    whole = rng.random() < 0.7
    shown: npt.NDArray[np.float64] | npt.NDArray[np.int64] = (
        np.round(values).astype(int) if whole else np.round(values, 1)
    )
    low, middle, high = np.quantile(shown, [0, 0.5, 1])
    text = f"0..{top}, {'whole numbers' if whole else 'one decimal'}, {low:.4g}..{high:.4g}, median {middle:.4g}"
    return described(with_spectra(table, shown), text)


def mixed_quantities(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 8: some rows in another quantity than the rest."""
    spectra, quantity = spectra_of(table).copy(), quantity_of(table)
    rows, words = some_rows(len(table), rng)
    part, nm = spectra[rows], nanometres(table)
    others = {
        "reflectance": ["absorbance", "absorbance", "percent", "percent", "0..10000", "first derivative"],
        "percent": ["absorbance", "absorbance", "reflectance", "reflectance", "0..10000"],
        "absorbance": ["reflectance", "reflectance", "percent", "percent", "0..10000", "SNV"],
    }[quantity]
    other = str(rng.choice(others))
    if other == "0..10000":
        spectra[rows] = np.round(converted(part, quantity, "reflectance") * 1e4)
    elif other == "first derivative":
        spectra[rows] = significant(derivative(part, nm, 1), 5)
    elif other == "SNV":
        spectra[rows] = significant(snv(part), 5)
    else:
        spectra[rows] = significant(converted(part, quantity, other), 5)
    ranges = [f"{np.min(values):.4g}..{np.max(values):.4g}" for values in (np.delete(spectra, rows, 0), spectra[rows])]
    text = f"{other} ({ranges[1]}) among {quantity} ({ranges[0]}): {words}"
    return described(with_spectra(table, spectra), text, rows)


def reference_scans(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 9: scans of the white or dark reference among the samples."""
    quantity, nm = quantity_of(table), nanometres(table)
    white = rng.random() < 0.5
    count = int(rng.choice([1, 1, 2, 3, 5, max(2, len(table) // 20)]))
    noise = float(rng.choice([0.0, 0.0005, 0.002, 0.01]))
    scans = np.empty((count, len(nm)))
    for scan in scans:
        if white:
            level = float(rng.choice([1.0, rng.uniform(0.95, 1.02)]))
            dip = rng.uniform(0, 0.04) * np.exp(-(((nm - 2130) / 60) ** 2)) * (rng.random() < 0.5)
            scan[:] = level - dip + rng.normal(0, noise, len(nm))
        else:
            scan[:] = rng.uniform(0, 0.01) + rng.normal(0, max(noise, 0.0005), len(nm))
    values = significant(converted(scans, "reflectance", quantity), 5)
    name = id_of(table)
    labels = str(rng.choice(["reference", "ids", "ids"]))
    prefix = str(rng.choice(["WR", "Spectralon", "white_ref"] if white else ["dark", "DC", "black"]))
    n = len(table)
    place = str(rng.choice(["start", "end", "between"]))
    at = {"start": np.zeros(count), "end": np.full(count, n), "between": np.linspace(0, n, count + 2)[1:-1]}[place]
    parts, start, rows = [], 0, []
    laboratory = str(rng.choice(["empty", "empty", "of the row above"]))
    for number, position in enumerate(at.astype(int)):
        parts.append(table.iloc[start:position])
        row = table.iloc[[max(0, position - 1)]].copy()
        row = with_spectra(row, values[[number]])
        row[name] = f"{prefix}{number + 1}" if labels == "reference" else f"{row[name].iloc[0]}r{number}"
        if laboratory == "empty":
            row[targets_of(row)] = np.nan
        parts.append(row)
        rows.append(sum(len(p) for p in parts) - 1)
        start = position
    parts.append(table.iloc[start:])
    for p in parts:
        p.attrs = {}
    made = pd.concat(parts, ignore_index=True)
    made.attrs = dict(table.attrs)
    text = (
        f"{count} {'white' if white else 'dark'} scans at {place}, {quantity} "
        f"{values.min():.4g}..{values.max():.4g}, noise SD {noise:g} of reflectance, named "
        f"{made[name].iloc[rows[0]]!r}, laboratory values {laboratory}"
    )
    return described(made, text, rows)


def _part(count: int, rng: np.random.Generator, least: float, most: float) -> tuple[slice, str]:
    """A run of bands at the start, in the middle or at the end, between two shares of the bands."""
    length = max(3, round(count * rng.uniform(least, most)))
    place = str(rng.choice(["start", "middle", "end"]))
    middle = int(rng.integers(count // 5, max(count // 5 + 1, count - length - 1)))
    first = {"start": 0, "middle": middle, "end": count - length}[place]
    last = min(count, first + length)
    return slice(first, last), f"{last - first} of {count} bands at the {place}"


def runs_of_zeros(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 10: runs of exact zeros in scans."""
    spectra = spectra_of(table).copy()
    n, count = spectra.shape
    rows, words = (np.arange(n), "all rows") if rng.random() < 0.15 else some_rows(n, rng)
    if rng.random() < 0.15 and len(rows) < n:
        part, place = slice(0, count), f"all {count} bands"
    else:
        part, place = _part(count, rng, 0.03, 0.4)
    spectra[rows, part] = 0
    nm = nanometres(table)[part]
    text = f"zeros in {place} ({nm[0]:g}..{nm[-1]:g} nm), {words}, {quantity_of(table)}"
    return described(with_spectra(table, spectra), text, rows)


def sentinels_in_bands(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 11: codes of missing values in bands."""
    spectra = spectra_of(table).copy()
    n, count = spectra.shape
    code = float(rng.choice([-999, 9999, -1, -999, 9999, -1, -9999, 999]))
    rows, words = some_rows(n, rng)
    way = str(rng.choice(["one cell", "run", "whole scan", "scattered cells", "one band in all rows"]))
    if way == "one cell":
        bands = rng.integers(0, count, len(rows))
        spectra[rows, bands] = code
        where = "one cell of each of these rows"
    elif way == "run":
        part, where = _part(count, rng, 0.03, 0.3)
        spectra[rows, part] = code
    elif way == "whole scan":
        spectra[rows] = code
        where = "whole scans"
    elif way == "scattered cells":
        share = float(rng.choice([0.01, 0.1]))
        hit = rng.random((len(rows), count)) < share
        hit[:, 0] = True
        block = spectra[rows]
        block[hit] = code
        spectra[rows] = block
        where = f"{share:.0%} of the cells of these rows"
    else:
        band, rows, words = int(rng.integers(count)), np.arange(n), "all rows"
        spectra[:, band] = code
        where = f"band {nanometres(table)[band]:g} nm"
    text = f"{code:g} in {where}, {words}, {quantity_of(table)}"
    return described(with_spectra(table, spectra), text, rows)
