"""Size of the stored data of a run, and the time to write and read them, for a library of the size of LUCAS.

    python -m benchmarks.stored_data [--soils 19036] [--repeats 3]

Simulated spectra of 4,200 bands with five targets. Prints bytes, their ratio to the plain float32 numbers, and median
seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from relple_tf.config import SimulatedConfig
from relple_tf.runs.stored_data import DATA, load_data, save_data
from relple_tf.spectra.sources.simulated import simulate

LUCAS_SOILS = 19036


def main() -> None:
    """Parse, write, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soils", type=int, default=LUCAS_SOILS)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    library = simulate(SimulatedConfig(soils=options.soils, start_nm=400.0, stop_nm=2499.5, step_nm=0.5))
    parts = np.where(np.arange(len(library)) % 5 == 0, "test", "train")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DATA
        written = [seconds(lambda: save_data(path, library, parts)) for _ in range(options.repeats)]
        read = [seconds(lambda: load_data(path)) for _ in range(options.repeats)]
        size, raw = path.stat().st_size, library.spectra.nbytes
    print(f"{len(library):,} soils x {library.spectra.shape[1]:,} bands: {size:,} bytes, {size / raw:.2f} of float32")
    print(f"write {median(written):.1f} s, read {median(read):.1f} s (medians of {options.repeats})")


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
