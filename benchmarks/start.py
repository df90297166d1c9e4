"""How good the network is before its first gradient step, with and without the random basis, beside an SVM.

    python benchmarks/start.py TABLE [--targets A,B] [--splits 12]

Only the rows that the table's own split calls training are used; each seed holds a fifth of them back. The SVM (RBF;
C and gamma by 5-fold cross-validation, SNV and first derivative) is what a spectroscopist would use. Prints the
median R2 per target, in laboratory units.
"""

import argparse
from collections import defaultdict
from dataclasses import replace as with_fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from relple_tf.config import Config, DataConfig, replace
from relple_tf.evaluation.metrics import scores
from relple_tf.models import front_end
from relple_tf.models.lab_units import whole_graph
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.split import split
from relple_tf.spectra.tables import read_table
from relple_tf.training.fit import seed_everything
from relple_tf.training.preparation import Prepared, prepare

GRID = {"svr__C": [3, 10, 30, 100], "svr__gamma": [1e-4, 3e-4, 1e-3]}


def at_start(library: SpectralLibrary, prepared: Prepared) -> dict[str, npt.NDArray[np.float64]]:
    """Target -> (n,) predictions of the untrained network, in laboratory units."""
    parts = (prepared.absorbance_stage, prepared.channel_stage, prepared.network)
    predicted = whole_graph(*parts, prepared.scales).predict(library.spectra, verbose=0)
    return {name: np.asarray(values)[:, 0] for name, values in predicted.items()}


def svm(
    library: SpectralLibrary, prepared: Prepared, fitted: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float64]]:
    """The same by support vector regression, fitted on the same scale and clipped to the same range."""
    tools = make_pipeline(StandardNormalVariate(), SavitzkyGolay(window_length=7, polyorder=2, deriv=1))
    x = tools.fit_transform(front_end.apply(prepared.absorbance_stage, library.spectra))
    predicted = {}
    for scale in prepared.scales:
        y = library.targets[scale.name]
        rows = fitted & ~np.isnan(y)
        search = GridSearchCV(make_pipeline(StandardScaler(), SVR(epsilon=0.03)), GRID, cv=5, n_jobs=2)
        predicted[scale.name] = scale.to_lab(search.fit(x[rows], scale.to_model(y[rows])).predict(x))
    return predicted


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--targets", default="")
    parser.add_argument("--splits", type=int, default=12)
    options = parser.parse_args()
    targets = tuple(name for name in options.targets.split(",") if name)
    library = read_table(options.table, DataConfig(targets=targets))
    if library.parts is not None:
        library = with_fields(library.rows(library.parts == "train"), parts=None)
    r2: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(options.splits):
        config = replace(Config(), training__seed=seed)
        parts, _ = split(library, config.split, seed)
        test = parts == "test"
        for units in (0, config.model.basis_units):
            seed_everything(seed)
            prepared = prepare(library, parts, replace(config, model__basis_units=units))
            for name, values in at_start(library, prepared).items():
                score = scores(library.targets[name][test], values[test])["r2"]
                r2[f"start, basis {units}", name].append(score)
        for name, values in svm(library, prepared, ~test).items():
            r2["svm", name].append(scores(library.targets[name][test], values[test])["r2"])
    for (model, name), found in r2.items():
        print(f"{model:18} {name:14} median R2 {np.median(found):.3f} of {len(found)} splits")


if __name__ == "__main__":
    main()
