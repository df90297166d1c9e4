"""One seed for everything random."""

import keras
import tensorflow as tf


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and Keras, and choose operators that give the same sum every time."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
