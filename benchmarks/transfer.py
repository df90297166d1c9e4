"""A run in a place that it was not trained on: as it is, adapted with k local soils, and the usual alternatives.

    python -m benchmarks.transfer [DATA] [--preset rs_ple_nano] [--draws 10] [--sizes 5,10,20,40] [--places A,B]
        [--out DIR]

Places: each field of LimeSoDa, left out of the library (OC, pH, clay); with DATA, a folder that holds
`uganda_benchtop.csv.gz` and `datEPO_moisture.csv.gz`, also the cores of Uganda with at least FEWEST_SOILS soils, left
out of the others (TC, N), and moist scans of 50 soils with a library of dry scans of 50 other soils (TC). A run is
trained on the library. k soils of the place are drawn at random and adapt the run, as `python -m relple_tf.adapt` does;
the other soils of the place are predicted. Everything is chosen from the k soils alone. The alternatives: the run as it
is; its estimates with a bias; PLSR of the k soils alone; PLSR of the library with a bias; PLSR of the library with the
k soils repeated until they have LOCAL_SHARE of all rows (components as for the library).

Writes DIR/transfer.csv with a row per place, k, draw, target and method; prints medians of the RMSE in SDs of the
place, ratios to the run as it is, and the ratio of `adapt` to the better of "as it is" and "bias", with the 90 %
interval of the paired draws; coverage of the 90 % intervals, and the fraction of simulated out-of-domain scans that
stay outside. Repeat the command to continue after an interruption.
"""

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cross_decomposition import PLSRegression
from tqdm import tqdm

from relple_tf.adaptation.adapted_run import adaptation
from relple_tf.adaptation.corrections import BIAS, fit_correction, in_lab_units
from relple_tf.adaptation.stored_run import StoredRun, read_run
from relple_tf.atomic_files import write_table
from relple_tf.baselines.plsr import CrossValidated, cross_validated, snv_first_derivative
from relple_tf.comparison.jobs import baseline_predictions
from relple_tf.config import Config, DataConfig, replace
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.prediction.runs import estimates
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.sources.named import LIMESODA_SETS, limesoda_field, load
from relple_tf.spectra.sources.out_of_domain import KINDS, out_of_domain_scans
from relple_tf.spectra.splitting.grouping import group_labels
from relple_tf.training_run import train_run
from relple_tf.zoo import PRESETS

Floats = npt.NDArray[np.float64]

UGANDA, EPO = "uganda_benchtop.csv.gz", "datEPO_moisture.csv.gz"
Place = Callable[[], tuple[SpectralLibrary, SpectralLibrary]]
"""Reads a library and the soils of a place that it does not hold."""

FEWEST_SOILS, FEWEST_TESTED = 16, 6
"""Of a core of Uganda, and of the soils that are tested."""
SCANS_PER_KIND = 40
LOCAL_SHARE = 0.3
"""Share of the local soils among the rows of the up-weighted PLSR."""
AS_IT_IS, WITH_BIAS, ADAPT = "as it is", "bias", "adapt"
"""Names of methods."""
OTHER_SEED = 1
"""Seed of the out-of-domain scans; `adaptation` checks its limits with others."""


def limesoda(name: str, _: Path) -> tuple[SpectralLibrary, SpectralLibrary]:
    """All other fields of LimeSoDa, and a field."""
    library = load(Config())
    others = np.array([group != name for group in ([] if library.groups is None else library.groups)])
    return library.rows(others), limesoda_field(name)


def uganda(core: str, data: Path) -> tuple[SpectralLibrary, SpectralLibrary]:
    """All other cores of Uganda, and a core."""
    library = read_table(data / UGANDA, DataConfig(targets=("TC_g_kg", "N_g_kg"), group_column="group"))
    inside = np.array([group == core for group in ([] if library.groups is None else library.groups)])
    return library.rows(~inside), library.rows(inside)


def moist(level: int, data: Path) -> tuple[SpectralLibrary, SpectralLibrary]:
    """Dry scans of the first 50 soils of datEPO, and scans of the others at a level of moisture."""
    library = read_table(data / EPO, DataConfig(targets=("TC_pct",)))
    table = pd.read_csv(data / EPO, usecols=["id", "moisture_level"])
    soils, levels = pd.factorize(table["id"])[0], table["moisture_level"].to_numpy()
    return library.rows((soils < 50) & (levels == 0)), library.rows((soils >= 50) & (levels == level))


def places(data: Path | None) -> dict[str, Place]:
    """Name -> place; those of DATA only with it."""
    found: dict[str, Place] = {name: partial(limesoda, name, Path()) for name in LIMESODA_SETS}
    if data is not None:
        cores = pd.read_csv(data / UGANDA, usecols=["group"])["group"].value_counts()
        found |= {core: partial(uganda, core, data) for core in cores.index[cores >= FEWEST_SOILS]}
        found |= {f"moist_{level}": partial(moist, level, data) for level in (1, 2)}
    return found


def trained(library: SpectralLibrary, preset: str, folder: Path) -> StoredRun:
    """A run of a library; trained once."""
    run = RunFolder(path=folder)
    config = replace(PRESETS[preset](), split__method="random", split__within_groups=True)
    if not run.is_complete:
        run = dataclasses.replace(run, resumed=run.is_started)
        train_run(library, config, run, notify=lambda _: None)
    return read_run(folder)


def foreign_scans(run: StoredRun) -> npt.NDArray[np.float32]:
    """Simulated out-of-domain scans in the quantity of the run."""
    library = run.library
    scans = np.concatenate(
        [out_of_domain_scans(kind, library.wavelengths_nm, SCANS_PER_KIND, OTHER_SEED) for kind in KINDS]
    )
    return scans if library.quantity == "reflectance" else -np.log10(np.maximum(scans, REFLECTANCE_FLOOR))


def local_plsr(local: SpectralLibrary, rest: SpectralLibrary, config: Config) -> dict[str, npt.NDArray[np.float64]]:
    """Predictions for `rest` of PLSR on `local` alone, components by cross-validation; target -> (n,)."""
    both = dataclasses.replace(
        rest,
        spectra=np.concatenate([local.spectra, rest.spectra]),
        targets={name: np.concatenate([local.targets[name], values]) for name, values in rest.targets.items()},
        ids=np.concatenate([local.ids, rest.ids]),
        samples=None,
        groups=None,
    )
    parts = np.array(["train"] * len(local) + ["test"] * len(rest))
    predictions, _ = baseline_predictions("plsr", front_end.in_range(both, config.front_end), parts, config)
    return {name: values[len(local) :] for name, values in predictions.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LibraryPlsr:
    """PLSR of the library of a run; its components come from cross-validation with whole fields left out."""

    run: StoredRun
    features: Floats
    chosen: dict[str, CrossValidated]

    @classmethod
    def of(cls, run: StoredRun) -> "LibraryPlsr":
        """Choose components and scale of each target; test rows of the run are not read."""
        used = run.library.rows(run.parts != "test")
        features, groups = plsr_features(run, used), group_labels(used, keep_groups=True)
        chosen = {
            scale.name: cross_validated(features, used.targets[scale.name], groups, scale, run.config.training.seed)
            for scale in run.scales
        }
        return cls(run=run, features=features, chosen=chosen)

    def predict(self, local: SpectralLibrary, rest: SpectralLibrary, name: str, repeats: int) -> tuple[Floats, Floats]:
        """Predict a target of local and other soils, (n,) each; with `repeats` copies of the local soils."""
        best = self.chosen[name]
        values = self.run.library.targets[name][self.run.parts != "test"]
        of_local = plsr_features(self.run, local)
        x = np.concatenate([self.features, *[of_local] * repeats])
        y = best.scale.to_model(np.concatenate([values, *[local.targets[name]] * repeats]))
        model = PLSRegression(best.components, scale=True).fit(x, y)
        both = (model.predict(x).ravel() for x in (of_local, plsr_features(self.run, rest)))
        first, second = (in_lab_units(best.scale, predicted) for predicted in both)
        return first, second


def plsr_features(run: StoredRun, library: SpectralLibrary) -> Floats:
    """SNV and first derivative (n, bands) on the grid of the run."""
    config = run.config.front_end
    absorbance = front_end.apply(run.model.get_layer("absorbance_stage"), library.spectra)
    return snv_first_derivative(absorbance, front_end.window_points(config), config.derivative_polynomial)


def with_bias(scale: TargetScale, of_local: Floats, of_rest: Floats, measured: Floats) -> Floats:
    """Estimates of the other soils, corrected by the mean error of the local soils on the modelled scale."""
    correction = fit_correction(BIAS, scale.to_model(of_local), scale.to_model(measured))
    return in_lab_units(scale, correction(scale.to_model(of_rest)))


def measure(
    run: StoredRun, library_plsr: LibraryPlsr, place: str, field: SpectralLibrary, k: int, draw: int
) -> list[dict[str, Any]]:
    """Adapt a run with `k` soils of a field, and score all methods on the others."""
    order = np.random.default_rng(1000 * k + draw).permutation(len(field))
    local, rest = field.rows(np.sort(order[:k])), field.rows(np.sort(order[k:]))
    result = adaptation(run, local)
    before, after = estimates(run.model, rest.spectra), estimates(result.model, rest.spectra)
    foreign = foreign_scans(run)
    outputs = estimates(result.model, foreign)
    outside = float(
        np.mean(status({n: outputs[n] for n in field.targets}, outputs[T2], outputs[Q], result.limits) != "ok")
    )
    ok = status({n: after[n] for n in field.targets}, after[T2], after[Q], result.limits) == "ok"
    plsr = local_plsr(local, rest, run.config)
    repeats = max(1, round(LOCAL_SHARE / (1 - LOCAL_SHARE) * len(library_plsr.features) / k))
    rows = []
    for name, values in rest.targets.items():
        interval = result.targets[name].interval
        if interval is None:
            raise ValueError("expected a run with intervals")
        low, high = interval.bounds(after[name], result.limits.difficulty(after[T2]))
        facts = {"field": place, "k": k, "draw": draw, "target": name, "sd": float(np.std(values, ddof=1))}
        facts |= {"foreign_outside": outside, "ok": float(ok.mean())}
        if name in result.adapted:
            facts |= {f"weight of {method}": weight for method, weight in result.combination(name).weights.items()}
        measured, scale = local.targets[name], result.targets[name].scale
        methods = {
            AS_IT_IS: before[name],
            WITH_BIAS: with_bias(scale, result.before[name], before[name], measured),
            ADAPT: after[name],
            "local PLSR": plsr[name],
            "PLSR, bias": with_bias(
                library_plsr.chosen[name].scale, *library_plsr.predict(local, rest, name, 0), measured
            ),
            "PLSR, up-weighted": library_plsr.predict(local, rest, name, repeats)[1],
        }
        for label, predicted in methods.items():
            rmse = float(np.sqrt(np.mean((predicted - values) ** 2)))
            covered = float(np.mean((low <= values) & (values <= high))) if label == ADAPT else np.nan
            rows.append(facts | {"method": label, "rmse": rmse, "coverage": covered})
    return rows


def paired_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """RMSE of `adapt` divided by the better of "as it is" and "bias", in a place with k soils: median and interval.

    The better one is that with the smaller median over the draws; the ratio is paired within a draw.

    Returns:
        Index target, field, k; columns median, low and high: the 5 and 95 % quantiles of 2,000 bootstrap medians.
    """
    wide = table.pivot_table(index=["target", "field", "k", "draw"], columns="method", values="rmse")
    rows = {}
    for place, draws in wide.groupby(["target", "field", "k"]):
        better = draws[[AS_IT_IS, WITH_BIAS]].median().idxmin()
        ratios = (draws[ADAPT] / draws[better]).to_numpy()
        resampled = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
        low, high = np.quantile(np.median(resampled, axis=1), [0.05, 0.95])
        rows[place] = {"median": float(np.median(ratios)), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["target", "field", "k"])


def main() -> None:
    """Parse, train, adapt, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--preset", default="rs_ple_nano", choices=PRESETS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sizes", default="5,10,20,40")
    parser.add_argument("--places", help="default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    options = parser.parse_args()
    file, tables = options.out / "transfer.csv", []
    if file.exists():
        tables.append(pd.read_csv(file))
    done = {tuple(row) for table in tables for row in table[["field", "k", "draw"]].to_numpy().tolist()}
    found = places(options.data)
    for name in options.places.split(",") if options.places else found:
        library, field = found[name]()
        sizes = [int(size) for size in options.sizes.split(",") if int(size) <= len(field) - FEWEST_TESTED]
        jobs = [(k, draw) for k in sizes for draw in range(options.draws) if (name, k, draw) not in done]
        if not jobs:
            continue
        run = trained(library, options.preset, options.out / name)
        library_plsr = LibraryPlsr.of(run)
        for k, draw in tqdm(jobs, desc=name):
            tables.append(pd.DataFrame(measure(run, library_plsr, name, field, k, draw)))
        write_table(file, pd.concat(tables))
    table = pd.concat(tables)
    table["rmse / sd"] = table["rmse"] / table["sd"]
    print(table.groupby(["target", "k", "method"], sort=False)["rmse / sd"].median().unstack().round(2).to_string())
    adapted = table[table["method"] == ADAPT]
    print(adapted.groupby("k")[["coverage", "foreign_outside", "ok"]].mean().round(3).to_string())
    print(adapted.groupby(["target", "k"])[[name for name in adapted if name.startswith("weight")]].mean().round(2))
    fields = table.groupby(["target", "k", "field", "method"], sort=False)["rmse"].median().unstack()
    print((fields[ADAPT] / fields[AS_IT_IS]).unstack("field").round(2).to_string())
    print(paired_ratios(table).round(2).to_string())


if __name__ == "__main__":
    main()
