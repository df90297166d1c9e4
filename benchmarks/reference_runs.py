"""Three reference runs whose metrics, predictions, folds and stacking weights later commits must reproduce.

    python -m benchmarks.reference_runs write NIRSOIL_TABLE [--file benchmarks/reference_runs.json]
    python -m benchmarks.reference_runs compare NIRSOIL_TABLE [--file benchmarks/reference_runs.json]

The runs are the default run, NIRsoil with its declared split, and simulated soils with groups and replicate scans
(`rs_ple_small`). Every process has one thread. `write` trains the runs and writes their results to a file; `compare`
trains them again, lists the differences and exits with 1 if there are any. Results depend on the processor and on the
versions of TensorFlow, NumPy and scikit-learn; run both commands on the same computer.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relple_tf.config import Config, SimulatedConfig
from relple_tf.config_text import from_toml

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
FILE = Path(__file__).parent / "reference_runs.json"
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn")

SOILS = 220
SOILS_PER_GROUP = 11
SCANS_PER_SOIL = 2

Run = dict[str, Any]


def main() -> None:
    """Parse, run, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("nirsoil", type=Path, help="nirsoil.csv.gz")
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: result_of(name, command, Path(folder)) for name, command in commands(options.nirsoil).items()}
    if options.action == "write":
        content = {"commit": commit(), "machine": platform_facts(), "runs": runs}
        options.file.write_text(json.dumps(content, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
        return
    reference = json.loads(options.file.read_text(encoding="utf-8"))
    print(f"reference: commit {reference['commit']}, {reference['machine']}")
    print(f"compared:  commit {commit()}, {platform_facts()}")
    different = [line for name, run in runs.items() for line in differences(name, reference["runs"][name], run)]
    print("\n".join(different or ["all metrics, predictions, folds and stacking weights are equal"]))
    sys.exit(bool(different))


def commands(nirsoil: Path) -> dict[str, list[str]]:
    """Name of a run -> arguments of `relple_tf.train`, with the placeholder `{folder}`."""
    return {
        "default": [],
        "nirsoil": ["--data", str(nirsoil.resolve()), "--targets", "N_g_kg,OC_pct,CEC_cmolc_kg"],
        "simulated": ["--data", "{folder}/simulated.csv", "--preset", "rs_ple_small"],
    }


def result_of(name: str, command: list[str], folder: Path) -> Run:
    """Train in a new process with one thread; returns metrics, predictions, folds and stacking weights of the run."""
    if name == "simulated":
        simulated_table(folder / "simulated.csv")
    out = folder / name
    arguments = [argument.format(folder=folder) for argument in command]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    subprocess.run(
        [sys.executable, "-m", "relple_tf.train", *arguments, "--seed", "0", "--out", str(out)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    predictions = pd.read_csv(out / "predictions.csv", dtype=str, keep_default_na=False)
    return {
        "metrics": json.loads((out / "metrics.json").read_text(encoding="utf-8")),
        "predictions": {column: predictions[column].tolist() for column in predictions},
        "folds": folds(from_toml(out / "config.toml"), predictions["part"].to_numpy(str)),
        "stacking_weights": card["model"]["stacking_weights"],
    }


def folds(config: Config, parts: Any) -> list[int]:
    """Cross-validation fold of every row; -1 for test rows."""
    from relple_tf.models import front_end
    from relple_tf.spectra.sources.named import load
    from relple_tf.spectra.splitting.folds import development_folds

    library = front_end.in_range(load(config), config.front_end)
    training = config.training
    fold: list[int] = development_folds(
        library, parts, training.seed, training.cv_folds, config.split.block_km
    ).tolist()
    return fold


def simulated_table(path: Path) -> None:
    """Write a table of SOILS simulated soils in groups, SCANS_PER_SOIL scans each; every fifth soil has no OC."""
    from relple_tf.spectra.sources.simulated import simulate

    soils = simulate(SimulatedConfig(soils=SOILS, step_nm=4.0))
    noise = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "group", *soils.targets, *(f"{nm:g}" for nm in soils.wavelengths_nm)])
        for soil in range(SOILS):
            values = [f"{column[soil]:.4g}" for column in soils.targets.values()]
            if soil % 5 == 0:
                values[list(soils.targets).index("OC_g_kg")] = ""
            for _ in range(SCANS_PER_SOIL):
                scan = soils.spectra[soil] * (1 + 0.01 * noise.standard_normal())
                group = f"group{soil // SOILS_PER_GROUP}"
                # Four decimals, so that the table does not depend on the last bit of a sum.
                rows.writerow([soils.ids[soil], group, *values, *(f"{value:.4f}" for value in scan)])


def differences(name: str, expected: Run, received: Run) -> list[str]:
    """Differences between two results of a run, one line each."""
    lines = []
    for key in ("folds", "stacking_weights"):
        if expected[key] != received[key]:
            lines.append(f"{name}: {key} differ")
    before, after = expected["predictions"], received["predictions"]
    if list(before) != list(after):
        lines.append(f"{name}: columns of predictions.csv were {', '.join(before)}; they are {', '.join(after)}")
    for column in before:
        if column in after and before[column] != after[column]:
            lines.append(f"{name}: {column}: {in_numbers(before[column], after[column])}")
    for path, value in flat(expected["metrics"]).items():
        new_value = flat(received["metrics"]).get(path)
        if new_value != value:
            lines.append(f"{name}: {path} was {value}, is {new_value}")
    lines += [f"{name}: {path} is new" for path in flat(received["metrics"]) if path not in flat(expected["metrics"])]
    return lines


def in_numbers(before: list[str], after: list[str]) -> str:
    """Number of cells that differ and, for numbers, the largest difference."""
    if len(before) != len(after):
        return f"{len(before)} rows before, {len(after)} now"
    count = sum(old != new for old, new in zip(before, after, strict=True))
    old, new = (pd.to_numeric(pd.Series(column), errors="coerce") for column in (before, after))
    largest = float((old - new).abs().max())
    return f"{count} of {len(before)} cells differ" + (f", by {largest:.3g} at most" if largest == largest else "")


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested dicts to {`part.target.figure`: value}."""
    if not isinstance(content, dict):
        return {path: content}
    return {
        key: value
        for name, part in content.items()
        for key, value in flat(part, f"{path}.{name}" if path else name).items()
    }


def commit() -> str:
    """Commit of the working tree, marked `dirty` if files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=7"],
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip()


def platform_facts() -> str:
    """Processor and package versions; the last digits depend on them."""
    processor = platform.machine()
    cpu_facts = Path("/proc/cpuinfo")
    if cpu_facts.exists():
        names = [line.partition(":")[2].strip() for line in cpu_facts.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return ", ".join([processor, *(f"{name} {version(name)}" for name in PACKAGES)])


if __name__ == "__main__":
    main()
