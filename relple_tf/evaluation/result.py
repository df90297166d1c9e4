"""A finished run in memory, and its card."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf import __version__
from relple_tf.config import Config
from relple_tf.evaluation.beside import Beside
from relple_tf.models.domain import status
from relple_tf.models.lab_units import T2, Q
from relple_tf.models.relevance import sources
from relple_tf.pipeline import FittedModel
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.split import PARTS
from relple_tf.training.intervals import achieved_coverage

Metrics = dict[str, dict[str, Any]]
"""Part -> target -> figures, and `baseline` -> model -> the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A finished run in memory; the run folder and the report are made from it."""

    config: Config
    library: SpectralLibrary
    library_sha256: str
    """From `data_hash`."""
    fitted: FittedModel
    t2: npt.NDArray[np.float64]
    """(n,) Hotelling's T2 of all rows."""
    q: npt.NDArray[np.float64]
    """(n,) likewise Q."""
    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    plsr: Beside
    importance: pd.DataFrame
    """From `band_importance`, of test soils."""
    outliers: pd.DataFrame
    """From `outliers`, all of the learning soils that have a reason."""
    metrics: Metrics
    notes: tuple[str, ...]

    @property
    def parts(self) -> npt.NDArray[np.str_]:
        """(n,) of PARTS."""
        return self.fitted.parts

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """(n,) of STATUSES, all rows."""
        return status(self.predictions, self.t2, self.q, self.fitted.reliability.limits)

    @property
    def outside(self) -> float:
        """Share of the test scans whose estimates are not to be trusted."""
        return float(np.mean(self.status[self.parts == "test"] != "ok"))

    def bounds(self, target: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Lower and upper ends (n,) of a target's intervals, all rows; None where there are none."""
        interval = self.fitted.reliability.intervals.get(target)
        if interval is None or interval.half_width is None:
            return None
        return interval.bounds(self.predictions[target], self.fitted.reliability.limits.difficulty(self.t2))


def source_name(config: Config) -> str:
    """Short name of the data for folders and headings: a source's name, or a file's without its suffixes."""
    return Path(config.data.source).name.partition(".")[0]


def card(result: Calibration) -> dict[str, Any]:
    """What someone who holds only the model must know about it."""
    library, problem, config = result.library, result.fitted.prepared.problem, result.config
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
                "root": scale.root,
                "lowest": float(scale.to_lab(np.array(scale.low))),
                "highest": float(scale.to_lab(np.array(scale.high))),
                "interval": interval_facts(result, scale.name),
                "test": result.metrics["test"][scale.name],
            }
            for scale in result.fitted.prepared.scales
        },
        "domain": {
            "outputs": [T2, Q],
            "limits": {T2: result.fitted.reliability.limits.t2, Q: result.fitted.reliability.limits.q},
            "share_within": result.fitted.reliability.limits.share,
            "test_share_outside": result.outside,
        },
        "front_end": {
            "grid_nm": result.fitted.prepared.grid_nm.tolist(),
            "channels": list(config.front_end.channels),
            "views": [[config.front_end.channels[channel] for channel in view] for view in problem.views],
            "whitened_components": problem.components,
        },
        "model": {
            "preset": config.preset,
            "architecture": config.model.architecture,
            "weights": int(result.fitted.model.count_params()),
            "trained_shares": result.fitted.weights,
        },
        "relevance": {
            "correlation": problem.correlation.tolist(),
            "reads": sources(problem.correlation, problem.targets, config.model),
        },
        "seed": config.training.seed,
        "notes": list(result.notes),
        "versions": versions(("keras", "tensorflow", "numpy", "scikit-learn")),
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Package -> version: ours, then those of `names`, as they are installed."""
    return {"relple_tf": __version__, **{name: version(name) for name in names}}


def interval_facts(result: Calibration, target: str) -> dict[str, Any] | None:
    """What a device needs to show an interval, and what it did on the test soils; None where there is none."""
    interval = result.fitted.reliability.intervals.get(target)
    if interval is None:
        return None
    test = result.parts == "test"
    achieved = achieved_coverage(
        interval,
        result.library.targets[target][test],
        result.predictions[target][test],
        result.fitted.reliability.limits.difficulty(result.t2[test]),
    )
    return asdict(interval) | {"test": achieved | typical_half_width(result, target)}


def typical_half_width(result: Calibration, target: str) -> dict[str, float | None]:
    """Half of the median width of a target's intervals on the measured test soils, in the target's unit."""
    ends = result.bounds(target)
    if ends is None:
        return {"typical_half_width": None}
    widths = (ends[1] - ends[0])[(result.parts == "test") & np.isfinite(result.library.targets[target])]
    known = widths[~np.isnan(widths)]
    return {"typical_half_width": float(np.median(known)) / 2 if len(known) else None}


def unit(target: str) -> str:
    """The unit that a target's name carries; pH and names without one have none."""
    known = {"g_kg": "g/kg", "cmolc_kg": "cmolc/kg", "pct": "%"}
    return next((text for suffix, text in known.items() if target.endswith(f"_{suffix}")), "")


def with_unit(target: str, unit: str) -> str:
    """A target's name with its unit in brackets instead of in the name."""
    suffix = "_pct" if unit == "%" else f"_{unit.replace('/', '_')}"
    return f"{target.removesuffix(suffix)} ({unit})" if unit else target
