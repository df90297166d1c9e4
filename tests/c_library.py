"""Compile the C sources of a bundle with the compiler of this machine and call them from Python."""

import ctypes
import shutil
import subprocess

import numpy as np

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow"]
# Device code has no double precision, which a Cortex-M4F computes in software.
STRICT += ["-Wdouble-promotion"]
CC, CXX = shutil.which("cc"), shutil.which("c++")
OK, OUTSIDE, NOT_FINITE, OUT_OF_RANGE, FLAT = range(5)


def compiled(folder, *flags):
    """Compile every .c file of a folder into a shared library and load it."""
    file = folder / f"soil{len(flags)}.so"
    sources = sorted(str(path) for path in folder.glob("*.c"))
    subprocess.run([CC, *STRICT, *flags, "-shared", "-fPIC", "-o", file, *sources, "-lm"], check=True)
    return ctypes.CDLL(str(file))


def checked_in_c(library, scan):
    """Status that soil_check gives a scan."""
    scan = np.ascontiguousarray(scan, "float32")
    return library.soil_check(scan.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))


def interval_in_c(library, target, value, difficulty):
    """Lower and upper end from soil_interval; None if the target has no interval."""
    low, high = ctypes.c_float(np.nan), ctypes.c_float(np.nan)
    arguments = ctypes.c_float(value), ctypes.c_float(difficulty), ctypes.byref(low), ctypes.byref(high)
    return (low.value, high.value) if library.soil_interval(target, *arguments) else None
