"""Cross-fitting: one network per cross-validation fold of the development set, trained on the other folds.

Their out-of-fold predictions give the stacking weights, the prediction intervals and the outliers of the library. The
final network is trained on the whole development set.
"""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.models.target_scaling import TargetScale
from relple_tf.processes import ProcessDiedError, run_all
from relple_tf.progress import tqdm
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.training.checkpoint import Checkpoints
from relple_tf.training.loop import TraceCache, train
from relple_tf.training.preparation import prepare
from relple_tf.training.seeds import seed_everything
from relple_tf.training.stacking import WEIGHTS, best_weight, components, stacked_by_weight

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]


class DivergedError(InputError):
    """A network's predictions are not finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFit:
    """Out-of-fold predictions for the development set."""

    weights: dict[str, float]
    """Target -> stacking weight of the network, one of WEIGHTS; the kernel regression has the rest."""
    predictions: dict[str, Floats]
    """Target -> (n,) stacked out-of-fold predictions in laboratory units; NaN for rows outside the development set."""
    history: pd.DataFrame
    """Validation scores by epoch, mean over the folds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldFit:
    """What the network of one fold gives."""

    stacked: Floats
    """(weights, n_held, K) predictions of the rows held back in laboratory units, for each of WEIGHTS."""
    history: pd.DataFrame
    """See `fit.TrainedNetwork`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shared:
    """What every process of a cross-fit holds."""

    library: SpectralLibrary
    parts: Parts
    fold: npt.NDArray[np.intp]
    config: Config
    traces: TraceCache


def development(parts: Parts) -> Parts:
    """The parts of the final network: validation rows count as training rows, because the folds have validated."""
    return np.where(parts == "validation", "train", parts)


def cross_fit(
    library: SpectralLibrary,
    parts: Parts,
    config: Config,
    *,
    checkpoints: Checkpoints | None = None,
    show: bool = True,
    traces: TraceCache | None = None,
) -> CrossFit:
    """Train one network for each of `training.cv_folds` folds, some at a time.

    Args:
        library: All rows.
        parts: (n,) of PARTS; the test rows are not read.
        config: Of the training.
        checkpoints: Keeps the result of each fold; folds that it holds are not trained again. None keeps none.
        show: Whether to draw a progress bar.
        traces: Traced steps to use and to leave, where the folds are trained in this process.

    Raises:
        InputError: the development set cannot be divided, a kept fold belongs to other data, or a process died.
        DivergedError: an out-of-fold prediction is not finite.
    """
    training = config.training
    fold = development_folds(library, parts, training.seed, training.cv_folds, config.split.block_km)
    found: dict[int, FoldFit] = {}
    for number in range(fold.max() + 1):
        shape = (len(WEIGHTS), int(np.sum(fold == number)), len(library.targets))
        if checkpoints is not None and (kept := checkpoints.load_fold(number, shape)) is not None:
            found[number] = FoldFit(stacked=kept[0], history=kept[1])
    missing = [number for number in range(fold.max() + 1) if number not in found]
    shared = _Shared(library=library, parts=development(parts), fold=fold, config=config, traces=traces or TraceCache())
    bar = tqdm(total=fold.max() + 1, initial=len(found), unit="network", desc="cross-validation", disable=not show)

    def keep(job: int, fit: FoldFit) -> None:
        found[missing[job]] = fit
        if checkpoints is not None:
            checkpoints.save_fold(missing[job], fit.stacked, fit.history)
        bar.update()

    try:
        with bar:
            run_all(fit_fold, missing, shared, workers=training.workers, finished=keep)
    except ProcessDiedError:
        where = "" if checkpoints is None else f"{checkpoints.folder}: "
        raise InputError(
            f"{where}a process died, for lack of memory mostly; the networks that are done are kept, and --resume "
            "trains the others; a new run with --set training.workers=1 needs the least"
        ) from None
    return collect(library, fold, [found[number] for number in range(fold.max() + 1)])


def fit_fold(shared: _Shared, number: int) -> FoldFit:
    """Train one network without its fold and predict the fold, for every weight of WEIGHTS."""
    config = replace(shared.config, training__seed=(shared.config.training.seed + number) % 2**31)
    keras.backend.clear_session()
    seed_everything(config.training.seed)
    parts = np.where(shared.fold == number, "validation", shared.parts)
    prepared = prepare(shared.library, parts, config)
    trained = train(prepared, config, stop_early=False, show=False, traces=shared.traces)
    stacked = stacked_by_weight(*components(trained.network, prepared.kernel_regression, prepared.validation_features))
    return FoldFit(stacked=to_lab(prepared.scales, stacked), history=trained.history)


def to_lab(scales: tuple[TargetScale, ...], values: Floats) -> Floats:
    """(..., K) standard deviations to laboratory units."""
    return np.stack([scale.to_lab(values[..., column]) for column, scale in enumerate(scales)], axis=-1)


def collect(library: SpectralLibrary, fold: npt.NDArray[np.intp], fits: list[FoldFit]) -> CrossFit:
    """Join the predictions of the folds and choose the stacking weight of each target.

    Raises:
        DivergedError: a prediction is not finite.
    """
    stacked = np.full((len(WEIGHTS), len(library), len(library.targets)), np.nan)
    for number, fit in enumerate(fits):
        stacked[:, fold == number] = fit.stacked
    weights, predictions = {}, {}
    for column, (target, values) in enumerate(library.targets.items()):
        if not np.isfinite(stacked[:, fold >= 0, column]).all():
            raise DivergedError(
                f"predictions of {target} are not finite: training diverged; lower training.learning_rate"
            )
        best = best_weight(np.where(fold >= 0, values, np.nan), stacked[:, :, column])
        weights[target], predictions[target] = WEIGHTS[best], stacked[best, :, column]
    histories = pd.concat([fit.history for fit in fits])
    return CrossFit(weights=weights, predictions=predictions, history=histories.groupby("epoch", as_index=False).mean())
