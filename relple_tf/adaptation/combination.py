"""Methods that adapt the estimates of a run to local soils, and their combination with weights per target.

Every method is linear in the estimate of the run and in the kernels between a scan and the local soils. So is their
weighted mean: estimate * slope + kernel regression, which `models.deployed.LocalPart` computes on the device.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from relple_tf.adaptation.corrections import CORRECTIONS, Correction, fit_correction
from relple_tf.models.deployed import LOCAL_REGRESSION
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.spectra.splitting.folds import group_k_fold
from relple_tf.training import kernel_regression
from relple_tf.training.kernel_regression import Weights
from relple_tf.training.stacking import least_squares_weights

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
HeldOut = dict[str, dict[str, Floats]]
"""Target -> method -> (n,) estimates in standard deviations, fitted without the sample of the row."""

RESIDUAL, LOCAL = "residual regression", "local regression"
METHODS = (*CORRECTIONS, RESIDUAL, LOCAL)
"""Residual regression adds a Gaussian process of the errors of the run, which learns from the local soils how the field
differs; local regression is a Gaussian process of the local soils alone."""
COMBINED = "combined"
"""The weighted mean of METHODS."""
PRIOR_SOILS = 10.0
"""Equal weights count as much as this many local soils. With ten local soils of LimeSoDa's fields, 5 to 20 are level
(decision 23)."""
MOST_FOLDS, INNER_FOLDS = 40, 5
"""Samples are left out one by one up to MOST_FOLDS samples, in as many folds above it. The weights with which a
left-out sample is estimated come from INNER_FOLDS folds of the others."""
FEWEST_SAMPLES = 5
"""Fewest local samples with a laboratory value of a target from which its estimates are adapted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalSoils:
    """What the methods read of the local soils."""

    estimated: dict[str, Floats]
    """Target -> (n,) estimates of the run in standard deviations, of all targets of the model."""
    measured: dict[str, Floats]
    """Target -> (n,) in standard deviations, NaN where not measured; only the targets to adapt, which have values of
    FEWEST_SAMPLES samples or more."""
    scores: tuple[npt.NDArray[np.float32], ...]
    """Of each view of the network, (n, components)."""
    kernels: tuple[npt.NDArray[np.float32], ...]
    """Of each view, (bands, components) of its projection: orthonormal columns, each times a scale."""
    samples: Rows
    """(n,) numbers of the samples; the scans of a sample are left out together and count as one soil."""

    def rows(self, rows: Rows) -> "LocalSoils":
        """Some of the scans."""
        return LocalSoils(
            estimated={name: values[rows] for name, values in self.estimated.items()},
            measured={name: values[rows] for name, values in self.measured.items()},
            scores=tuple(scores[rows] for scores in self.scores),
            kernels=self.kernels,
            samples=self.samples[rows],
        )

    def with_values(self) -> "LocalSoils":
        """Without the targets that no row has a value of."""
        return replace(self, measured={name: y for name, y in self.measured.items() if np.isfinite(y).any()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Combination:
    """The adaptation of a target."""

    weights: dict[str, float]
    """Method -> weight; not negative, with sum 1."""
    slope: float
    """Factor of the estimate of the run in the combination."""
    intercept: float
    """In standard deviations, without the level of the regressions."""
    held_out: dict[str, Floats]
    """Method of METHODS or COMBINED -> (n,) estimates in standard deviations, fitted without the sample of the row; NaN
    where not measured."""


def combine(
    soils: LocalSoils, landmarks: int, seed: int, layer_name: str = LOCAL_REGRESSION.format(1)
) -> tuple[dict[str, Combination], KernelRegression]:
    """Fit all methods and their weights for each target.

    Args:
        soils: The local soils.
        landmarks: Largest number of local scans with which the device compares a scan.
        seed: Of the folds, and of the subset of scans if there are more than `landmarks`.
        layer_name: Name of the layer.

    Returns:
        Target of `soils.measured` -> combination, and the regression of all targets of the model, (batch, K); it is 0
        for a target that is not adapted.
    """
    held_out = leave_out(soils, landmarks, seed, MOST_FOLDS)
    combined = {name: np.full(len(values), np.nan) for name, values in soils.measured.items()}
    for fitted, held in folds(soils, seed, MOST_FOLDS):
        others = soils.rows(fitted)
        of_others = leave_out(others, landmarks, seed, INNER_FOLDS)
        for name in of_others:
            weights = fit_weights(others.measured[name], of_others[name], others.samples)
            combined[name][held] = weights @ np.stack([held_out[name][method][held] for method in METHODS])
    combinations = {}
    for name, measured in soils.measured.items():
        weights = fit_weights(measured, held_out[name], soils.samples)
        combinations[name] = _combination(soils.estimated[name], measured, weights, held_out[name], combined[name])
    regressions = fit_regressions(soils, landmarks, seed)
    return combinations, weighted(regressions, combinations, tuple(soils.estimated), layer_name)


def folds(soils: LocalSoils, seed: int, count: int) -> list[tuple[Rows, Rows]]:
    """At most `count` pairs of (rows to fit on, rows left out); no fold divides a sample."""
    return group_k_fold(soils.samples, min(len(np.unique(soils.samples)), count), seed)


def leave_out(soils: LocalSoils, landmarks: int, seed: int, count: int) -> HeldOut:
    """Estimate each scan with all methods, fitted in `count` folds without its sample; NaN where not measured."""
    empty = np.full(len(soils.samples), np.nan)
    held_out = {name: {method: empty.copy() for method in METHODS} for name in soils.measured}
    for fitted, held in folds(soils, seed, count):
        others, out = soils.rows(fitted).with_values(), soils.rows(held)
        if not others.measured:
            continue
        columns = predict_regressions(fit_regressions(others, landmarks, seed), others.measured, out.scores)
        for name, measured in others.measured.items():
            estimated, known = out.estimated[name], np.isfinite(measured)
            predicted = {
                method: fit_correction(method, others.estimated[name][known], measured[known])(estimated)
                for method in CORRECTIONS
            }
            predicted |= {RESIDUAL: estimated + columns[name, RESIDUAL], LOCAL: columns[name, LOCAL]}
            wanted = np.isfinite(out.measured[name])
            for method, values in predicted.items():
                held_out[name][method][held[wanted]] = values[wanted]
    return held_out


def fit_weights(measured: Floats, held_out: Mapping[str, Floats], samples: Rows) -> Floats:
    """Fit the weights of METHODS of a target to the errors of soils that were left out, with a prior of equal weights.

    The errors are divided by the RMSE of the best method, so that the prior counts as PRIOR_SOILS soils in every field.

    Args:
        measured: (n,) in standard deviations, NaN where not measured.
        held_out: Method -> (n,).
        samples: (n,) numbers of the samples.

    Returns:
        (methods,) not negative, with sum 1.
    """
    known = np.isfinite(measured) & np.isfinite(held_out[LOCAL])
    equal = np.full(len(METHODS), 1 / len(METHODS))
    if not known.any():
        return equal
    errors = np.stack([held_out[method][known] for method in METHODS]) - measured[known]
    _, sample, count = np.unique(samples[known], return_inverse=True, return_counts=True)
    # A sample has one laboratory value: its scans count as one soil.
    errors /= np.sqrt(count)[sample]
    smallest = float(np.sqrt(np.min(np.sum(errors**2, axis=1)) / len(count)))
    scaled = errors / smallest if smallest > 0 else errors
    return least_squares_weights(scaled, equal, PRIOR_SOILS)


def fit_regressions(soils: LocalSoils, landmarks: int, seed: int) -> Weights:
    """Fit residual and local regression of each target; arguments as for `combine`.

    Returns:
        Weights of a `KernelRegression` with both regressions of each target in turn.
    """
    columns, centre, size = {}, [], []
    for name, measured in soils.measured.items():
        for method, values in ((RESIDUAL, measured - soils.estimated[name]), (LOCAL, measured)):
            # Local values may be many standard deviations of the library away from its mean.
            centre.append(float(np.nanmean(values)))
            size.append(float(np.nanstd(values)) or 1.0)
            columns[f"{name} {method}"] = (values - centre[-1]) / size[-1]
    weights = kernel_regression.fit_weights(
        soils.scores, soils.kernels, columns, soils.samples, landmarks, seed, samples=soils.samples, costs=()
    )
    for fitted in ("slope", "linear", "level"):
        weights[fitted] = weights[fitted] * np.array(size)
    weights["level"] += np.array(centre)
    return weights


def predict_regressions(
    weights: Weights, targets: Iterable[str], scores: Sequence[npt.NDArray[np.float32]]
) -> dict[tuple[str, str], Floats]:
    """Predict with weights from `fit_regressions` of these targets: (target, RESIDUAL or LOCAL) -> (n,)."""
    keys = [(name, method) for name in targets for method in (RESIDUAL, LOCAL)]
    return dict(zip(keys, kernel_regression.predict(weights, scores).T, strict=True))


def weighted(
    regressions: Weights, combinations: Mapping[str, Combination], targets: tuple[str, ...], layer_name: str
) -> KernelRegression:
    """Weight the regressions to one column per target of the model, with the intercepts.

    Args:
        regressions: From `fit_regressions` of the targets of `combinations`, in this order.
        combinations: Target -> combination.
        targets: Of the model.
        layer_name: Name of the layer.
    """
    factors = np.zeros((2 * len(combinations), len(targets)))
    intercepts = np.zeros(len(targets))
    for row, (name, combination) in enumerate(combinations.items()):
        column = targets.index(name)
        intercepts[column] = combination.intercept
        factors[2 * row : 2 * row + 2, column] = [combination.weights[RESIDUAL], combination.weights[LOCAL]]
    weights = dict(regressions)
    for fitted in ("slope", "linear", "level"):
        weights[fitted] = weights[fitted] @ factors
    weights["level"] += intercepts
    return kernel_regression.layer(targets, weights, layer_name)


def _combination(
    estimated: Floats, measured: Floats, weights: Floats, held_out: dict[str, Floats], combined: Floats
) -> Combination:
    """Join the methods, fitted on all soils, with their weights."""
    known = np.isfinite(measured)
    by_method = dict(zip(METHODS, weights.tolist(), strict=True))
    fits = {method: fit_correction(method, estimated[known], measured[known]) for method in CORRECTIONS}
    fits |= {RESIDUAL: Correction(), LOCAL: Correction(slope=0.0)}
    return Combination(
        weights=by_method,
        slope=sum(by_method[method] * fit.slope for method, fit in fits.items()),
        intercept=sum(by_method[method] * fit.intercept for method, fit in fits.items()),
        held_out=held_out | {COMBINED: combined},
    )
