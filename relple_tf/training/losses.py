"""Loss of each target over the rows in which it was measured."""

from typing import Any

from keras import ops


def masked_losses(measured: Any, predicted: Any, huber_delta: float) -> tuple[Any, Any]:
    """Compute the mean loss of each target over the rows in which it was measured.

    Args:
        measured: (batch, K) in standard deviations, NaN where not measured.
        predicted: (batch, K) likewise, without NaN.
        huber_delta: Errors above it count linearly (Huber 1964); 0 is the squared error. Both are half the square for
            small errors.

    Returns:
        (K,) losses, 0 for a target without a measured value in the batch; (K,) 1.0 for targets with one, else 0.0.
    """
    is_measured = ops.logical_not(ops.isnan(measured))
    mask = ops.cast(is_measured, predicted.dtype)
    # NaN must not enter the subtraction: 0 * NaN is NaN, also in the gradient.
    error = (predicted - ops.where(is_measured, measured, ops.zeros_like(measured))) * mask
    size = ops.abs(error)
    row_losses = 0.5 * ops.square(error)
    if huber_delta > 0:
        row_losses = ops.where(size <= huber_delta, row_losses, huber_delta * (size - 0.5 * huber_delta))
    count = ops.sum(mask, axis=0)
    losses = ops.sum(row_losses, axis=0) / ops.maximum(count, 1.0)
    return losses, ops.cast(count > 0, predicted.dtype)
