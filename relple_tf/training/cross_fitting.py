"""Cross-fitting: for each cross-validation fold of the development set, a network trained on the other folds.

The out-of-fold predictions of these networks determine the stacking weights, the prediction intervals and the outliers
of the library. The final network is trained on the whole development set.
"""

from collections.abc import Sequence
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
from relple_tf.training.stacking import StackingWeights, fit_weights, members, stack

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]


class DivergedError(InputError):
    """A network's predictions are not finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFit:
    """Out-of-fold predictions for the development set."""

    weights: dict[str, StackingWeights]
    """Stacking weights of each target."""
    predictions: dict[str, Floats]
    """Target -> (n,) stacked out-of-fold predictions in laboratory units; NaN for rows outside the development set."""
    history: pd.DataFrame
    """History of training, mean over the fold networks; see `loop.TrainedNetwork`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldFit:
    """Out-of-fold predictions and training history of one fold."""

    predictions: Floats
    """(members, n_held, K) for the rows of the fold, in laboratory units: a fold may model a target on another scale
    than the final network."""
    history: pd.DataFrame
    """See `loop.TrainedNetwork`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shared:
    """Data that every worker process receives once."""

    library: SpectralLibrary
    parts: Parts
    fold: npt.NDArray[np.intp]
    config: Config
    traces: TraceCache


def development(parts: Parts) -> Parts:
    """Return the parts of the final network: the folds replace validation, so validation rows become training rows."""
    return np.where(parts == "validation", "train", parts)


def cross_fit(
    library: SpectralLibrary,
    parts: Parts,
    config: Config,
    scales: Sequence[TargetScale],
    *,
    checkpoints: Checkpoints | None = None,
    show: bool = True,
    traces: TraceCache | None = None,
) -> CrossFit:
    """Train a network for each of `training.cv_folds` folds, several in parallel.

    Args:
        library: All rows.
        parts: (n,) of PARTS; the test rows are not read.
        config: Config of the run.
        scales: Scale of each target, on which the predictions are stacked.
        checkpoints: Store the result of each fold; stored folds are not trained again. None stores nothing.
        show: Whether to show a progress bar.
        traces: Cache of traced training steps, used if the folds are trained in this process.

    Raises:
        InputError: the development set cannot be divided, a stored fold belongs to other data, or a process died.
        DivergedError: an out-of-fold prediction is not finite.
    """
    training = config.training
    fold = development_folds(library, parts, training.seed, training.cv_folds, config.split.block_km)
    fits: dict[int, FoldFit] = {}
    for number in range(fold.max() + 1):
        shape = (int(np.sum(fold == number)), len(library.targets))
        if checkpoints is not None and (stored := checkpoints.load_fold(number, shape)) is not None:
            predictions, history = stored
            fits[number] = FoldFit(predictions=predictions, history=history)
    missing = [number for number in range(fold.max() + 1) if number not in fits]
    shared = _Shared(library=library, parts=development(parts), fold=fold, config=config, traces=traces or TraceCache())
    bar = tqdm(total=fold.max() + 1, initial=len(fits), unit="network", desc="cross-validation", disable=not show)

    def store(job: int, fit: FoldFit) -> None:
        fits[missing[job]] = fit
        if checkpoints is not None:
            checkpoints.save_fold(missing[job], fit.predictions, fit.history)
        bar.update()

    try:
        with bar:
            run_all(fit_fold, missing, shared, workers=training.workers, finished=store)
    except ProcessDiedError:
        reason = "a process died, probably for lack of memory"
        least = "training.workers=1 needs the least memory"
        if checkpoints is None:
            raise InputError(f"{reason}; {least}") from None
        raise InputError(
            f"{checkpoints.folder}: {reason}; finished fold networks are stored, and --resume trains the others; a new "
            f"run with --set {least}"
        ) from None
    return collect(library, fold, [fits[number] for number in range(fold.max() + 1)], scales)


def fit_fold(shared: _Shared, number: int) -> FoldFit:
    """Train the network of a fold on the other folds and predict the fold with each member of the stack."""
    config = replace(shared.config, training__seed=(shared.config.training.seed + number) % 2**31)
    keras.backend.clear_session()
    seed_everything(config.training.seed)
    parts = np.where(shared.fold == number, "validation", shared.parts)
    prepared = prepare(shared.library, parts, config)
    trained = train(prepared, config, stop_early=False, show=False, traces=shared.traces)
    held = members(trained.network, prepared, prepared.validation_absorbance)
    return FoldFit(predictions=to_lab(prepared.scales, held.predictions), history=trained.history)


def to_lab(scales: tuple[TargetScale, ...], values: Floats) -> Floats:
    """Convert (..., K) from the modelled scale, in standard deviations, to laboratory units."""
    return np.stack([scale.to_lab(values[..., column]) for column, scale in enumerate(scales)], axis=-1)


def collect(
    library: SpectralLibrary, fold: npt.NDArray[np.intp], fits: list[FoldFit], scales: Sequence[TargetScale]
) -> CrossFit:
    """Combine the predictions of all folds, fit the stacking weights of each target and stack.

    Args:
        library: All rows.
        fold: (n,) number of the fold of each row; -1 outside the development set.
        fits: Of all folds.
        scales: As in `cross_fit`.

    Raises:
        DivergedError: a prediction is not finite.
    """
    of_members = np.full((len(fits[0].predictions), len(library), len(library.targets)), np.nan)
    for number, fit in enumerate(fits):
        of_members[:, fold == number] = fit.predictions
    rows = fold >= 0
    weights, predictions = {}, {}
    for column, scale in enumerate(scales):
        if not np.isfinite(of_members[:, rows, column]).all():
            raise DivergedError(
                f"out-of-fold predictions of {scale.name} are not finite: training diverged; lower "
                "training.learning_rate"
            )
        measured, modelled = (
            scale.to_model(values) for values in (library.targets[scale.name], of_members[:, :, column])
        )
        weights[scale.name] = fit_weights(measured[rows], modelled[:, rows])
        predictions[scale.name] = scale.to_lab(stack(modelled, weights[scale.name]))
    histories = pd.concat([fit.history for fit in fits])
    return CrossFit(
        weights=weights,
        predictions=predictions,
        history=histories.groupby("epoch", as_index=False).mean(),
    )
