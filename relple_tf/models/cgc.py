"""CGC: customised gate control, a single level of PLE.

Tang et al. (2020), RecSys, doi 10.1145/3383313.3412236, Eq. 2-4. CGC adds task-specific experts to MMoE: the gate of a
target reads the experts of that target and the shared experts, and no expert of another target.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import Gates, routing


def cgc_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """Return the gates of one level, whatever `model.levels` is."""
    return routing(config, spec, levels=1)


def cgc(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build a network with task-specific and shared experts on one level.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    return extraction_network(config, spec, keras, cgc_routing(config, spec), name="cgc")
