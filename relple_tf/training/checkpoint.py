"""Checkpoints of a training run: an .npz file of arrays and metadata per finished fold and for the final network."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.artefacts.reading import parse_json, read_arrays, readable
from relple_tf.artefacts.schema import OBJECT, TEXT, check, integer
from relple_tf.atomic_files import write_bytes
from relple_tf.errors import InputError

Floats = npt.NDArray[np.float64]

FINAL = "checkpoint.npz"
"""State of the final network."""

FORMAT = 5
"""Increased when training would continue an earlier state differently; since 5, a fold has predictions of each
member of the stack."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Checkpoint files of a run; they are removed when the run is complete."""

    folder: Path
    fingerprint: str
    """Hash of the library and its split; a file with another fingerprint is refused."""

    @property
    def final(self) -> Path:
        """Path of the state of the final network."""
        return self.folder / FINAL

    def fold(self, number: int) -> Path:
        """Path of the predictions of a fold; folds are counted from 0."""
        return self.folder / f"fold-{number + 1}.npz"

    def save_fold(self, number: int, predictions: Floats, history: pd.DataFrame) -> None:
        """Write the predictions of a fold and the history."""
        facts = {"fingerprint": self.fingerprint, "history": history.to_dict("list")}
        save_state(self.fold(number), {"predictions": [predictions]}, facts)

    def load_fold(self, number: int, shape: tuple[int, ...]) -> tuple[Floats, pd.DataFrame] | None:
        """Read what `save_fold` wrote.

        Args:
            number: Number of the fold, from 0.
            shape: Expected shape of the predictions of a member of the stack.

        Returns:
            Predictions (members, *shape) and history; None if the file does not exist.

        Raises:
            InputError: the file is damaged, of another version, or belongs to other data or other folds.
        """
        path = self.fold(number)
        if not path.exists():
            return None
        arrays, facts = load_state(path, self.fingerprint)
        with readable(path, REMEDY):
            (predictions,) = arrays["predictions"]
            if (predictions.shape, predictions.dtype.kind) not in (((members, *shape), "f") for members in (2, 3)):
                raise ValueError(
                    f"expected predictions, numbers of shape (2 or 3, *{shape}); received shape {predictions.shape}"
                )
            history = pd.DataFrame(facts["history"])
            if "epoch" not in history or not all(pd.api.types.is_numeric_dtype(dtype) for dtype in history.dtypes):
                raise ValueError("expected a history with a column epoch and numbers only")
        return predictions, history


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoint files in a folder."""
    for path in [folder / FINAL, *folder.glob("fold-[0-9]*.npz")]:
        path.unlink(missing_ok=True)


REMEDY = "delete it; --resume then trains from the start"
"""What to do about a damaged checkpoint; ends the message of an error."""

FACTS = {"": OBJECT, "format": integer(0, 1 << 31), "fingerprint": TEXT}
"""Rules of the metadata of every checkpoint."""


def save_state(path: Path, arrays: dict[str, list[npt.NDArray[Any]]], facts: dict[str, Any]) -> None:
    """Write named lists of arrays, and metadata that JSON can hold, as one atomic file."""
    named = {f"{name}/{index}": array for name, values in arrays.items() for index, array in enumerate(values)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, facts=np.array(json.dumps(facts | {"format": FORMAT})), **named)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, fingerprint: str) -> tuple[dict[str, list[npt.NDArray[Any]]], dict[str, Any]]:
    """Read what `save_state` wrote.

    Args:
        path: The file.
        fingerprint: Hash of the library and its split, which the metadata must repeat.

    Returns:
        Arrays and metadata.

    Raises:
        InputError: the file is damaged, of another version, or belongs to other data.
    """
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    named = read_arrays(path, REMEDY)
    facts = parse_json(str(named.pop("facts", "")).encode(), path, REMEDY, nan=True)
    check(facts, FACTS, path, REMEDY)
    for key, array in named.items():
        arrays.setdefault(key.partition("/")[0], []).append(array)
    if facts.pop("format") != FORMAT:
        raise InputError(f"{path}: written by another version of relple_tf, which trains differently; start a new run")
    if facts["fingerprint"] != fingerprint:
        raise InputError(
            f"{path.parent}: the data or their split changed since this run was interrupted; restore the old data, or "
            "start a new run with another --out"
        )
    return arrays, facts
