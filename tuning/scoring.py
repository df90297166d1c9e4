"""What a trial does, by a name that imports nothing slow: a new process reads it before it may take TensorFlow in."""

from typing import Any

from relple_tf.command_line import import_tensorflow
from relple_tf.config import Config


def score_config(soils: Any, config: Config) -> dict[str, float]:
    """`objective.score`: R2 of each target."""
    import_tensorflow()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of the graphs that every trial has anew
    from tuning.objective import score

    return score(soils, config)
