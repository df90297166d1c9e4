"""Kill training, search and export at random moments, continue, and compare with uninterrupted commands.

    python -m benchmarks.reliability.kills [--kills 100] [--seed 0] [--out FILE]

Of ten kills, six hit `relple_tf.train`, three `tuning.search` and one `export.bundle`. The signal is SIGKILL, SIGTERM,
SIGINT or SIGHUP, sent to the main process of the command only. Afterwards no process of the command may be left, and no
file may be incomplete: every file under its final name equals that of an uninterrupted command. Then the command is
continued (`--resume`; an export is repeated) and must end with equal files, byte by byte. A search must end with the
same trials and scores, and no ended trial may be lost. Exit code 0 if all of this holds.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import pandas as pd

MARK = "RELPLE_TF_KILLED"
"""Environment variable that identifies the processes of a command."""
LEAVE_S = 20.0
"""Seconds within which all processes must end after the command was killed."""
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
"""Signal -> exit code of a command that handles it."""

TINY = [
    *("--data", "simulated", "--targets", "OC_g_kg,pH", "--preset", "rs_ple_nano"),
    *(f"--set={field}" for field in ("simulated.soils=90", "simulated.step_nm=20", "training.cv_folds=2")),
    *(f"--set={field}" for field in ("training.max_epochs=25", "training.batch_size=16", "front_end.step_nm=20")),
    *(f"--set={field}" for field in ("front_end.derivative_window_nm=60", "front_end.whitened_components=5")),
]
SPACE = """
[trial]
folds = 2
[model]
expert_units = [4, 8, 16]
"""
VARYING = {"verification.json", "SHA256SUMS", "manifest.json"}
"""Files that contain times, and files that contain hashes of these."""


def main() -> None:
    """Parse, kill, continue, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV file with one row per kill")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as parent:
        reference = References(Path(parent))
        for number in range(options.kills):
            command = ("train", "train", "search", "train", "train", "search", "train", "search", "train", "export")[
                number % 10
            ]
            sent = rng.choice(list(SIGNALS))
            row: dict[str, object] = {"number": number, "command": command, "signal": signal.Signals(sent).name}
            row |= killed(reference, command, sent, rng.random(), Path(parent) / f"kill{number}")
            rows.append(row)
            print(f"{number}: {command} {row['signal']} after {row['after_s']:.1f} s: {row['outcome']}", flush=True)
            shutil.rmtree(Path(parent) / f"kill{number}", ignore_errors=True)
    if options.out:
        pd.DataFrame(rows).to_csv(options.out, index=False)
    outcomes = Counter((row["command"], row["outcome"]) for row in rows)
    for (name, outcome), count in sorted(outcomes.items()):
        print(f"{name:8} {count:4} {outcome}")
    sys.exit(any(row["outcome"] != "right" for row in rows))


class References:
    """Folders and durations of uninterrupted commands."""

    def __init__(self, parent: Path) -> None:
        self.space = parent / "space.toml"
        self.space.write_text(SPACE, encoding="utf-8")
        self.run = parent / "reference"
        self.seconds: dict[str, float] = {}
        self.folders: dict[str, Path] = {}
        for command in ("train", "search", "export"):
            out = {"train": self.run}.get(command, parent / f"reference-{command}")
            start_s = time.monotonic()
            subprocess.run(self.line(command, out), check=True, capture_output=True)
            self.seconds[command], self.folders[command] = time.monotonic() - start_s, out

    def line(self, command: str, out: Path, *, resume: bool = False) -> list[str]:
        """Command line that writes to `out`."""
        python = [sys.executable, "-m"]
        again = ["--resume"] if resume else []
        if command == "train":
            return [*python, "relple_tf.train", *TINY, "--out", str(out), *again]
        if command == "search":
            search = ["--space", str(self.space), "--trials", "4", "--workers", "1", "--algorithm", "random"]
            return [*python, "tuning.search", *TINY, *search, "--out", str(out), *again]
        return [*python, "export.bundle", str(self.run), "--recipes", "float32", "--out", str(out)]


def killed(reference: References, command: str, sent: signal.Signals, moment: float, folder: Path) -> dict[str, object]:
    """Run a command, send a signal after the fraction `moment` of its usual time, check, continue, compare."""
    folder.mkdir()
    out, mark = folder / "out", uuid.uuid4().hex
    after_s = moment * reference.seconds[command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            reference.line(command, out), env=os.environ | {MARK: mark}, stdout=log, stderr=log, cwd=folder
        )
        try:
            code = process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)
            code = process.wait(60)
    facts: dict[str, object] = {"after_s": after_s, "exit_code": code}
    log_text = (folder / "log").read_text(errors="replace")
    if left := processes_left(mark):
        return facts | {"outcome": f"{left} processes left"}
    if code not in (0, SIGNALS[sent], -sent) or "Traceback" in log_text or "leaked" in log_text:
        return facts | {"outcome": f"exit code {code}: {log_text.strip().splitlines()[-1:]}"}
    if incomplete := incomplete_files(command, out, reference.folders[command]):
        return facts | {"outcome": f"incomplete files: {incomplete}"}
    ended = trials_ended(out) if command == "search" else set()
    started = (out / "config.toml").exists()
    done = subprocess.run(
        reference.line(command, out, resume=started and command != "export"), capture_output=True, text=True, cwd=folder
    )
    complete = command == "export" and (out / "SHA256SUMS").exists() and code == 0
    if done.returncode and not complete:
        return facts | {"outcome": f"not continued: {done.stderr.strip().splitlines()[-1:]}"}
    if lost := ended - trials_ended(out):
        return facts | {"outcome": f"lost trials {sorted(lost)}"}
    different = differing(command, out, reference.folders[command])
    leftover = [path.name for path in [*out.rglob(".unfinished-*"), *folder.glob(".unfinished-*")]]
    if different or leftover:
        return facts | {"outcome": f"differs: {different}; left over: {leftover}"}
    return facts | {"outcome": "right"}


def processes_left(mark: str) -> int:
    """Number of processes with `mark` in their environment after LEAVE_S seconds at most; zombies do not count."""
    deadline = time.monotonic() + LEAVE_S
    while True:
        count = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
                count += marked and "\nState:\tZ" not in (folder / "status").read_text()
            except OSError:
                continue
        if not count or time.monotonic() > deadline:
            return count
        time.sleep(0.1)


def incomplete_files(command: str, out: Path, reference: Path) -> list[str]:
    """Files under their final name whose content differs from that of an uninterrupted command."""
    if not out.is_dir():
        return []
    names = []
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or path.name.startswith(".unfinished-"):
            continue
        if path.suffix == ".json":
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                names.append(name)
        if path.suffix == ".npz" or command == "search" or name in VARYING:
            continue
        if not (reference / name).is_file() or path.read_bytes() != (reference / name).read_bytes():
            names.append(name)
    return names


def trials_ended(out: Path) -> set[int]:
    """Numbers of the trials that have ended according to the journal of a search."""
    journal = out / "journal.json"
    if not journal.exists():
        return set()
    return {event["end"] for event in json.loads(journal.read_text(encoding="utf-8")) if "end" in event}


def differing(command: str, out: Path, reference: Path) -> list[str]:
    """Names of the files that differ from those of the uninterrupted command."""
    if command == "search":
        tables = [pd.read_csv(folder / "trials.csv") for folder in (out, reference)]
        times = ["seconds", "ended_s"]
        equal = tables[0].drop(columns=times).equals(tables[1].drop(columns=times))
        return [] if equal else ["trials.csv"]
    names = {path.relative_to(folder).as_posix() for folder in (out, reference) for path in folder.rglob("*")}
    files = [name for name in sorted(names - VARYING) if (out / name).is_file() or (reference / name).is_file()]
    return [
        name
        for name in files
        if not (out / name).is_file()
        or not (reference / name).is_file()
        or (out / name).read_bytes() != (reference / name).read_bytes()
    ]


if __name__ == "__main__":
    main()
