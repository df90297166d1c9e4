"""The training pipeline: prepare, cross-fit, train, stack, fit intervals and domain limits.

`relple_tf.train`, `relple_tf.compare` and the benchmarks call `fit_model`, so that its steps exist only here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from relple_tf.config import Config
from relple_tf.models import front_end
from relple_tf.models.agreement import Disagreement
from relple_tf.models.deployed import DISAGREEMENT, KERNEL_SHARE, ROBUST_SHARE, KernelPart, Scaled, deployed_model
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.training.callbacks import load_callbacks
from relple_tf.training.checkpoint import Checkpoints
from relple_tf.training.cross_fitting import CrossFit, DivergedError, cross_fit, development
from relple_tf.training.loop import TraceCache, train
from relple_tf.training.preparation import Prepared, initial_network, prepare
from relple_tf.training.reliability import Agreement, Reliability, fit_reliability
from relple_tf.training.seeds import seed_everything
from relple_tf.training.stacking import Members, StackingWeights, fit_weights, members, scale_heads

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]

_TRACES = TraceCache()
"""Training steps that the fits of this process share: a fit of the same architecture and number of rows traces none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedModel:
    """Result of `fit_model`: the deployed model, the parts that it consists of, and its reliability."""

    config: Config
    parts: Parts
    """(n,) of PARTS, as used for the final network: without validation rows if there are cross-validation folds."""
    prepared: Prepared
    network: keras.Model
    """The trained network alone: features (batch, bands, channels) -> {target: (batch, 1)} in standard deviations."""
    weights: dict[str, StackingWeights]
    """Stacking weights of each target."""
    model: keras.Model
    """The deployed model: raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, T2, Q: (batch, 1)}."""
    history: pd.DataFrame
    """History of the final network; see `loop.TrainedNetwork`."""
    cross_fit: CrossFit | None
    """Out-of-fold predictions for the development set; None with `training.cv_folds` 0."""
    reliability: Reliability

    def members(self, spectra: npt.NDArray[np.float32]) -> Members:
        """Predict scans (n, bands) with each member of the stack; `prepared.scales` converts to laboratory units."""
        absorbance = front_end.apply(self.prepared.absorbance_stage, spectra)
        return members(self.network, self.prepared, absorbance)


def fit_model(
    library: SpectralLibrary,
    parts: Parts,
    config: Config,
    *,
    checkpoints: Checkpoints | None = None,
    before_training: Callable[[Prepared], None] = lambda prepared: None,
    show: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> FittedModel:
    """Fit all parts of a deployed model; test rows are not read.

    The result depends only on library, parts and config, not on the number of cores or processes.

    Args:
        library: All rows, in range of the front end (`front_end.in_range`).
        parts: (n,) of PARTS.
        config: Config of the run.
        checkpoints: Files of the state; training continues from existing ones. None writes no checkpoints.
        before_training: Called after all checks of the input, before the first training step.
        show: Whether to show progress bars.
        callbacks: Keras callbacks for the training of the final network.

    Raises:
        InputError: the library cannot be divided or prepared as the config asks, a checkpoint belongs to other data, or
            training diverged.
    """
    training = config.training
    # The order of BLAS sums depends on the number of threads; training amplifies the last digit to hundredths of R2.
    with threadpool_limits(limits=1, user_api="blas"):
        seed_everything(training.seed)
        attached = (*load_callbacks(training.callbacks), *callbacks)
        if training.cv_folds:
            parts = development(parts)
            # Raises if the rows cannot be divided, before anything is trained.
            development_folds(library, parts, training.seed, training.cv_folds, config.split.block_km)
        prepared = prepare(library, parts, config)
        before_training(prepared)
        cross_fitted = None
        if training.cv_folds:
            cross_fitted = cross_fit(
                library, parts, config, prepared.scales, checkpoints=checkpoints, show=show, traces=_TRACES
            )
        trained = train(
            prepared,
            config,
            stop_early=cross_fitted is None,
            checkpoint=None if checkpoints is None else checkpoints.final,
            fingerprint="" if checkpoints is None else checkpoints.fingerprint,
            show=show,
            traces=_TRACES,
            callbacks=attached,
        )
        if not all(np.isfinite(weights).all() for weights in trained.network.get_weights()):
            raise DivergedError("the network's weights are not finite: training diverged; lower training.learning_rate")
        weights = validation_weights(prepared, trained.network) if cross_fitted is None else cross_fitted.weights
        reliability = fit_reliability(library, parts, prepared, cross_fitted, config)
        return FittedModel(
            config=config,
            parts=parts,
            prepared=prepared,
            network=trained.network,
            weights=weights,
            model=deployed(prepared, config, trained.network, weights, reliability.agreement),
            history=trained.history,
            cross_fit=cross_fitted,
            reliability=reliability,
        )


def validation_weights(prepared: Prepared, network: keras.Model) -> dict[str, StackingWeights]:
    """Fit the stacking weights of each target on the validation rows; used without out-of-fold predictions."""
    predictions = members(network, prepared, prepared.validation_absorbance).predictions
    return {
        scale.name: fit_weights(scale.to_model(prepared.validation_measured[scale.name]), predictions[:, :, column])
        for column, scale in enumerate(prepared.scales)
    }


def deployed(
    prepared: Prepared,
    config: Config,
    network: keras.Model,
    weights: dict[str, StackingWeights],
    agreement: Agreement | None,
) -> keras.Model:
    """Build the deployed model: front end, stack of network and kernel regression, target scaling, domain statistics.

    Args:
        prepared: Preparation of the training.
        config: Config of the training.
        network: Trained network; not changed.
        weights: Stacking weights of each target.
        agreement: Usual differences of the kernel regressions; None without.
    """
    heads = initial_network(prepared, config)
    heads.set_weights(network.get_weights())
    scale_heads(heads, {target: of_target.network for target, of_target in weights.items()})
    _, of_views, of_robust = np.array([weights[target] for target in prepared.spec.targets]).T
    return deployed_model(
        prepared.absorbance_stage,
        prepared.channel_stage,
        heads,
        prepared.scales,
        prepared.domain_statistics,
        KernelPart(
            regression=prepared.kernel_regression,
            share=scaled(of_views, KERNEL_SHARE),
            reference=prepared.reference,
            robust_share=None if prepared.reference is None else scaled(of_robust, ROBUST_SHARE),
            disagreement=None if agreement is None else disagreement(agreement),
        ),
    )


def scaled(factors: Floats, name: str) -> Scaled:
    """Build the layer that multiplies the predictions of each target by a factor (K,)."""
    layer = Scaled(name=name)
    layer.build((None, len(factors)))
    layer.factors.assign(factors)
    return layer


def disagreement(agreement: Agreement) -> Disagreement:
    """Build the layer with the constants of `agreement`."""
    layer = Disagreement(name=DISAGREEMENT)
    layer.build([(None, len(agreement.usual))] * 2)
    layer.inverse_size.assign(1 / agreement.usual)
    layer.scale.assign(agreement.scale)
    return layer
