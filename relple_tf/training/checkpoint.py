"""The state of a training run: an .npz of arrays and a few facts for each finished fold and for the final network."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.artefacts.reading import parsed, read_arrays, readable
from relple_tf.artefacts.schema import OBJECT, TEXT, check, whole
from relple_tf.atomic_files import write_bytes
from relple_tf.errors import InputError

Floats = npt.NDArray[np.float64]

FINAL = "checkpoint.npz"

FORMAT = 3
"""Raised when training would continue an earlier state differently: 3 keeps a fold as `fold-N.npz`."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The files that a run keeps until it is complete."""

    folder: Path
    fingerprint: str
    """Of the library and its split; files of another one are refused."""

    @property
    def final(self) -> Path:
        """State of the final network's training."""
        return self.folder / FINAL

    def fold(self, number: int) -> Path:
        """Predictions of a fold, counted from 0."""
        return self.folder / f"fold-{number + 1}.npz"

    def save_fold(self, number: int, predictions: Floats, history: pd.DataFrame) -> None:
        """Keep the predictions and the history of a fold."""
        facts = {"fingerprint": self.fingerprint, "history": history.to_dict("list")}
        save_state(self.fold(number), {"predictions": [predictions]}, facts)

    def load_fold(self, number: int, shape: tuple[int, ...]) -> tuple[Floats, pd.DataFrame] | None:
        """What `save_fold` kept; None where there is nothing.

        Args:
            number: Of the fold, from 0.
            shape: Of its predictions.

        Raises:
            InputError: the file is damaged, of another version, or belongs to other data or other folds.
        """
        path = self.fold(number)
        if not path.exists():
            return None
        arrays, facts = load_state(path, self.fingerprint)
        with readable(path, WAY_OUT):
            predictions = arrays["predictions"][0]
            if (predictions.shape, predictions.dtype.kind) != (shape, "f"):
                raise ValueError(f"predictions of shape {predictions.shape}, expected {shape}")
            history = pd.DataFrame(facts["history"])
            if "epoch" not in history or not all(pd.api.types.is_numeric_dtype(kind) for kind in history.dtypes):
                raise ValueError("a history without epochs, or not of numbers")
        return predictions, history


def remove_checkpoints(folder: Path) -> None:
    """Remove what `Checkpoints` keeps in a folder."""
    for path in [folder / FINAL, *folder.glob("fold-[0-9]*.npz")]:
        path.unlink(missing_ok=True)


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
