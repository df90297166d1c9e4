"""Tables made by Hypothesis: each is read as a sound library, or refused in one line.

    python -m benchmarks.reliability.tables [--factor 2] [--seed 0]

Runs `tests/test_any_table.py` with other tables and more of them: 480 times the factor, each read for training and for
prediction. The tables are random bytes, sound tables with edits (CSV, Parquet, gzip), and tables of odd names and
cells.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Parse, run the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "tests/test_any_table.py",
            f"--hypothesis-seed={options.seed}",
        ],
        env=os.environ | {"RELPLE_TF_TABLE_FACTOR": str(options.factor)},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    print(f"{480 * options.factor} tables: {'none' if done.returncode == 0 else 'some'} gave a traceback")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
