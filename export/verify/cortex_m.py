"""Flash, RAM, stack and instructions of generated C source on simulated Cortex-M cores."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.c.cortex_m import CORES, FLAGS, Core
from export.verify.c_program import version_of
from relple_tf.atomic_files import temporary_folder
from relple_tf.errors import InputError

GCC, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
LIMIT_S = 600.0
"""Seconds after which make is killed."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of a model on a core."""

    flash_bytes: int
    """Of the smallest program with one estimate: code, tables, C library, initial values of variables."""
    ram_bytes: int
    """Of the same program: variables, among them a scan and the work buffer, and the stack of the estimate."""
    stack_bytes: int
    instructions: dict[str, int]
    """Part -> instructions of one estimate; `total` includes the check of the scan and the intervals."""


def missing_tools() -> str | None:
    """None, or which programs are missing."""
    missing = [program for program in (GCC, QEMU, "make") if shutil.which(program) is None]
    return f"{', '.join(missing)} not found" if missing else None


def measure(files: Mapping[str, str], model_folder: str) -> dict[str, Any]:
    """Build a model for each core, run the golden scans there and measure.

    Args:
        files: The folder `c/`: path -> text, with the prefix `soil`.
        model_folder: Folder of the model below it.

    Returns:
        For the card: `not_measured`, the reason, or `compiler`, `simulator`, `flags` and `cores`: name -> figures.

    Raises:
        InputError: the source does not compile, or a golden scan fails on a core.
    """
    if reason := missing_tools():
        return {"not_measured": reason}
    with temporary_folder() as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        cores = {core.name: asdict(_measured(folder, model_folder, core)) for core in CORES}
    versions = {"compiler": version_of(GCC), "simulator": version_of(QEMU), "flags": FLAGS}
    return {**versions, "cores": cores}


def _measured(folder: Path, model_folder: str, core: Core) -> Measured:
    size_lines = _make(folder, f"firmware-{core.short}", model_folder, core).splitlines()
    text, data, bss = (int(word) for word in size_lines[-1].split()[:3])
    printed = _make(folder, f"qemu-{core.short}", model_folder, core)
    figures = {name: int(number) for name, number in re.findall(r"^(\w+) (\d+)$", printed, re.MULTILINE)}
    stack = figures.pop("stack")
    return Measured(
        flash_bytes=text + data,
        ram_bytes=data + bss + stack,
        stack_bytes=stack,
        instructions=figures,
    )


def _make(folder: Path, target: str, model_folder: str, core: Core) -> str:
    command = ["make", "--no-print-directory", target, f"MODEL={model_folder}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line or "FAIL" in line]
        raise InputError(
            f"{core.name}: make {target} failed: {(lines or ['no message'])[0].strip()}; leave out the c99 recipes"
        )
    return done.stdout
