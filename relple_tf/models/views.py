"""What every network begins with: the features, the convolution stem and the whitened views."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.config import ModelConfig
from relple_tf.models.experts import stem
from relple_tf.models.network_spec import Keras, NetworkSpec, Tensor

BOUND = 3.0
"""Standard deviations of a component at which the network, and the linear kernel, level off."""

ZEROING_VARIANCE = 1e30
"""A variance by which everything becomes 0."""

WHITENED = "views.whitened"
"""The scores of all views together."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The front end's output in the two forms that experts and gates read."""

    features: Tensor
    """(batch, bands, channels), the model's input."""
    whitened: Tensor
    """(batch, views * components), bounded; what experts read and gates select by."""
    skip: Tensor
    """(batch, views * (components + basis_units)), what heads read beside their tower."""
    local: Callable[[str], Tensor]
    """Name of an expert -> (batch, steps, n), the stem that this expert reads."""


def encode(config: ModelConfig, spec: NetworkSpec, keras: Keras) -> Encoded:
    """Input, whitened views, bounded, with their bases, and stem."""
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
    """The layer that projects a view, counted from 0."""
    return f"view{view + 1}.scores"


def basis_name(view: int) -> str:
    """The layer that holds the random features of a view's scores."""
    return f"view{view + 1}.basis"


def whitened_views(features: Tensor, spec: NetworkSpec, keras: Keras) -> list[Tensor]:
    """Each view's channels projected on their principal components and bounded, (batch, components) per view.

    Views differ in preprocessing, so that the calibrations on them err differently and their mean errs less. The
    projections are fitted (`training.preparation`) and then frozen: they hold hundreds of collinear bands, which
    gradients move together and far, and the applicability domain measures distances in the first of them.
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
    """A view's scores, nearly as they are among the training soils and within BOUND standard deviations everywhere.

    tanh(score / bound) * bound, both scales fixed by `training.preparation`: a soil that lies far out in one component
    has estimates within reason, where a linear head would extrapolate (NIRsoil's soil of T2 7,488 cost a split of OC
    its R2).
    """
    shrunk = _scaled(scores, keras, name=f"{name}.shrunk")
    bent = keras.layers.Activation("tanh", name=f"{name}.bent")(shrunk)
    return _scaled(bent, keras, name=f"{name}.bounded")


def _scaled(tensor: Tensor, keras: Keras, *, name: str) -> Tensor:
    """Each column times a fixed factor: a frozen batch normalisation, which is such a product in both Keras."""
    layer = keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False, name=name)
    return layer(tensor)


def set_bounds(network: Any, view: int, sd: npt.NDArray[np.float32]) -> None:
    """Give a view's scores their bounds, from the SD of each component (components,) over the training rows."""
    zeros = np.zeros_like(sd)
    # A column is divided by the root of the variance. Components without variance become 0.
    bound = BOUND * np.maximum(sd, 1e-9)
    network.get_layer(f"{view_name(view)}.shrunk").set_weights([zeros, np.where(sd > 0, bound**2, ZEROING_VARIANCE)])
    network.get_layer(f"{view_name(view)}.bounded").set_weights([zeros, np.where(sd > 0, bound**-2, ZEROING_VARIANCE)])


def with_basis(scores: Tensor, config: ModelConfig, keras: Keras, *, name: str) -> Tensor:
    """A view's scores with a random nonlinear basis of them: (batch, components + basis_units).

    tanh(W scores + b) with normal W and b, its argument of about unit variance: a linear machine on such features
    approaches a kernel machine (Rahimi & Recht 2008, NeurIPS; Huang et al. 2006, Neurocomputing 70).
    tanh, because the device runtimes have it in int8 and have no int8 cosine.
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
    """Side by side; one alone passes under the same name."""
    if len(tensors) == 1:
        return keras.layers.Identity(name=name)(tensors[0])
    return keras.layers.Concatenate(name=name)(tensors)


def stems(features: Tensor, config: ModelConfig, keras: Keras) -> Callable[[str], Tensor]:
    """The stem of an expert by its name: one for all of them, or one each, as the config says."""
    if config.stem == "per_expert":
        return lambda expert: stem(features, config, keras, name=expert)
    shared = stem(features, config, keras, name="spectrum.stem")
    return lambda _: shared
