"""Soils selected by their scans, compared with soils drawn at random: error of a PLSR that is calibrated on them.

    python -m benchmarks.selection DATA [--counts 20,40] [--splits 20] [--draws 10]

DATA is a folder with nirsoil.csv.gz and datsoilspc.csv.gz; the third set is the field SSP.460 of LimeSoDa. For each
target and split, 30 % of the samples with a laboratory value are test samples, and the others are candidates. Each
method of `relple_tf.select` (without a run) selects from the candidates, and as many are drawn at random, in several
draws. PLSR (SNV, first derivative; components and scale by cross-validation on the selected samples) is fitted on each
selection.

Printed per set, target and number: the RMSE on the test samples divided by the median RMSE of the random draws of the
same split, median over the splits, and in brackets the number of splits in which it is below 1. The column random holds
the ratio of the 90 % quantile of the draws to their median, mean over the splits.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cross_decomposition import PLSRegression
from threadpoolctl import threadpool_limits

from relple_tf.baselines.plsr import cross_validated, snv_first_derivative
from relple_tf.config import Config, DataConfig
from relple_tf.models import front_end
from relple_tf.models.target_scaling import TargetScale
from relple_tf.selection import select
from relple_tf.selection.methods import METHODS
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.replicates import average_replicates
from relple_tf.spectra.sources.named import limesoda_field

TEST_SHARE = 0.3
FIELD = "SSP.460"
TARGETS = {
    "nirsoil": ("N_g_kg", "OC_pct", "CEC_cmolc_kg"),
    "datsoilspc": ("TC_pct", "clay_pct"),
}

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def libraries(folder: Path) -> Iterator[tuple[str, SpectralLibrary]]:
    """Name and library of each set, a row per sample."""
    for name, targets in TARGETS.items():
        library = read_table(folder / f"{name}.csv.gz", DataConfig(targets=targets))
        yield name, average_replicates(replace(library, parts=None, groups=None))
    yield FIELD, limesoda_field(FIELD)


def features(library: SpectralLibrary) -> Floats:
    """(n, bands) features of PLSR."""
    config = Config().front_end
    stage = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config)
    absorbance = front_end.apply(stage, library.spectra)
    return snv_first_derivative(absorbance, front_end.window_points(config), config.derivative_polynomial)


def rmse(x: Floats, y: Floats, fitted: Indices, test: Indices) -> float:
    """RMSE on the test rows of a PLSR that is fitted on other rows."""
    scale = TargetScale.fit("target", y[fitted])
    best = cross_validated(x[fitted], y[fitted], np.arange(len(fitted)), scale, seed=0)
    model = PLSRegression(best.components, scale=True).fit(x[fitted], best.scale.to_model(y[fitted]))
    predicted = best.scale.to_lab(model.predict(x[test]).ravel())
    return float(np.sqrt(np.mean((predicted - y[test]) ** 2)))


def split_rows(library: SpectralLibrary, target: str, seed: int) -> tuple[Indices, Indices]:
    """Candidates and test rows among the samples with a laboratory value."""
    measured = np.flatnonzero(np.isfinite(library.targets[target]))
    order = np.random.default_rng(seed).permutation(measured)
    tests = round(TEST_SHARE * len(order))
    return np.sort(order[tests:]), np.sort(order[:tests])


def selected_rows(library: SpectralLibrary, candidates: Indices, count: int, method: str) -> Indices:
    """Rows of the library that a method selects from the candidates."""
    numbered = replace(library.rows(candidates), ids=candidates.astype(str), samples=None)
    rows: Indices = select(numbered, count, method=method).table["id"].to_numpy().astype(np.intp)
    return rows


def measure(name: str, library: SpectralLibrary, counts: list[int], splits: int, draws: int) -> list[dict[str, object]]:
    """A row per target, number of samples, split and method: its RMSE and its ratio to that of the random draws."""
    x, rows = features(library), []
    for target, y in library.targets.items():
        for seed in range(splits):
            candidates, test = split_rows(library, target, seed)
            for count in counts:
                rng = np.random.default_rng([seed, count])
                drawn = [rmse(x, y, rng.choice(candidates, count, replace=False), test) for _ in range(draws)]
                facts = {"set": name, "target": target, "count": count, "split": seed}
                middle = float(np.median(drawn))
                rows.append({**facts, "method": "random", "ratio": float(np.quantile(drawn, 0.9)) / middle})
                for method in METHODS:
                    error = rmse(x, y, selected_rows(library, candidates, count, method), test)
                    rows.append({**facts, "method": method, "ratio": error / middle})
    return rows


def summary(rows: list[dict[str, object]]) -> str:
    """Table of the medians over the splits, in Markdown."""
    table = pd.DataFrame(rows)
    lines = [f"| set | target | soils | random | {' | '.join(METHODS)} |", "|---" * (4 + len(METHODS)) + "|"]
    for (name, target, count), part in table.groupby(["set", "target", "count"], sort=False):
        ratios = {method: part["ratio"][part["method"] == method] for method in ("random", *METHODS)}
        cells = [f"{ratios[method].median():.2f} ({int((ratios[method] < 1).sum())})" for method in METHODS]
        lines.append(f"| {name} | {target} | {count} | {ratios['random'].mean():.2f} | {' | '.join(cells)} |")
    for count, part in table.groupby("count"):
        ratios = {method: part["ratio"][part["method"] == method] for method in ("random", *METHODS)}
        cells = [f"{ratios[method].median():.2f} ({int((ratios[method] < 1).sum())})" for method in METHODS]
        splits = len(ratios["random"])
        lines.append(f"| all {splits} | | {count} | {ratios['random'].mean():.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--counts", default="20,40")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    rows: list[dict[str, object]] = []
    start = time.process_time()
    with threadpool_limits(limits=1):
        for name, library in libraries(options.data):
            rows += measure(name, library, counts, options.splits, options.draws)
            print(f"{name}: {time.process_time() - start:.0f} s of CPU", flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
