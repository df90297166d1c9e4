"""Fewer or rounder weights by TFMOT, on the tf_keras twin: pruning, clustering, quantisation-aware training.

Importing TFMOT sets TF_USE_LEGACY_KERAS for the whole process, so this runs in the child of
`export.convert.conversion` alone.

A step wraps layers of a twin, trains the twin a little further on the training part, and hands its weights to a plain
one, which is converted as if it had never been otherwise. Pruned and clustered are the kernels of convolutions, dense
layers and LSTM. Left alone are the projections of the views and the kernel machines, which the twin is trained without;
the random bases, which are frozen; the heads, whose few weights carry the bases; and small kernels.

Quantisation-aware training rounds kernels and activations of the convolutions and dense layers that are trained, each
with one range. TFMOT knows no LSTM that it could round, nor the sums and products of gates and attention: they compute
in float meanwhile. RunResult of the plain twin rounds all of them in the end.

Heads were scaled by their share of the estimates when training ended (`relple_tf.training.stacking`), and the kernel
machines hold the rest. So a head over its share is compared with the measured values, which is what it once learned;
what the machines leave of the rows that they were fitted on is noise. A head whose share is 0 stays at 0.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.convert.converter_adapter import clustering, kernel_and_activation_in_8_bits
from export.convert.twin import Model, behind_views, twin
from relple_tf.errors import InputError

if TYPE_CHECKING:
    from export.bundling.stored_run import Floats, StoredRun

Weights = dict[str, dict[str, npt.NDArray[np.float32]]]
"""Layer -> weight, such as `kernel` or `bias` -> its values."""

COMPRESSIONS = (("pruned",), ("clustered",), ("qat",), ("pruned", "clustered"))
"""The steps that a recipe may name, in order; clustering after pruning keeps the zeros."""

SPARSITY = 0.5
"""Share of the weights of each pruned kernel that become 0."""

CLUSTERS = 16
"""Different values in each clustered kernel, at most."""

LEAST_WEIGHTS = 2 * CLUSTERS
"""Of a kernel that is pruned or clustered."""

UPDATES = 600
"""Of the weights in each step: a tenth of the `max_steps` of training."""

SLOWER = 0.1
"""Learning rate of a step over the highest of training; a cosine takes it to 0."""

PRUNING = 0.5
"""Share of UPDATES in which sparsity rises, cubically (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1)."""


def compressed(trained: "StoredRun", compression: tuple[str, ...], lstm_form: str, updates: int = UPDATES) -> Model:
    """The twin with compressed weights.

    Args:
        trained: Only its training part is read.
        compression: One of COMPRESSIONS.
        lstm_form: As for `twin`.
        updates: Of the weights in each step, in whole epochs, one at least.

    Returns:
        As from `twin`.

    Raises:
        InputError: the compression is unknown.
    """
    if compression not in COMPRESSIONS:
        known = ", ".join("+".join(steps) for steps in COMPRESSIONS)
        raise InputError(f"compression {'+'.join(compression)}: unknown; there are {known}")
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    data = training_data(trained)
    weights: Weights = {}
    for position, step in enumerate(compression):
        wrap = {"pruned": _pruning, "clustered": _clustering, "qat": _quantising}[step]
        weights = _taught(trained, weights, data, updates, wrap, keep_zeros=position > 0)
    network = twin(trained.network, trained.config.model, trained.spec, lstm_form=lstm_form)
    _give(weights, network)
    return network


def training_data(trained: "StoredRun") -> tuple[list["Floats"], "Floats"]:
    """What the twin without its views reads of the training part, and what it shall say.

    Returns:
        Features (n, bands, channels) with the scores of each view, and measured values (n, K) in standard deviations:
        NaN where not measured, and for a target whose head has no share of the estimates.
    """
    features = trained.features(trained.train_scans)
    _, scores = trained.near(features)
    shares = trained.card["model"]["stacking_weights"]
    values = [
        trained.scales[target].to_model(trained.train_values[target]) if shares[target] else unmeasured
        for unmeasured in [np.full(len(features), np.nan)]
        for target in trained.targets
    ]
    return [features, *map(np.asarray, scores)], np.stack(values, axis=1).astype("float32")


def compressible(network: Model, targets: tuple[str, ...]) -> dict[str, list[str]]:
    """Layer -> its kernels, of the layers that are pruned and clustered."""
    import tf_keras

    kinds = (tf_keras.layers.Conv1D, tf_keras.layers.Dense, tf_keras.layers.LSTM)
    found = {}
    for layer in network.layers:
        if not isinstance(layer, kinds) or not layer.trainable or layer.name in targets:
            continue
        kernels = {_own_name(one): one for one in layer.weights if _own_name(one) != "bias"}
        if min(int(np.prod(one.shape)) for one in kernels.values()) >= LEAST_WEIGHTS:
            found[layer.name] = sorted(kernels)
    return found


Wrapped = tuple[Model, list[Any], Callable[[Model], Model]]
"""A model to train, callbacks of its training, and what takes the wrappers off it."""


def _taught(
    trained: "StoredRun",
    weights: Weights,
    data: tuple[list["Floats"], "Floats"],
    updates: int,
    wrap: Callable[..., Wrapped],
    *,
    keep_zeros: bool,
) -> Weights:
    """The weights of one step."""
    import tf_keras

    from relple_tf.models.views import joined

    settings = trained.config.training
    # Before layers are made: Dropout and the centroids of clusters draw from seeds of that moment.
    tf_keras.utils.set_random_seed(settings.seed)
    student = twin(trained.network, trained.config.model, trained.spec, lstm_form="fused")
    _give(weights, student)
    core = behind_views(student)
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
    schedule = tf_keras.optimizers.schedules.CosineDecay(SLOWER * settings.learning_rate, epochs * per_epoch)
    model.compile(tf_keras.optimizers.Adam(schedule, clipnorm=1.0), joint_loss(trained))
    model.fit(rows, values, batch_size=batch, epochs=epochs, callbacks=callbacks, verbose=0)
    return _named(strip(model))


def joint_loss(trained: "StoredRun") -> Callable[[Any, Any], Any]:
    """Mean over targets of the masked Huber loss of training; (batch, K) measured and estimated, in SDs.

    Equal weights, not the balance that training found, which is not kept with a run.
    """
    import tensorflow as tf

    from relple_tf.training.losses import masked_losses

    shares = np.array([trained.card["model"]["stacking_weights"][target] for target in trained.targets], "float32")
    factors = 1 / np.where(shares > 0, shares, 1)

    def loss(measured: Any, estimated: Any) -> Any:
        losses, present = masked_losses(measured, estimated * factors, trained.config.training.huber_delta)
        return tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(present), 1.0)

    return loss


def _pruning(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    pruning = _tfmot().sparsity.keras
    end = max(1, round(PRUNING * updates))
    every = max(1, end // 10)
    # Of whole intervals: past the last one of them nothing more is pruned.
    schedule = pruning.PolynomialDecay(0.0, SPARSITY, begin_step=0, end_step=end - end % every, frequency=every)
    wrapped = _with(model, layers, lambda layer: pruning.prune_low_magnitude(layer, schedule))
    return wrapped, [pruning.UpdatePruningStep()], pruning.strip_pruning


def _clustering(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    public = _tfmot().clustering.keras
    kind = public.CentroidInitialization.KMEANS_PLUS_PLUS
    wrapped = _with(model, layers, lambda layer: clustering(layer, CLUSTERS, kind, keep_zeros=keep_zeros))
    return wrapped, [], public.strip_clustering


def _quantising(model: Model, layers: dict[str, list[str]], *, updates: int, keep_zeros: bool) -> Wrapped:
    """Rounds every convolution and dense layer that is trained, heads and small kernels too."""
    import tf_keras

    quantising, kinds = _tfmot().quantization.keras, (tf_keras.layers.Conv1D, tf_keras.layers.Dense)
    # A frozen layer would be trained: the wrapper counts the kernel among its own weights.
    names = [layer.name for layer in model.layers if isinstance(layer, kinds) and layer.trainable]
    config = kernel_and_activation_in_8_bits()
    annotated = _with(model, names, lambda layer: quantising.quantize_annotate_layer(layer, config))
    with quantising.quantize_scope():
        wrapped = quantising.quantize_apply(annotated, quantized_layer_name_prefix="")
    return wrapped, [], lambda trained: trained


def _with(model: Model, names: Any, wrap: Callable[[Any], Any]) -> Model:
    """The model with some of its layers wrapped."""
    import tf_keras

    return tf_keras.models.clone_model(
        model, clone_function=lambda layer: wrap(layer) if layer.name in names else layer
    )


def _tfmot() -> Any:
    """The library; it ships no types."""
    return importlib.import_module("tensorflow_model_optimization")


def _own_name(variable: Any) -> str:
    return str(variable.name).rpartition("/")[2].partition(":")[0]


def _named(model: Model) -> Weights:
    return {layer.name: {_own_name(one): one.numpy() for one in layer.weights} for layer in model.layers}


def _give(weights: Weights, network: Model) -> None:
    """Give a network the weights, if there are any; the views have none, for the student was without them."""
    for layer in network.layers:
        if weights and (layer.trainable or layer.name in weights):
            for variable in layer.weights:
                variable.assign(weights[layer.name][_own_name(variable)])
