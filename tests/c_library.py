"""C sources of a bundle, compiled with the machine's compiler and called from Python."""

import ctypes
import shutil
import subprocess

import numpy as np

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow"]
# A Cortex-M4F computes in double precision by software: it may do so only where the source says so.
STRICT += ["-Wdouble-promotion"]
CC, CXX = shutil.which("cc"), shutil.which("c++")
OK, OUTSIDE, NOT_FINITE, OUT_OF_RANGE, FLAT = range(5)


def compiled(folder, *flags):
    """Every .c file of a folder as one shared library."""
    library = folder / f"soil{len(flags)}.so"
    sources = sorted(str(path) for path in folder.glob("*.c"))
    subprocess.run([CC, *STRICT, *flags, "-shared", "-fPIC", "-o", library, *sources, "-lm"], check=True)
    found = ctypes.CDLL(str(library))
    for name in ("soil_difficulty", "soil_to_lab"):
        if hasattr(found, name):
            getattr(found, name).restype = ctypes.c_float
    return found


def checked_in_c(library, scan):
    """Status of a scan by the check alone."""
    return library.soil_check(pointer(np.ascontiguousarray(scan, "float32")))


def pointer(array, kind=ctypes.c_float):
    return array.ctypes.data_as(ctypes.POINTER(kind))


def features_in_c(library, scan, shape, grid):
    """Status, and features of `shape`, NaN where C wrote none."""
    scan = np.ascontiguousarray(scan, "float32")
    features, work = np.full(shape, np.nan, "float32"), np.empty(grid)
    status = library.soil_front_end(pointer(scan), pointer(work, ctypes.c_double), pointer(features))
    return status, features


def distances_in_c(library, features, components):
    features, work = np.ascontiguousarray(features, "float32"), np.empty(components, "float32")
    t2, q = ctypes.c_float(), ctypes.c_float()
    library.soil_distances(pointer(features), pointer(work), ctypes.byref(t2), ctypes.byref(q))
    return t2.value, q.value
