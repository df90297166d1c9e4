"""The trainable model: network, joint loss and balancing strategy."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from relple_tf.training.balancing import Balancing, Famo, GradNorm
from relple_tf.training.losses import masked_losses


class JointModel(keras.Model):
    """Trains `network` on the joint loss.

    Args:
        network: Features -> {target: (batch, 1)} in standard deviations; the only part that is kept after training.
        body: Training rows -> outputs of `network`: the network itself, or augmentation, front end and network.
        targets: K names, in the order of the columns of y.
        balancing: Strategy that weighs the losses of the targets.
        huber_delta: See `masked_losses`.
    """

    def __init__(
        self,
        network: keras.Model,
        body: keras.Model,
        targets: Sequence[str],
        balancing: Balancing,
        huber_delta: float,
    ) -> None:
        super().__init__(name="joint")
        self.network, self.body = network, body
        self.targets = list(targets)
        self.balancing = balancing
        self.huber_delta = huber_delta
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        outputs = self.body(x, training=training)
        return ops.concatenate([outputs[target] for target in self.targets], axis=1)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the joint loss of `y_pred` and `y`, both (batch, K); y is NaN where a value was not measured."""
        losses, present = masked_losses(y, y_pred, self.huber_delta)
        return self.balancing(losses, present)


class CustomStepModel(JointModel):
    """Joint model with the training step of FAMO and GradNorm, which read more of a step than its losses.

    Written in TensorFlow: GradNorm reads gradients and FAMO the losses after the step, for which Keras has no
    backend-neutral call.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shared = last_shared_layer(self.network) if isinstance(self.balancing, GradNorm) else None

    def train_step(self, data: tuple[Any, Any]) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape(persistent=self.shared is not None) as tape:
            losses, present = masked_losses(y, self(x, training=True), self.huber_delta)
            total = self.balancing(losses, present)
            target_losses = tf.unstack(losses, num=len(self.targets))
        gradients = tape.gradient(total, self.trainable_weights)
        if self.shared is not None:
            kernel = self.shared.trainable_weights[0].value
            norms = [tf.norm(tape.gradient(loss, kernel)) for loss in target_losses]
            self.balancing.update_in_step(losses, tf.stack(norms), present)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        if isinstance(self.balancing, Famo):
            after, _ = masked_losses(y, self(x, training=True), self.huber_delta)
            self.balancing.update_in_step(losses, after, present)
        self._loss_tracker.update_state(total)
        results: dict[str, Any] = self.get_metrics_result()
        return results


def last_shared_layer(network: keras.Model) -> keras.layers.Layer:
    """Return the deepest layer with trainable weights that every output depends on.

    Raises:
        ValueError: the outputs have no layer in common.
    """
    ancestors = []
    for output in network.outputs:
        seen: set[int] = set()
        waiting = [output]
        while waiting:
            operation, _, _ = waiting.pop()._keras_history
            if id(operation) not in seen:
                seen.add(id(operation))
                for node in operation._inbound_nodes:
                    waiting.extend(node.input_tensors)
        ancestors.append(seen)
    common = set.intersection(*ancestors)
    shared = [layer for layer in network.layers if id(layer) in common and layer.trainable_weights]
    if not shared:
        raise ValueError(f"{network.name}: no layer is shared by all outputs")
    return shared[-1]
