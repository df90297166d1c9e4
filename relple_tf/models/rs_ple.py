"""RS-PLE: relevance-sharing progressive layered extraction.

Su, Tian, Chen (2025), Agricultural Biotechnology 2025(5), doi 10.19759/j.cnki.2164-4993.2025.05.007. RS-PLE adds to PLE
that the gate of a target also reads the task-specific experts of the targets that correlate with it. Only the abstract
is open: it states that the Pearson correlation decides what is shared. The rule in `relevance` is our interpretation.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.extraction import extraction_network
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.relevance import relevant_targets
from relple_tf.models.routing import Gates, routing


def rs_ple_routing(config: ModelConfig, spec: NetworkSpec) -> list[Gates]:
    """Return the gates of PLE, each extended by the experts of the targets that correlate with the gate's target."""
    relevance = relevant_targets(spec.correlation, spec.targets, config)  # `ple_routing` passes none
    return routing(config, spec, config.levels, relevance)


def rs_ple(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build PLE with relevance sharing.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    # The only difference from PLE: these gates also read the experts of correlated targets.
    gates = rs_ple_routing(config, spec)
    return extraction_network(config, spec, keras, gates, name="rs_ple")
