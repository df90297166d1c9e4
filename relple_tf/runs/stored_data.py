"""The data of a run in one compressed .npz file, so that export and adaptation need only the run folder."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.artefacts.reading import read_arrays, readable
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.split import PARTS

DATA = "data.npz"
REQUIRED = {"source", "quantity", "wavelengths_nm", "targets", "values", "ids", "parts", "spectra_bytes"}
OPTIONAL = {"groups", "coordinates", "samples", "scans"}
COMPRESSION_LEVEL = 1
"""Level of zlib; level 6 takes a quarter longer and saves 3 % on simulated spectra."""

REMEDY = "restore it or train the run again"

Parts = npt.NDArray[np.str_]


def save_data(path: Path, library: SpectralLibrary, parts: Parts) -> None:
    """Write the library and the part of every row; equal content gives equal bytes.

    Spectra are stored as byte planes: the first byte of every number, then the second byte of every number, and so on.
    Neighbouring bands share sign, exponent and leading digits, so this compresses to two thirds of the size of
    consecutive numbers.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "source": np.array(library.source),
        "quantity": np.array(library.quantity),
        "wavelengths_nm": library.wavelengths_nm,
        "targets": np.array(list(library.targets)),
        "values": np.stack(list(library.targets.values()), axis=1),
        "ids": library.ids,
        "parts": parts,
        "spectra_bytes": np.moveaxis(library.spectra.astype("<f4")[..., None].view(np.uint8), -1, 0),
    }
    optional = {name: getattr(library, name) for name in sorted(OPTIONAL)}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def load_data(path: Path) -> tuple[SpectralLibrary, Parts]:
    """Read what `save_data` wrote.

    Raises:
        InputError: the run was trained with `run.keep_data=false`, or the file is damaged.
    """
    if not path.is_file():
        raise InputError(
            f"{path.parent}: expected {DATA}, received none, because run.keep_data was false; train the run again with "
            "--set run.keep_data=true"
        )
    arrays = read_arrays(path, REMEDY)
    with readable(path, REMEDY):
        if unknown := sorted(set(arrays) - REQUIRED - OPTIONAL):
            raise ValueError(f"unknown array {unknown[0]}")
        planes = arrays["spectra_bytes"]
        spectra = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<f4")[..., 0]
        library = SpectralLibrary(
            source=str(arrays["source"]),
            spectra=spectra.astype(np.float32, copy=False),
            wavelengths_nm=arrays["wavelengths_nm"].astype("float64", casting="equiv"),
            quantity=str(arrays["quantity"]),
            targets=dict(zip(arrays["targets"].tolist(), arrays["values"].T.copy(), strict=True)),
            ids=arrays["ids"],
            groups=arrays.get("groups"),
            coordinates=arrays.get("coordinates"),
            samples=arrays.get("samples"),
            scans=arrays.get("scans"),
        ).checked()
        parts = arrays["parts"]
        rows = len(library)
        names = (library.ids, library.samples, library.scans)
        if any(len(array) != rows for array in (*names, *library.targets.values()) if array is not None):
            raise ValueError(f"expected ids, samples, scans and laboratory values of {rows} rows")
        counts = {part: int(np.sum(parts == part)) for part in PARTS}
        if len(parts) != rows or sum(counts.values()) != rows or not counts["train"] or not counts["test"]:
            raise ValueError(f"expected {rows} parts, some train and some test; received {len(parts)}: {counts}")
    return library, parts
