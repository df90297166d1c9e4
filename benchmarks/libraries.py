"""Networks and baselines on many libraries and sizes; no split divides a soil, nor a core of Uganda.

    python -m benchmarks.libraries DATA [--cells A,B] [--models A,B] [--repeats 5] [--out DIR] [--quick]

DATA is a folder with `nirsoil.csv.gz`, `datsoilspc.csv.gz`, `tavares_brazil.csv.gz` and `uganda_benchtop.csv.gz`;
LimeSoDa is an installed package. A cell is a library with a number of soils to learn from. Cells with fewer than
FEWEST_ROWS rows are cross-validated in FOLDS folds whose predictions are pooled, once per started FOLDS repeats, so
that --repeats is about the number of fits per model; larger cells have --repeats random test parts. All models of a
cell have the same parts. NIRsoil has the parts of `benchmarks.nirsoil_protocol`, whose seeds 0 to 9 were used in the
design of the network.

--quick is the yardstick for development: QUICK cells, three repeats, on learning rows only. A fixed fifth of the soils
or cores of each cell, its outer test part, is removed before anything is fitted or scored.

Writes a result per job, DIR/compare.csv (a row per job and target) and DIR/summary.csv (medians over the repeats);
prints medians, ranks and ratios to the best of REFERENCES. Repeat the command to continue after an interruption; use a
new DIR after a change of the code. `benchmarks/libraries_plan.md` holds candidates and the selection rule.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from benchmarks.nirsoil_protocol import TARGETS as NIRSOIL_TARGETS
from benchmarks.nirsoil_protocol import draw
from relple_tf.atomic_files import write_table
from relple_tf.baselines.grid_search import BASELINES
from relple_tf.comparison.folder import read_job
from relple_tf.comparison.jobs import Job, SharedData, run_job
from relple_tf.comparison.resampling import Resample, make_resamples
from relple_tf.config import Config, DataConfig, SplitConfig, replace
from relple_tf.processes import run_all
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.laboratory_columns import select_targets
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import LIMESODA_SETS, limesoda_field, load
from relple_tf.spectra.splitting.folds import folds
from relple_tf.zoo import PRESETS

FEWEST_ROWS = 150
"""A smaller cell is cross-validated, because the R2 of a test part of a fifth would depend on a few soils."""
FOLDS = 5
QUICK = ("nirsoil_150", "datsoilspc_100", "uganda")
QUICK_REPEATS = 3
OUTER_SEED = 1000
"""Of the outer test parts."""
REFERENCES = ("plsr", "svr", "gaussian_process")
"""Baselines of which the best is the reference of a cell and target."""
SCORES = ["n", "r2", "rmse", "rpiq", "coverage", "flagged"]

Reader = Callable[[Path], SpectralLibrary]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A library and the number of soils to learn from."""

    name: str
    read: Reader
    """Folder of data -> library; its groups are those that no split divides."""
    soils: int = 0
    """Rows to learn from (train + validation); 0 is all rows that are not tested."""
    protocol: bool = False
    """Whether the parts are those of `benchmarks.nirsoil_protocol`."""


def read_file(file: str, targets: tuple[str, ...], data: Path, *, group_column: str = "") -> SpectralLibrary:
    """A table of DATA; without `group_column`, only the scans of a soil are kept together."""
    library = read_table(data / file, DataConfig(targets=targets, group_column=group_column))
    return library if group_column else dataclasses.replace(library, groups=None, parts=None)


def read_limesoda(name: str, data: Path) -> SpectralLibrary:
    """A field of LimeSoDa, or all of them for `pooled`, without groups: splits divide fields."""
    library = load(Config()) if name == "pooled" else select_targets(limesoda_field(name), DataConfig()).checked()
    return dataclasses.replace(library, groups=None, parts=None)


NIRSOIL: Reader = partial(read_file, "nirsoil.csv.gz", NIRSOIL_TARGETS)
DATSOILSPC: Reader = partial(read_file, "datsoilspc.csv.gz", ("TC_pct", "clay_pct"))
# The soils of LimeSoDa's SSP.58 and MG.44: never pool them with those fields.
TAVARES: Reader = partial(read_file, "tavares_brazil.csv.gz", ("OC_pct", "CEC_cmolc_kg", "pH", "clay_g_kg"))
UGANDA: Reader = partial(read_file, "uganda_benchtop.csv.gz", ("TC_g_kg", "N_g_kg"), group_column="group")

CELLS = {
    cell.name: cell
    for cell in (
        Cell(name="nirsoil", read=NIRSOIL, protocol=True),
        Cell(name="nirsoil_150", read=NIRSOIL, soils=150, protocol=True),
        Cell(name="nirsoil_75", read=NIRSOIL, soils=75, protocol=True),
        Cell(name="datsoilspc", read=DATSOILSPC),
        Cell(name="datsoilspc_100", read=DATSOILSPC, soils=100),
        Cell(name="limesoda", read=partial(read_limesoda, "pooled")),
        *(Cell(name=f"limesoda_{name}", read=partial(read_limesoda, name)) for name in LIMESODA_SETS),
        Cell(name="tavares", read=TAVARES),
        Cell(name="uganda", read=UGANDA),
    )
}


def learning_rows(library: SpectralLibrary) -> npt.NDArray[np.bool_]:
    """(n,) True for the rows outside the outer test part, which holds a fifth of the soils, in whole groups."""
    learning: npt.NDArray[np.bool_] = folds(library, SplitConfig(), OUTER_SEED, FOLDS) != 0
    return learning


def cell_resamples(cell: Cell, library: SpectralLibrary, repeats: int) -> list[Resample]:
    """The parts of every repeat (and fold) of a cell; seeds from 0.

    Args:
        cell: Number of soils, and whether the protocol of NIRsoil applies.
        library: Rows of the cell.
        repeats: Random test parts; a cell with fewer than FEWEST_ROWS rows has a cross-validation per started FOLDS.
    """
    if cell.protocol:
        return [draw(seed, library.sample_labels, cell.soils) for seed in range(repeats)]
    crossed = len(library) < FEWEST_ROWS
    config = replace(
        Config(),
        split__method="random",
        comparison__scheme="cross_validation" if crossed else "repeated",
        comparison__folds=FOLDS,
        comparison__sizes=(cell.soils,) if cell.soils else (),
    )
    return make_resamples(library, config, -(-repeats // FOLDS) if crossed else repeats)[0]


def run_cell(
    cell: Cell, library: SpectralLibrary, models: Sequence[str], repeats: int, folder: Path, workers: int
) -> pd.DataFrame:
    """Run the missing jobs of a cell and return the rows of all.

    Args:
        cell: The cell.
        library: Its rows.
        models: Names of presets and baselines.
        repeats: As in `cell_resamples`.
        folder: For a result file per job.
        workers: Largest number of processes; 0 is one per core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configs = {name: PRESETS[name]() if name in PRESETS else Config() for name in models}
    jobs = [Job(model=name, resample=each) for each in cell_resamples(cell, library, repeats) for name in models]
    missing = [job for job in jobs if not (folder / job.file).exists()]
    shared = SharedData(library=library, models=configs, jobs=folder)
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="fit", desc=cell.name) as bar:
        run_all(run_job, missing, shared, workers=workers, finished=lambda *_: bar.update())
    table = pd.DataFrame([row for job in jobs for row in read_job(folder / job.file)])
    table.insert(0, "cell", cell.name)
    return table.astype({"coverage": float, "flagged": float})


def pooled(table: pd.DataFrame, library: SpectralLibrary) -> pd.DataFrame:
    """Join the folds of a cross-validation to the scores of all its predictions; rows of fold 0 are kept as they are.

    R2 is 1 - SSE/SST over all rows with a laboratory value, each of which was predicted once.

    Args:
        table: Rows of one cell, a row per job and target.
        library: Rows of the cell, for the variation of its laboratory values.

    Returns:
        Columns cell, model, target, seed and SCORES.
    """
    keys = ["cell", "model", "target", "seed"]
    rows = []
    for names, parts in table.groupby(keys, sort=False):
        if (parts["fold"] == 0).all():
            rows.append(dict(zip(keys, names, strict=True)) | parts.iloc[0][SCORES].to_dict())
            continue
        values = library.targets[names[2]]
        values = values[~np.isnan(values)]
        weights = parts["n"].to_numpy()
        if weights.sum() != len(values):
            raise ValueError(f"expected {len(values)} predictions of {names}, received {weights.sum()}")
        squared_error = float((weights * parts["rmse"] ** 2).sum())
        rmse = (squared_error / len(values)) ** 0.5
        scores = {
            "n": len(values),
            "r2": 1 - squared_error / float(((values - values.mean()) ** 2).sum()),
            "rmse": rmse,
            "rpiq": float(np.subtract(*np.percentile(values, [75, 25]))) / rmse,
            "coverage": float(np.average(parts["coverage"], weights=weights)),
            "flagged": float(np.average(parts["flagged"], weights=weights)),
        }
        rows.append(dict(zip(keys, names, strict=True)) | scores)
    return pd.DataFrame(rows)


def summary_text(medians: pd.DataFrame) -> str:
    """R2 per cell, target and model; ranks, ratios of RMSE to the best baseline, worst cells and coverage.

    Args:
        medians: Index cell, target, model; columns r2, rmse, coverage, flagged.
    """
    r2, rmse = medians["r2"].unstack("model", sort=False), medians["rmse"].unstack("model", sort=False)
    lines = ["Median R2", r2.round(3).to_string(), ""]
    models = pd.DataFrame({"mean rank": r2.rank(axis=1, ascending=False).mean()})
    if references := [name for name in REFERENCES if name in r2]:
        differences = r2.sub(r2[references].max(axis=1), axis=0)
        models["RMSE / best baseline"] = rmse.div(rmse[references].min(axis=1), axis=0).median()
        models["worst cell"] = [" ".join(differences[name].idxmin()) for name in r2]
        models["R2 - best baseline"] = differences.min()
        lines.append(f"Best baseline: the best of {', '.join(references)} in each cell and target")
    lines += [models.round(3).to_string()]
    reliability = medians[["coverage", "flagged"]].groupby(["cell", "model"], sort=False).mean()
    if len(reliability := reliability.dropna()):
        lines += ["", "Coverage of 90 % intervals and fraction of flagged test scans", reliability.round(3).to_string()]
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cells", help=f"default: all of {','.join(CELLS)}; with --quick {','.join(QUICK)}")
    parser.add_argument("--models", default="rs_ple_base,plsr,svr,gaussian_process,extra_trees,cubist")
    parser.add_argument("--repeats", type=int, help=f"default: 5; with --quick {QUICK_REPEATS}")
    parser.add_argument("--out", type=Path, help="default: runs/libraries or runs/libraries_quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="parallel processes; default: one per core")
    options = parser.parse_args()
    models = options.models.split(",")
    cells = options.cells.split(",") if options.cells else [*(QUICK if options.quick else CELLS)]
    for option, names, known in (("--models", models, {*PRESETS, *BASELINES}), ("--cells", cells, {*CELLS})):
        if unknown := [name for name in names if name not in known]:
            parser.error(f"{option}: expected names from {', '.join(sorted(known))}; received {unknown[0]!r}")
    repeats = options.repeats or (QUICK_REPEATS if options.quick else 5)
    out = options.out or Path("runs/libraries_quick" if options.quick else "runs/libraries")
    tables, repeated = [], []
    for cell in (CELLS[name] for name in cells):
        library = cell.read(options.data)
        if options.quick:
            library = library.rows(learning_rows(library))
        folder = out / "jobs" / (f"{cell.name}_quick" if options.quick else cell.name)
        tables.append(run_cell(cell, library, models, repeats, folder, options.workers))
        repeated.append(pooled(tables[-1], library))
    write_table(out / "compare.csv", pd.concat(tables))
    medians = pd.concat(repeated).groupby(["cell", "target", "model"], sort=False)[SCORES].median()
    write_table(out / "summary.csv", medians.reset_index())
    print(summary_text(medians))


if __name__ == "__main__":
    main()
