"""The training loop: batches, schedule, early stopping, and a state that survives a kill."""

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
from relple_tf.artefacts.schema import OBJECT, Rule, check, items, whole
from relple_tf.config import Config, TrainingConfig
from relple_tf.progress import tqdm
from relple_tf.training.augmentation import Augment, is_active
from relple_tf.training.balancing import STRATEGIES
from relple_tf.training.checkpoint import WAY_OUT, load_state, save_state
from relple_tf.training.joint import FollowingModel, JointModel
from relple_tf.training.preparation import Prepared, initial_network

SAVE_EVERY_S = 5.0
"""Seconds between two savings of the state; a kill loses at most these and the epoch under way."""

VALIDATION_BLOCK = 512
"""Rows that are validated at once."""

STATE = {
    "history": items(1, 1 << 31),
    "history.*": OBJECT,
    "history.*.*": Rule("a number", lambda value: type(value) in (int, float)),
    "best_epoch": whole(0, 1 << 31),
}
"""Facts of a state; scores may be NaN or infinite."""

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises to its peak."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedNetwork:
    """What training ends with."""

    network: keras.Model
    """Features (batch, bands, channels) -> {target: (batch, 1)} in standard deviations; never trained again."""
    history: pd.DataFrame
    """One row per epoch: loss, validation scores, loss weights, learning rate; epoch 0 is the start."""


class TraceCache:
    """The last training step that TensorFlow traced, for further networks that compute the same.

    TensorFlow needs a third of a small network's training to trace a step. Networks of several folds mostly differ in
    their variables alone; where their correlations make other gates, or their rows other step counts, they are traced
    anew. A cache belongs to the process that trains one network after the other; pickling it leaves it empty.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, JointModel] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": None}

    def reuse(self, joint: JointModel, batches: "Batches", config: Config) -> JointModel:
        """The last model with the numbers of `joint`, where both compute the same; else `joint`.

        Args:
            joint: Compiled, not yet trained.
            batches: What it will be trained on.
            config: Of the training.
        """
        if is_active(config.augmentation):
            return joint
        same_for_all = dataclasses.replace(config.training, seed=0)
        computed = (joint.network.to_json(), same_for_all, len(batches), batches.size)
        if self._last is None or self._last[0] != computed:
            self._last = computed, joint
            return joint
        last = self._last[1]
        for kept, given in ((last, joint), (last.optimizer, joint.optimizer)):
            for variable, value in zip(kept.variables, given.variables, strict=True):
                variable.assign(value)
        return last


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
    """Train a network from its start.

    Args:
        prepared: From `prepare`; not changed.
        config: Of the training.
        stop_early: Stop after `patience` epochs without a better validation score and keep the weights of the best
            one; else keep the last.
        checkpoint: Where the state is kept; training continues from it if it exists. None keeps none.
        fingerprint: Of the library and its split, kept with the state.
        show: Whether to draw a progress bar.
        traces: Traced steps to use and to leave; None traces anew.
        callbacks: Further Keras callbacks; their logs hold the scores of each epoch.

    Raises:
        InputError: the state belongs to other data.
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
            monitor.bar.close()  # an error message begins a line of its own
    if traces is not None and joint.network is network:
        # The cache keeps this network for the next training.
        network = initial_network(prepared, config)
    network.set_weights(monitor.best_weights)
    return TrainedNetwork(network=network, history=pd.DataFrame(monitor.history))


def epoch_count(steps_per_epoch: int, config: TrainingConfig) -> int:
    """Epochs within both `max_epochs` and `max_steps`, at least one."""
    return max(1, min(config.max_epochs, config.max_steps // steps_per_epoch))


def joint_model(network: keras.Model, prepared: Prepared, config: Config) -> tuple[JointModel, npt.NDArray[np.float32]]:
    """The trainable model of a network and the rows that it reads.

    Without augmentation the channels are constant, so training starts from the features computed
    once; with it, from the absorbance on the model's grid.
    """
    targets, training = prepared.spec.targets, config.training
    balancing = STRATEGIES[training.balancing](len(targets), training)
    body, rows = network, prepared.train_features
    if is_active(config.augmentation):
        rows = prepared.train_absorbance
        absorbance = keras.Input(rows.shape[1:], name="absorbance")
        distorted = Augment(config.augmentation, prepared.grid_nm, training.seed)(absorbance)
        body = keras.Model(absorbance, body(prepared.channel_stage(distorted)), name="body")
    model = FollowingModel if training.balancing in ("famo", "gradnorm") else JointModel
    return model(network, body, targets, balancing, training.huber_delta), rows


def compile_joint(joint: JointModel, config: TrainingConfig, steps: int) -> None:
    """Give `joint` its optimiser: AdamW, warm-up and cosine over `steps`, gradients of at most norm 1."""
    warm_up = max(1, round(WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / warm_up,
        decay_steps=max(1, steps - warm_up),
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, clipnorm=1.0)
    # Biases set a level and the balancing state has its own balance; neither is to shrink to zero.
    biases = [variable for variable in joint.network.trainable_variables if variable.name == "bias"]
    optimizer.exclude_from_weight_decay([*biases, *joint.balancing.trainable_variables])
    joint.compile(optimizer, jit_compile=False)
    optimizer.build(joint.trainable_variables)
    joint.network.jit_compile = False


class Batches(keras.utils.PyDataset):
    """Training rows in an order that seed and epoch alone decide, so that a resumed run sees the same batches.

    The rest of an epoch that fills no batch is left out; the next epoch's order brings it back.
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
        """Take the order of this epoch, from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))

    def on_epoch_end(self) -> None:
        """Go on to the next order; Keras calls it."""
        self.start_at(self.epoch + 1)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        chosen = self.order[index * self.size : (index + 1) * self.size]
        return self.rows[chosen], self.values[chosen]


class Monitor(keras.callbacks.Callback):
    """Scores every epoch on the validation rows, shows it, keeps the best weights, stops, saves the state.

    The score is 1 minus the targets' mean squared error in standard deviations of the training rows, mean over
    targets. It is unweighted, because a weighted loss changes its meaning from epoch to epoch and can go negative; and
    it is no R2, whose unit is the spread of a few validation rows.
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
        """Finished epochs, those before a restart included; row 0 of the history is the start."""
        return len(self.history) - 1

    @property
    def ended(self) -> bool:
        """Whether the epochs or the patience are used up."""
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
        """Score, show, remember, stop."""
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
        """Score the network as it is, add a row to the history, and keep the weights if they are the best."""
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
        """Take up the state that `path` holds: weights, optimiser, seeds, scores.

        Raises:
            InputError: it is damaged, or belongs to other data or another network.
        """
        arrays, facts = load_state(path, self.fingerprint)
        check(facts, STATE, path, WAY_OUT)
        with readable(path, WAY_OUT):
            for variable, value in zip(self.model.variables, arrays["state"], strict=True):
                variable.assign(value)
            optimizer = self.model.optimizer
            for variable, value in zip(optimizer.variables, arrays["optimizer"], strict=True):
                variable.assign(value)
            if [weight.shape for weight in arrays["best"]] != [weight.shape for weight in self.best_weights]:
                raise ValueError("the best weights are those of another network")
            if not all(row.keys() == self.history[0].keys() for row in facts["history"]):
                raise ValueError("the history is that of another network")
            facts["history"][facts["best_epoch"]]  # has its row
        self.best_weights = arrays["best"]
        self.history, self.best_epoch = facts["history"], facts["best_epoch"]


def validation_scores(network: keras.Model, prepared: Prepared) -> tuple[float, dict[str, float]]:
    """The score that early stopping watches, and R2 of each target, on measured validation rows, modelled space.

    NaN without validation rows, as in a network that learns from all; a target with fewer than two values there has
    no R2 and does not count (a member's fold need not hold one of every target).
    """
    features = prepared.validation_features
    if not len(features):
        return np.nan, dict.fromkeys(prepared.spec.targets, np.nan)
    # Not `predict`, whose setting up costs a tenth of an epoch of a small library.
    blocks = [
        network.predict_on_batch(features[first : first + VALIDATION_BLOCK])
        for first in range(0, len(features), VALIDATION_BLOCK)
    ]
    errors, r2 = [], {}
    for column, target in enumerate(prepared.spec.targets):
        measured = prepared.validation_values[:, column]
        known = ~np.isnan(measured)
        if known.sum() < 2:
            r2[target] = np.nan
            continue
        estimate = np.concatenate([block[target] for block in blocks])[known, 0]
        # A diverged network has no score; it must not stop the run that holds better weights.
        finite = bool(np.isfinite(estimate).all())
        errors.append(float(np.mean((measured[known] - estimate) ** 2)) if finite else np.inf)
        r2[target] = float(r2_score(measured[known], estimate)) if finite else -np.inf
    return 1 - float(np.mean(errors)) if errors else np.nan, r2


def _values(variables: list[Any]) -> list[npt.NDArray[Any]]:
    return [np.asarray(variable) for variable in variables]
