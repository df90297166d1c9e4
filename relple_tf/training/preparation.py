"""From a split library to arrays: everything that is fitted before the first gradient step, on training rows only."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.models import front_end
from relple_tf.models.inputs import WHITENED, projection_input_scale
from relple_tf.models.lab_units import TargetScale
from relple_tf.models.network import build
from relple_tf.models.problem import Problem
from relple_tf.models.relevance import pearson, unrelated_for_lack_of_rows
from relple_tf.spectra.library import SpectralLibrary


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What training starts from."""

    absorbance_stage: keras.Model
    """Scan to absorbance on the model's grid."""
    channel_stage: keras.Model
    """Absorbance to features."""
    network: keras.Model
    """Features to standardised targets, at its start."""
    scales: tuple[TargetScale, ...]
    """How each target is modelled."""
    problem: Problem
    """What the data decided about the network."""
    grid_nm: npt.NDArray[np.float64]
    """The model's own wavelengths."""
    train_absorbance: npt.NDArray[np.float32]
    """(n_train, grid)."""
    train_features: npt.NDArray[np.float32]
    """(n_train, bands, channels)."""
    train_values: npt.NDArray[np.float32]
    """(n_train, K), in standard deviations, NaN where not measured."""
    validation_features: npt.NDArray[np.float32]
    """(n_validation, bands, channels)."""
    validation_values: npt.NDArray[np.float32]
    """(n_validation, K), likewise."""
    notes: tuple[str, ...]
    """What was decided for lack of data."""


def prepare(library: SpectralLibrary, parts: npt.NDArray[np.str_], config: Config) -> Prepared:
    """Fit front end, target scales, correlation and projection on the training rows; test rows are not read.

    Raises:
        InputError: the schedule of the joint loss is not one number per target.
    """
    for name in ("schedule_start", "schedule_decay"):
        if (count := len(getattr(config.training, name))) not in (0, len(library.targets)):
            raise InputError(
                f"training.{name} has {count} numbers; give one for each of {', '.join(library.targets)}, or none"
            )
    train, validation = parts == "train", parts == "validation"
    targets = tuple(library.targets)
    stage = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config.front_end)
    train_absorbance = front_end.apply(stage, library.spectra[train])
    channels = front_end.channel_stage(train_absorbance.shape[1], config.front_end)
    front_end.fit_channel_stage(channels, train_absorbance)
    features = front_end.apply(channels, train_absorbance)

    scales = tuple(TargetScale.fit(name, library.targets[name][train]) for name in targets)
    modelled = np.stack([scale.to_model(library.targets[scale.name]) for scale in scales], axis=1)
    projection = whitening(features, config)
    problem = Problem(
        bands=features.shape[1],
        channels=features.shape[2],
        components=projection[1].size,
        targets=targets,
        correlation=pearson(modelled[train]),
    )
    network = build(config.model, problem, keras)
    start_at_ridge(network, features, modelled[train], projection, config)
    return Prepared(
        absorbance_stage=stage,
        channel_stage=channels,
        network=network,
        scales=scales,
        problem=problem,
        grid_nm=front_end.grid_nm(library.wavelengths_nm, config.front_end),
        train_absorbance=train_absorbance,
        train_features=features,
        train_values=modelled[train].astype("float32"),
        validation_features=front_end.apply(channels, front_end.apply(stage, library.spectra[validation])),
        validation_values=modelled[validation].astype("float32"),
        notes=tuple(
            f"{one} and {other} have {common} training rows in common: counted as unrelated"
            for one, other, common in unrelated_for_lack_of_rows(modelled[train], targets)
        ),
    )


def start_at_ridge(
    network: keras.Model,
    features: npt.NDArray[np.float32],
    values: npt.NDArray[np.float64],
    projection: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    config: Config,
) -> None:
    """Start the network as a ridge regression on the whitened scores and their basis, one per target.

    Sets the whitened projection, and in each head the weights of the skip (ridge, strength by leave-one-out); those
    of the tower start at zero and grow as the experts learn what the regression leaves.

    Args:
        features: (n, bands, channels) of the training rows.
        values: (n, K) in standard deviations, NaN where not measured; columns in the order of the outputs.
    """
    kernel, bias = projection
    for layer in network.layers:
        if layer.name.endswith(WHITENED):
            layer.set_weights([kernel / projection_input_scale(len(kernel)), bias])
    for column, target in enumerate(network.output):
        head = network.get_layer(target)
        known = ~np.isnan(values[:, column])
        read = front_end.apply(keras.Model(network.input, head.input), features[known])
        skip = read[:, config.model.tower_units :]
        ridge = RidgeCV(np.logspace(-4, 4, 25)).fit(skip, values[known, column])
        weights = np.zeros(head.kernel.shape, "float32")
        weights[config.model.tower_units :, 0] = ridge.coef_
        head.set_weights([weights, np.array([ridge.intercept_], "float32")])


def whitening(
    features: npt.NDArray[np.float32], config: Config
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A projection on principal components that starts the trainable `whitened` layer.

    Bands are almost collinear, so gradient descent on them crawls along a few directions; scores
    divided by a power of their SD are not. With exponent 1 all scores have variance 1; below it,
    later components count for less. The mean variance is 1 in any case.

    Args:
        features: (n, bands, channels) of the training rows.

    Returns:
        Kernel (bands * channels, components) and bias (components,): scores = features @ kernel +
        bias.
    """
    flat = features.reshape(len(features), -1)
    components = min(config.front_end.whitened_components, len(flat) - 1, flat.shape[1])
    pca = PCA(components, random_state=config.training.seed).fit(flat)
    sd = np.sqrt(pca.explained_variance_)
    # Components without variance (duplicated spectra, fewer soils than components) must not be
    # blown up.
    scale = np.where(sd > 1e-6 * sd[0], sd, np.inf) ** -config.front_end.whitening_exponent
    scale /= np.sqrt(np.mean((sd * scale) ** 2))
    kernel = pca.components_.T * scale
    return kernel.astype("float32"), (-pca.mean_ @ kernel).astype("float32")
