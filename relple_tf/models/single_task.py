"""Single task: one network per target, by default CNN-LSTM-attention; the targets share no trained weight.

The single-output networks to which Su, Tian, Chen (2025), doi 10.19759/j.cnki.2164-4993.2025.05.007, compare RS-PLE.
The simplest architecture; the others add shared experts to it.
"""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import spectral_expert, stem, tower
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.views import WHITENED, basis_name, joined, whitened_views, with_basis


def single_task(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """Build one network per target on a common input; no trained weight serves two targets.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard deviations.
    """
    features = keras.Input((spec.bands, spec.channels), name="features")
    views = whitened_views(features, spec, keras)
    scores = joined(views, keras, name=WHITENED)
    outputs = {}
    for target in spec.targets:
        name = f"task.{target}.expert"
        local = stem(features, config, keras, name=name)
        expert = spectral_expert(local, scores, config, keras, name=name)
        bases = [
            with_basis(view, config, keras, name=f"task.{target}.{basis_name(index)}")
            for index, view in enumerate(views)
        ]
        skip = joined(bases, keras, name=f"task.{target}.skip")
        outputs[target] = tower(expert, skip, config, keras, target=target)
    return keras.Model(features, outputs, name="single_task")
