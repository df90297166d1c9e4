"""The input of every network: features, convolution stem and whitened views."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.config import ModelConfig
from relple_tf.models.experts import stem
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor

BOUND = 3.0
"""Standard deviations of a component at which the scores that the network and the linear kernel read saturate."""

ZEROING_VARIANCE = 1e30
"""Variance large enough to zero a constant component."""

WHITENED = "views.whitened"
"""Name of the layer that joins the scores of all views."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The inputs of experts, gates and heads, computed from the front end's output."""

    features: Tensor
    """(batch, bands, channels), the model's input."""
    whitened: Tensor
    """(batch, views * components), bounded; read by experts and gates."""
    skip: Tensor
    """(batch, views * (components + basis_units)); read by heads, in addition to their tower."""
    local: Callable[[str], Tensor]
    """Name of an expert -> (batch, steps, n), the output of the stem that this expert reads."""


def encode(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Encoded:
    """Build the input, the whitened and bounded views with their bases, and the stem."""
    features = keras.Input((spec.bands, spec.channels), name="features")
    scores = whitened_views(features, spec, keras)
    bases = [with_basis(score, config, keras, name=basis_name(view)) for view, score in enumerate(scores)]
    return Encoded(
        features=features,
        whitened=joined(scores, keras, name=WHITENED),
        skip=joined(bases, keras, name="views.skip"),
        local=stems(features, config, keras),
    )


def view_name(view: int) -> str:
    """Return the name of the layer that projects a view, counted from 0."""
    return f"view{view + 1}.scores"


def basis_name(view: int) -> str:
    """Return the name of the layer that computes random features of a view's scores."""
    return f"view{view + 1}.basis"


def whitened_views(features: Tensor, spec: NetworkSpec, keras: Keras) -> list[Tensor]:
    """Project each view's channels on their principal components and bound them, (batch, components) per view.

    Views differ in preprocessing, so the errors of their calibrations differ and the error of the mean is smaller. The
    projections are fitted (`training.preparation`) and then frozen: gradients would move the weights of hundreds of
    collinear bands together and far, and the domain statistics are computed from the first projection.
    """
    layers = keras.layers
    if spec.channels == 1:
        flat = {0: layers.Flatten(name="channel1.flat")(features)}
    else:
        by_channel = layers.Permute((2, 1), name="channels.first")(features)
        last = spec.channels - 1
        flat = {
            channel: layers.Flatten(name=f"channel{channel + 1}.flat")(
                layers.Cropping1D((channel, last - channel), name=f"channel{channel + 1}.crop")(by_channel)
            )
            for channel in sorted({channel for view in spec.views for channel in view})
        }
    scores = []
    for view, channels in enumerate(spec.views):
        name = view_name(view)
        bands = joined([flat[channel] for channel in channels], keras, name=f"{name}.bands")
        projected = layers.Dense(spec.components, trainable=False, name=name)(bands)
        scores.append(bounded(projected, keras, name=name))
    return scores


def bounded(scores: Tensor, keras: Keras, *, name: str) -> Tensor:
    """Limit a view's scores to BOUND standard deviations; they change little within the training range.

    tanh(score / bound) * bound, both scales fixed by `training.preparation`. The predictions for a soil that is extreme
    in one component stay plausible, where a linear head would extrapolate (on a split of NIRsoil, one soil of T2 7,488
    made the R2 of OC useless).
    """
    shrunk = _scaled(scores, keras, name=f"{name}.shrunk")
    saturated = keras.layers.Activation("tanh", name=f"{name}.bent")(shrunk)
    return _scaled(saturated, keras, name=f"{name}.bounded")


def _scaled(tensor: Tensor, keras: Keras, *, name: str) -> Tensor:
    """Multiply each column by a fixed factor: a frozen batch normalisation, which exists in both Keras versions."""
    layer = keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False, name=name)
    return layer(tensor)


def set_bounds(network: Any, view: int, sd: npt.NDArray[np.float32]) -> None:
    """Set the bounds of a view's scores from the SD of each component (components,) over the training rows."""
    zeros = np.zeros_like(sd)
    # The layer divides a column by the root of the variance. Constant components become 0.
    bound = BOUND * np.maximum(sd, 1e-9)
    network.get_layer(f"{view_name(view)}.shrunk").set_weights([zeros, np.where(sd > 0, bound**2, ZEROING_VARIANCE)])
    network.get_layer(f"{view_name(view)}.bounded").set_weights([zeros, np.where(sd > 0, bound**-2, ZEROING_VARIANCE)])


def with_basis(scores: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """Append a random nonlinear basis to a view's scores: (batch, components + basis_units).

    tanh(W scores + b) with normal W and b, its argument of about unit variance: a linear regression on such features
    approximates a kernel regression (Rahimi & Recht 2008, NeurIPS; Huang et al. 2006, Neurocomputing 70).
    tanh, because the device runtimes have an int8 tanh and no int8 cosine.
    """
    if not config.basis_units:
        return scores
    basis = keras.layers.Dense(
        config.basis_units,
        activation="tanh",
        trainable=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=scores.shape[1] ** -0.5),
        bias_initializer=keras.initializers.RandomNormal(stddev=1.0),
        name=name,
    )(scores)
    return joined([scores, basis], keras, name=f"{name}.joined")


def joined(tensors: list[Tensor], keras: Keras, *, name: str) -> Tensor:
    """Concatenate along the last axis; a single tensor passes through an identity of the same name."""
    if len(tensors) == 1:
        return keras.layers.Identity(name=name)(tensors[0])
    return keras.layers.Concatenate(name=name)(tensors)


def stems(features: Tensor, config: ModelConfig, keras: Keras) -> Callable[[str], Tensor]:
    """Return a function from an expert's name to its stem: shared by all experts or one per expert (`config.stem`)."""
    if config.stem == "per_expert":
        return lambda expert: stem(features, config, keras, name=expert)
    shared = stem(features, config, keras, name="spectrum.stem")
    return lambda _: shared
