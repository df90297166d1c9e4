"""The catalogue of network builders."""

from collections.abc import Callable

from relple_tf.config import ModelConfig
from relple_tf.models.mmoe import mmoe
from relple_tf.models.ple import ple
from relple_tf.models.problem import Keras, Problem, Tensor
from relple_tf.models.shared_bottom import shared_bottom
from relple_tf.models.single_task import single_task

BUILDERS: dict[str, Callable[[ModelConfig, Problem, Keras], Tensor]] = {
    "single_task": single_task,
    "shared_bottom": shared_bottom,
    "mmoe": mmoe,
    "cgc": ple,
    "ple": ple,
    "rs_ple": ple,
}


def build(config: ModelConfig, problem: Problem, keras: Keras) -> Tensor:
    """The network of `config.architecture`, from features to standardised targets.

    Args:
        keras: The Keras module whose layers are used: `keras`, or `tf_keras` for the twin.

    Returns:
        A functional model, (batch, bands, channels) -> {target: (batch, 1)}.
    """
    return BUILDERS[config.architecture](config, problem, keras)
