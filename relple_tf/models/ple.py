"""PLE: progressive layered extraction (Tang et al. 2020, RecSys, doi 10.1145/3383313.3412236, Eq. 2-10)."""

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import Gates, routing


def ple_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """`model.levels` levels; a target's gate reads its own experts and the shared ones."""
    return routing(config, spec, config.levels)


def ple(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Own and shared experts on several levels.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    return extraction_network(config, spec, keras, ple_routing(config, spec), name="ple")
