"""A run in a field that it was not trained on: as it is, adapted with k local soils, and PLSR of these soils alone.

    python -m benchmarks.transfer [--preset rs_ple_nano] [--draws 10] [--sizes 5,10,20,40] [--fields A,B] [--out DIR]

Each field of LimeSoDa is left out of the library in turn; a run is trained on the others (random split within fields).
k soils of the field are drawn at random and adapt the run, as `python -m relple_tf.adapt` does; the other soils of the
field are predicted. Everything is chosen from the k soils alone. Writes DIR/transfer.csv with a row per field, k, draw,
target and method; prints medians of the RMSE, its ratio to the run as it is, coverage of the 90 % intervals, and the
fraction of simulated out-of-domain scans that stay outside. Repeat the command to continue after an interruption.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from relple_tf.adaptation.adapted_run import StoredRun, adaptation, read_run
from relple_tf.atomic_files import write_table
from relple_tf.comparison.jobs import baseline_predictions
from relple_tf.config import Config, replace
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status
from relple_tf.prediction.runs import estimates
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sources.named import LIMESODA_SETS, limesoda_field, load
from relple_tf.spectra.sources.out_of_domain import KINDS, out_of_domain_scans
from relple_tf.training_run import train_run
from relple_tf.zoo import PRESETS

SCANS_PER_KIND = 40
OTHER_SEED = 1
"""Seed of the out-of-domain scans; `adaptation` checks its limits with others."""


def trained(field: str, preset: str, out: Path) -> StoredRun:
    """A run of all other fields; trained once."""
    folder = RunFolder(path=out / field)
    config = replace(PRESETS[preset](), split__method="random", split__within_groups=True)
    if not folder.is_complete:
        library = load(config)
        others = np.array([group != field for group in ([] if library.groups is None else library.groups)])
        folder = dataclasses.replace(folder, resumed=folder.is_started)
        train_run(library.rows(others), config, folder, notify=lambda _: None)
    return read_run(folder.path)


def local_plsr(local: SpectralLibrary, rest: SpectralLibrary, config: Config) -> dict[str, npt.NDArray[np.float64]]:
    """Predictions for `rest` of PLSR on `local` alone, components by cross-validation; target -> (n,)."""
    both = dataclasses.replace(
        rest,
        spectra=np.concatenate([local.spectra, rest.spectra]),
        targets={name: np.concatenate([local.targets[name], values]) for name, values in rest.targets.items()},
        ids=np.concatenate([local.ids, rest.ids]),
        samples=None,
    )
    parts = np.array(["train"] * len(local) + ["test"] * len(rest))
    predictions, _ = baseline_predictions("plsr", front_end.in_range(both, config.front_end), parts, config)
    return {name: values[len(local) :] for name, values in predictions.items()}


def measure(run: StoredRun, field: SpectralLibrary, k: int, draw: int) -> list[dict[str, Any]]:
    """Adapt a run with `k` soils of a field, and score all methods on the others."""
    order = np.random.default_rng(1000 * k + draw).permutation(len(field))
    local, rest = field.rows(np.sort(order[:k])), field.rows(np.sort(order[k:]))
    result = adaptation(run, local)
    before, after = estimates(run.model, rest.spectra), estimates(result.model, rest.spectra)
    foreign = np.concatenate(
        [out_of_domain_scans(kind, field.wavelengths_nm, SCANS_PER_KIND, OTHER_SEED) for kind in KINDS]
    )
    outputs = estimates(result.model, foreign)
    outside = float(
        np.mean(status({n: outputs[n] for n in field.targets}, outputs[T2], outputs[Q], result.limits) != "ok")
    )
    ok = status({n: after[n] for n in field.targets}, after[T2], after[Q], result.limits) == "ok"
    plsr = local_plsr(local, rest, run.config)
    rows = []
    for name, values in rest.targets.items():
        interval = result.targets[name].interval
        if interval is None:
            raise ValueError("expected a run with intervals")
        low, high = interval.bounds(after[name], result.limits.difficulty(after[T2]))
        facts = {"field": field.source, "k": k, "draw": draw, "target": name, "sd": float(np.std(values, ddof=1))}
        facts |= {"foreign_outside": outside, "ok": float(ok.mean())}
        method = result.choice(name).correction.method if name in result.adapted else "none"
        for label, predicted in (("as it is", before[name]), ("adapt", after[name]), ("local PLSR", plsr[name])):
            rmse = float(np.sqrt(np.mean((predicted - values) ** 2)))
            covered = float(np.mean((low <= values) & (values <= high))) if label == "adapt" else np.nan
            rows.append(facts | {"method": label, "rmse": rmse, "coverage": covered, "chosen": method})
    return rows


def main() -> None:
    """Parse, train, adapt, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="rs_ple_nano", choices=PRESETS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sizes", default="5,10,20,40")
    parser.add_argument("--fields", default=",".join(LIMESODA_SETS))
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    options = parser.parse_args()
    file, tables = options.out / "transfer.csv", []
    if file.exists():
        tables.append(pd.read_csv(file))
    done = {tuple(row) for table in tables for row in table[["field", "k", "draw"]].to_numpy().tolist()}
    for name in options.fields.split(","):
        field = limesoda_field(name)
        sizes = [int(size) for size in options.sizes.split(",")]
        jobs = [(k, draw) for k in sizes for draw in range(options.draws) if (name, k, draw) not in done]
        if not jobs:
            continue
        run = trained(name, options.preset, options.out)
        for k, draw in tqdm(jobs, desc=name):
            tables.append(pd.DataFrame(measure(run, field, k, draw)))
        write_table(file, pd.concat(tables))
    table = pd.concat(tables)
    table["rmse / sd"] = table["rmse"] / table["sd"]
    print(table.groupby(["target", "k", "method"], sort=False)["rmse / sd"].median().unstack().round(2).to_string())
    adapted = table[table["method"] == "adapt"]
    print(adapted.groupby("k")[["coverage", "foreign_outside", "ok"]].mean().round(3).to_string())
    fields = table.groupby(["target", "k", "field", "method"], sort=False)["rmse"].median().unstack()
    print((fields["adapt"] / fields["as it is"]).unstack("field").round(2).to_string())


if __name__ == "__main__":
    main()
