"""Keras callbacks that a config names."""

import importlib
from collections.abc import Sequence

import keras

from relple_tf.errors import InputError


def load_callbacks(names: Sequence[str]) -> tuple[keras.callbacks.Callback, ...]:
    """Import each function `package.module:function` and call it.

    Raises:
        InputError: the name has another form, its module or function is missing, or it returns no Keras callback.
    """
    callbacks = []
    for name in names:
        module, colon, function = name.partition(":")
        if not (colon and module and function.isidentifier()):
            raise InputError(f"training.callbacks: expected package.module:function; received {name!r}")
        try:
            factory = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise InputError(f"training.callbacks: {name}: expected an importable function; {error}") from None
        callback = factory()
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                f"training.callbacks: {name}: expected a Keras callback; received {type(callback).__name__}"
            )
        callbacks.append(callback)
    return tuple(callbacks)
