"""Wall time of `--help` and of the default training run, in new processes.

    python benchmarks/default_run.py [--repeats 3]

Prints the median seconds of `--help` of `relple_tf.train` and `relple_tf.predict`, and of the default training run
from the command to the report.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

COMMANDS = ("relple_tf.train", "relple_tf.predict")


def seconds(*arguments: str) -> float:
    """Wall time of `python -m ...`; raises if it fails."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    for command in COMMANDS:
        times = [seconds(command, "--help") for _ in range(max(5, repeats))]
        print(f"{command} --help: median {median(times):.2f} s of {len(times)}")
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            times.append(seconds("relple_tf.train", "--out", str(Path(folder) / "run")))
    shown = ", ".join(f"{value:.0f}" for value in times)
    print(f"relple_tf.train: median {median(times):.0f} s of {shown}")


if __name__ == "__main__":
    main()
