"""MMoE: multi-gate mixture of experts, all of them shared (Ma et al. 2018, KDD, doi 10.1145/3219819.3220007)."""

import dataclasses

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import Gates, routing


def all_shared(config: ModelConfig, targets: int) -> ModelConfig:
    """The config whose experts are all shared: as many as one level of PLE has."""
    count = config.task_experts * targets + config.shared_experts
    return dataclasses.replace(config, task_experts=0, shared_experts=count)


def mmoe_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """One level; every gate reads every expert."""
    return routing(all_shared(config, len(spec.targets)), spec, levels=1)


def mmoe(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """One gate per target on shared experts.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    gates = mmoe_routing(config, spec)
    return extraction_network(all_shared(config, len(spec.targets)), spec, keras, gates, name="mmoe")
