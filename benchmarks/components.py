"""R2 of the deployed model and of the members of its stack, next to PLSR, SVR and a Gaussian process on NIRsoil.

    python -m benchmarks.components TABLE [--splits 10] [--preset rs_ple_base] [--out DIR]

TABLE is NIRsoil, in which 55 soils have two scans (`relple_tf.spectra.samples`). The test rows of seed s are
`default_rng(s).permutation(825)[:165]`; rows of a tested soil are removed from the development set, and no fold divides
a soil. Prints the median R2 per target and model; writes DIR/components.csv. Repeat the command to continue after an
interruption.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.comparison.jobs import baseline_predictions
from relple_tf.config import Config, DataConfig
from relple_tf.config import replace as changed
from relple_tf.evaluation.metrics import scores
from relple_tf.models import front_end
from relple_tf.pipeline import fit_model
from relple_tf.prediction.runs import estimates
from relple_tf.processes import run_all
from relple_tf.runs.folder import write_json
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.zoo import PRESETS

TARGETS = ("N_g_kg", "OC_pct", "CEC_cmolc_kg")
TEST_ROWS = 165


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Input of all jobs."""

    library: SpectralLibrary
    config: Config
    out: Path


def split_rows(library: SpectralLibrary, seed: int) -> tuple[SpectralLibrary, npt.NDArray[np.str_]]:
    """The rows of a split and their parts; rows of tested soils outside the test part are removed."""
    order = np.random.default_rng(seed).permutation(len(library))
    test = np.isin(np.arange(len(library)), order[:TEST_ROWS])
    used = test | ~np.isin(library.sample_labels, library.sample_labels[test])
    return library.rows(used), np.where(test[used], "test", "train").astype("U10")


def run_seed(shared: Shared, seed: int) -> None:
    """Fit all models on one split and write their metrics."""
    library, parts = split_rows(shared.library, seed)
    config = changed(shared.config, training__seed=seed, training__workers=1)
    test = parts == "test"
    predictions = {
        name: baseline_predictions(name, library, parts, config)[0] for name in ("plsr", "svr", "gaussian_process")
    }
    inside = front_end.in_range(library, config.front_end)
    fitted = fit_model(inside, parts, config, show=False)
    members = fitted.members(inside.spectra)
    deployed = estimates(fitted.model, inside.spectra)
    for name in ("robust_regression", "kernel_regression", "network"):
        values = getattr(members, name)
        predictions[name.replace("_", " ")] = {
            scale.name: scale.to_lab(values[:, column]) for column, scale in enumerate(fitted.prepared.scales)
        }
    predictions["deployed"] = {name: deployed[name] for name in library.targets}
    rows = [
        {"seed": seed, "model": model, "target": target} | scores(values[test], columns[target][test])
        for model, columns in predictions.items()
        for target, values in library.targets.items()
    ]
    write_json(shared.out / f"{seed}.json", rows)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--preset", default="rs_ple_base", choices=PRESETS)
    parser.add_argument("--out", type=Path, default=Path("runs/components"))
    options = parser.parse_args()
    library = read_table(options.table, DataConfig(targets=TARGETS))
    options.out.mkdir(parents=True, exist_ok=True)
    shared = Shared(library=library, config=PRESETS[options.preset](), out=options.out)
    run_all(run_seed, [s for s in range(options.splits) if not (options.out / f"{s}.json").exists()], shared, workers=0)
    rows = [json.loads((options.out / f"{seed}.json").read_text(encoding="utf-8")) for seed in range(options.splits)]
    table = pd.DataFrame([row for split in rows for row in split])
    table.to_csv(options.out / "components.csv", index=False)
    medians = table.groupby(["model", "target"], sort=False)["r2"].median().unstack("target")
    print(medians.round(3).to_string())


if __name__ == "__main__":
    main()
