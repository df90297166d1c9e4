"""Compression of the network's weights with TFMOT: pruning, clustering, quantisation-aware training.

Importing TFMOT sets TF_USE_LEGACY_KERAS for the whole process, so only the child process of
`export.convert.conversion` imports it.

Each step wraps layers of the tf_keras twin, trains the twin briefly on the training part, and copies its weights to a
plain twin, which is then converted. Pruning and clustering change the kernels of convolutions, dense layers and LSTM.
They do not change the projections of the views and the kernel regression, which the trained twin does not contain; the
random bases, which are frozen; the heads, whose few weights read the bases; and small kernels.

Quantisation-aware training rounds kernels and activations of the trainable convolutions and dense layers, each with
one range. TFMOT cannot round the LSTM, nor the sums and products of gates and attention: these stay in float during
training. Converting the plain twin quantises all of them at the end.

Training ends by scaling each head by its stacking weight w and the kernel regression by 1 - w
(`relple_tf.training.stacking`). Therefore the loss divides a head's output by w before it compares it with the measured
values: that is the quantity that the head was trained on. The residuals of the kernel regression on the rows that it
was fitted on are noise, so they are no target. A head with weight 0 stays at 0.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.convert.converter_adapter import clustering, kernel_and_activation_in_8_bits
from export.convert.twin import Model, after_views, twin
from relple_tf.errors import InputError

if TYPE_CHECKING:
    from export.bundling.stored_run import Floats, StoredRun

Weights = dict[str, dict[str, npt.NDArray[np.float32]]]
"""Layer -> weight, such as `kernel` or `bias` -> its values."""

COMPRESSIONS = (("pruned",), ("clustered",), ("qat",), ("pruned", "clustered"))
"""Allowed sequences of steps; clustering after pruning keeps the zeros."""

SPARSITY = 0.5
"""Fraction of the weights of each pruned kernel that become 0."""

CLUSTERS = 16
"""Largest number of different values in each clustered kernel."""

MIN_WEIGHTS = 2 * CLUSTERS
"""Smaller kernels are neither pruned nor clustered."""

UPDATES = 600
"""Weight updates in each step: a tenth of the `max_steps` of training."""

LEARNING_RATE_FACTOR = 0.1
"""Initial learning rate of a step, as a fraction of the highest rate of training; a cosine decays it to 0."""

PRUNING_FRACTION = 0.5
"""Fraction of UPDATES in which sparsity rises, cubically (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1)."""


def compressed(trained: "StoredRun", compression: tuple[str, ...], lstm_form: str, updates: int = UPDATES) -> Model:
    """Build the twin with compressed weights.

    Args:
        trained: The run; only its training part is used.
        compression: An entry of COMPRESSIONS.
        lstm_form: As for `twin`.
        updates: Weight updates in each step, rounded to whole epochs, at least one epoch.

    Returns:
        As from `twin`.

    Raises:
        InputError: the compression is unknown.
    """
    if compression not in COMPRESSIONS:
        names = ", ".join("+".join(steps) for steps in COMPRESSIONS)
        raise InputError(f"compression {'+'.join(compression)} is unknown; choose from {names}")
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    data = training_data(trained)
    weights: Weights = {}
    for position, step in enumerate(compression):
        wrap = {"pruned": _pruning, "clustered": _clustering, "qat": _quantising}[step]
        weights = _weights_after_step(trained, weights, data, updates, wrap, keep_zeros=position > 0)
    network = twin(trained.network, trained.config.model, trained.spec, lstm_form=lstm_form)
    _set_weights(weights, network)
    return network


def training_data(trained: "StoredRun") -> tuple[list["Floats"], "Floats"]:
    """Inputs and measured values of the training part, for the twin without its views.

    Returns:
        [features (n, bands, channels), scores (n, components) of each view], and measured values (n, K) in standard
        deviations: NaN where not measured, and for a target whose head has stacking weight 0.
    """
    features = trained.library_features(trained.train_scans)
    _, scores = trained.projections(features)
    stacking_weights = trained.card["model"]["stacking_weights"]
    unmeasured = np.full(len(features), np.nan)
    values = [
        trained.scales[target].to_model(trained.train_values[target]) if stacking_weights[target] else unmeasured
        for target in trained.targets
    ]
    return [features, *map(np.asarray, scores)], np.stack(values, axis=1).astype("float32")


def compressible(network: Model, targets: tuple[str, ...]) -> dict[str, list[str]]:
    """Layer -> names of its kernels, for the layers that are pruned and clustered."""
    import tf_keras

    kinds = (tf_keras.layers.Conv1D, tf_keras.layers.Dense, tf_keras.layers.LSTM)
    kernels_of = {}
    for layer in network.layers:
        if not isinstance(layer, kinds) or not layer.trainable or layer.name in targets:
            continue
        kernels = {_short_name(weight): weight for weight in layer.weights if _short_name(weight) != "bias"}
        if min(int(np.prod(kernel.shape)) for kernel in kernels.values()) >= MIN_WEIGHTS:
            kernels_of[layer.name] = sorted(kernels)
    return kernels_of


Wrapped = tuple[Model, list[Any], Callable[[Model], Model]]
"""A model to train, the callbacks of its training, and a function that removes the wrappers."""


def _weights_after_step(
    trained: "StoredRun",
    weights: Weights,
    data: tuple[list["Floats"], "Floats"],
    updates: int,
    wrap: Callable[..., Wrapped],
    *,
    keep_zeros: bool,
) -> Weights:
    """Train a twin with the wrappers of one step, and return its weights."""
    import tf_keras

    from relple_tf.models.views import joined

    settings = trained.config.training
    # Before layers are made: Dropout and the cluster centroids take their seeds when they are created.
    tf_keras.utils.set_random_seed(settings.seed)
    student = twin(trained.network, trained.config.model, trained.spec, lstm_form="fused")
    _set_weights(weights, student)
    core = after_views(student)
    outputs = joined([core.output[target] for target in trained.targets], tf_keras, name="estimates")
    rows, values = data
    batch = min(settings.batch_size, len(values))
    per_epoch = -(-len(values) // batch)
    epochs = max(1, round(updates / per_epoch))
    model, callbacks, strip = wrap(
        tf_keras.Model(core.input, outputs),
        compressible(core, trained.targets),
        updates=epochs * per_epoch,
        keep_zeros=keep_zeros,
    )
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE_FACTOR * settings.learning_rate, epochs * per_epoch
    )
    model.compile(tf_keras.optimizers.Adam(schedule, clipnorm=1.0), joint_loss(trained))
    model.fit(rows, values, batch_size=batch, epochs=epochs, callbacks=callbacks, verbose=0)
    return _weights_by_layer(strip(model))


def joint_loss(trained: "StoredRun") -> Callable[[Any, Any], Any]:
    """Mean over targets of the masked Huber loss of training, on (batch, K) measured and predicted values in SDs.

    All targets have equal loss weights: a run does not store the weights that the balancing strategy ended with.
    """
    import tensorflow as tf

    from relple_tf.training.losses import masked_losses

    stacking_weights = np.array(
        [trained.card["model"]["stacking_weights"][target] for target in trained.targets], "float32"
    )
    factors = 1 / np.where(stacking_weights > 0, stacking_weights, 1)

    def loss(measured: Any, predicted: Any) -> Any:
        losses, present = masked_losses(measured, predicted * factors, trained.config.training.huber_delta)
        return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(present), 1.0)

    return loss


def _pruning(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    pruning = _tfmot().sparsity.keras
    end = max(1, round(PRUNING_FRACTION * updates))
    every = max(1, end // 10)
    # End on a whole interval: TFMOT prunes only at multiples of `frequency`.
    schedule = pruning.PolynomialDecay(0.0, SPARSITY, begin_step=0, end_step=end - end % every, frequency=every)
    wrapped = _with(model, layers, lambda layer: pruning.prune_low_magnitude(layer, schedule))
    return wrapped, [pruning.UpdatePruningStep()], pruning.strip_pruning


def _clustering(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    public = _tfmot().clustering.keras
    kind = public.CentroidInitialization.KMEANS_PLUS_PLUS
    wrapped = _with(model, layers, lambda layer: clustering(layer, CLUSTERS, kind, keep_zeros=keep_zeros))
    return wrapped, [], public.strip_clustering


def _quantising(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    """Round every trainable convolution and dense layer, including heads and small kernels."""
    import tf_keras

    quantising, kinds = _tfmot().quantization.keras, (tf_keras.layers.Conv1D, tf_keras.layers.Dense)
    # The wrapper would train a frozen layer: it adds the kernel to its trainable weights.
    names = [layer.name for layer in model.layers if isinstance(layer, kinds) and layer.trainable]
    config = kernel_and_activation_in_8_bits()
    annotated = _with(model, names, lambda layer: quantising.quantize_annotate_layer(layer, config))
    with quantising.quantize_scope():
        wrapped = quantising.quantize_apply(annotated, quantized_layer_name_prefix="")
    return wrapped, [], lambda trained: trained


def _with(model: Model, names: Any, wrap: Callable[[Any], Any]) -> Model:
    """Copy the model with the layers of these names wrapped."""
    import tf_keras

    return tf_keras.models.clone_model(
        model, clone_function=lambda layer: wrap(layer) if layer.name in names else layer
    )


def _tfmot() -> Any:
    """Import TFMOT; it ships no types."""
    return importlib.import_module("tensorflow_model_optimization")


def _short_name(variable: Any) -> str:
    """`kernel` of `layer/kernel:0`."""
    return str(variable.name).rpartition("/")[2].partition(":")[0]


def _weights_by_layer(model: Model) -> Weights:
    return {layer.name: {_short_name(weight): weight.numpy() for weight in layer.weights} for layer in model.layers}


def _set_weights(weights: Weights, network: Model) -> None:
    """Set the weights of a network; empty `weights` change nothing, and frozen layers without an entry stay."""
    for layer in network.layers:
        if weights and (layer.trainable or layer.name in weights):
            for variable in layer.weights:
                variable.assign(weights[layer.name][_short_name(variable)])
