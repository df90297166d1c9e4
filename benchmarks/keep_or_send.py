"""Keep or send on repeated random splits: does the error among kept soils hold what the intervals state?

    python -m benchmarks.keep_or_send TABLE [--targets A,B] [--splits 20] [--preset rs_ple_nano] [--out DIR]

TABLE is a spectral library such as NIRsoil. Each split draws a fifth of the rows as test rows by seed; rows of a tested
sample are removed from the development set. Writes DIR/SEED.csv, with half width, error and status of every test scan
and target, and DIR/keep_or_send.csv. The needs are quantiles of the half widths of the ok test scans of all splits.
Prints per target and need: the fraction of test scans that are kept; n, the number of their laboratory values; their
RMSE; the fraction of these values within the need, pooled and in the worst split; the number of splits below the
coverage that the intervals state; `band`, the fraction of values within the half width of their scan, for scans that
are kept at this need and not at the one before; the stated coverage. Repeat the command to continue after an
interruption.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.atomic_files import write_table
from relple_tf.config import Config, DataConfig
from relple_tf.config import replace as changed
from relple_tf.evaluation.keep_or_send import QUANTILES, curve_point, half_widths, is_kept, needs_at
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status
from relple_tf.pipeline import fit_model
from relple_tf.prediction.runs import estimates
from relple_tf.processes import run_all
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.training.intervals import COVERAGE
from relple_tf.zoo import PRESETS

TARGETS = "N_g_kg,OC_pct,CEC_cmolc_kg"
TEST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Input of all jobs."""

    library: SpectralLibrary
    config: Config
    out: Path


def split_rows(library: SpectralLibrary, seed: int) -> tuple[SpectralLibrary, npt.NDArray[np.str_]]:
    """The rows of a split and their parts; rows of tested samples outside the test part are removed."""
    order = np.random.default_rng(seed).permutation(len(library))
    test = np.isin(np.arange(len(library)), order[: round(TEST_SHARE * len(library))])
    used = test | ~np.isin(library.sample_labels, library.sample_labels[test])
    return library.rows(used), np.where(test[used], "test", "train").astype("U10")


def run_seed(shared: Shared, seed: int) -> None:
    """Fit a model on one split and write half width, error and status of its test scans."""
    whole, parts = split_rows(shared.library, seed)
    config = changed(shared.config, training__seed=seed, training__workers=1)
    library = front_end.in_range(whole, config.front_end)
    fitted = fit_model(library, parts, config, show=False)
    test, reliability = parts == "test", fitted.reliability
    outputs = estimates(fitted.model, library.spectra[test])
    limits = reliability.limits
    states = status({name: outputs[name] for name in library.targets}, outputs[T2], outputs[Q], limits)
    tables = []
    for name, values in library.targets.items():
        bounds = reliability.intervals[name].bounds(outputs[name], limits.difficulty(outputs[T2]))
        columns = {"half_width": half_widths(outputs[name], *bounds), "error": outputs[name] - values[test]}
        tables.append(pd.DataFrame({"seed": seed, "target": name, **columns, "status": states}))
    write_table(shared.out / f"{seed}.csv", pd.concat(tables))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per target and need, pooled over the splits; columns as the head of this module lists them."""
    rows = []
    for target, scans in table.groupby("target", sort=False):
        lower = 0.0
        for need in needs_at(scans["half_width"][scans["status"] == "ok"].to_numpy(), QUANTILES):
            pooled, splits = point_of(scans, need), [point_of(split, need) for _, split in scans.groupby("seed")]
            rows.append(
                {
                    "target": target,
                    "need": need,
                    "kept": pooled["kept"],
                    "n": pooled["n"],
                    "rmse": pooled["rmse"],
                    "within need": 1 - pooled["beyond"],
                    "worst split": 1 - max(point["beyond"] for point in splits if point["n"]),
                    "splits below": sum(1 - point["beyond"] < COVERAGE for point in splits if point["n"]),
                    "band": band_coverage(scans, lower, need),
                    "stated": COVERAGE,
                }
            )
            lower = need
    return pd.DataFrame(rows)


def point_of(scans: pd.DataFrame, need: float) -> dict[str, float]:
    """The point of the curve of some scans at a need."""
    columns = scans["half_width"].to_numpy(), scans["status"].to_numpy("U10"), scans["error"].to_numpy()
    return curve_point(*columns, need)


def band_coverage(scans: pd.DataFrame, lower: float, need: float) -> float:
    """Fraction of laboratory values within the half width of their scan, for scans kept at `need`, not at `lower`."""
    half_width, states = scans["half_width"].to_numpy(), scans["status"].to_numpy("U10")
    band = is_kept(half_width, states, need) & ~is_kept(half_width, states, lower)
    measured = scans[band & scans["error"].notna()]
    return float((measured["error"].abs() <= measured["half_width"]).mean())


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", metavar="TABLE", type=Path)
    parser.add_argument("--targets", metavar="A,B", default=TARGETS)
    parser.add_argument("--splits", metavar="N", type=int, default=20)
    parser.add_argument("--preset", default="rs_ple_nano", choices=PRESETS)
    parser.add_argument("--workers", metavar="N", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/keep_or_send"))
    options = parser.parse_args()
    library = read_table(options.table, DataConfig(targets=tuple(options.targets.split(","))))
    options.out.mkdir(parents=True, exist_ok=True)
    shared = Shared(library=library, config=PRESETS[options.preset](), out=options.out)
    missing = [seed for seed in range(options.splits) if not (options.out / f"{seed}.csv").exists()]
    run_all(run_seed, missing, shared, workers=options.workers)
    table = pd.concat([pd.read_csv(options.out / f"{seed}.csv") for seed in range(options.splits)])
    results = summary(table)
    write_table(options.out / "keep_or_send.csv", results)
    print(results.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
