"""The list of baselines; those other than PLSR are tuned by grid search with cross-validation on the fitted rows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from relple_tf.baselines.gaussian_process import MAXIMUM_ROWS, gaussian_process
from relple_tf.baselines.plsr import FOLDS, plsr, scales_to_try, snv_first_derivative
from relple_tf.baselines.tabular_models import MAXIMUM_ROWS as MAXIMUM_TABLE_ROWS
from relple_tf.baselines.tabular_models import tabicl, tabpfn
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.splitting.folds import group_k_fold

Grid = dict[str, list[Any]]
"""Parameter of an estimator -> values to try."""


class Baseline(Protocol):
    """Common signature of the baselines; see `tuned` for the arguments."""

    def __call__(
        self,
        absorbance: npt.NDArray[np.float32],
        targets: dict[str, npt.NDArray[np.float64]],
        fitted: npt.NDArray[np.bool_],
        groups: npt.NDArray[np.intp],
        scales: Sequence[TargetScale],
        *,
        window_points: int,
        polynomial: int,
        seed: int,
    ) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, str]]:
        """Target -> (n,) predictions in laboratory units, and target -> selected settings as text."""


def svr(bands: int, seed: int) -> tuple[BaseEstimator, Grid]:
    """Support vector regression, Gaussian kernel, on standardised bands.

    gamma is inversely proportional to the number of bands, because the squared distance of two standardised spectra is
    proportional to it; with 700 bands gamma is 1e-4, 3e-4 and 1e-3.
    """
    svm = make_pipeline(StandardScaler(), SVR(epsilon=0.03))
    return svm, {"svr__C": [3, 10, 30, 100], "svr__gamma": [width / bands for width in (0.07, 0.21, 0.7)]}


def extra_trees(bands: int, seed: int) -> tuple[BaseEstimator, Grid]:
    """300 extremely randomised trees (Geurts et al. 2006, Machine Learning 63, 3-42)."""
    trees = ExtraTreesRegressor(300, random_state=seed)
    return trees, {"min_samples_leaf": [1, 2, 5], "max_features": [0.1, 0.3]}


def cubist(bands: int, seed: int) -> tuple[BaseEstimator, Grid]:
    """Cubist: rules with linear models (Quinlan 1992, Proc. 5th Australian Joint Conference on AI, 343-348).

    Without its nearest-neighbour correction, which would double the time of the search.
    """
    from cubist import Cubist  # imported here because no other command needs it

    rules = make_pipeline(FunctionTransformer(_named), Cubist(random_state=seed))
    return rules, {"cubist__n_committees": [1, 10, 20]}


def _named(features: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Features with column names, because Cubist is fitted with names and scikit-learn warns about rows without."""
    return pd.DataFrame(features, columns=[f"band{i}" for i in range(features.shape[1])])


def tuned(
    method: Callable[[int, int], tuple[BaseEstimator, Grid]],
    absorbance: npt.NDArray[np.float32],
    targets: dict[str, npt.NDArray[np.float64]],
    fitted: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.intp],
    scales: Sequence[TargetScale],
    *,
    window_points: int,
    polynomial: int,
    seed: int,
    maximum_rows: int | None = None,
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, str]]:
    """A scikit-learn regressor, one model per target; cross-validation selects its parameters and scale.

    Features, folds, scales and clipping are the same as in `plsr`, so that only the method differs.

    Args:
        method: (bands, seed) -> estimator and grid: `svr`, `gaussian_process`, `extra_trees`, `cubist`,
                `tabpfn` or `tabicl`.
        absorbance: (n, bands) on the model's grid, all rows.
        targets: Name -> (n,), NaN where not measured.
        fitted: (n,) True for the rows to fit and to cross-validate on: train and validation, never test.
        groups: (n,) group numbers (fields, or samples); no fold divides a group.
        scales: The network's target scales, fitted on training rows.
        window_points: Bands in the derivative window.
        polynomial: Order of the derivative's polynomial.
        seed: Of the method and of the selection of rows; also of the folds if every row is a separate group.
        maximum_rows: Of more rows with a value, a random selection of this many is fitted; the settings state it.

    Returns:
        Target -> (n,) predictions in laboratory units for all rows, and target -> selected settings as text.
    """
    features = snv_first_derivative(absorbance, window_points, polynomial)
    estimator, grid = method(features.shape[1], seed)
    predictions, settings = {}, {}
    for scale in scales:
        values = targets[scale.name]
        measured = np.flatnonzero(fitted & ~np.isnan(values))
        rows = measured
        if maximum_rows is not None and len(measured) > maximum_rows:
            rows = np.sort(np.random.default_rng(seed).choice(measured, maximum_rows, replace=False))
        x, y = features[rows], values[rows]
        search = GridSearchCV(
            TransformedTargetRegressor(estimator, check_inverse=False),
            [_on_scale(grid, candidate) for candidate in scales_to_try(scale, y)],
            scoring=_pooled_error,
            cv=group_k_fold(groups[rows], FOLDS, seed),
            error_score="raise",
        ).fit(x, y)
        predictions[scale.name] = search.predict(features)
        settings[scale.name] = _settings_text(search.best_params_)
        if len(rows) < len(measured):
            settings[scale.name] += f", {len(rows)} of {len(measured)} rows"
    return predictions, settings


def _on_scale(grid: Grid, scale: TargetScale) -> Grid:
    """The grid of a `TransformedTargetRegressor` that models the target on `scale`."""
    parameters = {f"regressor__{name}": values for name, values in grid.items()}
    return {**parameters, "func": [scale.to_model], "inverse_func": [scale.to_lab]}


def _pooled_error(model: BaseEstimator, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Negative sum of absolute errors in the target's unit.

    Absolute, not squared, because otherwise a few high values of a skewed target would dominate the choice; the sum,
    not the mean, so that every row has the same weight whatever the size of its fold.
    """
    return -float(np.abs(model.predict(x) - y).sum())


def _settings_text(best_params: dict[str, Any]) -> str:
    """The selected parameters as text, for example `C 30, gamma 0.0003, square root`."""
    root = best_params["func"].__self__.root
    values = {name.rpartition("__")[2]: value for name, value in best_params.items() if name.startswith("regressor__")}
    # Two significant digits, but 100 instead of 1e+02.
    parts = [
        f"{name} {value if isinstance(value, str) else format(float(f'{value:.2g}'), 'g')}"
        for name, value in values.items()
    ]
    return ", ".join([*parts, *(["square root"] if root else [])])


def _plsr(*arguments: Any, **named: Any) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, str]]:
    """`plsr` with its number of components as text."""
    predictions, chosen = plsr(*arguments, **named)
    return predictions, {target: f"components {best.components}" for target, best in chosen.items()}


BASELINES: dict[str, Baseline] = {
    "plsr": _plsr,
    "svr": partial(tuned, svr),
    "gaussian_process": partial(tuned, gaussian_process, maximum_rows=MAXIMUM_ROWS),
    "extra_trees": partial(tuned, extra_trees),
    "cubist": partial(tuned, cubist),
    "tabpfn": partial(tuned, tabpfn, maximum_rows=MAXIMUM_TABLE_ROWS),
    "tabicl": partial(tuned, tabicl, maximum_rows=MAXIMUM_TABLE_ROWS),
}
"""Name on the command line -> function; `config.BASELINE_NAMES` lists the same names."""
