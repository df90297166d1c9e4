"""The training loop: batches, schedule, early stopping, and a state that survives a kill."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
from sklearn.metrics import r2_score
from tqdm import tqdm

from relple_tf.config import Config, TrainingConfig
from relple_tf.models.lab_units import whole_graph
from relple_tf.training.artefacts import readable
from relple_tf.training.augmentation import Augment, is_active
from relple_tf.training.balancing import STRATEGIES
from relple_tf.training.checkpoint import WAY_OUT, load_state, save_state
from relple_tf.training.joint import FollowingModel, JointModel
from relple_tf.training.mixing import SHARES, best_share, both, mix, mixtures
from relple_tf.training.preparation import Prepared
from relple_tf.training.schema import OBJECT, Rule, check, items, whole

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
class Trained:
    """What training ends with."""

    model: keras.Model
    """Raw scan (batch, bands) -> {target: (batch, 1)} in laboratory units."""
    network: keras.Model
    """Its middle: features -> standardised targets."""
    shares: dict[str, float]
    """Target -> what its head keeps of its training; the kernel machine has the rest."""
    history: pd.DataFrame
    """One row per epoch: loss, validation scores before mixing, loss weights, learning rate; epoch 0 is the start."""


def fit(
    prepared: Prepared,
    config: Config,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    shares: dict[str, float] | None = None,
) -> Trained:
    """Train the network, mix its heads with the kernel machines, and join it with front end and laboratory units.

    Args:
        prepared: From `prepare`; its network is trained in place.
        checkpoint: Where the state is kept; training goes on from it if it exists. None keeps none.
        fingerprint: Of the library and its split, kept with the state.
        shares: Target -> what its head keeps of its training, from `members.cross_fit`; training then runs to its end.
            None: the validation rows stop training early, and choose.

    Raises:
        InputError: the state belongs to other data.
    """
    history = train(prepared, config, checkpoint, fingerprint, stop_early=shares is None)
    if shares is None:
        tried = mixtures(*both(prepared.network, prepared.machines, prepared.validation_features))
        measured = prepared.validation_measured
        shares = {
            scale.name: SHARES[best_share(measured[scale.name], scale.to_lab(tried[:, :, column]))]
            for column, scale in enumerate(prepared.scales)
        }
    mix(prepared.network, prepared.machines, shares)
    return Trained(
        model=whole_graph(
            prepared.absorbance_stage,
            prepared.channel_stage,
            prepared.network,
            prepared.scales,
            prepared.distances,
            prepared.machines,
        ),
        network=prepared.network,
        shares=shares,
        history=history,
    )


def train(
    prepared: Prepared,
    config: Config,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    *,
    stop_early: bool,
    show: bool = True,
    throwaway: bool = False,
) -> pd.DataFrame:
    """Train the towers in place.

    Args:
        prepared: From `prepare`.
        checkpoint: See `fit`.
        fingerprint: See `fit`.
        stop_early: Stop after `patience` epochs without a better validation score and keep the weights of the best
            one; else keep the last.
        show: A progress bar.
        throwaway: The caller drops `prepared` before anything else is trained in this process, so that the next
            network may take its place in what TensorFlow has traced.

    Returns:
        See `Trained.history`.
    """
    joint, rows = joint_model(prepared, config)
    batches = Batches(rows, prepared.train_values, config.training)
    epochs = epoch_count(len(batches), config.training)
    compile_joint(joint, config.training, steps=epochs * len(batches))
    if throwaway:
        joint = traced_before(joint, batches, config)
    monitor = Monitor(
        joint.network, prepared, config.training, epochs, checkpoint, fingerprint, stop_early=stop_early, show=show
    )
    monitor.set_model(joint)
    if checkpoint is not None and checkpoint.exists():
        monitor.restore(checkpoint)
    callbacks: list[keras.callbacks.Callback] = [monitor]
    if config.training.tensorboard and checkpoint is not None:
        callbacks.append(keras.callbacks.TensorBoard(checkpoint.parent / "tensorboard"))
    batches.start_at(monitor.epochs_done)
    if not monitor.ended:
        joint.fit(
            batches,
            epochs=epochs,
            initial_epoch=monitor.epochs_done,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    prepared.network.set_weights(monitor.best_weights)
    return pd.DataFrame(monitor.history)


def seed_everything(seed: int) -> None:
    """One seed for Python, NumPy and Keras, and operators that give the same sum every time."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def epoch_count(steps_per_epoch: int, config: TrainingConfig) -> int:
    """Epochs within both `max_epochs` and `max_steps`, at least one."""
    return max(1, min(config.max_epochs, config.max_steps // steps_per_epoch))


def joint_model(prepared: Prepared, config: Config) -> tuple[JointModel, npt.NDArray[np.float32]]:
    """The trainable model and the rows that it reads.

    Without augmentation the channels are constant, so training starts from the features computed
    once; with it, from the absorbance on the model's grid.
    """
    targets, training = prepared.problem.targets, config.training
    balancing = STRATEGIES[training.balancing](len(targets), training)
    body, rows = prepared.network, prepared.train_features
    if is_active(config.augmentation):
        rows = prepared.train_absorbance
        absorbance = keras.Input(rows.shape[1:], name="absorbance")
        distorted = Augment(config.augmentation, prepared.grid_nm, training.seed)(absorbance)
        body = keras.Model(absorbance, body(prepared.channel_stage(distorted)), name="body")
    model = FollowingModel if training.balancing in ("famo", "gradnorm") else JointModel
    return model(prepared.network, body, targets, balancing, training.huber_delta), rows


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


_last_traced: tuple[Any, JointModel] | None = None
"""What the last throwaway model of this process computes, and the model."""


def traced_before(joint: JointModel, batches: "Batches", config: Config) -> JointModel:
    """The last throwaway model with the numbers of `joint`, where both compute the same; else `joint`.

    TensorFlow needs a third of a small network's training to trace a step. The networks of several folds differ in
    their variables alone, mostly; where their correlations make other wirings, or their rows other step counts, they
    are traced anew.

    Args:
        joint: Compiled, not yet trained.
        batches: What it will be trained on.
        config: Of the training.
    """
    global _last_traced
    if is_active(config.augmentation):
        return joint
    same_for_all = dataclasses.replace(config.training, seed=0)
    computed = (joint.network.to_json(), same_for_all, len(batches), batches.size)
    if _last_traced is None or _last_traced[0] != computed:
        _last_traced = computed, joint
        return joint
    last = _last_traced[1]
    for ours, theirs in ((last, joint), (last.optimizer, joint.optimizer)):
        for variable, value in zip(ours.variables, theirs.variables, strict=True):
            variable.assign(value)
    return last


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
        return np.nan, dict.fromkeys(prepared.problem.targets, np.nan)
    # Not `predict`, whose setting up costs a tenth of an epoch of a small library.
    blocks = [
        network.predict_on_batch(features[first : first + VALIDATION_BLOCK])
        for first in range(0, len(features), VALIDATION_BLOCK)
    ]
    errors, r2 = [], {}
    for column, target in enumerate(prepared.problem.targets):
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
