"""The default preset and the baselines on NIRsoil, in ten fixed splits with 165 test scans; no split divides a soil.

    python -m benchmarks.nirsoil_protocol TABLE [--models A,B] [--splits 10] [--soils 75] [--out DIR]

TABLE is NIRsoil (R package prospectr): 825 scans of 770 soils; the test rows of seed s are
`default_rng(s).permutation(825)[:165]`. The development set is the other rows without the scans of tested soils; with
--soils it is that many of them, drawn by seed. Prints the median R2 and RPIQ per target
and model, the coverage of 90 % intervals and the fraction of flagged test scans; writes DIR/compare.csv. Repeat the
command to continue after an interruption.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from relple_tf.comparison.jobs import Job, SharedData, run_job
from relple_tf.comparison.resampling import UNUSED, Resample
from relple_tf.config import Config, DataConfig
from relple_tf.processes import run_all
from relple_tf.spectra.readers.tables import read_table
from relple_tf.zoo import PRESETS

TEST_ROWS = 165
TARGETS = ("N_g_kg", "OC_pct", "CEC_cmolc_kg")


def draw(seed: int, samples: npt.NDArray[np.str_], soils: int) -> Resample:
    """The split of the protocol; `soils` limits the development set to its first rows, which are in random order."""
    order = np.random.default_rng(seed).permutation(len(samples))
    parts = np.full(len(samples), UNUSED, "U10")
    others = order[TEST_ROWS:]
    development_rows = others[~np.isin(samples[others], samples[order[:TEST_ROWS]])][: soils or None]
    parts[development_rows] = "train"
    # A network without cross-validation folds stops on the validation rows; other models are trained on them too.
    validation = samples[development_rows[: round(0.15 * len(development_rows))]]
    parts[(parts == "train") & np.isin(samples, validation)] = "validation"
    parts[order[:TEST_ROWS]] = "test"
    return Resample(seed=seed, fold=0, soils=len(development_rows), parts=parts)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--models", default="rs_ple_base,plsr,svr,gaussian_process,extra_trees,cubist")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--soils", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/nirsoil_protocol"))
    options = parser.parse_args()
    library = read_table(options.table, DataConfig(targets=TARGETS))
    models = {name: PRESETS[name]() if name in PRESETS else Config() for name in options.models.split(",")}
    jobs = [
        Job(model=name, resample=draw(seed, library.sample_labels, options.soils))
        for seed in range(options.splits)
        for name in models
    ]
    (options.out / "jobs").mkdir(parents=True, exist_ok=True)
    shared = SharedData(library=library, models=models, jobs=options.out / "jobs")
    missing = [job for job in jobs if not (shared.jobs / job.file).exists()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="fit") as bar:
        run_all(run_job, missing, shared, workers=0, finished=lambda *_: bar.update())
    rows = [row for job in jobs for row in json.loads((shared.jobs / job.file).read_text(encoding="utf-8"))]
    table = pd.DataFrame(rows)
    table.to_csv(options.out / "compare.csv", index=False)
    shown = table.groupby(["target", "model"], sort=False)[["r2", "rpiq", "rmse", "coverage", "flagged", "fit_s"]]
    print(shown.median().round(3).to_string())
    print("mean coverage and fraction flagged:", table[["coverage", "flagged"]].mean().round(3).to_dict())


if __name__ == "__main__":
    main()
