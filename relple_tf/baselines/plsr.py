"""PLSR, the standard calibration method of NIR spectroscopy, fitted on the same rows as the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline

from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.splitting.folds import group_k_fold

FOLDS = 5
MAXIMUM_COMPONENTS = 30

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """The PLS model of one target with the lowest cross-validated error, and its cross-validated metrics."""

    scale: TargetScale
    """Scale on which the target is modelled."""
    components: int
    """Number of PLS components."""
    n: int
    """Soils with a laboratory value; each has one out-of-fold prediction."""
    rmse: float
    """Of the out-of-fold predictions, in the target's unit."""
    r2: float
    """Likewise, in laboratory units; may be negative."""


def plsr(
    absorbance: npt.NDArray[np.float32],
    targets: dict[str, npt.NDArray[np.float64]],
    fitted: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.intp],
    scales: Sequence[TargetScale],
    *,
    window_points: int,
    polynomial: int,
    seed: int,
) -> tuple[dict[str, Floats], dict[str, CrossValidated]]:
    """Partial least squares regression, one model per target; cross-validation selects components and scale.

    Features are the usual pretreatment: SNV, then the Savitzky-Golay first derivative. For a skewed target, both the
    network's scale (square root) and the untransformed scale are tried. Predictions are clipped to the range of the
    fitted rows plus the network's margin, so that only the method differs.

    Args:
        absorbance: (n, bands) on the model's grid, all rows.
        targets: Name -> (n,), NaN where not measured.
        fitted: (n,) True for the rows to fit and to cross-validate on: train and validation, never test.
        groups: (n,) group numbers (fields, or samples); no fold divides a group.
        scales: The network's target scales, fitted on training rows.
        window_points: Bands in the derivative window.
        polynomial: Order of the derivative's polynomial.
        seed: Of the folds; used only if every row is a separate group.

    Returns:
        Target -> (n,) predictions in laboratory units for all rows, and target -> the selected model.
    """
    features = snv_first_derivative(absorbance, window_points, polynomial)
    predictions, chosen = {}, {}
    for scale in scales:
        values = targets[scale.name]
        rows = np.flatnonzero(fitted & ~np.isnan(values))
        x, y = features[rows], values[rows]
        best = cross_validated(x, y, groups[rows], scale, seed)
        model = PLSRegression(best.components, scale=True).fit(x, best.scale.to_model(y))
        predictions[scale.name] = best.scale.to_lab(model.predict(features).ravel())
        chosen[scale.name] = best
    return predictions, chosen


def cross_validated(
    x: Floats, y: Floats, groups: npt.NDArray[np.intp], scale: TargetScale, seed: int, folds: int = FOLDS
) -> CrossValidated:
    """Select components and scale by the squared error of out-of-fold predictions.

    Args:
        x: (n, bands) features.
        y: (n,) laboratory values.
        groups: (n,) group numbers, at least two groups; no fold divides a group.
        scale: The network's target scale.
        seed: Of the folds; used only if every row is a separate group.
        folds: Maximum number of folds.
    """
    candidates = scales_to_try(scale, y)
    errors = [cross_validated_errors(x, y, groups, candidate, seed, folds) for candidate in candidates]
    best = int(np.argmin([error.min() for error in errors]))
    squared_error = float(errors[best].min())
    return CrossValidated(
        scale=candidates[best],
        components=int(np.argmin(errors[best])) + 1,
        n=len(y),
        rmse=float(np.sqrt(squared_error / len(y))),
        r2=1 - squared_error / float(np.sum((y - y.mean()) ** 2)),
    )


def cross_validated_errors(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    groups: npt.NDArray[np.intp],
    scale: TargetScale,
    seed: int,
    folds: int = FOLDS,
) -> npt.NDArray[np.float64]:
    """Cross-validated squared error, in the target's unit, of PLS models of 1, 2, ... components.

    A PLS model contains the models with fewer components, so each fold is fitted once.

    Args:
        x: (n, bands) features.
        y: (n,) laboratory values.
        groups: (n,) group numbers; no fold divides a group.
        scale: Scale on which y is modelled.
        seed: Of the folds; used only if every row is a separate group.
        folds: Maximum number of folds.

    Returns:
        (c,) squared errors summed over all rows, c at most MAXIMUM_COMPONENTS.
    """
    modelled = scale.to_model(y)
    splits = group_k_fold(groups, folds, seed)
    max_components = min(MAXIMUM_COMPONENTS, x.shape[1], min(len(train) for train, _ in splits) - 1)
    squared_error = np.zeros(max_components)
    for train, held in splits:
        model = PLSRegression(max_components, scale=True).fit(x[train], modelled[train])
        # y_loadings_ refer to standardised y; the cumulative sum over c components is the prediction of the c-component
        # model.
        y_sd = modelled[train].std(ddof=1)
        contributions = model.transform(x[held]) * model.y_loadings_[0]
        cumulative = np.cumsum(contributions, axis=1) * y_sd + modelled[train].mean()
        squared_error += ((scale.to_lab(cumulative) - y[held][:, None]) ** 2).sum(axis=0)
    return squared_error


def snv_first_derivative(
    absorbance: npt.NDArray[np.float32], window_points: int, polynomial: int
) -> npt.NDArray[np.float64]:
    """Features of every baseline: SNV, then the Savitzky-Golay first derivative, (n, bands)."""
    derivative = SavitzkyGolay(window_length=window_points, polyorder=polynomial, deriv=1)
    features: npt.NDArray[np.float64] = make_pipeline(StandardNormalVariate(), derivative).fit_transform(absorbance)
    return features


def scales_to_try(scale: TargetScale, y: npt.NDArray[np.float64]) -> list[TargetScale]:
    """The network's scale and, if that is the square root, also an untransformed scale fitted on y (n,)."""
    return [scale, TargetScale.fit(scale.name, y, may_root=False)] if scale.root else [scale]
