"""Principal-component scores in which the distances between samples are measured."""

import keras
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from relple_tf.config import Config, replace
from relple_tf.models import front_end
from relple_tf.models.instrument import without_transfers
from relple_tf.models.views import view_name
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.preparation import view_features, whitening

Floats = npt.NDArray[np.float64]

COMPONENTS = 10
"""Components of the first view that are compared; further components of soils are mostly noise of the instrument."""


def fitted_scores(library: SpectralLibrary) -> Floats:
    """Scores of the first view of the default front end, fitted on the scans.

    The view is absorbance and the first derivative of its SNV, each band with mean 0 and SD 1. The scores are scaled as
    those that a network reads (`training.preparation.whitening`).

    Args:
        library: n samples.

    Returns:
        (n, at most COMPONENTS), without unit, the variances of the components sum to their number; zeros if all scans
        are equal.

    Raises:
        InputError: the scans have too few bands.
    """
    config = replace(Config(), front_end__whitened_components=COMPONENTS)
    stage = front_end.absorbance_stage(library.wavelengths_nm, library.quantity, config.front_end)
    absorbance = front_end.apply(stage, library.spectra)
    channels = front_end.channel_stage(absorbance.shape[1], config.front_end)
    front_end.fit_channel_stage(channels, absorbance)
    features = front_end.apply(channels, absorbance)
    flat = view_features(features, config.front_end.viewed_channels()[0])
    if len(flat) < 2 or not np.ptp(flat, axis=0).any():
        return np.zeros((len(flat), 1))
    with threadpool_limits(limits=1, user_api="blas"):
        kernel, bias = whitening(flat, config)
        scores: Floats = (flat @ kernel + bias).astype("float64")
    return scores


def model_scores(
    model: keras.Model, network_name: str, spectra: npt.NDArray[np.float32], *, of_library: bool = False
) -> Floats:
    """Scores of the first view of a deployed model.

    Args:
        model: From `relple_tf.models.deployed.deployed_model`.
        network_name: Name of its network, `model.architecture` of the config.
        spectra: (n, bands) on the bands and in the quantity of the model.
        of_library: Whether the scans are of the instrument of the library, which a model that was adapted to another
            instrument does not read.

    Returns:
        (n, at most COMPONENTS), scaled as in `fitted_scores` for the training rows of the model.
    """
    network = model.get_layer(network_name)
    projection = keras.Model(network.input, network.get_layer(view_name(0)).output)
    stage = model.get_layer("absorbance_stage")
    absorbance = front_end.apply(without_transfers(stage) if of_library else stage, spectra)
    features = front_end.apply(model.get_layer("channel_stage"), absorbance)
    return front_end.apply(projection, features)[:, :COMPONENTS].astype("float64")
