"""The one training sequence: prepare, cross-fit, train, stack, intervals, domain limits.

`relple_tf.train`, `relple_tf.compare`, the search and the benchmarks call it; nobody repeats its steps.
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
from relple_tf.models.deployed import deployed_model
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.training.callbacks import load_callbacks
from relple_tf.training.checkpoint import Checkpoints
from relple_tf.training.cross_fitting import CrossFit, DivergedError, cross_fit, development
from relple_tf.training.loop import train
from relple_tf.training.preparation import Prepared, initial_network, prepare
from relple_tf.training.reliability import Reliability, fit_reliability
from relple_tf.training.seeds import seed_everything
from relple_tf.training.stacking import WEIGHTS, best_weight, components, scale_heads, stacked_by_weight

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedModel:
    """What the pipeline ends with."""

    config: Config
    parts: Parts
    """(n,) of PARTS, as they were used: with cross-validation folds there are no validation rows."""
    prepared: Prepared
    network: keras.Model
    """Features (batch, bands, channels) -> {target: (batch, 1)} in standard deviations: the trained network alone."""
    weights: dict[str, float]
    """Target -> stacking weight of the network; the kernel regression has the rest."""
    model: keras.Model
    """The deployed model: raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, T2, Q: (batch, 1)}."""
    history: pd.DataFrame
    """Of the final network, see `fit.TrainedNetwork`."""
    cross_fit: CrossFit | None
    """Out-of-fold predictions; None with `training.cv_folds` 0."""
    reliability: Reliability

    def components(self, spectra: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Predictions of the network alone and of the kernel regression alone for scans (n, bands).

        Returns:
            (n, K) each, in standard deviations; `prepared.scales` turns them into laboratory units.
        """
        absorbance = front_end.apply(self.prepared.absorbance_stage, spectra)
        features = front_end.apply(self.prepared.channel_stage, absorbance)
        return components(self.network, self.prepared.kernel_regression, features)


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
    """Fit everything that a deployed model holds; test rows are not read.

    The result depends on library, parts and config alone, not on the number of cores or processes.

    Args:
        library: All rows, in range of the front end (`front_end.in_range`).
        parts: (n,) of PARTS.
        config: Of the run.
        checkpoints: Where the state is kept; training continues from what is there. None keeps none.
        before_training: Called once everything that can be refused has been checked, before the first training step.
        show: Whether to draw progress bars.
        callbacks: Keras callbacks of the final network's training.

    Raises:
        InputError: the library cannot be divided or prepared as the config asks, the state belongs to other data, or
            training diverged.
    """
    training = config.training
    # BLAS adds up in an order that depends on its threads, and training makes hundredths of R2 of the last digit.
    with threadpool_limits(limits=1, user_api="blas"):
        seed_everything(training.seed)
        attached = (*load_callbacks(training.callbacks), *callbacks)
        if training.cv_folds:
            parts = development(parts)
            # Refuses rows that cannot be divided before anything is trained.
            development_folds(library, parts, training.seed, training.cv_folds, config.split.block_km)
        prepared = prepare(library, parts, config)
        before_training(prepared)
        crossed = None
        if training.cv_folds:
            crossed = cross_fit(library, parts, config, checkpoints=checkpoints, show=show)
        trained = train(
            prepared,
            config,
            stop_early=crossed is None,
            checkpoint=None if checkpoints is None else checkpoints.final,
            fingerprint="" if checkpoints is None else checkpoints.fingerprint,
            show=show,
            callbacks=attached,
        )
        if not all(np.isfinite(weights).all() for weights in trained.network.get_weights()):
            raise DivergedError("the network's weights are not finite: training diverged; lower training.learning_rate")
        weights = validation_weights(prepared, trained.network) if crossed is None else crossed.weights
        return FittedModel(
            config=config,
            parts=parts,
            prepared=prepared,
            network=trained.network,
            weights=weights,
            model=deployed(prepared, config, trained.network, weights),
            history=trained.history,
            cross_fit=crossed,
            reliability=fit_reliability(library, parts, prepared, crossed, training.seed),
        )


def validation_weights(prepared: Prepared, network: keras.Model) -> dict[str, float]:
    """Target -> stacking weight of the network by the validation rows, where there are no out-of-fold predictions."""
    stacked = stacked_by_weight(*components(network, prepared.kernel_regression, prepared.validation_features))
    measured = prepared.validation_measured
    return {
        scale.name: WEIGHTS[best_weight(measured[scale.name], scale.to_lab(stacked[:, :, column]))]
        for column, scale in enumerate(prepared.scales)
    }


def deployed(prepared: Prepared, config: Config, network: keras.Model, weights: dict[str, float]) -> keras.Model:
    """Join front end, stack of network and kernel regression, laboratory units and domain statistics to one graph.

    Args:
        prepared: Of the training.
        config: Likewise.
        network: TrainedNetwork; not changed.
        weights: Target -> stacking weight of the network.
    """
    heads = initial_network(prepared, config)
    heads.set_weights(network.get_weights())
    scale_heads(heads, weights)
    return deployed_model(
        prepared.absorbance_stage,
        prepared.channel_stage,
        heads,
        prepared.scales,
        prepared.domain_statistics,
        prepared.kernel_regression.scaled([1 - weights[target] for target in prepared.kernel_regression.targets]),
    )
