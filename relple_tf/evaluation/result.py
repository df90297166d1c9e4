"""A finished run in memory, and its card."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf import __version__
from relple_tf.config import Config
from relple_tf.models.relevance import sources
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.split import PARTS
from relple_tf.training.fit import Trained
from relple_tf.training.preparation import Prepared

Metrics = dict[str, dict[str, Any]]
"""Part -> target -> figures, and `baseline` -> model -> the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A finished run in memory; the run folder and the report are made from it."""

    config: Config
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    parts: npt.NDArray[np.str_]
    prepared: Prepared
    trained: Trained
    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    baseline: dict[str, npt.NDArray[np.float64]]
    """The same by PLSR."""
    components: dict[str, int]
    """Target -> PLSR components."""
    metrics: Metrics
    notes: tuple[str, ...]


def source_name(config: Config) -> str:
    """Short name of the data for folders and headings: a source's name, or a file's without its suffixes."""
    return Path(config.data.source).name.partition(".")[0]


def card(result: Calibration) -> dict[str, Any]:
    """What someone who holds only the model must know about it."""
    library, problem, config = result.library, result.prepared.problem, result.config
    return {
        "source": library.source,
        "simulated": library.source == "simulated",
        "data_sha256": result.library_sha256,
        "soils": {part: int(np.sum(result.parts == part)) for part in PARTS},
        "input": {
            "quantity": library.quantity,
            "wavelengths_nm": library.wavelengths_nm.tolist(),
        },
        "targets": {
            scale.name: {
                "unit": unit(scale.name),
                "log1p": scale.log1p,
                "lowest": float(scale.to_lab(np.array(scale.low))),
                "highest": float(scale.to_lab(np.array(scale.high))),
                "test": result.metrics["test"][scale.name],
            }
            for scale in result.prepared.scales
        },
        "front_end": {
            "grid_nm": result.prepared.grid_nm.tolist(),
            "channels": list(config.front_end.channels),
            "whitened_components": problem.components,
        },
        "model": {
            "preset": config.preset,
            "architecture": config.model.architecture,
            "weights": int(result.trained.network.count_params()),
        },
        "relevance": {
            "correlation": problem.correlation.tolist(),
            "reads": sources(problem.correlation, problem.targets, config.model),
        },
        "seed": config.training.seed,
        "notes": list(result.notes),
        "versions": {
            "relple_tf": __version__,
            **{name: version(name) for name in ("keras", "tensorflow", "numpy", "scikit-learn")},
        },
    }


def unit(target: str) -> str:
    """The unit that a target's name carries; pH and names without one have none."""
    known = {"g_kg": "g/kg", "cmolc_kg": "cmolc/kg", "pct": "%"}
    return next((text for suffix, text in known.items() if target.endswith(f"_{suffix}")), "")
