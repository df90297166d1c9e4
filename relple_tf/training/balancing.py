"""Ten strategies that weigh the losses of the targets in the joint loss.

Each is a layer that maps the losses (K,) and a mask of the targets measured in this batch (K,) to the joint loss. Its
state is saved with the checkpoint and is not part of the deployed model. For every strategy, `weights_used` is the
derivative of the joint loss with respect to each target's loss, so that strategies can be compared in one plot.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from relple_tf.config import TrainingConfig

EPSILON = 1e-8
"""Added to a loss before its logarithm is taken or something is divided by it."""


class Balancing(keras.layers.Layer):
    """Base of the strategies: keeps the weights of the last batch and the sums of weights and losses of the epoch.

    Args:
        count: K, the number of targets.
        config: Hyperparameters of the strategies, and the seed.
    """

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(name="balancing", dtype="float32")
        self.count = count
        self.config = config
        self.weights_used = self._state("weights_used", 1.0)
        self.weight_sum = self._state("weight_sum", 0.0)
        self.loss_sum = self._state("loss_sum", 0.0)
        self.batch_count = self._state("batch_count", 0.0)
        self.built = True

    def _state(self, name: str, start: float, *, trainable: bool = False) -> Any:
        return self.add_weight(
            shape=(self.count,),
            initializer=keras.initializers.Constant(start),
            trainable=trainable,
            name=name,
        )

    def call(self, losses: Any, present: Any) -> Any:
        """Return the joint loss, a scalar; a target that is measured in no row of the batch adds 0."""
        total, weights = self.combine(losses, present)
        self.weights_used.assign(ops.stop_gradient(weights))
        self.weight_sum.assign_add(ops.stop_gradient(weights))
        self.loss_sum.assign_add(ops.stop_gradient(losses))
        self.batch_count.assign_add(present)
        return total

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        """Return the joint loss and its derivative with respect to each loss; by default weighted by `task_weights`."""
        weights = present * ops.stop_gradient(self.task_weights())
        return ops.sum(weights * losses), weights

    def task_weights(self) -> Any:
        """Return weights (K,) that do not depend on the losses of this batch; by default 1."""
        return ops.ones((self.count,))

    def end_epoch(self, epoch: int) -> np.ndarray:
        """Call `update` with the mean losses of `epoch` (counted from 0) and reset the sums.

        Returns:
            (K,) mean weights of the epoch, over the batches in which a target was measured.
        """
        batches = np.maximum(np.asarray(self.batch_count), 1.0)
        weights: np.ndarray = np.asarray(self.weight_sum) / batches
        self.update(epoch, np.asarray(self.loss_sum) / batches)
        for total in (self.weight_sum, self.loss_sum, self.batch_count):
            total.assign(np.zeros(self.count))
        return weights

    def update(self, epoch: int, losses: np.ndarray) -> None:
        """Update the state of a strategy that changes once per epoch; `losses` (K,) are the means of the epoch."""


class Equal(Balancing):
    """Unweighted sum of the losses."""


class Uncertainty(Balancing):
    """exp(-s)/2 * L + s/2 with a trained s = log sigma^2 (Kendall et al. 2018, CVPR, Eq. 7)."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.log_variance = self._state("log_variance", 0.0, trainable=True)

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        weights = 0.5 * ops.exp(-self.log_variance) * present
        return ops.sum(weights * losses + 0.5 * self.log_variance * present), weights


class RevisedUncertainty(Balancing):
    """L / (2 sigma^2) + log(1 + sigma^2), which is never negative (Liebel & Koerner 2018, Eq. 4)."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.sigma = self._state("sigma", 1.0, trainable=True)

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        variance = ops.square(self.sigma)
        weights = 0.5 / (variance + EPSILON) * present
        return ops.sum(weights * losses + ops.log(1 + variance) * present), weights


class PleSchedule(Balancing):
    """w0 * gamma^t, t in epochs (Tang et al. 2020, Eq. 10)."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.epoch = self.add_weight(shape=(), initializer="zeros", trainable=False, name="epoch")
        self.start = np.array(config.schedule_start or [1.0] * count, "float32")
        self.decay = np.array(config.schedule_decay or [0.99] * count, "float32")

    def task_weights(self) -> Any:
        return self.start * ops.power(self.decay, self.epoch)

    def update(self, epoch: int, losses: np.ndarray) -> None:
        self.epoch.assign(epoch + 1.0)


class Dwa(Balancing):
    """K * softmax(r / T), r the ratio of the last two epochs' losses (Liu, Johns, Davison 2019, CVPR, Eq. 7).

    In the first two epochs the weights are equal.
    """

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.last_losses = self._state("last", 1.0)
        self.losses_before = self._state("before", 1.0)

    def task_weights(self) -> Any:
        ratio = self.last_losses / (self.losses_before + EPSILON)
        return self.count * ops.softmax(ratio / self.config.dwa_temperature)

    def update(self, epoch: int, losses: np.ndarray) -> None:
        last = np.asarray(self.last_losses)
        # A target without a measured value in the epoch keeps its last loss.
        losses = np.where(losses > 0, losses, last)
        self.losses_before.assign(last if epoch else losses)
        self.last_losses.assign(losses)


class Rlw(Balancing):
    """K * softmax of standard normal numbers, sampled for every batch (Lin et al. 2022, TMLR)."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.seed_generator = keras.random.SeedGenerator(config.seed)

    def task_weights(self) -> Any:
        logits = keras.random.normal((self.count,), seed=self.seed_generator)
        return self.count * ops.softmax(logits)


class Geometric(Balancing):
    """Mean logarithm of the losses, the logarithm of their geometric mean (Chennupati et al. 2019, CVPRW)."""

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        number = ops.maximum(ops.sum(present), 1.0)
        weights = present / (losses + EPSILON) / number
        return ops.sum(present * ops.log(losses + EPSILON)) / number, weights


class ImtlL(Balancing):
    """exp(s) * L - s with a trained s, which drives all scaled losses to 1 (Liu et al. 2021, ICLR, IMTL-L)."""

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.log_scale = self._state("log_scale", 0.0, trainable=True)

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        weights = ops.exp(self.log_scale) * present
        return ops.sum(weights * losses - self.log_scale * present), weights


class Famo(Balancing):
    """Sum of z log L, z = softmax of logits, for equal relative progress of the targets (Liu et al. 2023, NeurIPS).

    After each step, a gradient step moves the logits by the relative change of the losses (Algorithm 1). For this the
    training step calls `update_in_step` with the losses of the same batch before and after the step of the network.
    """

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.logits = self._state("logits", 0.0)
        self.optimizer_mean = self._state("optimizer_mean", 0.0)
        self.optimizer_square = self._state("optimizer_square", 0.0)
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def combine(self, losses: Any, present: Any) -> tuple[Any, Any]:
        z = self._z(present)
        raw = z / (losses + EPSILON)
        scale = ops.stop_gradient(1.0 / ops.maximum(ops.sum(raw), EPSILON))
        weights = ops.stop_gradient(scale * raw)
        return scale * ops.sum(z * ops.log(losses + EPSILON)), weights

    def _z(self, present: Any) -> Any:
        """Softmax (K,) of the logits over the targets that are present."""
        z = ops.softmax(self.logits) * present
        return ops.stop_gradient(z / ops.maximum(ops.sum(z), EPSILON))

    def update_in_step(self, before: Any, after: Any, present: Any) -> None:
        """Make an Adam step of the logits, from the losses (K,) before and after the step of the network."""
        decrease = (ops.log(before + EPSILON) - ops.log(after + EPSILON)) * present
        z = self._z(present)
        gradient = z * (decrease - ops.sum(z * decrease)) + self.config.famo_weight_decay * self.logits
        self.step.assign_add(1.0)
        self.optimizer_mean.assign(0.9 * self.optimizer_mean + 0.1 * gradient)
        self.optimizer_square.assign(0.999 * self.optimizer_square + 0.001 * ops.square(gradient))
        mean = self.optimizer_mean / (1 - ops.power(0.9, self.step))
        square = self.optimizer_square / (1 - ops.power(0.999, self.step))
        self.logits.assign_add(-self.config.famo_learning_rate * mean / (ops.sqrt(square) + 1e-8))


class GradNorm(Balancing):
    """Weights that equalise the gradient norms of the targets on the last shared layer (Chen et al. 2018, ICML).

    The training step calls `update_in_step` with the gradient norms of the unweighted losses.
    """

    def __init__(self, count: int, config: TrainingConfig) -> None:
        super().__init__(count, config)
        self.current_weights = self._state("task", 1.0)
        self.first_losses = self._state("first_losses", 0.0)

    def task_weights(self) -> Any:
        return self.current_weights

    def update_in_step(self, losses: Any, norms: Any, present: Any) -> None:
        """Make a gradient step of the weights on Eq. 2, then scale them to sum to K (Algorithm 1).

        Args:
            losses: (K,) of this batch.
            norms: (K,) gradient norms of the unweighted losses on the last shared layer.
            present: (K,) 1.0 for targets measured in this batch; the weights of the others change only by the scaling.
        """
        first = ops.where(self.first_losses > 0, self.first_losses, losses)
        self.first_losses.assign(first)
        number = ops.maximum(ops.sum(present), 1.0)
        relative = losses / (first + EPSILON)
        rate = relative / (ops.sum(relative * present) / number + EPSILON)
        weighted = self.current_weights * norms
        mean = ops.sum(weighted * present) / number
        desired = mean * ops.power(ops.maximum(rate, EPSILON), self.config.gradnorm_alpha)
        gradient = ops.sign(weighted - desired) * norms * present / (ops.max(norms) + EPSILON)
        weights = ops.maximum(self.current_weights - GRADNORM_STEP * gradient, 1e-3)
        self.current_weights.assign(weights * self.count / ops.sum(weights))


GRADNORM_STEP = 0.025
"""Step size of GradNorm's weights (Chen et al. 2018 use 0.025 for NYUv2); gradients are scaled to at most 1."""

STRATEGIES: dict[str, Callable[[int, TrainingConfig], Balancing]] = {
    "equal": Equal,
    "uncertainty": Uncertainty,
    "revised_uncertainty": RevisedUncertainty,
    "ple_schedule": PleSchedule,
    "dwa": Dwa,
    "rlw": Rlw,
    "geometric": Geometric,
    "imtl_l": ImtlL,
    "famo": Famo,
    "gradnorm": GradNorm,
}
"""Name in `training.balancing` -> strategy."""
