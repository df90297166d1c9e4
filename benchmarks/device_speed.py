"""Scans per second through LiteRT and through Keras, side by side, on the test soils of a run.

    python -m benchmarks.device_speed RUN BUNDLE [--repeats 7] [--scans 1000]

Each repeat scores the same scans with `keras.Model.predict` (batches of 32, its default, and of 256) and with every
variant of the bundle that reads a scan: all of them as `relple_tf.predict BUNDLE` does, and one at a time on one thread
as a device does. Prints medians over the repeats and their ratios. Needs idle cores.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import trange

from relple_tf.processes import import_tensorflow

BATCH_SIZES = (32, 256)
"""Scans; `keras.Model.predict` takes the first unless it is told otherwise."""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scans", type=int, default=1000)
    options = parser.parse_args()
    import_tensorflow()
    from export.bundling.stored_run import load
    from export.runtime.soil_scan import SoilScan
    from export.verify.runtimes import LiteRt
    from relple_tf.prediction.bundles import outputs

    trained = load(options.run)
    scans = np.resize(trained.test_scans, (options.scans, trained.test_scans.shape[1]))
    variants = {
        name: (options.bundle / facts["file"]).read_bytes()
        for name, facts in SoilScan(options.bundle).card["variants"].items()
        if facts["reads"] == "scan"
    }
    runtime = LiteRt(name="LiteRT", resolver="AUTO")
    batches = {f"Keras, batches of {size}": size for size in BATCH_SIZES}
    seconds: dict[str, list[float]] = {name: [] for name in (*batches, *variants)}
    latency_ms: dict[str, list[float]] = {name: [] for name in variants}
    for size in BATCH_SIZES:
        trained.model.predict(scans, batch_size=size, verbose=0)
    for _ in trange(options.repeats, unit="repeat"):
        for name, size in batches.items():
            begun = time.perf_counter()
            trained.model.predict(scans, batch_size=size, verbose=0)
            seconds[name].append(time.perf_counter() - begun)
        for name, content in variants.items():
            begun = time.perf_counter()
            outputs(content, scans)
            seconds[name].append(time.perf_counter() - begun)
            _, each = runtime.timed(content, scans)
            latency_ms[name].append(1e3 * float(np.median(each)))
    middle = {name: float(np.median(found)) for name, found in seconds.items()}
    print("| model | scans per second | " + " | ".join(f"of {name}" for name in batches) + " | ms per scan |")
    print("|---|---|" + "---|" * len(batches) + "---|")
    for name, own in middle.items():
        ratios = " | ".join(f"{middle[keras] / own:.2f}" for keras in batches)
        latency = f"{np.median(latency_ms[name]):.3f}" if name in variants else ""
        print(f"| {name} | {len(scans) / own:.0f} | {ratios} | {latency} |")


if __name__ == "__main__":
    main()
