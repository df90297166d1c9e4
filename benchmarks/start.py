"""R2 of the kernel regression without a network, compared with a support vector machine.

    python -m benchmarks.start TABLE [--targets A,B] [--splits 12]

Uses only the rows that the table declares as training rows. Each seed holds out a fifth of them; all models are trained
on the rest. The SVM (Gaussian kernel; C, gamma and scale by cross-validation; SNV and first derivative) is the common
choice in soil spectroscopy. Prints the median R2 per target, in laboratory units.
"""

import argparse
from collections import defaultdict
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.comparison.jobs import baseline_predictions
from relple_tf.config import Config, DataConfig, replace
from relple_tf.evaluation.metrics import scores
from relple_tf.models import front_end
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_table
from relple_tf.spectra.splitting.split import split
from relple_tf.training.cross_fitting import development
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.stacking import members

VARIANTS: dict[str, dict[str, Any]] = {
    "kernel regression, six views": {},
    "kernel regression, three views": {"front_end__robust_views": ()},
    "kernel regression, one view": {"front_end__views": ("absorbance+snv_d1",), "front_end__robust_views": ()},
    "kernel regression, 256 landmarks": {"model__landmarks": 256},
}
"""Name -> fields that differ from the default config."""


def kernel_predictions(
    library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config
) -> dict[str, npt.NDArray[np.float64]]:
    """Target -> (n,) predictions of the kernel regression alone, in laboratory units."""
    prepared = prepare(library, parts, config)
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    modelled = members(initial_network(prepared, config), prepared, absorbance).kernel_regression
    return {scale.name: scale.to_lab(column) for scale, column in zip(prepared.scales, modelled.T, strict=True)}


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
        parts = development(split(library, config.split, seed)[0])
        predicted = {
            name: kernel_predictions(library, parts, replace(config, **fields)) for name, fields in VARIANTS.items()
        }
        predicted["svm"], _ = baseline_predictions("svr", library, parts, config)
        test = parts == "test"
        for model, per_target in predicted.items():
            for target, predictions in per_target.items():
                r2[model, target].append(scores(library.targets[target][test], predictions[test])["r2"])
    for (model, target), values in r2.items():
        print(f"{model:32} {target:14} median R2 {np.median(values):.3f} of {len(values)} splits")


if __name__ == "__main__":
    main()
