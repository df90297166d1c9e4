"""What a run adds to a selection: view scores, distances to its calibration set, statuses and interval widths."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist

from relple_tf.config import Config
from relple_tf.prediction.runs import estimates, load_run, predictions_table, to_model_input
from relple_tf.runs.folder import CONFIG, RunFolder, read_config
from relple_tf.runs.stored_data import DATA, load_data
from relple_tf.selection.view_scores import model_scores
from relple_tf.spectra.library import SpectralLibrary

Floats = npt.NDArray[np.float64]

_BLOCK_ROWS = 1024
"""Rows whose distances to the calibration set are in memory at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibratedRun:
    """A complete run with its deployed model and its stored data."""

    path: Path
    card: dict[str, Any]
    model: keras.Model
    config: Config
    calibration: SpectralLibrary
    """All soils of the run. Those of the test part are included: they have laboratory values too."""
    parts: npt.NDArray[np.str_]
    """(n_calibration,) part of each soil."""

    @classmethod
    def read(cls, path: Path) -> "CalibratedRun":
        """Read and check a run folder.

        Raises:
            InputError: the folder is not a complete run, is damaged, or contains no data (`run.keep_data=false`).
        """
        card, model = load_run(RunFolder(path=path))
        library, parts = load_data(path / DATA)
        config = read_config(path / CONFIG)
        return cls(path=path, card=card, model=model, config=config, calibration=library, parts=parts)

    @cached_property
    def calibration_scores(self) -> Floats:
        """(n_calibration, components) view scores of the stored scans."""
        ready = to_model_input(self.calibration, self.card)[0]
        of_library = model_scores(self.model, self.config.model.architecture, ready.spectra, of_library=True)
        # The test part of an adapted run are local soils, scanned on the instrument that the model reads.
        return np.where((self.parts == "test")[:, None], self.scores(ready), of_library)

    @cached_property
    def neighbour_distance(self) -> float:
        """Median distance of a stored scan to the nearest stored scan of another sample; 0 for a single sample."""
        labels = np.unique(self.calibration.sample_labels, return_inverse=True)[1]
        nearest = _nearest(self.calibration_scores, self.calibration_scores, labels)
        return float(np.median(nearest)) if np.isfinite(nearest).all() else 0.0

    def scores(self, ready: SpectralLibrary) -> Floats:
        """(n, components) view scores of n scans that `to_model_input` converted."""
        return model_scores(self.model, self.config.model.architecture, ready.spectra)

    def distances(self, scores: Floats) -> Floats:
        """(n,) distance of scores (n, components) to the nearest stored scan, in units of `neighbour_distance`."""
        nearest = _nearest(scores, self.calibration_scores)
        scale = self.neighbour_distance
        return nearest / scale if scale > 0 else np.where(nearest > 0, np.inf, 0.0)

    def assess(self, ready: SpectralLibrary) -> pd.DataFrame:
        """Status and widest interval of n scans that `to_model_input` converted.

        The width of an interval is divided by the SD of the laboratory values of its target in the stored data: a
        prediction that is no better than the mean has a 90 % interval of about 3.3 SD.

        Returns:
            (n) rows: `status`; and `widest_interval`, in SD, with its target `widest_target`, if the run has intervals.
        """
        table = predictions_table(self.card, {}, estimates(self.model, ready.spectra))
        assessed = pd.DataFrame({"status": table["status"]})
        widths = {
            name: (table[f"{name}_high"] - table[f"{name}_low"]) / np.nanstd(self.calibration.targets[name])
            for name in self.card["targets"]
            if f"{name}_low" in table
        }
        # With too few soils for an interval, its bounds are NaN.
        relative = pd.DataFrame(widths, index=assessed.index).dropna(axis=1, how="all")
        if len(relative.columns):
            # Rounded, so that the last digits of float32 do not decide between intervals of equal width.
            assessed["widest_interval"] = relative.max(axis=1).astype("float64").round(4)
            assessed["widest_target"] = relative.fillna(-1.0).idxmax(axis=1)  # NaN: a scan of status invalid
        return assessed


def _nearest(scores: Floats, others: Floats, labels: npt.NDArray[np.intp] | None = None) -> Floats:
    """(n,) distance of each row to the nearest of `others`.

    Args:
        scores: (n, components).
        others: (m, components).
        labels: (n,) numbers of samples where both arrays are the same; rows of one sample are not compared.
    """
    nearest = np.empty(len(scores))
    for first in range(0, len(scores), _BLOCK_ROWS):
        rows = slice(first, first + _BLOCK_ROWS)
        distances = cdist(scores[rows], others)
        if labels is not None:
            distances[labels[rows, None] == labels] = np.inf
        nearest[rows] = distances.min(axis=1)
    return nearest
