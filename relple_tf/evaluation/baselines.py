"""What a spectroscopist would use otherwise, fitted on the same rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from chemotools.derivative import SavitzkyGolay
from chemotools.scatter import StandardNormalVariate
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline

from relple_tf.models.lab_units import TargetScale

FOLDS = 5
MAXIMUM_COMPONENTS = 30


def plsr(
    absorbance: npt.NDArray[np.float32],
    targets: dict[str, npt.NDArray[np.float64]],
    fitted: npt.NDArray[np.bool_],
    units: npt.NDArray[np.intp],
    scales: Sequence[TargetScale],
    *,
    window_points: int,
    polynomial: int,
    seed: int,
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, int]]:
    """Partial least squares regression, one per target, components by cross-validation.

    Features are the best practice of the field: SNV, then the Savitzky-Golay first derivative.
    Targets are modelled on the network's own scale (log1p where skewed) and clipped to the same
    range, so that only the method differs.

    Args:
        absorbance: (n, bands) on the model's grid, all rows.
        targets: Name -> (n,), NaN where not measured.
        fitted: (n,) the rows to fit on and to cross-validate in: train and validation, never test.
        units: (n,) numbers of what no fold may divide (fields, or samples).
        scales: The targets' scales, from training rows.
        window_points: Bands in the derivative window.
        polynomial: Order of its polynomial.
        seed: Of the folds where every row is its own group.

    Returns:
        Target -> (n,) predictions in laboratory units for all rows, and target -> number of
        components.
    """
    derivative = SavitzkyGolay(window_length=window_points, polyorder=polynomial, deriv=1)
    features = make_pipeline(StandardNormalVariate(), derivative).fit_transform(absorbance)
    predictions, components = {}, {}
    for scale in scales:
        rows = np.flatnonzero(fitted & ~np.isnan(targets[scale.name]))
        x, y = features[rows], scale.to_model(targets[scale.name][rows])
        count = best_component_count(x, y, units[rows], seed)
        model = PLSRegression(count, scale=True).fit(x, y)
        predictions[scale.name] = scale.to_lab(model.predict(features).ravel())
        components[scale.name] = count
    return predictions, components


def best_component_count(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], units: npt.NDArray[np.intp], seed: int
) -> int:
    """The number of components with the least cross-validated squared error.

    A PLS model holds those of fewer components, so each fold is fitted once.
    """
    distinct = len(np.unique(units))
    folds = (
        KFold(min(FOLDS, len(x)), shuffle=True, random_state=seed).split(x)
        if distinct == len(x)
        else GroupKFold(min(FOLDS, distinct)).split(x, y, units)
    )
    splits = list(folds)
    most = min(MAXIMUM_COMPONENTS, x.shape[1], min(len(train) for train, _ in splits) - 1)
    squared_error = np.zeros(most)
    for train, held in splits:
        model = PLSRegression(most, scale=True).fit(x[train], y[train])
        scores = model.transform(x[held])
        # y_loadings_ are in standardised y; the running sum over components is each smaller model's
        # prediction.
        y_sd = y[train].std(ddof=1)
        running = np.cumsum(scores * model.y_loadings_[0], axis=1) * y_sd + y[train].mean()
        squared_error += ((running - y[held][:, None]) ** 2).sum(axis=0)
    return int(np.argmin(squared_error)) + 1
