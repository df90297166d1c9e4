"""The data of a run as one compressed .npz, so that export and adaptation need nothing but the run folder."""

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
OPTIONAL = {"groups", "coordinates"}
COMPRESSION_LEVEL = 1
"""Of zlib: level 6 takes a quarter longer and saves 3 % on simulated spectra."""

WAY_OUT = "restore it or train the run again"

Parts = npt.NDArray[np.str_]


def save_data(path: Path, library: SpectralLibrary, parts: Parts) -> None:
    """Write the library and the part of every row in place; equal content gives equal bytes.

    Spectra are stored byte by byte: the first bytes of all numbers, then the second ones, because neighbouring bands
    share sign, exponent and leading digits. That compresses to two thirds of what the numbers one after the other do.
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
    optional = {"groups": library.groups, "coordinates": library.coordinates}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def load_data(path: Path) -> tuple[SpectralLibrary, Parts]:
    """What `save_data` wrote.

    Raises:
        InputError: the run was made without its data, or the file is damaged.
    """
    if not path.is_file():
        raise InputError(
            f"{path.parent}: holds no spectra, because run.keep_data was false; train the run again with "
            "--set run.keep_data=true"
        )
    arrays = read_arrays(path, WAY_OUT)
    with readable(path, WAY_OUT):
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
        ).checked()
        parts = arrays["parts"]
        rows = len(library)
        if len(library.ids) != rows or any(len(values) != rows for values in library.targets.values()):
            raise ValueError(f"ids and laboratory values of other than {rows} rows")
        counts = {part: int(np.sum(parts == part)) for part in PARTS}
        if len(parts) != rows or sum(counts.values()) != rows or not counts["train"] or not counts["test"]:
            raise ValueError(f"{len(parts)} parts with {counts}, expected {rows}, some to train and some to test")
    return library, parts
