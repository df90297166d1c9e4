"""MMoE: multi-gate mixture of experts, all of them shared.

Ma et al. (2018), KDD, doi 10.1145/3219819.3220007. MMoE replaces the single expert of the shared bottom by several, and
adds a gate per target that weighs them.
"""

import dataclasses

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import Gates, routing


def all_shared(config: ModelConfig, targets: int) -> ModelConfig:
    """Return the config with shared experts only, as many as one level of PLE has in all."""
    count = config.task_experts * targets + config.shared_experts
    return dataclasses.replace(config, task_experts=0, shared_experts=count)


def mmoe_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """Return the gates of one level; every gate reads every expert."""
    return routing(all_shared(config, len(spec.targets)), spec, levels=1)


def mmoe(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build a network with one gate per target over shared experts.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    gates = mmoe_routing(config, spec)
    return extraction_network(all_shared(config, len(spec.targets)), spec, keras, gates, name="mmoe")
