"""The loss of each target over the rows where it was measured."""

from typing import Any

from keras import ops


def masked_losses(measured: Any, predicted: Any, huber_delta: float) -> tuple[Any, Any]:
    """Mean loss per target over its measured rows.

    Args:
        measured: (batch, K) in standard deviations, NaN where not measured.
        predicted: (batch, K) likewise, without NaN.
        huber_delta: Errors beyond it count linearly (Huber 1964); 0 is the squared error. Half the
            square is taken in both, so that they agree on small errors.

    Returns:
        (K,) losses, 0 where no row of the batch was measured, and (K,) 1.0 or 0.0: was any
        measured.
    """
    known = ops.logical_not(ops.isnan(measured))
    mask = ops.cast(known, predicted.dtype)
    # NaN must not enter the subtraction: 0 * NaN is NaN in the gradient too.
    error = (predicted - ops.where(known, measured, ops.zeros_like(measured))) * mask
    size = ops.abs(error)
    each = 0.5 * ops.square(error)
    if huber_delta > 0:
        each = ops.where(size <= huber_delta, each, huber_delta * (size - 0.5 * huber_delta))
    count = ops.sum(mask, axis=0)
    losses = ops.sum(each, axis=0) / ops.maximum(count, 1.0)
    return losses, ops.cast(count > 0, predicted.dtype)
