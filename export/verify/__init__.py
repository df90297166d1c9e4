"""Every file against the Keras model on every runtime."""
