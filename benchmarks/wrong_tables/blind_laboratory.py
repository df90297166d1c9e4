"""Mistakes in laboratory values and rows, kinds 12 to 18. Written from the list of kinds alone; see `blind.py`.

Where a wrong column is none that the project models without being asked, `attrs["targets"]` names the columns that the
user asks for.
"""

import numpy as np
import pandas as pd

from benchmarks.wrong_tables.blind_bases import KNOWN, Floats, bands_of, id_of, spectra_of, targets_of, with_spectra
from benchmarks.wrong_tables.blind_scans import described, some_rows

SHORT_NAMES = {"OC_pct": "OC", "OC_g_kg": "OC", "N_pct": "N", "N_g_kg": "N", "CaCO3_pct": "CaCO3"}
"""Names without a unit."""
STATISTICS = {
    **dict.fromkeys(("mean", "average", "mittelwert", "moyenne"), "mean"),
    **dict.fromkeys(("sd", "std. dev.", "stdev", "standardabweichung", "ecart-type"), "std"),
    **dict.fromkeys(("min", "minimum"), "min"),
    **dict.fromkeys(("max", "maximum"), "max"),
}
"""Name of a row of statistics, in lower case -> name of the pandas method."""


def _values(table: pd.DataFrame, name: str) -> Floats:
    """(n,) laboratory values, NaN where not measured."""
    values: Floats = table[name].to_numpy(float).copy()
    return values


def _measured(table: pd.DataFrame, least: int = 15) -> list[str]:
    """Laboratory columns with enough values."""
    return [name for name in targets_of(table) if table[name].notna().sum() >= least]


def asked(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The table, with the columns as targets that the user names if one of them is not known."""
    if not all(KNOWN.match(name) for name in names):
        table.attrs["targets"] = tuple(names)
        table.attrs["description"] += f"; the user asks for {', '.join(names)}"
    return table


def sentinels_in_targets(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 12: a repeated code of missing values in a target, also in one whose unit is unknown."""
    made = table.copy()
    code = float(rng.choice([-999, 999, 9999, -1, -999, 999, 9999, -1, -9999]))
    rows, words = some_rows(len(table), rng, least=2)
    targets = _measured(table)
    count = 1 if rng.random() < 0.6 else len(targets)
    chosen = [str(t) for t in rng.permutation(targets)[:count]]
    empty = rng.random() < 0.3
    for name in chosen:
        values = _values(made, name)
        missing = np.isnan(values)
        if empty and missing.any():
            values[missing] = code
        values[rows] = code
        made[name] = values
    if rng.random() < 0.35:
        unknown = {t: str(rng.choice(["P_Olsen", "CEC", "K", "Fe_ox", "EC", "base_saturation"])) for t in chosen[:1]}
        made = made.rename(columns=unknown)
        chosen = [unknown.get(t, t) for t in chosen]
    made.attrs = dict(table.attrs)
    return asked(described(made, f"{code:g} in {', '.join(chosen)}: {words}", rows), chosen)


def zeros_in_targets(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 13: zeros for missing values, far from the other values of the target."""
    lowest = {
        t: float(np.nanquantile(_values(table, t), 0.05) / np.nanmedian(_values(table, t))) for t in _measured(table)
    }
    far = [t for t, ratio in lowest.items() if ratio > 0.3] or [max(lowest, key=lambda t: lowest[t])]
    name = str(rng.choice(far))
    values = _values(table, name)
    keep = ~(values < 0.25 * np.nanmedian(values))
    made = table[keep].reset_index(drop=True)
    rows, words = some_rows(len(made), rng, least=2)
    values = _values(made, name)
    smallest, median = float(np.nanmin(values)), float(np.nanmedian(values))
    if rng.random() < 0.4:
        rows = np.union1d(rows, np.flatnonzero(np.isnan(values)))
        words += f", and all empty cells ({len(rows)} zeros)"
    values[rows] = 0
    made[name] = values
    made.attrs = dict(table.attrs)
    text = f"zeros in {name}: {words}; others from {smallest:.4g}, median {median:.4g}"
    return asked(described(made, text, rows), [name])


def low_ph(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 14: pH below 2."""
    made = table.copy()
    values = _values(table, "pH")
    way = int(rng.integers(5))
    rows, words = some_rows(len(table), rng)
    if way == 0:
        values[rows] = np.round(values[rows] / 10, 2)
        text = f"point moved by one place: {words}"
    elif way == 1:
        values = np.round(values / 10, 3)
        rows, text = np.arange(len(table)), "whole column divided by 10"
    elif way == 2:
        values[rows] = np.round(rng.uniform(0.2, 1.9, len(rows)), 2)
        text = f"values of another column (0.2..1.9): {words}"
    elif way == 3:
        values = 10.0**-values
        rows, text = np.arange(len(table)), "concentration of H+ in place of pH"
    else:
        others = [t for t in targets_of(table) if t.startswith(("OC", "N", "TC"))]
        if others:
            made[others[0]], values = values, _values(table, others[0])
            text = f"pH and {others[0]} exchanged"
        else:
            values = np.round(values - 4, 2)
            text = "pH minus 4"
        rows = np.flatnonzero(values < 2)
    made["pH"] = values
    made.attrs = dict(table.attrs)
    below = values[values < 2]
    text += f"; {len(below)} of {np.isfinite(values).sum()} below 2, {np.nanmin(values):.3g}..{np.nanmax(values):.3g}"
    return described(made, text, rows)


def _wrong_cn(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """C:N outside 3..100 in the median, as after a wrong unit of one column."""
    made = table.copy()
    targets = targets_of(table)
    nitrogen = next(t for t in targets if t.startswith("N_"))
    carbon = next(t for t in targets if t.startswith(("OC_", "TC_")))
    scale = (10 if carbon.endswith("pct") else 1) / (10 if nitrogen.endswith("pct") else 1)
    ways = [(nitrogen, 10.0), (nitrogen, 0.1), (carbon, 10.0), (carbon, 0.1), (nitrogen, 1000.0), (nitrogen, 0.001)]
    for index in rng.permutation(len(ways)):
        name, factor = ways[int(index)]
        trial = made.copy()
        trial[name] = np.round(_values(table, name) * factor, 5)
        ratio = float(
            np.nanmedian(
                _values(trial, carbon) / np.where(_values(trial, nitrogen) > 0, _values(trial, nitrogen), np.nan)
            )
        )
        if not 3 <= ratio * scale <= 100:
            break
    trial.attrs = dict(table.attrs)
    text = f"{name} times {factor:g}: median C:N {ratio * scale:.3g} ({carbon}, {nitrogen})"
    return asked(described(trial, text), [carbon, nitrogen])


def _wrong_carbonate(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """CaCO3 above 100 %."""
    made = table.copy()
    n = len(table)
    percent = np.round(np.clip(rng.gamma(0.9, 9.0, n), 0, 75), 1)
    if rng.random() < 0.5:
        values = np.round(percent * 10)
        text = "CaCO3 of g/kg in a column of percent"
    else:
        rows, words = some_rows(n, rng)
        values = percent.copy()
        values[rows] = np.round(rng.uniform(105, 400, len(rows)), 1)
        text = f"typing errors, {words}"
    name = str(rng.choice(["CaCO3_pct", "CaCO3_pct", "CaCO3 (%)"]))
    made.insert(list(table.columns).index(targets_of(table)[0]), name, values)
    made.attrs = dict(table.attrs)
    return described(made, f"{name}: {text}; {(values > 100).sum()} of {n} above 100, maximum {values.max():g}")


def _wrong_texture(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Clay + silt + sand far from 100 %."""
    made = table.copy()
    names = ["clay_pct", "silt_pct", "sand_pct"]
    name = str(rng.choice(names))
    way = int(rng.integers(5))
    if way == 0:
        made[name] = _values(table, name) * 10
        text = f"{name} in g/kg"
    elif way == 1:
        made[name] = np.round(_values(table, name) / 100, 3)
        text = f"{name} as a fraction"
    elif way == 2:
        made[name] = rng.permutation(_values(table, name))
        text = f"{name} sorted apart from the other rows"
    elif way == 3:
        rows, words = some_rows(len(table), rng)
        values = _values(table, name)
        values[rows] += np.round(rng.uniform(40, 90, len(rows)))
        made[name] = np.minimum(values, 99)
        text = f"{name} mistyped, {words}"
    else:
        for each in names:
            made[each] = np.round(_values(table, each) / 100, 3)
        text = "all three as fractions in columns of percent"
    sums = made[names].sum(axis=1)
    made.attrs = dict(table.attrs)
    far = int(((sums < 85) | (sums > 115)).sum())
    text += f"; sums {sums.min():.4g}..{sums.max():.4g}, median {sums.median():.4g}, {far} of {len(sums)} off by 15"
    made = described(made, text)
    return asked(made, names) if rng.random() < 0.5 else made


def impossible_ratios(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 15: impossible ratios and sums of targets; what the table has decides which."""
    targets = targets_of(table)
    if {"clay_pct", "silt_pct", "sand_pct"} <= set(targets):
        return _wrong_texture(table, rng)
    if any(t.startswith("N_") for t in targets) and rng.random() < 0.7:
        return _wrong_cn(table, rng)
    return _wrong_carbonate(table, rng)


def rows_of_statistics(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 16: rows of means, SDs (minimum, maximum) below the table."""
    words = [
        ["Mean", "SD"],
        ["mean", "sd", "min", "max"],
        ["Average", "Std. Dev.", "Minimum", "Maximum"],
        ["AVERAGE", "STDEV", "MIN", "MAX"],
        ["Mittelwert", "Standardabweichung"],
        ["moyenne", "ecart-type"],
        ["Mean"],
        ["Min", "Max", "Mean", "SD"],
    ][int(rng.integers(8))]
    name, targets, bands = id_of(table), targets_of(table), bands_of(table)
    digits = int(rng.integers(2, 6))
    labels = str(rng.choice(["words", "words", "words", "empty", "numbers", "number and word"]))
    spectra_too = rng.random() < 0.65
    columns = targets + (bands if spectra_too else [])
    lines: list[dict[str, object]] = [{}] if rng.random() < 0.3 else []
    for position, word in enumerate(words):
        row = {c: round(float(table[c].agg(STATISTICS[word.lower()])), digits) for c in columns}
        number = len(table) + position + 1
        text = {"words": word, "empty": None, "numbers": number, "number and word": f"{number} {word}"}[labels]
        lines.append({name: text, **row})
    plain = table.copy()
    plain.attrs = {}
    made = pd.concat([plain, pd.DataFrame(lines, columns=table.columns)], ignore_index=True)
    made.attrs = dict(table.attrs)
    text = (
        f"{', '.join(words)} below the table{', after an empty row' if not lines[0] else ''}; labels: {labels}; "
        f"{'spectra too' if spectra_too else 'spectra empty'}, {digits} decimals"
    )
    # The empty row has no number: readers skip it.
    return described(made, text, range(len(table), len(table) + len(words)))


def targets_without_unit(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 17: columns OC, N, CaCO3 without unit, in percent or g/kg."""
    made = table.copy()
    if rng.random() < 0.4:
        percent = np.round(np.clip(rng.gamma(0.9, 9.0, len(table)), 0, 75), 1)
        made.insert(list(table.columns).index(targets_of(table)[0]), "CaCO3_pct", percent)
    renamed = {t: SHORT_NAMES[t] for t in targets_of(made) if t in SHORT_NAMES}
    if len(renamed) > 1 and rng.random() < 0.3:
        renamed.pop(str(rng.choice(list(renamed))))
    texts = []
    for long, short in renamed.items():
        if rng.random() < 0.4:
            other = 10 if long.endswith("pct") else 0.1
            made[long] = np.round(_values(made, long) * other, 4)
        texts.append(f"{short} (median {np.nanmedian(_values(made, long)):.3g}, was {long})")
    spelling = str(rng.choice(["as listed", "as listed", "as listed", "lower case"]))
    if spelling == "lower case":
        renamed = {long: short.lower() for long, short in renamed.items()}
    made = made.rename(columns=renamed)
    made.attrs = dict(table.attrs)
    others = [t for t in targets_of(made) if t not in renamed.values()]
    return described(made, f"{', '.join(texts)}, {spelling}; other targets: {', '.join(others) or 'none'}")


def unnamed_replicates(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Kind 18: replicate scans of samples under different names; `attrs["samples"]` labels the samples, row by row."""
    name = id_of(table)
    if table.attrs["set"] == "ossl_neospectra_slice":
        made = table.copy()
        samples = [str(value) for value in table[name]]
        nearness = "real replicate scans"
        again = pd.Series(samples).groupby(samples).cumcount().to_numpy() + 1
    else:
        n = len(table)
        share = float(rng.choice([0.05, 0.2, 1.0, 1.0]))
        chosen = set(rng.permutation(n)[: max(2, round(share * n))].tolist())
        scans = int(rng.integers(2, 5))
        order = [row for row in range(n) for _ in range(scans if row in chosen else 1)]
        made = table.iloc[order].reset_index(drop=True)
        samples = [str(table[name].iloc[row]) for row in order]
        again = pd.Series(order).groupby(order).cumcount().to_numpy() + 1
        spectra = spectra_of(table)[order]
        gain, noise = float(rng.choice([0.001, 0.003, 0.01])), float(rng.choice([0.0001, 0.0005]))
        size = float(np.std(spectra))
        factor = 1 + rng.normal(0, gain, (len(order), 1)) * (again > 1)[:, None]
        added = rng.normal(0, noise * size, spectra.shape) * (again > 1)[:, None]
        tilt = np.linspace(-1, 1, spectra.shape[1]) * rng.normal(0, gain * size, (len(order), 1)) * (again > 1)[:, None]
        made = with_spectra(made, significant_like(spectra * factor + added + tilt, spectra))
        nearness = (
            f"gain SD {gain:g}, tilt SD {gain:g} and noise SD {noise:g} of the SD of all values; "
            f"{scans} scans of {len(chosen)} of {n} samples"
        )
    style = str(
        rng.choice(
            [
                "{s}_{k}",
                "{s}_{k}",
                "{s}-{k}",
                "{s}.{k}",
                "{s}_rep{k}",
                "{s}{l}",
                "{s} ({k})",
                "{s}_{k:02d}",
                "scan{i:04d}",
                "{i}",
            ]
        )
    )
    labels = pd.factorize(pd.Series(samples))[0]
    base = (
        str(rng.choice(["S{}", "P-{}", "{}", "soil{}"])) if rng.random() < 0.5 or "ossl" in table.attrs["set"] else ""
    )
    names = []
    for row, (sample, k) in enumerate(zip(samples, again, strict=True)):
        stem = base.format(labels[row] + 1) if base else sample
        names.append(style.format(s=stem, k=int(k), l="abcdefgh"[int(k) - 1], i=row + 1))
    made[name] = names
    made.attrs = dict(table.attrs)
    place = str(rng.choice(["side by side", "one block per scan", "shuffled"]))
    keys = {"side by side": labels, "one block per scan": again, "shuffled": rng.permutation(len(made))}[place]
    order = np.argsort(keys, kind="stable").tolist()
    made = made.iloc[order].reset_index(drop=True)
    made.attrs = dict(table.attrs) | {"samples": [samples[row] for row in order]}
    return described(made, f"{nearness}; named {names[0]!r}, {names[1]!r}; {place}")


def significant_like(values: Floats, model: Floats) -> Floats:
    """Values with as many decimals as the numbers of a rounded model."""
    decimals = next((d for d in range(7) if np.array_equal(np.round(model[:5], d), model[:5])), 6)
    return np.asarray(np.round(values, decimals), float)
