"""RS-PLE: PLE whose sharing follows the correlation of the targets.

Su, Tian, Chen (2025), Agricultural Biotechnology 2025(5), doi 10.19759/j.cnki.2164-4993.2025.05.007. Only its abstract
is open: it states that the Pearson correlation decides what is shared. The rule is our reading (`relevance`).
"""

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.relevance import relevant_targets
from relple_tf.models.routing import Gates, routing


def rs_ple_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """The routing of PLE, and in each gate of a target the own experts of the targets that correlate with it."""
    relevance = relevant_targets(spec.correlation, spec.targets, config)
    return routing(config, spec, config.levels, relevance)


def rs_ple(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """PLE, with relevance sharing.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    return extraction_network(config, spec, keras, rs_ple_routing(config, spec), name="rs_ple")
