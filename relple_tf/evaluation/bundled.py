"""Predict scans with a bundle of `python -m export.bundle`, as with the run that it was made from.

It runs the bundle's model itself (`litert`) and not the soil_scan.py that lies beside it: a folder that is given to
`predict` is data, and data must not bring code that is run.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.errors import InputError
from relple_tf.evaluation.litert import LiteRtModel
from relple_tf.evaluation.prediction import as_table, to_model_input
from relple_tf.spectra.tables import read_scans

SUMS = "SHA256SUMS"
FORMAT = 2
"""Of the card; `export/runtime/soil_scan.py` reads the same."""


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle rather than a run; also one from which files are missing."""
    return any((folder / name).is_file() for name in (SUMS, "golden.json", "soil_scan.py"))


def predict_bundle(folder: Path, scans: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict a table of scans; the same table and notes as from `predict_table`.

    Raises:
        InputError: the bundle is damaged, of another format or has no model that reads scans, the table is unsound, or
            its bands do not cover the model's.
    """
    card = json.loads(checked(folder, "card.json"))
    if card.get("format") != FORMAT:
        raise InputError(f"{folder}: card.json has format {card.get('format')}, not {FORMAT}; export the run again")
    variants = card["variants"]
    names = [name for name in (card["default_variant"], *variants) if variants[name]["reads"] == "scan"]
    if not names:
        raise InputError(
            f"{folder}: {', '.join(variants)} reads features, no scan; estimate with its soil_scan.py, or export "
            "the run with --recipes float32"
        )
    file = variants[names[0]]["file"]
    content = checked(folder, file)
    library = read_scans(scans, card.get("id_column", ""), fallback_quantity=card["input"]["quantity"])
    ready, notes = to_model_input(library, card)
    table, said = as_table(folder, card, library, outputs(content, ready.spectra))
    return table, (*library.notes, f"estimated by {file} of {folder}", *notes, *said)


def checked(folder: Path, name: str) -> bytes:
    """The content of a file of a bundle; read once, so that what is checked is what is used.

    Raises:
        InputError: it is missing or not the one that export wrote.
    """
    if not (folder / SUMS).is_file():
        raise InputError(f"{folder / SUMS}: missing; copy the bundle again or export the run again")
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {listed: digest for digest, _, listed in (line.partition("  ") for line in lines)}
    if not (folder / name).is_file():
        raise InputError(f"{folder / name}: missing; copy the bundle again or export the run again")
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise InputError(
            f"{folder / name}: SHA-256 is not that of {SUMS}; copy the bundle again or export the run again"
        )
    return content


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
