"""Predict scans with a bundle of `python -m export.bundle`, as with the run that it was made from.

It runs the bundle's model itself (`litert`) and not the soil_scan.py that lies beside it: a folder that is given to
`predict` is data, and data must not bring code that is run.
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
from relple_tf.prediction.runs import predict_scans
from relple_tf.runs.card_schema import BUNDLE_WAY_OUT, CARD, bundle_card
from relple_tf.spectra.readers.scans import open_scans

SUMS = "SHA256SUMS"
LISTED = re.compile(r"([0-9a-f]{64})  ((?:c/(?:\w[\w.-]*/)?)?\w[\w.-]*)", re.ASCII)
"""A line of SHA256SUMS: hash and name of a file in the bundle or below its folder `c`."""
LARGEST_MODEL_BYTES = 1 << 30


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle rather than a run; also one from which files are missing."""
    return any((folder / name).is_file() for name in (SUMS, "golden.json", "soil_scan.py"))


def predict_bundle(folder: Path, scans: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans; the same table and notes as from `predict_table`.

    Raises:
        InputError: the bundle is damaged, of another format or has no model that reads scans, the table is unsound, or
            its bands do not cover the model's.
    """
    card = bundle_card(checked(folder, CARD, LARGEST_JSON_BYTES), folder / CARD)
    variants = card["variants"]
    names = [name for name in (card["default_variant"], *variants) if variants[name]["reads"] == "scan"]
    if not names:
        raise InputError(
            f"{folder}: {', '.join(variants)} reads features, no scan; estimate with its soil_scan.py, or export "
            "the run with --recipes float32"
        )
    file = variants[names[0]]["file"]
    content = checked(folder, file, variants[names[0]].get("bytes", LARGEST_MODEL_BYTES))
    check_model(content, card, folder / file)
    opened = open_scans(scans, card.get("id_column", ""), card["input"]["quantity"])
    table, notes = predict_scans(folder, card, opened, partial(outputs, content))
    return table, (f"estimated by {file} of {folder}", *notes)


def checked(folder: Path, name: str, most_bytes: int) -> bytes:
    """The content of a file of a bundle; read once, so that what is checked is what is used.

    Raises:
        InputError: it is missing, no regular file, too large, or not the one that export wrote.
    """
    sums = listed(folder)
    if not os.path.lexists(folder / name):
        raise InputError(f"{folder / name}: missing; {BUNDLE_WAY_OUT}")
    content = read_bytes(folder / name, BUNDLE_WAY_OUT, most_bytes)
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise InputError(f"{folder / name}: SHA-256 is not that of {SUMS}; {BUNDLE_WAY_OUT}")
    return content


def listed(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of a bundle.

    Raises:
        InputError: there is no such list, or a line of it is no hash with the name of a file in the bundle.
    """
    path = folder / SUMS
    if not os.path.lexists(path):
        raise InputError(f"{path}: missing; {BUNDLE_WAY_OUT}")
    sums: dict[str, str] = {}
    for number, line in enumerate(read_bytes(path, BUNDLE_WAY_OUT, 1 << 20).decode("ascii", "replace").splitlines(), 1):
        found = LISTED.fullmatch(line)
        if found is None or found[2] in sums:
            raise InputError(
                f"{path}: line {number}: expected a SHA-256, two blanks and a file of the bundle that no line before "
                f"names, received {short(line, 80)!r}; {BUNDLE_WAY_OUT}"
            )
        sums[found[2]] = found[1]
    return sums


def check_model(content: bytes, card: Mapping[str, Any], file: Path) -> None:
    """Open a .tflite that reads scans, compare it with its card, and run it once.

    Args:
        content: Of the file.
        card: Of the bundle, checked.
        file: For messages.

    Raises:
        InputError: the interpreter refuses the file, or its input or outputs are not those of the card.
    """
    bands = len(card["input"]["wavelengths_nm"])
    with readable(file, BUNDLE_WAY_OUT):
        model = LiteRtModel(content)
        (source,) = model.inputs
        expected = {source: (bands, "float32")} | dict.fromkeys((*card["targets"], T2, Q), (1, "float32"))
        received = {name: (math.prod(shape), kind) for name, (shape, kind) in model.ports.items()}
        if received != expected:
            raise ValueError(f"inputs and outputs are {received}, expected {expected}")
        model.run({source: np.full((1, bands), 0.5, "float32")})


def outputs(content: bytes, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Every output of a .tflite that reads scans (n, bands): (n,) each; by one interpreter per core."""
    threads = max(1, min(os.cpu_count() or 1, len(spectra)))
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(partial(_outputs, content), np.array_split(spectra, threads)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _outputs(content: bytes, spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    model = LiteRtModel(content)
    (source,) = model.inputs
    found, _ = model.run({source: spectra})
    return {name: values[:, 0] for name, values in found.items()}
