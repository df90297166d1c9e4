"""A gate, and the mixture of experts that it weighs."""

from collections.abc import Sequence

from relple_tf.models.network_spec import Keras, Tensor


def mixture(
    selector: Tensor,
    experts: Sequence[Tensor],
    keras: Keras,
    *,
    name: str,
    offsets: Sequence[float] | None = None,
) -> Tensor:
    """Weigh `experts` by softmax(W selector + offsets) and sum them (Tang et al. 2020, Eq. 2-4).

    Args:
        selector: (batch, n), the input of the gate.
        experts: k tensors of shape (batch, d).
        name: Name of the sum; the gate is `{name}.gate`, the map W is `{name}.logits`.
        offsets: k numbers added to the logits; relevance sharing acts here. None adds nothing.

    Returns:
        (batch, d). A single expert passes unweighted, because its softmax is 1.
    """
    if len(experts) == 1:
        return experts[0]
    layers = keras.layers
    logits = layers.Dense(len(experts), use_bias=False, name=f"{name}.logits")(selector)
    if offsets is not None and any(offsets):
        logits = layers.Rescaling(1.0, offsets, name=f"{name}.relevance")(logits)
    gate = layers.Softmax(name=f"{name}.gate")(logits)
    # A mean times the count: Dot becomes int8 BATCH_MATMUL, which is wrong on some runtimes. One product over all
    # experts needs fewer operators than a product per expert.
    count, units = len(experts), experts[0].shape[1]
    side_by_side = layers.Concatenate(name=f"{name}.experts")(experts)
    stacked = layers.Reshape((count, units), name=f"{name}.stacked")(side_by_side)
    weights = layers.Reshape((count, 1), name=f"{name}.weights")(gate)
    weighted = layers.Multiply(name=f"{name}.weighted")([stacked, weights])
    mean = layers.GlobalAveragePooling1D(name=f"{name}.mean")(weighted)
    return layers.Rescaling(float(count), name=name)(mean)
