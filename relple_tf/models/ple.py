"""PLE: progressive layered extraction.

Tang et al. (2020), RecSys, doi 10.1145/3383313.3412236, Eq. 2-10. PLE adds to CGC further levels: each level reads the
streams that the gates of the level below compute, and a shared gate, which reads all experts, feeds the shared experts
of the next level.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import Gates, routing


def ple_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """Return the gates of `model.levels` levels; a target's gate reads its task-specific and the shared experts."""
    return routing(config, spec, config.levels)


def ple(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build a network with task-specific and shared experts on several levels.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    return extraction_network(config, spec, keras, ple_routing(config, spec), name="ple")
