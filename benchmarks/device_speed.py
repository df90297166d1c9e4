"""Scans per second of LiteRT and of Keras on the test soils of a run.

    python -m benchmarks.device_speed RUN BUNDLE [--repeats 7] [--scans 1000]

Each repeat predicts the same scans with `keras.Model.predict` (batches of 32, its default, and of 256) and with every
variant of the bundle: in batches, as `relple_tf.predict BUNDLE` does, and scan by scan on one thread, as a device does.
Prints medians over the repeats and their ratios. Needs idle cores.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import trange

from relple_tf.processes import import_tensorflow

BATCH_SIZES = (32, 256)
"""Scans per batch; the first is the default of `keras.Model.predict`."""


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
    }
    runtime = LiteRt(name="LiteRT", resolver="AUTO")
    batches = {f"Keras, batches of {size}": size for size in BATCH_SIZES}
    seconds: dict[str, list[float]] = {name: [] for name in (*batches, *variants)}
    latency_ms: dict[str, list[float]] = {name: [] for name in variants}
    for size in BATCH_SIZES:
        trained.model.predict(scans, batch_size=size, verbose=0)
    for _ in trange(options.repeats, unit="repeat"):
        for name, size in batches.items():
            start = time.perf_counter()
            trained.model.predict(scans, batch_size=size, verbose=0)
            seconds[name].append(time.perf_counter() - start)
        for name, content in variants.items():
            start = time.perf_counter()
            outputs(content, scans)
            seconds[name].append(time.perf_counter() - start)
            _, scan_seconds = runtime.timed(content, scans)
            latency_ms[name].append(1e3 * float(np.median(scan_seconds)))
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    print("| model | scans per second | " + " | ".join(f"of {name}" for name in batches) + " | ms per scan |")
    print("|---|---|" + "---|" * len(batches) + "---|")
    for name, median_s in medians.items():
        ratios = " | ".join(f"{medians[keras] / median_s:.2f}" for keras in batches)
        latency = f"{np.median(latency_ms[name]):.3f}" if name in variants else ""
        print(f"| {name} | {len(scans) / median_s:.0f} | {ratios} | {latency} |")


if __name__ == "__main__":
    main()
