"""The network of MMoE, CGC, PLE and RS-PLE: experts, gates and streams, level by level, as a routing describes them."""

from collections.abc import Sequence

from relple_tf.config import ModelConfig
from relple_tf.models.experts import dense_expert, spectral_expert, tower
from relple_tf.models.gating import mixture
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.routing import SHARED, Gates, expert_names, gate_name
from relple_tf.models.views import encode


def extraction_network(
    config: ModelConfig, spec: NetworkSpec, keras: Keras, gates_by_level: Sequence[Gates], *, name: str
) -> Tensor:
    """Build the network that a routing describes (Tang et al. 2020, Eq. 2-10).

    Every expert reads only the stream of its owner. All streams start as the front end's output. Gates read the
    whitened projection of it, because a gate is one linear map of a vector.

    Args:
        config: Sizes of experts and towers.
        spec: Sizes and names that the data determine.
        keras: The Keras module whose layers are used.
        gates_by_level: From `routing`.
        name: Name of the model.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    encoded = encode(config, spec, keras)
    streams = dict.fromkeys((*spec.targets, SHARED), encoded.whitened)
    for level, gates in enumerate(gates_by_level, start=1):
        experts = {}
        for owner, stream in streams.items():
            for expert in expert_names(config, owner, level):
                if level == 1:
                    experts[expert] = spectral_expert(encoded.local(expert), stream, config, keras, name=expert)
                else:
                    experts[expert] = dense_expert(stream, config, keras, name=expert)
        streams = {
            owner: mixture(
                streams[owner],
                [experts[expert] for expert in read],
                keras,
                name=gate_name(owner, level),
                offsets=list(read.values()),
            )
            for owner, read in gates.items()
        }
    outputs = {target: tower(streams[target], encoded.skip, config, keras, target=target) for target in spec.targets}
    return keras.Model(encoded.features, outputs, name=name)
