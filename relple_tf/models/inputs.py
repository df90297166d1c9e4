"""What every network begins with: the features, the convolution stem and the whitened projection."""

from collections.abc import Callable
from dataclasses import dataclass

from relple_tf.config import ModelConfig
from relple_tf.models.experts import stem
from relple_tf.models.problem import Keras, Problem, Tensor

WHITENED = "whitened"
"""Name of the projection; `training.preparation` starts it from a PCA of the training rows."""

BASIS = "basis"
"""Name of the random features of the scores."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The front end's output in the two forms that experts and gates read."""

    features: Tensor
    """(batch, bands, channels), the model's input."""
    whitened: Tensor
    """(batch, components), what gates select by."""
    skip: Tensor
    """(batch, components + basis_units), what heads read beside their tower."""
    local: Callable[[str], Tensor]
    """Name of an expert -> (batch, steps, n), the stem that this expert reads."""


def encode(config: ModelConfig, problem: Problem, keras: Keras) -> Encoded:
    """Input, whitened projection and stem."""
    features = keras.Input((problem.bands, problem.channels), name="features")
    scores = whitened(features, problem, keras, name=WHITENED)
    return Encoded(
        features=features,
        whitened=scores,
        skip=with_basis(scores, config, keras, name=BASIS),
        local=stems(features, config, keras),
    )


def whitened(features: Tensor, problem: Problem, keras: Keras, *, name: str) -> Tensor:
    """A trainable linear projection of all bands and channels to (batch, components).

    Its inputs are divided by the root of their number. Adam moves every weight by about the
    learning rate whatever the gradient, and hundreds of collinear bands add up: without the
    division one step moves the scores by more than their SD.
    """
    scale = projection_input_scale(problem.bands * problem.channels)
    flat = keras.layers.Flatten(name=f"{name}_flat")(features)
    scaled = keras.layers.Rescaling(scale, name=f"{name}_input")(flat)
    return keras.layers.Dense(problem.components, name=name)(scaled)


def with_basis(scores: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """The whitened scores with a random nonlinear basis of them: (batch, components + basis_units).

    tanh(W scores + b) with normal W and b, its argument of about unit variance: a ridge regression on such features
    approaches a kernel machine (Rahimi & Recht 2008, NeurIPS; Huang et al. 2006, Neurocomputing 70), and that is where
    the heads start. tanh, because the device runtimes have it in int8 and have no int8 cosine.
    """
    if not config.basis_units:
        return scores
    layers = keras.layers
    basis = layers.Dense(
        config.basis_units,
        activation="tanh",
        kernel_initializer=keras.initializers.RandomNormal(stddev=scores.shape[1] ** -0.5),
        bias_initializer=keras.initializers.RandomNormal(stddev=1.0),
        name=name,
    )(scores)
    return layers.Concatenate(name=f"{name}_joined")([scores, basis])


def projection_input_scale(inputs: int) -> float:
    """What the inputs of the whitened projection are multiplied by."""
    return float(inputs**-0.5)


def stems(features: Tensor, config: ModelConfig, keras: Keras) -> Callable[[str], Tensor]:
    """The stem of an expert by its name: one for all of them, or one each, as the config says."""
    if config.stem == "per_expert":
        return lambda expert: stem(features, config, keras, name=expert)
    shared = stem(features, config, keras, name="stem")
    return lambda _: shared
