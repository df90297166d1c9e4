"""Shared bottom: hard parameter sharing.

Caruana (1997), Machine Learning 28, 41-75. It replaces the single-task networks by a common representation: a single
expert learns from all targets, and each target has a tower that reads it.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import spectral_expert, tower
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.views import encode


def shared_bottom(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build a network with one spectral expert that every tower reads.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    encoded = encode(config, spec, keras)
    name = "shared.bottom"
    bottom = spectral_expert(encoded.local(name), encoded.whitened, config, keras, name=name)
    outputs = {target: tower(bottom, encoded.skip, config, keras, target=target) for target in spec.targets}
    return keras.Model(encoded.features, outputs, name="shared_bottom")
