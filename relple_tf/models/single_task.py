"""The paper's single-output networks: one CNN-LSTM-attention net per target, nothing shared."""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import spectral_expert, stem, tower
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor
from relple_tf.models.views import WHITENED, basis_name, joined, whitened_views, with_basis


def single_task(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Tensor:
    """One network per target behind one input; no weight that is trained belongs to two targets.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
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
            with_basis(view, config, keras, name=f"task.{target}.{basis_name(number)}")
            for number, view in enumerate(views)
        ]
        skip = joined(bases, keras, name=f"task.{target}.skip")
        outputs[target] = tower(expert, skip, config, keras, target=target)
    return keras.Model(features, outputs, name="single_task")
