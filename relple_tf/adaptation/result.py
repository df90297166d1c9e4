"""The result of an adaptation, for the card and the report."""

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.adaptation.combination import COMBINED, METHODS, Combination
from relple_tf.adaptation.corrections import NONE, in_lab_units
from relple_tf.adaptation.instrument import InstrumentCorrection
from relple_tf.adaptation.reliability import LocalErrors
from relple_tf.evaluation.formatting import digits, unit, with_unit
from relple_tf.models.deployed import T2
from relple_tf.models.domain import Limits
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.intervals import Interval, achieved_coverage

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetAdaptation:
    """Adaptation of one target."""

    scale: TargetScale
    """Scale of the run."""
    combination: Combination | None
    """None: too few local soils, the target is unchanged."""
    interval: Interval | None
    """After the adaptation; None where the run has none."""
    local_errors: LocalErrors
    """What changed the interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adaptation:
    """Everything that card and report of an adapted run state."""

    source: str
    """Folder of the run that was adapted."""
    local: SpectralLibrary
    """Local soils, on the wavelengths of the model."""
    targets: dict[str, TargetAdaptation]
    model: keras.Model
    """The adapted deployed model."""
    before: dict[str, npt.NDArray[Any]]
    """Target, T2, Q -> (n,) outputs of the run for the local scans."""
    after: dict[str, npt.NDArray[Any]]
    """Likewise, of the adapted model."""
    limits_before: Limits
    limits: Limits
    status_before: npt.NDArray[np.str_]
    status: npt.NDArray[np.str_]
    notes: tuple[str, ...]
    """Conversions and warnings, one sentence each."""
    instrument: InstrumentCorrection | None = None
    """Correction of the instrument of the local soils, which `before` contains already; None: none was asked for."""

    @property
    def adapted(self) -> tuple[str, ...]:
        """Targets with enough local soils."""
        return tuple(name for name, target in self.targets.items() if target.combination is not None)

    def combination(self, name: str) -> Combination:
        """The combination of a target of `adapted`."""
        combination = self.targets[name].combination
        if combination is None:
            raise KeyError(name)
        return combination

    def held_out(self, name: str, method: str = COMBINED) -> Floats:
        """Estimates (n,) in laboratory units, each adapted without its soil; NaN where not measured.

        Args:
            name: One of `adapted`.
            method: One of METHODS, or COMBINED.
        """
        return in_lab_units(self.targets[name].scale, self.combination(name).held_out[method])

    def rmse(self, name: str, method: str = COMBINED) -> float:
        """RMSE of `held_out` in the target's unit."""
        return float(np.sqrt(np.nanmean((self.held_out(name, method) - self.local.targets[name]) ** 2)))

    def scale_after(self, name: str) -> TargetScale:
        """Scale of a target in the adapted model."""
        scales: tuple[TargetScale, ...] = self.model.get_layer("target_scaling").scales
        return next(scale for scale in scales if scale.name == name)

    def bounds(self, name: str) -> tuple[Floats, Floats] | None:
        """Bounds of the intervals around `held_out`, (n,) each; None without intervals."""
        interval = self.targets[name].interval
        if interval is None or interval.half_width is None:
            return None
        return interval.bounds(self.held_out(name), self.limits.difficulty(self.after[T2]))

    def interval_entry(self, name: str, before: dict[str, Any] | None) -> dict[str, Any] | None:
        """Entry `interval` of the card; its coverage is that of the local soils that determined it.

        Args:
            name: A target.
            before: Entry of the run.
        """
        interval = self.targets[name].interval
        if interval is None or before is None:
            return None
        if name not in self.adapted:
            return before | asdict(interval)
        difficulty = self.limits.difficulty(self.after[T2])
        achieved = achieved_coverage(interval, self.local.targets[name], self.held_out(name), difficulty)
        bounds = self.bounds(name)
        typical = None if bounds is None else float(np.nanmedian(bounds[1] - bounds[0])) / 2
        return asdict(interval) | {"test": achieved | {"typical_half_width": typical}}

    def count(self, name: str) -> int:
        """Number of local samples with a laboratory value of a target."""
        return len(np.unique(self.local.sample_labels[np.isfinite(self.local.targets[name])]))

    @property
    def facts(self) -> dict[str, Any]:
        """Entry `adaptation` of the card."""
        return {
            **({} if self.instrument is None else {"instrument": self.instrument.facts}),
            "run": self.source,
            "local_source": self.local.source,
            "local_samples": len(np.unique(self.local.sample_labels)),
            "targets": {
                name: {
                    "weights": self.combination(name).weights,
                    "rmse": {method: self.rmse(name, method) for method in (*METHODS, COMBINED)},
                }
                for name in self.adapted
            },
            "limits_before": {"T2": self.limits_before.t2, "Q": self.limits_before.q},
            "outside_before": float(np.mean(self.status_before != "ok")),
            "outside": float(np.mean(self.status != "ok")),
        }

    @property
    def statements(self) -> tuple[str, ...]:
        """What was done, one sentence per target, for log, card and report."""
        count = len(np.unique(self.local.sample_labels))
        lines = [f"adapted to {count} local soils of {self.local.source}; the test part are these soils"]
        if self.instrument is not None:
            lines.append(self.instrument.statement)
        for name in self.adapted:
            before, after = self.rmse(name, NONE), self.rmse(name)
            lines.append(
                f"{with_unit(name, unit(name))}: RMSE {digits(before)} -> {digits(after)} (soils left out in turn)"
            )
        return tuple(lines)
