"""The paper's single-output networks: one CNN-LSTM-attention net per target, nothing shared."""

from relple_tf.config import ModelConfig
from relple_tf.models.experts import spectral_expert, stem, tower
from relple_tf.models.inputs import BASIS, WHITENED, whitened, with_basis
from relple_tf.models.problem import Keras, Problem, Tensor


def single_task(config: ModelConfig, problem: Problem, keras: Keras) -> Tensor:
    """One network per target behind one input; no weight belongs to two targets.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
    """
    features = keras.Input((problem.bands, problem.channels), name="features")
    outputs = {}
    for target in problem.targets:
        name = f"{target}_expert"
        scores = whitened(features, problem, keras, name=f"{target}_{WHITENED}")
        local = stem(features, config, keras, name=name)
        expert = spectral_expert(local, scores, config, keras, name=name)
        skip = with_basis(scores, config, keras, name=f"{target}_{BASIS}")
        outputs[target] = tower(expert, skip, config, keras, target=target)
    return keras.Model(features, outputs, name="single_task")
