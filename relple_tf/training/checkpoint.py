"""The state of a training run: an .npz of arrays and a few facts for each finished fold and for the final network."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.errors import InputError
from relple_tf.training.files import write_bytes

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

    def load_fold(self, number: int) -> tuple[Floats, pd.DataFrame] | None:
        """What `save_fold` kept; None where there is nothing.

        Raises:
            InputError: the file is damaged, of another version, or belongs to other data.
        """
        if not self.fold(number).exists():
            return None
        arrays, facts = load_state(self.fold(number), self.fingerprint)
        return arrays["predictions"][0], pd.DataFrame(facts["history"])


def remove_checkpoints(folder: Path) -> None:
    """Remove what `Checkpoints` keeps in a folder."""
    for path in [folder / FINAL, *folder.glob("fold-[0-9]*.npz")]:
        path.unlink(missing_ok=True)


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
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            # savez keeps the order in which the arrays were given.
            for key in file.files:
                if key != "facts":
                    arrays.setdefault(key.partition("/")[0], []).append(file[key])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path}: damaged; delete it, and --resume trains from the start") from None
    if facts.pop("format", None) != FORMAT:
        raise InputError(f"{path}: of another version of relple_tf, which trained differently; start a new run")
    if facts["fingerprint"] != fingerprint:
        raise InputError(
            f"{path.parent}: the data or their split changed since this run was cut off; bring the old ones back, or "
            "start a new run with another --out"
        )
    return arrays, facts
