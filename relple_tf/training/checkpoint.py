"""The state of a training run in one .npz: lists of arrays and a few facts."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.training.files import write_bytes


def save_state(path: Path, arrays: dict[str, list[npt.NDArray[Any]]], facts: dict[str, Any]) -> None:
    """Write named lists of arrays and JSON-able facts, whole or not at all."""
    named = {f"{name}/{index}": array for name, members in arrays.items() for index, array in enumerate(members)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, facts=np.array(json.dumps(facts)), **named)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> tuple[dict[str, list[npt.NDArray[Any]]], dict[str, Any]]:
    """What `save_state` wrote."""
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        arrays: dict[str, list[npt.NDArray[Any]]] = {}
        # savez keeps the order in which the arrays were given.
        for key in file.files:
            if key != "facts":
                arrays.setdefault(key.partition("/")[0], []).append(file[key])
    return arrays, facts
