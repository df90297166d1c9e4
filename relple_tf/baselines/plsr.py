"""What a spectroscopist would use otherwise, fitted on the same rows."""

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
    """The PLS model of one target that cross-validates best, and how well it does."""

    scale: TargetScale
    """How the target is modelled."""
    components: int
    n: int
    """Soils with a laboratory value, each estimated once by a model that did not see it."""
    rmse: float
    """Of these estimates, in the target's unit."""
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
    """Partial least squares regression, one per target; components, and square root or not, by cross-validation.

    Features are the best practice of the field: SNV, then the Savitzky-Golay first derivative. A skewed target is tried
    on the network's scale (its root) and as it is, and predictions are clipped to the range of the fitted rows plus the
    same margin, so that only the method differs.

    Args:
        absorbance: (n, bands) on the model's grid, all rows.
        targets: Name -> (n,), NaN where not measured.
        fitted: (n,) the rows to fit on and to cross-validate in: train and validation, never test.
        groups: (n,) numbers of what no fold may divide (fields, or samples).
        scales: The targets' scales, from training rows.
        window_points: Bands in the derivative window.
        polynomial: Order of its polynomial.
        seed: Of the folds where every row is its own group.

    Returns:
        Target -> (n,) predictions in laboratory units for all rows, and target -> what was chosen in the fitted rows.
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
    """Choose components and scale by the squared error of rows that were left out.

    Args:
        x: (n, bands) features.
        y: (n,) laboratory values.
        groups: (n,) numbers of what no fold may divide; two at least.
        scale: The network's.
        seed: Of the folds where every row is a group of its own.
        folds: At most.
    """
    tried = scales_to_try(scale, y)
    errors = [cross_validated_errors(x, y, groups, one, seed, folds) for one in tried]
    best = int(np.argmin([error.min() for error in errors]))
    squared_error = float(errors[best].min())
    return CrossValidated(
        scale=tried[best],
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

    A PLS model holds those of fewer components, so each fold is fitted once.

    Args:
        x: (n, bands) features.
        y: (n,) laboratory values.
        groups: (n,) numbers of what no fold may divide.
        scale: How y is modelled.
        seed: Of the folds where every row is a group of its own.
        folds: At most.

    Returns:
        (at most MAXIMUM_COMPONENTS,).
    """
    modelled = scale.to_model(y)
    splits = group_k_fold(groups, folds, seed)
    most = min(MAXIMUM_COMPONENTS, x.shape[1], min(len(train) for train, _ in splits) - 1)
    squared_error = np.zeros(most)
    for train, held in splits:
        model = PLSRegression(most, scale=True).fit(x[train], modelled[train])
        # y_loadings_ are in standardised y; the running sum over components is each smaller model's prediction.
        y_sd = modelled[train].std(ddof=1)
        steps = model.transform(x[held]) * model.y_loadings_[0]
        running = np.cumsum(steps, axis=1) * y_sd + modelled[train].mean()
        squared_error += ((scale.to_lab(running) - y[held][:, None]) ** 2).sum(axis=0)
    return squared_error


def snv_first_derivative(
    absorbance: npt.NDArray[np.float32], window_points: int, polynomial: int
) -> npt.NDArray[np.float64]:
    """What every baseline reads: SNV, then the Savitzky-Golay first derivative, (n, bands)."""
    derivative = SavitzkyGolay(window_length=window_points, polyorder=polynomial, deriv=1)
    features: npt.NDArray[np.float64] = make_pipeline(StandardNormalVariate(), derivative).fit_transform(absorbance)
    return features


def scales_to_try(scale: TargetScale, y: npt.NDArray[np.float64]) -> list[TargetScale]:
    """The network's scale and, where that is the square root, the fitted values (n,) as they are."""
    return [scale, TargetScale.fit(scale.name, y, may_root=False)] if scale.root else [scale]
