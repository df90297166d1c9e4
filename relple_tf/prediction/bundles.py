"""Predict scans with a bundle of `python -m export.bundle`, in the same way as with a run.

The model of the bundle is run by `litert`, not by the soil_scan.py in the bundle: `predict` treats a folder as data and
never runs code from it.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.artefacts.reading import LARGEST_JSON_BYTES, read_bytes, readable, short
from relple_tf.errors import InputError
from relple_tf.models.deployed import T2, Q
from relple_tf.prediction.litert import LiteRtModel
from relple_tf.prediction.needs import check_needs
from relple_tf.prediction.runs import NO_NEEDS, Estimate, predict_scans
from relple_tf.runs.card_schema import BUNDLE_REMEDY, CARD, bundle_card
from relple_tf.spectra.readers.scans import open_scans

SUMS = "SHA256SUMS"
SUMS_LINE = re.compile(r"([0-9a-f]{64})  ((?:c/(?:\w[\w.-]*/){0,2})?\w[\w.-]*)", re.ASCII)
"""A line of SHA256SUMS: hash, and path of a file in the bundle or in its folder `c`."""
LARGEST_MODEL_BYTES = 1 << 30


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle, possibly incomplete, and not a run."""
    return any((folder / name).is_file() for name in (SUMS, "golden.json", "soil_scan.py"))


def predict_bundle(
    folder: Path, scans: Path, needs: Mapping[str, float] = NO_NEEDS
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans; returns the same table and notes as `predict_table`, and a note on the model file.

    Raises:
        InputError: the bundle is damaged or has another format, the table is invalid, its bands do not cover those of
            the model, or the bundle cannot decide by the needs.
    """
    card, file, estimate = open_bundle(folder)
    check_needs(needs, card["targets"], folder)
    scan_table = open_scans(scans, card.get("id_column", ""), card["input"]["quantity"])
    table, notes = predict_scans(folder, card, scan_table, estimate, needs=needs)
    return table, (f"predicted by {file} of {folder}", *notes)


def open_bundle(folder: Path) -> tuple[dict[str, Any], str, Estimate]:
    """Read and check the card and the model of the default variant.

    Returns:
        The card, the name of the model file, and a function from spectra (n, bands) to outputs (n,).

    Raises:
        InputError: the bundle is damaged or has another format.
    """
    card = bundle_card(read_checked(folder, CARD, LARGEST_JSON_BYTES), folder / CARD)
    variant = card["variants"][card["default_variant"]]
    file = variant["file"]
    content = read_checked(folder, file, variant.get("bytes", LARGEST_MODEL_BYTES))
    check_model(content, card, folder / file)
    return card, file, partial(outputs, content)


def read_checked(folder: Path, name: str, most_bytes: int) -> bytes:
    """Read a file of a bundle and check its hash; it is read once, so the checked content is the content in use.

    Raises:
        InputError: the file is missing, is not a regular file, is too large, or differs from SHA256SUMS.
    """
    sums = read_sums(folder)
    if not os.path.lexists(folder / name):
        raise InputError(f"{folder / name}: missing; {BUNDLE_REMEDY}")
    content = read_bytes(folder / name, BUNDLE_REMEDY, most_bytes)
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise InputError(f"{folder / name}: SHA-256 differs from {SUMS}; {BUNDLE_REMEDY}")
    return content


def read_sums(folder: Path) -> dict[str, str]:
    """Read SHA256SUMS of a bundle: file name -> SHA-256.

    Raises:
        InputError: SHA256SUMS is missing, or a line is not a hash and the name of a file, or repeats a file.
    """
    path = folder / SUMS
    if not os.path.lexists(path):
        raise InputError(f"{path}: missing; {BUNDLE_REMEDY}")
    sums: dict[str, str] = {}
    for number, line in enumerate(read_bytes(path, BUNDLE_REMEDY, 1 << 20).decode("ascii", "replace").splitlines(), 1):
        match = SUMS_LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise InputError(
                f"{path}: line {number}: expected a SHA-256, two blanks and a file of the bundle that no earlier line "
                f"names, received {short(line, 80)!r}; {BUNDLE_REMEDY}"
            )
        sums[match[2]] = match[1]
    return sums


def check_model(content: bytes, card: Mapping[str, Any], file: Path) -> None:
    """Load a .tflite that reads scans, compare it with the card, and run it once.

    Args:
        content: Content of the .tflite file.
        card: Card of the bundle, checked.
        file: Path of the file, for messages.

    Raises:
        InputError: the interpreter refuses the file, or its input or outputs differ from the card.
    """
    bands = len(card["input"]["wavelengths_nm"])
    with readable(file, BUNDLE_REMEDY):
        model = LiteRtModel(content)
        (source,) = model.inputs
        expected = {source: (bands, "float32")} | dict.fromkeys((*card["targets"], T2, Q), (1, "float32"))
        received = {name: (math.prod(shape), kind) for name, (shape, kind) in model.ports.items()}
        if received != expected:
            raise ValueError(f"expected inputs and outputs {expected}, received {received}")
        model.run({source: np.full((1, bands), 0.5, "float32")})


def outputs(content: bytes, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Run a .tflite that reads scans (n, bands), with one interpreter per core; output -> (n,)."""
    threads = max(1, min(os.cpu_count() or 1, len(spectra)))
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(partial(_outputs, content), np.array_split(spectra, threads)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _outputs(content: bytes, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    model = LiteRtModel(content)
    (source,) = model.inputs
    columns, _ = model.run({source: spectra})
    return {name: values[:, 0] for name, values in columns.items()}
