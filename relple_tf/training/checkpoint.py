"""The state of a training run in one .npz: lists of arrays and a few facts."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.training.artefacts import parsed, read_arrays
from relple_tf.training.files import write_bytes
from relple_tf.training.schema import OBJECT, TEXT, check, whole

FORMAT = 2
"""Raised when training would take up a state of before differently: 2 models skewed targets as square roots."""

WAY_OUT = "delete it, and --resume trains from the start"
"""What to do about a damaged state."""

FACTS = {"": OBJECT, "format": whole(0, 1 << 31), "fingerprint": TEXT}


def save_state(path: Path, arrays: dict[str, list[npt.NDArray[Any]]], facts: dict[str, Any]) -> None:
    """Write named lists of arrays and JSON-able facts, whole or not at all."""
    named = {f"{name}/{index}": array for name, members in arrays.items() for index, array in enumerate(members)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, facts=np.array(json.dumps(facts | {"format": FORMAT})), **named)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, fingerprint: str) -> tuple[dict[str, list[npt.NDArray[Any]]], dict[str, Any]]:
    """What `save_state` wrote.

    Args:
        path: The file.
        fingerprint: Of the library and its split; the fact of that name must be the same.

    Raises:
        InputError: the file is damaged, of another version, or belongs to other data.
    """
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    named = read_arrays(path, WAY_OUT)
    facts = parsed(str(named.pop("facts", "")).encode(), path, WAY_OUT, nan=True)
    check(facts, FACTS, path, WAY_OUT)
    for key, array in named.items():
        arrays.setdefault(key.partition("/")[0], []).append(array)
    if facts.pop("format") != FORMAT:
        raise InputError(f"{path}: of another version of relple_tf, which trained differently; start a new run")
    if facts["fingerprint"] != fingerprint:
        raise InputError(
            f"{path.parent}: the data or their split changed since this run was cut off; bring the old ones back, or "
            "start a new run with another --out"
        )
    return arrays, facts
