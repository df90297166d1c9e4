"""Time and peak memory of reading a table of the size of LUCAS, beside pandas alone.

    python -m benchmarks.reading [--soils 19036] [--repeats 3]

Writes simulated spectra of 4,200 bands with five targets as CSV.gz (five digits) and as Parquet (float32). Each reader
runs in a new process, the readers one after the other in each repeat. Prints median seconds and the largest peak of the
resident memory of the process, and the ratios to pandas. pandas returns a table only: no checks, no samples, no
library.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from relple_tf.config import SimulatedConfig
from relple_tf.spectra.sources.simulated import simulate

LUCAS_SOILS = 19036
READERS = {
    "relple_tf": "from relple_tf.config import DataConfig\nfrom relple_tf.spectra.readers.tables import read_table\n"
    "table = read_table(path, DataConfig())",
    "pandas": "import pandas as pd\ntable = pd.read_parquet(path) if path.suffix == '.parquet' else pd.read_csv(path)",
}
MEASURED = """
import sys, time
from pathlib import Path
path = Path(sys.argv[1])
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
assert len(table) == int(sys.argv[2])
# ru_maxrss would be that of the parent, from which this process was forked, if that is larger.
peak_kib = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak_kib) / 1024)
"""


def main() -> None:
    """Write the tables, read them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soils", type=int, default=LUCAS_SOILS)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "soils.csv.gz", Path(folder) / "soils.parquet"]
        write(options.soils, *paths)
        for path in paths:
            print(f"{path.name}: {options.soils:,} soils x 4,200 bands, {path.stat().st_size / 1e6:,.0f} MB")
            runs = {name: [measured(name, path, options.soils)] for name in READERS}
            for _ in range(options.repeats - 1):
                for name in READERS:
                    runs[name].append(measured(name, path, options.soils))
            seconds = {name: median(time for time, _ in values) for name, values in runs.items()}
            mebibytes = {name: max(peak for _, peak in values) for name, values in runs.items()}
            for name in READERS:
                print(
                    f"    {name}: {seconds[name]:.1f} s ({seconds[name] / seconds['pandas']:.2f} of pandas), "
                    f"{mebibytes[name]:,.0f} MiB ({mebibytes[name] / mebibytes['pandas']:.2f})"
                )


def write(soils: int, csv: Path, parquet: Path) -> None:
    """Write the same simulated library as CSV.gz and as Parquet."""
    library = simulate(SimulatedConfig(soils=soils, start_nm=400.0, stop_nm=2499.5, step_nm=0.5))
    names = [f"{nm:g}" for nm in library.wavelengths_nm]
    values = {"id": library.ids, **{name: np.round(column, 3) for name, column in library.targets.items()}}
    table = pd.DataFrame(values).join(pd.DataFrame(library.spectra.round(5), columns=names))
    table.to_parquet(parquet)
    table.to_csv(csv, index=False, float_format="%.5g", compression={"method": "gzip", "compresslevel": 1})


def measured(reader: str, path: Path, rows: int) -> tuple[float, float]:
    """Seconds and peak resident memory in MiB of a new process that reads the table."""
    code = MEASURED.format(code=READERS[reader])
    command = [sys.executable, "-c", code, str(path), str(rows)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = map(float, result.stdout.split())
    return seconds, peak


if __name__ == "__main__":
    main()
