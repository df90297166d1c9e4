"""Compile the C sources of a bundle with the compiler of this machine and call them from Python."""

import ctypes
import shutil
import subprocess

import numpy as np

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow"]
# A Cortex-M4F computes double precision in software, so only explicit conversions to double are allowed.
STRICT += ["-Wdouble-promotion"]
CC, CXX = shutil.which("cc"), shutil.which("c++")
OK, OUTSIDE, NOT_FINITE, OUT_OF_RANGE, FLAT = range(5)


def compiled(folder, *flags):
    """Compile every .c file of a folder into a shared library and load it."""
    file = folder / f"soil{len(flags)}.so"
    sources = sorted(str(path) for path in folder.glob("*.c"))
    subprocess.run([CC, *STRICT, *flags, "-shared", "-fPIC", "-o", file, *sources, "-lm"], check=True)
    library = ctypes.CDLL(str(file))
    for name in ("soil_difficulty", "soil_to_lab"):
        if hasattr(library, name):
            getattr(library, name).restype = ctypes.c_float
    return library


def checked_in_c(library, scan):
    """Status that soil_check gives a scan."""
    return library.soil_check(pointer(np.ascontiguousarray(scan, "float32")))


def pointer(array, kind=ctypes.c_float):
    return array.ctypes.data_as(ctypes.POINTER(kind))


def features_in_c(library, scan, shape, grid):
    """Status, and features of `shape`; NaN if C did not write them."""
    scan = np.ascontiguousarray(scan, "float32")
    features, work = np.full(shape, np.nan, "float32"), np.empty(grid)
    status = library.soil_front_end(pointer(scan), pointer(work, ctypes.c_double), pointer(features))
    return status, features


def statistics_in_c(library, features, components):
    """T2 and Q of features."""
    features, work = np.ascontiguousarray(features, "float32"), np.empty(components, "float32")
    t2, q = ctypes.c_float(), ctypes.c_float()
    library.soil_distances(pointer(features), pointer(work), ctypes.byref(t2), ctypes.byref(q))
    return t2.value, q.value
