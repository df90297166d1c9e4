"""Prediction intervals by split conformal inference: estimates with the range that holds the laboratory value."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relple_tf.models.domain import conformal_rank
from relple_tf.models.target_scaling import TargetScale

Floats = npt.NDArray[np.float64]

COVERAGE = 0.9
"""Share of new soils whose laboratory value lies within its interval."""

GROWTHS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""What is tried; 0, the same width for all soils, wins ties. Steeper ones widened the intervals of real libraries."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """How far the laboratory value of one target may lie from its estimate.

    Holds all that a device needs, and only what JSON knows: `asdict(interval)` and `Interval(**facts)` are inverse.
    """

    target: str
    """Name with unit."""
    coverage: float
    """Share of new soils, like those that it was fitted on, whose value lies within."""
    half_width: float | None
    """At difficulty 0: in the target's unit, or of its square root where `root`. None: too few soils to tell."""
    growth: float
    """By how much of itself the half-width grows for each unit of difficulty."""
    root: bool
    """The interval is symmetric in the square root, so wider above than below, and wider for high values."""
    non_negative: bool
    """No laboratory value is below 0, so neither is a bound."""
    n: int
    """Soils that it was fitted on."""

    def bounds(self, estimated: npt.ArrayLike, difficulty: npt.ArrayLike) -> tuple[Floats, Floats]:
        """The ends of the interval; unlike estimates they are not held within the range of the training values.

        Args:
            estimated: (n,) in laboratory units.
            difficulty: (n,) distance from the training soils, from `Limits.difficulty`.

        Returns:
            Lower and upper bound in laboratory units, (n,) each, with the estimate between them. NaN where estimate or
            difficulty is not finite, and everywhere without a half-width.
        """
        centre = _modelled(np.asarray(estimated, "float64"), root=self.root)
        half_width = np.nan if self.half_width is None else self.half_width
        distance = np.asarray(difficulty, "float64")
        reach = half_width * (1 + self.growth * np.where(np.isfinite(distance), distance, np.nan))
        ends = [np.maximum(end, 0.0) ** 2 if self.root else end for end in (centre - reach, centre + reach)]
        lower, upper = (np.maximum(end, 0.0) if self.non_negative else end for end in ends)
        return lower, upper


def fit_interval(
    scale: TargetScale, measured: Floats, estimated: Floats, difficulty: Floats, coverage: float = COVERAGE
) -> Interval:
    """The narrowest half-width that covers new soils, from soils that the model was not trained on.

    The conformal rank among the absolute residuals on the modelled scale, each over 1 + growth * difficulty (Vovk et
    al. 2005; Lei et al. 2018, JASA 113, 1094-1111, sections 2.2 and 5.2): a new soil, exchangeable with these, lies
    within with probability `coverage` at least. Growth is that of GROWTHS under which the residuals are likeliest as
    Laplace-distributed, if that is worth its parameter by Akaike's criterion. No soils are set apart for the choice:
    made so it costs half a percent of coverage at 60 soils, made by the width that comes out it would cost two.

    Args:
        scale: How the target is modelled.
        measured: (n,) in laboratory units, NaN where not measured.
        estimated: (n,) likewise, finite where measured.
        difficulty: (n,) from `Limits.difficulty`, finite where measured; all 0 for a constant width.
        coverage: Above 0, below 1.

    Raises:
        ValueError: an estimate or a difficulty is not finite where the laboratory measured.
    """
    residual, difficulty = _residuals(scale.root, measured, estimated, difficulty)
    growth = min(GROWTHS, key=lambda tried: _criterion(residual, difficulty, tried))
    scores = np.sort(residual / (1 + growth * difficulty))
    rank = conformal_rank(len(scores), coverage)
    return Interval(
        target=scale.name,
        coverage=coverage,
        half_width=float(scores[rank - 1]) if rank <= len(scores) else None,
        growth=growth,
        root=scale.root,
        non_negative=scale.non_negative,
        n=len(scores),
    )


def achieved_coverage(
    interval: Interval, measured: Floats, estimated: Floats, difficulty: Floats
) -> dict[str, float | int | None]:
    """What an interval does on soils that it was not fitted on.

    Args:
        interval: From `fit_interval`.
        measured: (n,) in laboratory units, NaN where not measured.
        estimated: (n,) likewise.
        difficulty: (n,) from `Limits.difficulty`.

    Returns:
        n, the soils with value and bounds; coverage, the share of them within; mean_width in laboratory units. The
        latter two are None without such soils.
    """
    lower, upper = interval.bounds(estimated, difficulty)
    known = np.isfinite(measured) & ~np.isnan(lower)
    if not known.any():
        return {"n": 0, "coverage": None, "mean_width": None}
    within = (lower <= measured) & (measured <= upper)
    return {
        "n": int(known.sum()),
        "coverage": float(within[known].mean()),
        "mean_width": float((upper - lower)[known].mean()),
    }


def _modelled(values: Floats, *, root: bool) -> Floats:
    """The modelled scale before it is standardised: the interval needs neither mean nor SD."""
    return np.sqrt(values) if root else values


def _residuals(root: bool, measured: Floats, estimated: Floats, difficulty: Floats) -> tuple[Floats, Floats]:
    """Absolute residuals on the modelled scale and difficulties of the soils that were measured."""
    known = ~np.isnan(measured)
    estimated, difficulty = estimated[known].astype("float64"), difficulty[known].astype("float64")
    if not (np.isfinite(estimated).all() and np.isfinite(difficulty).all()):
        raise ValueError("an interval needs finite estimates and difficulties of all measured soils")
    return np.abs(_modelled(measured[known], root=root) - _modelled(estimated, root=root)), difficulty


def _criterion(residual: Floats, difficulty: Floats, growth: float) -> float:
    """Half of Akaike's criterion of Laplace residuals whose scale is b (1 + growth * difficulty), less a constant."""
    if not residual.any():
        return growth  # all of them exact: no scale to estimate, and the first growth will do
    spread = 1 + growth * difficulty
    likelihood = len(residual) * np.log(np.mean(residual / spread)) + np.sum(np.log(spread))
    return float(likelihood) + (growth > 0)
