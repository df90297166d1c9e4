"""Scans per second through LiteRT and through Keras, side by side, on the test soils of a run.

    python -m benchmarks.device_speed RUN BUNDLE [--repeats 7] [--scans 1000]

Each repeat scores the same scans with `keras.Model.predict` (batches of 256) and with every variant of the bundle that
reads a scan, one at a time as a device does, on one thread. Prints medians over the repeats and their ratios.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import trange

from relple_tf.command_line import import_tensorflow


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scans", type=int, default=1000)
    options = parser.parse_args()
    import_tensorflow()
    from export.runtime.soil_scan import SoilScan
    from export.runtimes import LiteRt
    from export.trained import load

    trained = load(options.run)
    scans = np.resize(trained.test_scans, (options.scans, trained.test_scans.shape[1]))
    variants = {
        name: (options.bundle / facts["file"]).read_bytes()
        for name, facts in SoilScan(options.bundle).card["variants"].items()
        if facts["reads"] == "scan"
    }
    runtime = LiteRt(name="LiteRT", resolver="AUTO")
    seconds: dict[str, list[float]] = {"Keras": [], **{name: [] for name in variants}}
    latency_ms: dict[str, list[float]] = {name: [] for name in variants}
    trained.model.predict(scans, batch_size=256, verbose=0)
    for _ in trange(options.repeats, unit="repeat"):
        begun = time.perf_counter()
        trained.model.predict(scans, batch_size=256, verbose=0)
        seconds["Keras"].append(time.perf_counter() - begun)
        for name, content in variants.items():
            begun = time.perf_counter()
            _, each = runtime.timed(content, scans)
            seconds[name].append(time.perf_counter() - begun)
            latency_ms[name].append(1e3 * float(np.median(each)))
    keras = float(np.median(seconds["Keras"]))
    print("| file | scans per second | of Keras | ms per scan |\n|---|---|---|---|")
    print(f"| Keras | {len(scans) / keras:.0f} | | |")
    for name in variants:
        own = float(np.median(seconds[name]))
        print(f"| {name} | {len(scans) / own:.0f} | {keras / own:.2f} | {np.median(latency_ms[name]):.3f} |")


if __name__ == "__main__":
    main()
