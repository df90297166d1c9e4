"""Equality of results on one core and on all cores, and the training time of each.

    python -m benchmarks.threads TABLE [--targets A,B] [--repeats 3] [--before FOLDER]

Trains the default preset on TABLE with one core and one worker, and with every core and one worker per core, and
compares metrics.json, predictions.csv and model.keras byte by byte. FOLDER is a checkout of an earlier commit; its run
on all cores is timed in turn with the others. Prints median seconds and ratios. Needs idle cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

FILES = ("metrics.json", "predictions.csv", "model.keras")


def main() -> None:
    """Parse, train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--targets", default="")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    data = ["--data", str(options.table.resolve()), *(["--targets", options.targets] if options.targets else [])]
    this_tree = Path(__file__).resolve().parent.parent
    cases = {
        "one core, one worker": (this_tree, {0}, ["--set", "training.workers=1"]),
        "all cores": (this_tree, set(os.sched_getaffinity(0)), []),
    }
    if options.before:
        cases["before, all cores"] = (options.before.resolve(), set(os.sched_getaffinity(0)), [])
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    contents: dict[str, set[bytes]] = {file: set() for file in FILES}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for name, (root, cores, flags) in cases.items():
                out = Path(folder) / f"{name}-{repeat}"
                seconds[name].append(train(root, cores, [*data, *flags, "--out", str(out)]))
                if root == this_tree:
                    for file in FILES:
                        contents[file].add((out / file).read_bytes())
    for name, times in seconds.items():
        print(f"{name}: {median(times):.1f} s (median of {len(times)})")
    if options.before:
        print(f"all cores / before: {median(seconds['all cores']) / median(seconds['before, all cores']):.2f}")
    for file, versions in contents.items():
        print(f"{file}: {'equal bytes in all runs' if len(versions) == 1 else f'{len(versions)} different contents'}")
    sys.exit(any(len(versions) > 1 for versions in contents.values()))


def train(root: Path, cores: set[int], arguments: list[str]) -> float:
    """Train on `cores` with the code of `root`; returns wall seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "relple_tf.train", *arguments],
        check=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
