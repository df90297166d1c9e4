"""Training time and memory by number of rows and of bands, and for a library of the size of LUCAS.

    python -m benchmarks.scaling rows
    python -m benchmarks.scaling bands
    python -m benchmarks.scaling lucas

`rows` takes three numbers of rows at 4,200 bands, `bands` three numbers of bands at 4,000 rows, both for a fixed
number of epochs; `lucas` trains 19,036 x 4,200 with five targets until early stopping. Every case runs in a new process
on simulated spectra; wall seconds and peak resident memory are those of `wait4`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LUCAS_SOILS, START_NM, STOP_NM, STEP_NM = 19036, 400.0, 2499.5, 0.5
EPOCHS = 4


def measure(soils: int, step_nm: float, *fields: str) -> tuple[float, float]:
    """Train once; returns wall seconds and peak resident memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "relple_tf.train", "--data", "simulated"]
        command += ["--out", str(Path(folder) / "run")]
        command += [f"--set=simulated.soils={soils}", f"--set=simulated.start_nm={START_NM}"]
        command += [f"--set=simulated.stop_nm={STOP_NM}", f"--set=simulated.step_nm={step_nm}"]
        command += [f"--set={field}" for field in fields]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"training failed with {status}")
        return time.perf_counter() - start, usage.ru_maxrss / 1e6


def report(label: str, soils: int, step_nm: float, *fields: str) -> None:
    """Measure and print one case."""
    seconds, memory = measure(soils, step_nm, *fields)
    bands = round((STOP_NM - START_NM) / step_nm) + 1
    print(f"{label}: {soils} x {bands}: {seconds:.0f} s, peak {memory:.2f} GB", flush=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=("rows", "bands", "lucas"))
    case = parser.parse_args().case
    fixed = (f"training.max_epochs={EPOCHS}", "training.max_steps=1000000")
    if case == "rows":
        for soils in (LUCAS_SOILS // 4, LUCAS_SOILS // 2, LUCAS_SOILS):
            report(case, soils, STEP_NM, *fixed)
    elif case == "bands":
        for step_nm in (4 * STEP_NM, 2 * STEP_NM, STEP_NM):
            # The grid of the model grows with that of the spectra; otherwise only the resampling would cost more.
            report(case, 4000, step_nm, *fixed, f"front_end.step_nm={4 * step_nm}")
    else:
        report(case, LUCAS_SOILS, STEP_NM)


if __name__ == "__main__":
    main()
