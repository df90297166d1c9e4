"""The zoo table of the README: every preset on one source and split, as Markdown.

    python -m benchmarks.zoo [--data SOURCE] [--seed N]

Trains each preset with `relple_tf.train` in a new process. The last row is PLSR on the same split.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from relple_tf.zoo import PRESETS


def train(preset: str, source: str, seed: int, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train one preset; returns its metrics and its card."""
    command = [sys.executable, "-m", "relple_tf.train", "--preset", preset, "--data", source]
    command += ["--seed", str(seed), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    metrics, card = ((out / name).read_text(encoding="utf-8") for name in ("metrics.json", "card.json"))
    return json.loads(metrics), json.loads(card)


def row(name: str, weights: str, scores: dict[str, dict[str, float]]) -> str:
    """Table row: R2, RMSE and RPIQ of each target."""
    cells = [f"{target['r2']:.2f} · {target['rmse']:.3g} · {target['rpiq']:.2f}" for target in scores.values()]
    return f"| {name} | {weights} | {' | '.join(cells)} |"


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="limesoda")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plsr: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, preset in enumerate(PRESETS):
            metrics, card = train(preset, options.data, options.seed, Path(folder) / preset)
            if number == 0:
                targets = list(metrics["test"])
                print(f"| preset | weights | {' | '.join(targets)} |")
                print("|---" * (2 + len(targets)) + "|")
            print(row(f"`{preset}`", f"{card['model']['weights']:,}", metrics["test"]), flush=True)
            if preset == "rs_ple_base":
                plsr = metrics["baseline"]["plsr"]
    print(row("PLSR", "", plsr))


if __name__ == "__main__":
    main()
