"""`SoilRegressor`: the calibration pipeline as a scikit-learn estimator."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from relple_tf.config import Config, DataConfig, changed, sections
from relple_tf.errors import InputError
from relple_tf.evaluation.keep_or_send import KEEP, SEND, SUFFIX, half_widths, is_kept
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import Limits, status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import FittedModel, fit_model
from relple_tf.prediction.needs import check_needs
from relple_tf.prediction.runs import estimates
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.laboratory_columns import select_targets
from relple_tf.spectra.splitting.split import split
from relple_tf.training.intervals import COVERAGE, Interval, fit_interval
from relple_tf.zoo import PRESETS

Floats = npt.NDArray[np.float64]

FIRST_BAND_NM = 1000.0
"""Wavelength given to the first column where the caller gives no wavelengths; the front end needs a grid in nm."""

NUMBERED = "no wavelengths were given: bands are numbered from 1000 nm in steps of {:g} nm, which are no wavelengths"


class SoilRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Multi-task calibration of spectra: RS-PLE network stacked with a kernel regression, with prediction intervals.

    `fit` learns from all rows that it receives. Stacking weights and intervals come from out-of-fold predictions
    inside these rows (`training.cv_folds`).

    Args:
        preset: Name of a preset, see `relple_tf.presets()`.
        wavelengths_nm: (n_bands,) of the columns of X, ascending, in nm. None: the columns are bands in order, and
            nothing is resampled.
        quantity: What X contains: `reflectance` (0..1), `absorbance` (log10(1/R)), or `features` for any other numbers.
            Features are used as they are, without derivatives.
        config: A `relple_tf.config.Config`, which replaces the preset, or a mapping such as
            `{"training.max_epochs": 20}`, which changes fields of the preset.
        callbacks: Keras callbacks of the final network's training.
        random_state: Seed, or a NumPy random state from which the seed is drawn.

    Attributes:
        target_names_: Names of the targets, in the order of fitting.
        model_: The deployed Keras model: (n, n_bands) -> {target, T2, Q: (n, 1)}.
        stacking_weights_: Target -> weights of network, kernel regression and kernel regression of robust views, with
            sum 1.
        n_features_in_: Number of bands.
    """

    def __init__(
        self,
        preset: str = "rs_ple_base",
        *,
        wavelengths_nm: Any = None,
        quantity: str = "reflectance",
        config: Any = None,
        callbacks: Any = (),
        random_state: Any = 0,
    ) -> None:
        self.preset = preset
        self.wavelengths_nm = wavelengths_nm
        self.quantity = quantity
        self.config = config
        self.callbacks = callbacks
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_ids: Any = None) -> "SoilRegressor":  # noqa: N803
        """Calibrate on all rows.

        Args:
            X: (n, n_bands) spectra.
            y: Laboratory values: (n,) or (n, n_targets) array, Series, DataFrame, or mapping target -> (n,). NaN where
                not measured.
            groups: (n,) labels such as fields; no cross-validation fold divides a group.
            sample_ids: (n,) labels of samples; rows of one sample are replicate scans, and no fold divides them. None
                links the rows with equal laboratory values, at least two, and nearly equal spectra.

        Raises:
            InputError: a ValueError; the spectra, values or settings are impossible.
        """
        config = self._resolved_config()
        spectra = validate_data(self, X, dtype="float64", ensure_min_samples=2)
        names, values, self._output = _laboratory_values(y, len(spectra))
        spectra = _float32(spectra)
        config, wavelengths_nm = self._grid(config, spectra.shape[1])
        library = SpectralLibrary.from_arrays(
            spectra,
            values,
            wavelengths_nm=wavelengths_nm,
            quantity=self.quantity,
            groups=groups,
            sample_ids=sample_ids,
            check_spectra=self.wavelengths_nm is not None,
        )
        for doubt in library.warnings:
            warnings.warn(doubt, UserWarning, stacklevel=2)
        if self.quantity != "features":
            library = front_end.in_range(library, config.front_end)
        self._columns = np.flatnonzero(np.isin(wavelengths_nm, library.wavelengths_nm))
        self._columns = self._columns[np.argsort(wavelengths_nm[self._columns])]
        if self.wavelengths_nm is None and self.quantity != "features":
            library = replace(library, notes=(*library.notes, NUMBERED.format(config.front_end.step_nm)))
        library = select_targets(library, DataConfig(targets=tuple(names), minimum_values=10))
        parts = np.full(len(library), "train", "U10")
        if not config.training.cv_folds:
            drawn, _ = split(library, config.split, config.training.seed)
            parts = np.where(drawn == "validation", "validation", "train").astype("U10")
        fitted = fit_model(library, parts, config, show=False, callbacks=tuple(self.callbacks))
        self._keep(fitted, library)
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Predict laboratory values.

        Args:
            X: (n, n_bands) spectra.

        Returns:
            (n, n_targets) array in the order of fitting, (n,) where `fit` received a one-dimensional y, a DataFrame
            where it received a DataFrame. NaN for an impossible scan.
        """
        outputs = self._outputs(X)
        values = np.stack([outputs[name] for name in self.target_names_], axis=1).astype("float64")
        if self._output == "frame":
            return pd.DataFrame(values, columns=self.target_names_, index=getattr(X, "index", None))
        return values[:, 0] if self._output == "vector" else values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Mean R2 of the targets, each over its measured rows."""
        values = self._by_target(y, len(X))
        predictions = np.asarray(self.predict(X)).reshape(len(X), -1)
        scores = []
        for column, measured in enumerate(values.values()):
            known = np.isfinite(measured)
            if not known.any():
                continue
            weight = None if sample_weight is None else np.asarray(sample_weight)[known]
            scores.append(r2_score(measured[known], predictions[known, column], sample_weight=weight))
        if not scores:
            raise InputError("score: expected at least one measured value; received none")
        return float(np.mean(scores))

    def predict_interval(self, X: Any, coverage: float = COVERAGE) -> Any:  # noqa: N803
        """Predict intervals (split conformal, from out-of-fold errors).

        Args:
            X: (n, n_bands) spectra.
            coverage: Fraction of new soils of the same kind whose laboratory value lies in its interval; 0..1.

        Returns:
            (n, n_targets, 2) lower and upper ends; a DataFrame with columns (target, `low`) and (target, `high`) where
            `fit` received a DataFrame. NaN where there are too few soils for this coverage.

        Raises:
            InputError: the estimator was fitted with `training.cv_folds` 0, or coverage is outside 0..1.
        """
        check_is_fitted(self)
        if not 0 < coverage < 1:
            raise InputError(f"coverage: expected a number between 0 and 1; received {coverage!r}")
        if not self._residuals:
            raise InputError(
                "predict_interval: expected out-of-fold predictions; the estimator was fitted with "
                "training.cv_folds 0; fit with config={'training.cv_folds': 4}"
            )
        outputs = self._outputs(X)
        difficulty = self._limits.difficulty(outputs[T2])
        ends = []
        for name in self.target_names_:
            interval = self._interval(name, coverage)
            ends.append(np.stack(interval.bounds(outputs[name], difficulty), axis=-1))
        stacked = np.stack(ends, axis=1)
        if self._output == "frame":
            columns = pd.MultiIndex.from_product([self.target_names_, ["low", "high"]])
            return pd.DataFrame(stacked.reshape(len(stacked), -1), columns=columns, index=getattr(X, "index", None))
        return stacked

    def predict_domain(self, X: Any, need: Mapping[str, float] | None = None) -> pd.DataFrame:  # noqa: N803
        """State whether each scan lies in the calibration domain, and which predictions are precise enough.

        Args:
            X: (n, n_bands) spectra.
            need: Target -> largest half width of its 90 % interval that you accept, in the unit of the target.

        Returns:
            DataFrame with `status` (`ok`, `outside`, `invalid`), `T2` and `Q`, one row per scan. A target in `need` has
            a column `_decision` in addition: `keep` if the status is `ok` and the half width is within the need, else
            `send`.

        Raises:
            InputError: a target in `need` is unknown, has no interval, or its width is not a finite number above 0.
        """
        check_is_fitted(self)
        needs = {} if need is None else dict(need)
        intervals = {name: self._interval(name) for name in needs if name in self._residuals}
        entries = {name: vars(intervals[name]) if name in intervals else None for name in self.target_names_}
        check_needs(needs, {name: {"interval": entry} for name, entry in entries.items()}, "the estimator")
        outputs = self._outputs(X)
        values = {name: outputs[name] for name in self.target_names_}
        states = status(values, outputs[T2], outputs[Q], self._limits)
        columns = {"status": states, T2: outputs[T2], Q: outputs[Q]}
        for name, width in needs.items():
            bounds = intervals[name].bounds(outputs[name], self._limits.difficulty(outputs[T2]))
            kept = is_kept(half_widths(outputs[name], *bounds), states, width)
            columns[f"{name}{SUFFIX}"] = np.where(kept, KEEP, SEND)
        return pd.DataFrame(columns, index=getattr(X, "index", None))

    def adapt(self, X: Any, y: Any, *, sample_ids: Any = None) -> "SoilRegressor":  # noqa: N803
        """Adapt the estimates to soils of another field or instrument, as `python -m relple_tf.adapt` does.

        Args:
            X: (n, n_bands) spectra of local soils that `fit` did not receive.
            y: Their laboratory values, as for `fit`, of some or all targets; NaN where not measured. A target with
                fewer than five values stays as it is, with a warning.
            sample_ids: (n,) labels of samples, as for `fit`.

        Returns:
            A new estimator with the attribute `adaptation_`: a DataFrame with a row per adapted target and columns
            (`weight`, method) and (`rmse`, method), the latter for soils that were left out, in laboratory units.

        Raises:
            InputError: the estimator holds no training state, was fitted on `features` or is adapted already; a target
                is unknown; the soils are those of `fit`, or too few.
        """
        check_is_fitted(self)
        if self.quantity == "features":
            raise InputError("adapt: expected a model of spectra; received quantity='features'")
        if hasattr(self, "adaptation_"):
            raise InputError("adapt: the estimator is adapted already; adapt the fitted one with all local soils")
        if not hasattr(self, "_fitted"):
            raise InputError("adapt: an unpickled estimator does not hold its training state; adapt before pickling")
        from relple_tf.adaptation.adapted_run import adaptation
        from relple_tf.adaptation.fitted import adapted_table, stored_run
        from relple_tf.adaptation.stored_run import refuse_known_scans

        scans = validate_data(self, X, reset=False, dtype="float64")
        local = SpectralLibrary.from_arrays(
            _float32(scans)[:, self._columns],
            self._some_targets(y, len(scans)),
            wavelengths_nm=self._library.wavelengths_nm,
            quantity=self.quantity,
            sample_ids=sample_ids,
            check_spectra=self.wavelengths_nm is not None,
        )
        run = stored_run(self._fitted, self._library)
        refuse_known_scans(run, local)
        result = adaptation(run, local)
        for note in (*result.notes, *local.warnings):
            warnings.warn(note.removeprefix("warning: "), UserWarning, stacklevel=2)
        adapted = copy(self)  # without the training state
        adapted._limits, adapted.model_ = result.limits, result.model
        adapted._local = {name: target.local_errors for name, target in result.targets.items()}
        adapted.adaptation_ = adapted_table(result)
        return adapted

    def save(self, path: str | Path, X_test: Any, y_test: Any) -> None:  # noqa: N803
        """Write a run folder, which every command reads: model, card, report, metrics, data.

        The report, the card and the verification of an export state the accuracy on soils that the model has not seen.
        These are the test part of the run.

        Args:
            path: A new or empty folder.
            X_test: (m, n_bands) spectra of soils that `fit` did not receive.
            y_test: Their laboratory values, as for `fit`.

        Raises:
            InputError: the estimator was fitted on `features` or was unpickled, the folder holds other files, or the
                test soils are impossible.
        """
        check_is_fitted(self)
        if self.quantity == "features":
            raise InputError("save: expected a model of spectra; received quantity='features': pickle the estimator")
        if not hasattr(self, "_fitted"):
            raise InputError(
                "save: an unpickled or adapted estimator has no training state; save before pickling or adapting"
            )
        from relple_tf.runs.folder import data_hash, open_run
        from relple_tf.training_run import evaluate, write_run

        fitted, library = self._fitted, self._library
        scans = validate_data(self, X_test, reset=False, dtype="float64")
        values = self._by_target(y_test, len(scans))
        test = SpectralLibrary.from_arrays(
            scans[:, self._columns],
            values,
            wavelengths_nm=library.wavelengths_nm,
            quantity=library.quantity,
            sample_ids=_unused_ids(library, len(scans)),
            check_spectra=self.wavelengths_nm is not None,
        )
        whole, extended = _with_test_part(library, fitted, test)
        folder = open_run(Path(path), "", fitted.config, resume=False)
        with folder.exclusive():
            result = evaluate(whole, data_hash(whole), extended, whole.notes)
            folder.begin(fitted.config)
            write_run(result, folder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # a network needs more than the thirty rows of the checks
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_fitted"}

    def _interval(self, name: str, coverage: float = COVERAGE) -> Interval:
        """Interval of a target of `_residuals`, from out-of-fold errors and, after `adapt`, those of local soils."""
        return self._local[name](fit_interval(*self._residuals[name], coverage))

    def _some_targets(self, y: Any, rows: int) -> dict[str, Floats]:
        """Laboratory values of local soils, by name where y has names, else by position.

        Raises:
            InputError: y has a target that `fit` did not receive.
        """
        names, values, kind = _laboratory_values(y, rows)
        if kind == "frame" and set(names) <= set(self.target_names_):
            return values
        return self._by_target(y, rows)

    def _by_target(self, y: Any, rows: int) -> dict[str, Floats]:
        """Laboratory values in the order of fitting: by name where y has names, else by position.

        Raises:
            InputError: y has other targets than `fit` received.
        """
        names, values, kind = _laboratory_values(y, rows)
        if kind == "frame" and set(names) == set(self.target_names_):
            return {name: values[name] for name in self.target_names_}
        if kind == "frame" or len(names) != len(self.target_names_):
            raise InputError(f"y: expected {', '.join(self.target_names_)}; received {', '.join(names)}")
        return dict(zip(self.target_names_, values.values(), strict=True))

    def _resolved_config(self) -> Config:
        """The config of this fit, with its seed."""
        if self.quantity not in ("reflectance", "absorbance", "features"):
            raise InputError(f"quantity: expected reflectance, absorbance or features; received {self.quantity!r}")
        if self.preset not in PRESETS:
            raise InputError(f"preset: expected one of {', '.join(PRESETS)}; received {self.preset!r}")
        config = self.config if isinstance(self.config, Config) else PRESETS[self.preset]()
        if isinstance(self.config, Mapping):
            config = _changed(config, self.config)
        elif self.config is not None and not isinstance(self.config, Config):
            raise InputError(f"config: expected a Config or a mapping; received {type(self.config).__name__}")
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        config = changed(config, {"training": {"seed": int(seed)}, "data": {"source": "arrays"}})
        if self.quantity == "features":
            config = changed(config, {"front_end": {"channels": ("absorbance",), "views": ()}})
        return config

    def _grid(self, config: Config, bands: int) -> tuple[Config, Floats]:
        """The wavelengths of the columns, and the config whose grid they are where the caller gives none."""
        if self.wavelengths_nm is None:
            nm = (FIRST_BAND_NM + config.front_end.step_nm * np.arange(bands)).astype("float64")
            return changed(config, {"front_end": {"start_nm": 0.0, "stop_nm": 0.0}}), nm
        nm = np.asarray(self.wavelengths_nm, "float64")
        if nm.shape != (bands,):
            raise InputError(
                f"wavelengths_nm: expected {bands} numbers, one per column of X; received shape {nm.shape}"
            )
        return config, nm

    def _keep(self, fitted: FittedModel, library: SpectralLibrary) -> None:
        self._fitted, self._library = fitted, library
        self._limits: Limits = fitted.reliability.limits
        self._local: dict[str, Callable[[Interval], Interval]] = dict.fromkeys(library.targets, _unchanged)
        self._residuals: dict[str, tuple[TargetScale, Floats, Floats, Floats]] = {}
        if fitted.cross_fit is not None:
            difficulty = self._limits.difficulty(fitted.reliability.t2)
            self._residuals = {
                scale.name: (scale, library.targets[scale.name], fitted.cross_fit.predictions[scale.name], difficulty)
                for scale in fitted.prepared.scales
            }
        self.target_names_ = list(library.targets)
        self.model_: keras.Model = fitted.model
        self.stacking_weights_ = fitted.weights

    def _outputs(self, X: Any) -> dict[str, npt.NDArray[Any]]:  # noqa: N803
        check_is_fitted(self)
        spectra = validate_data(self, X, reset=False, dtype="float64", ensure_all_finite=False)
        return estimates(self.model_, _float32(spectra)[:, self._columns])


def _unchanged(interval: Interval) -> Interval:
    return interval


def _with_test_part(
    library: SpectralLibrary, fitted: FittedModel, test: SpectralLibrary
) -> tuple[SpectralLibrary, FittedModel]:
    """The fitted rows followed by the test rows, and the fitted model with NaN for the latter."""
    count = len(test)

    def longer(values: Floats) -> Floats:
        return np.concatenate([values, np.full(count, np.nan)])

    whole = replace(
        library,
        spectra=np.concatenate([library.spectra, test.spectra]),
        targets={name: np.concatenate([values, test.targets[name]]) for name, values in library.targets.items()},
        ids=np.concatenate([library.ids, test.ids]),
        groups=None if library.groups is None else np.concatenate([library.groups, np.full(count, "test soils")]),
        samples=None if library.samples is None else np.concatenate([library.samples, test.ids]),
    )
    crossed, reliability = fitted.cross_fit, fitted.reliability
    if crossed is not None:
        predictions = {name: longer(values) for name, values in crossed.predictions.items()}
        crossed = replace(crossed, predictions=predictions)
    extended = replace(
        fitted,
        parts=np.concatenate([fitted.parts, np.full(count, "test")]),
        cross_fit=crossed,
        reliability=replace(reliability, t2=longer(reliability.t2), q=longer(reliability.q)),
    )
    return whole, extended


def _unused_ids(library: SpectralLibrary, count: int) -> list[str]:
    """Ids of test rows that no fitted row has."""
    stem = "test"
    while any(str(name).startswith(stem) for name in library.ids):
        stem += "_"
    return [f"{stem}{row}" for row in range(1, count + 1)]


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # becomes infinite, which is refused or predicted as NaN
        return values.astype("float32")


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Change fields addressed as `section.field`."""
    nested: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        section, dot, name = str(path).partition(".")
        if not dot or section not in sections() or name not in sections()[section].__dataclass_fields__:
            raise InputError(f"config: expected keys such as 'training.max_epochs'; received {path!r}")
        nested.setdefault(section, {})[name] = tuple(value) if isinstance(value, list) else value
    return changed(config, nested)


def _laboratory_values(y: Any, rows: int) -> tuple[Sequence[str], dict[str, Floats], str]:
    """Names, values per target, and the kind of y: `vector`, `matrix` or `frame`."""
    if isinstance(y, Mapping):
        y = pd.DataFrame({name: np.asarray(values) for name, values in y.items()})
    if y is None:
        raise InputError("requires y to be passed, but the target y is None: expected laboratory values")
    table = check_array(y, dtype="float64", ensure_all_finite="allow-nan", ensure_2d=False, input_name="y")
    kind, names = "matrix" if table.ndim > 1 else "vector", []
    if isinstance(y, pd.DataFrame):
        kind, names = "frame", [str(name) for name in y.columns]
    elif isinstance(y, pd.Series) and y.name is not None:
        names = [str(y.name)]
    table = table.reshape(len(table), -1)
    if len(table) != rows:
        raise InputError(f"y: expected {rows} rows, one per row of X; received {len(table)}")
    names = names or (["y"] if table.shape[1] == 1 else [f"y{column}" for column in range(table.shape[1])])
    if len(set(names)) != len(names):
        raise InputError(f"y: expected each target name once; received {', '.join(names)}")
    return names, dict(zip(names, table.T.copy(), strict=True)), kind
