"""The catalogue of architectures: name -> builder, and name -> routing for architectures with gates."""

from collections.abc import Callable

from relple_tf.config import ModelConfig
from relple_tf.models.cgc import cgc, cgc_routing
from relple_tf.models.mmoe import mmoe, mmoe_routing
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.ple import ple, ple_routing
from relple_tf.models.routing import Gates
from relple_tf.models.rs_ple import rs_ple, rs_ple_routing
from relple_tf.models.shared_bottom import shared_bottom
from relple_tf.models.single_task import single_task

BUILDERS: dict[str, Callable[[ModelConfig, NetworkSpec, Keras], Tensor]] = {
    "single_task": single_task,
    "shared_bottom": shared_bottom,
    "mmoe": mmoe,
    "cgc": cgc,
    "ple": ple,
    "rs_ple": rs_ple,
}

ROUTINGS: dict[str, Callable[[ModelConfig, NetworkSpec], list[Gates]]] = {
    "mmoe": mmoe_routing,
    "cgc": cgc_routing,
    "ple": ple_routing,
    "rs_ple": rs_ple_routing,
}
"""Architectures with gates -> the function that returns which gate reads which experts."""


def build(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build the network of `config.architecture`, from features to standardised targets.

    Args:
        keras: The Keras module whose layers are used: `keras`, or `tf_keras` for the legacy twin that export converts.

    Returns:
        A functional model, (batch, bands, channels) -> {target: (batch, 1)}.
    """
    return BUILDERS[config.architecture](config, spec, keras)
