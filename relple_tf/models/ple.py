"""CGC, PLE and RS-PLE: own and shared experts, gates, and streams that rise through levels.

Tang et al. (2020), RecSys, doi 10.1145/3383313.3412236, Eq. 2-10. Relevance sharing after Su, Tian,
Chen (2025), doi 10.19759/j.cnki.2164-4993.2025.05.007, in our reading: see `relevance.sources`.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import dense_expert, spectral_expert, tower
from relple_tf.models.gating import mixture
from relple_tf.models.inputs import encode
from relple_tf.models.problem import Keras, Problem, Tensor
from relple_tf.models.wiring import SHARED, expert_names, gate_name, wiring


def ple(config: ModelConfig, problem: Problem, keras: Keras) -> Tensor:
    """Progressive layered extraction; with `rs_ple`, gates also read the experts of relevant targets.

    Every expert reads its owner's stream only. All streams begin as the front end's output; gates
    see it through the whitened projection, for a gate is one linear map of a vector.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
    """
    encoded = encode(config, problem, keras)
    streams = dict.fromkeys((*problem.targets, SHARED), encoded.whitened)
    for level, gates in enumerate(wiring(config, problem), start=1):
        experts = {}
        for owner, stream in streams.items():
            for name in expert_names(config, owner, level):
                if level == 1:
                    local = encoded.local(name)
                    experts[name] = spectral_expert(local, stream, config, keras, name=name)
                else:
                    experts[name] = dense_expert(stream, config, keras, name=name)
        streams = {
            owner: mixture(
                streams[owner],
                [experts[name] for name in read],
                keras,
                name=gate_name(owner, level),
                offsets=list(read.values()),
            )
            for owner, read in gates.items()
        }
    outputs = {target: tower(streams[target], encoded.skip, config, keras, target=target) for target in problem.targets}
    return keras.Model(encoded.features, outputs, name=config.architecture)
