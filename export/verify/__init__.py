"""Verification of every device file against the Keras model on every runtime."""
