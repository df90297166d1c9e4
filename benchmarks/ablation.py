"""Ablation: architectures, parts of an expert and weighting strategies with equal splits and steps.

    python -m benchmarks.ablation [--data SOURCE] [--targets A,B] [--splits 3] [--epochs 40] [--out DIR]

Every variant is a single network with early stopping on the validation rows (`training.cv_folds` 0). `network` is the
network alone; `stacked` is the deployed prediction: network and kernel regression combined by the stacking weight. The
kernel regression is the same for all variants. Prints test R2 in laboratory units, mean over the targets, median over
the splits; the mean difference of `network` from the default (± its standard error over the splits) and the number of
splits in which it is positive. Repeat the command to continue after an interruption.
"""

import argparse
import json
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from relple_tf.config import BALANCINGS, Config, replace
from relple_tf.processes import run_all
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.splitting.split import split

DEFAULT = "rs_ple (hard)"
ESTIMATES = ("network", "stacked", "kernel regression")
"""Predictions that are scored: stacking weights 1, fitted and 0."""
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "rs_ple (soft)": {"model__relevance": "soft"},
    **{
        name: {"model__architecture": name, "training__balancing": "uncertainty"}
        for name in ("ple", "cgc", "mmoe", "shared_bottom", "single_task")
    },
    "without convolution (kernels of one band)": {"model__conv_kernel": 1},
    "without LSTM": {"model__expert_kind": "attention"},
    "without attention": {"model__expert_kind": "lstm"},
    "convolution alone": {"model__expert_kind": "cnn"},
    "one view": {"front_end__views": ("absorbance+snv_d1",)},
    "without random basis": {"model__basis_units": 0},
    "with augmentation": {
        "augmentation__noise": 0.0002,
        "augmentation__offset": 0.02,
        "augmentation__slope": 0.02,
        "augmentation__scatter": 0.03,
        "augmentation__shift_nm": 0.5,
    },
    "Huber's error": {"training__huber_delta": 0.5},
    "4 nm grid": {"front_end__step_nm": 4.0},
    **{f"loss: {name}": {"training__balancing": name} for name in BALANCINGS if name != "uncertainty"},
}


def measure(shared: tuple[SpectralLibrary, Config, Path], job: tuple[int, str]) -> None:
    """Train one variant on one split and write its test R2."""
    import keras

    from relple_tf.evaluation.metrics import scores
    from relple_tf.pipeline import fit_model
    from relple_tf.runs.folder import write_json
    from relple_tf.training.stacking import StackingWeights, stack

    (library, base, folder), (seed, variant) = shared, job
    config = replace(base, **VARIANTS[variant], training__seed=seed)
    keras.backend.clear_session()
    parts, _ = split(library, config.split, seed)
    fitted = fit_model(library, parts, config, show=False)
    test = parts == "test"
    predictions = fitted.members(library.spectra[test]).predictions
    row: dict[str, Any] = {"seed": seed, "variant": variant, "weights": fitted.network.count_params()}
    for column, scale in enumerate(fitted.prepared.scales):
        measured = library.targets[scale.name][test]
        of_weights = (StackingWeights(1.0, 0.0), fitted.weights[scale.name], StackingWeights(0.0, 1.0))
        for name, weights in zip(ESTIMATES, of_weights, strict=True):
            predicted = scale.to_lab(stack(predictions[:, :, column], weights))
            row[f"{name} {scale.name}"] = scores(measured, predicted)["r2"]
    write_json(folder / f"{seed}-{list(VARIANTS).index(variant)}.json", row)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="simulated")
    parser.add_argument("--targets", default="")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()
    targets = tuple(name for name in options.targets.split(",") if name)
    config = replace(Config(), data__source=options.data, data__targets=targets, simulated__soils=600)
    config = replace(config, training__cv_folds=0, training__max_epochs=options.epochs)
    library = with_fields(load(config), parts=None, groups=None)
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, variant) for seed in range(options.splits) for variant in VARIANTS]
    files = {job: options.out / f"{job[0]}-{list(VARIANTS).index(job[1])}.json" for job in jobs}
    missing = [job for job in jobs if not files[job].exists()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="fit") as bar:
        run_all(measure, missing, (library, config, options.out), workers=0, finished=lambda *_: bar.update())
    table = pd.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in files.values()])
    table.to_csv(options.out / "ablation.csv", index=False)
    for kind in ESTIMATES:
        table[kind] = table[[column for column in table if column.startswith(f"{kind} ")]].mean(axis=1)
    by_split = table.pivot_table(index="seed", columns="variant", values="network")
    print(f"{library.source}, {', '.join(library.targets)}: {options.splits} splits, {options.epochs} epochs at most")
    print("| variant | weights | network | ahead of the default | wins | stacked |\n|---|---|---|---|---|---|")
    for variant in VARIANTS:
        rows = table[table["variant"] == variant]
        ahead = by_split[variant] - by_split[DEFAULT]
        error = f" ± {ahead.sem():.3f}" if len(ahead) > 1 else ""
        compared = f"{ahead.mean():+.3f}{error} | {np.sum(ahead > 0)} of {len(ahead)}"
        network, stacked = rows["network"].median(), rows["stacked"].median()
        print(
            f"| {variant} | {rows['weights'].max():,} | {network:.3f} | {' | ' if variant == DEFAULT else compared} "
            f"| {stacked:.3f} |"
        )
    print(f"\nkernel regression alone: {table['kernel regression'].median():.3f}")


if __name__ == "__main__":
    main()
