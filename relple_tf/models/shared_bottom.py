"""Hard parameter sharing: one expert, one tower per target (Caruana 1997)."""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import spectral_expert, tower
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.views import encode


def shared_bottom(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """One spectral expert that every tower reads.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
    """
    encoded = encode(config, spec, keras)
    name = "shared.bottom"
    bottom = spectral_expert(encoded.local(name), encoded.whitened, config, keras, name=name)
    outputs = {target: tower(bottom, encoded.skip, config, keras, target=target) for target in spec.targets}
    return keras.Model(encoded.features, outputs, name="shared_bottom")
