"""The training loop: batches, schedule, early stopping, and a checkpoint from which an interrupted run continues."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import r2_score

from relple_tf.artefacts.reading import readable
from relple_tf.artefacts.schema import OBJECT, Rule, check, integer, items
from relple_tf.config import Config, TrainingConfig
from relple_tf.progress import tqdm
from relple_tf.training.augmentation import Augment, is_active
from relple_tf.training.balancing import STRATEGIES
from relple_tf.training.checkpoint import REMEDY, load_state, save_state
from relple_tf.training.joint import CustomStepModel, JointModel
from relple_tf.training.preparation import Prepared, initial_network

SAVE_EVERY_S = 5.0
"""Seconds between two checkpoints; an interrupted run loses at most this time and the current epoch."""

VALIDATION_BLOCK = 512
"""Batch size of validation, in rows."""

STATE = {
    "history": items(1, 1 << 31),
    "history.*": OBJECT,
    "history.*.*": Rule("a number", lambda value: type(value) in (int, float)),
    "best_epoch": integer(0, 1 << 31),
}
"""Rules of the metadata of a checkpoint; scores may be NaN or infinite."""

WARM_UP = 0.05
"""Fraction of the steps in which the learning rate rises to its peak."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A trained network and the history of its training."""

    network: keras.Model
    """Features (batch, bands, channels) -> {target: (batch, 1)} in standard deviations; not trained further."""
    history: pd.DataFrame
    """A row per epoch: loss, validation scores, loss weights, learning rate; epoch 0 is before the first step."""


class TraceCache:
    """The models whose training steps TensorFlow traced last, for reuse by networks with the same computation.

    Tracing takes a third of the training time of a small network. Fold networks mostly differ only in the values of
    their variables. If their correlations lead to other gates, or their rows to another number of steps, they are
    traced again. A cache belongs to a process that trains networks one after another; a pickled copy is empty.
    """

    MOST = 2
    """Number of models that are kept: one of the folds and one of the final network."""

    def __init__(self) -> None:
        self._last: list[tuple[Any, JointModel]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": []}

    def reuse(self, joint: JointModel, batches: "Batches", config: Config) -> JointModel:
        """Copy the variables of `joint` into an earlier model if both compute the same.

        Args:
            joint: Compiled, not yet trained.
            batches: Batches on which it will be trained.
            config: Config of the run.

        Returns:
            The earlier model, or else `joint`, which then takes the place of the oldest model.
        """
        if is_active(config.augmentation):
            return joint
        without_seed = dataclasses.replace(config.training, seed=0)
        computation = (joint.network.to_json(), without_seed, len(batches), batches.size)
        earlier = next((model for known, model in self._last if known == computation), None)
        if earlier is None:
            self._last = [*self._last, (computation, joint)][-self.MOST :]
            return joint
        for target, source in ((earlier, joint), (earlier.optimizer, joint.optimizer)):
            for variable, value in zip(target.variables, source.variables, strict=True):
                variable.assign(value)
        return earlier


def train(
    prepared: Prepared,
    config: Config,
    *,
    stop_early: bool,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    show: bool = True,
    traces: TraceCache | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainedNetwork:
    """Train a network from its initial weights, or continue from a checkpoint.

    Args:
        prepared: From `prepare`; not changed.
        config: Config of the run.
        stop_early: Stop after `patience` epochs without a better validation score and keep the weights of the best
            epoch; otherwise train all epochs and keep the last weights.
        checkpoint: File of the state; training continues from it if it exists. None writes no checkpoint.
        fingerprint: Hash of the library and its split, stored with the state.
        show: Whether to show a progress bar.
        traces: Cache of traced training steps; None traces again.
        callbacks: Further Keras callbacks; their logs contain the scores of each epoch.

    Raises:
        InputError: the checkpoint is damaged or belongs to other data.
    """
    network = initial_network(prepared, config)
    joint, rows = joint_model(network, prepared, config)
    batches = Batches(rows, prepared.train_values, config.training)
    epochs = epoch_count(len(batches), config.training)
    compile_joint(joint, config.training, steps=epochs * len(batches))
    if traces is not None:
        joint = traces.reuse(joint, batches, config)
    monitor = Monitor(
        joint.network, prepared, config.training, epochs, checkpoint, fingerprint, stop_early=stop_early, show=show
    )
    monitor.set_model(joint)
    if checkpoint is not None and checkpoint.exists():
        monitor.restore(checkpoint)
    attached: list[keras.callbacks.Callback] = [monitor, *callbacks]
    if config.training.tensorboard and checkpoint is not None:
        attached.append(keras.callbacks.TensorBoard(checkpoint.parent / "tensorboard"))
    batches.start_at(monitor.epochs_done)
    if not monitor.ended:
        try:
            joint.fit(
                batches,
                epochs=epochs,
                initial_epoch=monitor.epochs_done,
                callbacks=attached,
                shuffle=False,
                verbose=0,
            )
        finally:
            monitor.bar.close()  # so that an error message begins on a new line
    if traces is not None and joint.network is network:
        # The next training overwrites the weights of the cached network.
        network = initial_network(prepared, config)
    network.set_weights(monitor.best_weights)
    return TrainedNetwork(network=network, history=pd.DataFrame(monitor.history))


def epoch_count(steps_per_epoch: int, config: TrainingConfig) -> int:
    """Return the number of epochs within both `max_epochs` and `max_steps`, at least 1."""
    return max(1, min(config.max_epochs, config.max_steps // steps_per_epoch))


def joint_model(network: keras.Model, prepared: Prepared, config: Config) -> tuple[JointModel, npt.NDArray[np.float32]]:
    """Build the trainable model of a network, and return it with its input rows.

    Without augmentation the features are constant, so they are computed once and are the input. With augmentation the
    input is the absorbance on the model's grid.
    """
    targets, training = prepared.spec.targets, config.training
    balancing = STRATEGIES[training.balancing](len(targets), training)
    body, rows = network, prepared.train_features
    if is_active(config.augmentation):
        rows = prepared.train_absorbance
        absorbance = keras.Input(rows.shape[1:], name="absorbance")
        distorted = Augment(config.augmentation, prepared.grid_nm, training.seed)(absorbance)
        body = keras.Model(absorbance, body(prepared.channel_stage(distorted)), name="body")
    model = CustomStepModel if training.balancing in ("famo", "gradnorm") else JointModel
    return model(network, body, targets, balancing, training.huber_delta), rows


def compile_joint(joint: JointModel, config: TrainingConfig, steps: int) -> None:
    """Compile `joint` with AdamW: warm-up and cosine decay over `steps`, gradients clipped to norm 1."""
    warm_up = max(1, round(WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / warm_up,
        decay_steps=max(1, steps - warm_up),
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, clipnorm=1.0)
    # No decay to zero for biases, which set a level, and for the state of the balancing strategy.
    biases = [variable for variable in joint.network.trainable_variables if variable.name == "bias"]
    optimizer.exclude_from_weight_decay([*biases, *joint.balancing.trainable_variables])
    joint.compile(optimizer, jit_compile=False)
    optimizer.build(joint.trainable_variables)
    joint.network.jit_compile = False


class Batches(keras.utils.PyDataset):
    """Training rows in an order that depends only on seed and epoch, so that a resumed run reads the same batches.

    The last rows of an epoch that do not fill a batch are skipped; the next epoch has another order.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.float32],
        values: npt.NDArray[np.float32],
        config: TrainingConfig,
    ) -> None:
        super().__init__()
        self.rows, self.values = rows, values
        self.size = min(config.batch_size, len(rows))
        self.seed = config.seed
        self.start_at(0)

    def __len__(self) -> int:
        return len(self.rows) // self.size

    def start_at(self, epoch: int) -> None:
        """Set the order of the rows in `epoch`, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))

    def on_epoch_end(self) -> None:
        """Set the order of the next epoch; called by Keras."""
        self.start_at(self.epoch + 1)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        chosen = self.order[index * self.size : (index + 1) * self.size]
        return self.rows[chosen], self.values[chosen]


class Monitor(keras.callbacks.Callback):
    """Scores each epoch on the validation rows, shows progress, keeps the best weights, stops, saves checkpoints.

    The score is 1 minus the mean squared error in standard deviations of the training rows, averaged over the targets.
    It is unweighted, because the meaning of a weighted loss changes from epoch to epoch and it can be negative. It is
    not R2, which is relative to the variance of a few validation rows.
    """

    def __init__(
        self,
        network: keras.Model,
        prepared: Prepared,
        config: TrainingConfig,
        epochs: int,
        checkpoint: Path | None,
        fingerprint: str,
        *,
        stop_early: bool,
        show: bool,
    ) -> None:
        super().__init__()
        self.stop_early, self.show = stop_early, show
        self.bar = tqdm(disable=True)
        self.network, self.prepared, self.config, self.epochs = network, prepared, config, epochs
        self.checkpoint, self.fingerprint = checkpoint, fingerprint
        self.saved_at_s = -np.inf
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self._record(loss=np.nan, learning_rate=0.0, weights=np.full(len(prepared.scales), np.nan))

    @property
    def epochs_done(self) -> int:
        """Finished epochs, including those before a restart; row 0 of the history is before the first step."""
        return len(self.history) - 1

    @property
    def ended(self) -> bool:
        """Whether all epochs are done or the patience is exhausted."""
        waited = self.epochs_done - self.best_epoch
        return self.epochs_done >= self.epochs or (self.stop_early and waited >= self.config.patience)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the progress bar."""
        self.bar = tqdm(
            total=self.epochs,
            initial=self.epochs_done,
            unit="epoch",
            mininterval=1.0,
            desc="training",
            disable=not self.show,
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score the epoch, show it, stop if training has ended, and save a checkpoint."""
        joint: JointModel = self.model
        row = self._record(
            loss=float((logs or {})["loss"]),
            learning_rate=float(joint.optimizer.learning_rate),
            weights=joint.balancing.end_epoch(epoch),
        )
        if logs is not None:
            logs.update(row)
        joint.stop_training = self.ended
        shown = {"loss": f"{row['loss']:.3f}"}
        if len(self.prepared.validation_features):
            shown = {f"R2 {scale.name}": f"{row[f'validation_r2_{scale.name}']:.2f}" for scale in self.prepared.scales}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()
        if self.checkpoint is not None and (self.ended or time.monotonic() - self.saved_at_s >= SAVE_EVERY_S):
            self._save(self.checkpoint)
            self.saved_at_s = time.monotonic()

    def _record(self, loss: float, learning_rate: float, weights: npt.NDArray[np.float64]) -> dict[str, float]:
        """Score the network, append a row to the history, and keep the weights if they are the best."""
        score, r2 = validation_scores(self.network, self.prepared)
        row = {
            "epoch": len(self.history),
            "learning_rate": learning_rate,
            "loss": loss,
            "validation_score": score,
            **{f"validation_r2_{name}": value for name, value in r2.items()},
            **{f"weight_{name}": float(w) for name, w in zip(r2, weights, strict=True)},
        }
        self.history.append(row)
        best = self.history[self.best_epoch]["validation_score"]
        if len(self.history) == 1 or not self.stop_early or row["validation_score"] > best:
            self.best_epoch = len(self.history) - 1
            self.best_weights: list[npt.NDArray[np.float32]] = self.network.get_weights()
        return row

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the progress bar."""
        self.bar.close()

    def _save(self, path: Path) -> None:
        arrays = {
            "state": _values(self.model.variables),
            "optimizer": _values(self.model.optimizer.variables),
            "best": self.best_weights,
        }
        facts = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "fingerprint": self.fingerprint,
        }
        save_state(path, arrays, facts)

    def restore(self, path: Path) -> None:
        """Restore weights, optimiser, random generators and history from a checkpoint.

        Raises:
            InputError: the file is damaged, or belongs to other data or another network.
        """
        arrays, facts = load_state(path, self.fingerprint)
        check(facts, STATE, path, REMEDY)
        with readable(path, REMEDY):
            for variable, value in zip(self.model.variables, arrays["state"], strict=True):
                variable.assign(value)
            optimizer = self.model.optimizer
            for variable, value in zip(optimizer.variables, arrays["optimizer"], strict=True):
                variable.assign(value)
            if [weight.shape for weight in arrays["best"]] != [weight.shape for weight in self.best_weights]:
                raise ValueError("the best weights belong to another network")
            if not all(row.keys() == self.history[0].keys() for row in facts["history"]):
                raise ValueError("the history belongs to another network")
            facts["history"][facts["best_epoch"]]  # raises IndexError if this row is missing
        self.best_weights = arrays["best"]
        self.history, self.best_epoch = facts["history"], facts["best_epoch"]


def validation_scores(network: keras.Model, prepared: Prepared) -> tuple[float, dict[str, float]]:
    """Compute the score of early stopping, and R2 of each target, on the validation rows and the modelled scale.

    Both are NaN without validation rows, as for the final network after cross-fitting. A target with fewer than two
    measured values has R2 NaN and does not enter the score; not every fold has values of every target.
    """
    features = prepared.validation_features
    if not len(features):
        return np.nan, dict.fromkeys(prepared.spec.targets, np.nan)
    # Not `predict`: its set-up takes a tenth of the time of an epoch of a small library.
    blocks = [
        network.predict_on_batch(features[first : first + VALIDATION_BLOCK])
        for first in range(0, len(features), VALIDATION_BLOCK)
    ]
    errors, r2 = [], {}
    for column, target in enumerate(prepared.spec.targets):
        measured = prepared.validation_values[:, column]
        rows = ~np.isnan(measured)
        if rows.sum() < 2:
            r2[target] = np.nan
            continue
        estimate = np.concatenate([block[target] for block in blocks])[rows, 0]
        # A diverged network scores -inf and raises no error: the run may hold better weights of an earlier epoch.
        finite = bool(np.isfinite(estimate).all())
        errors.append(float(np.mean((measured[rows] - estimate) ** 2)) if finite else np.inf)
        r2[target] = float(r2_score(measured[rows], estimate)) if finite else -np.inf
    return 1 - float(np.mean(errors)) if errors else np.nan, r2


def _values(variables: list[Any]) -> list[npt.NDArray[Any]]:
    return [np.asarray(variable) for variable in variables]
