"""Fixtures of the network tests: a small spec, weights by formula, a small library."""

import os
from dataclasses import replace

from relple_tf.processes import THREADS

# One thread, as in a worker process; a single worker is this process.
os.environ.update(dict.fromkeys(THREADS, "1"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from relple_tf.config import AugmentationConfig, Config, FrontEndConfig, ModelConfig, SimulatedConfig, TrainingConfig
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.spectra.sources.simulated import simulate

TARGETS = ("OC_g_kg", "CEC_cmolc_kg", "pH")
CORRELATION = np.array([[1.0, 0.7, -0.2], [0.7, 1.0, 0.4], [-0.2, 0.4, 1.0]])
"""At the default tau of 0.6 the first two targets are relevant to each other; pH is relevant to no target."""

TINY = ModelConfig(conv_filters=(3, 4), conv_kernel=3, lstm_units=3, expert_units=5, tower_units=3, basis_units=4)

CONFIG = Config(
    preset="tiny",
    front_end=FrontEndConfig(step_nm=20.0, derivative_window_nm=100.0, whitened_components=6),
    model=replace(TINY, expert_kind="cnn", conv_filters=(3,)),
    training=TrainingConfig(cv_folds=0, max_epochs=3, batch_size=16, learning_rate=0.01),
    augmentation=AugmentationConfig(noise=0, offset=0, slope=0, scatter=0, shift_nm=0),
)
"""On `library`, an epoch has two steps."""

VIEWS = ((0, 2), (1,))
"""Of three channels: the first view joins two that are not adjacent, so their order matters."""


def spec_of(targets=TARGETS, correlation=CORRELATION, bands=13, views=VIEWS):
    return NetworkSpec(
        bands=bands,
        channels=3,
        components=6,
        views=views,
        targets=tuple(targets),
        correlation=np.asarray(correlation)[: len(targets), : len(targets)],
    )


def features_of(spec, rows=6):
    x = np.random.default_rng(1).normal(size=(rows, spec.bands, spec.channels))
    return x.astype("float32")


def set_fixed_weights(network):
    """Set weights to the sine of a running index: all differ, independent of seed and initialiser."""
    first = 1
    for variable in network.weights:
        index = first + np.arange(np.prod(variable.shape))
        values = 0.6 * np.sin(index).reshape(variable.shape)
        variable.assign(np.abs(values) if variable.name == "moving_variance" else values)
        first += index.size
    return network


def copy_weights(source, target):
    """Copy to every layer of `target` the weights of the layer of the same name in `source`."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())
    return target


def outputs_of(network, features):
    """Outputs in inference mode, {target: (batch,)}."""
    return {name: np.asarray(out)[:, 0] for name, out in network(features).items()}


@pytest.fixture
def spec():
    return spec_of()


@pytest.fixture
def features(spec):
    return features_of(spec)


@pytest.fixture(scope="session")
def library():
    """60 soils and two targets; every sixth CEC value is missing; reflectance with a step of 20 nm."""
    soils = simulate(SimulatedConfig(soils=60, step_nm=20.0))
    cec = soils.targets["CEC_cmolc_kg"].copy()
    cec[::6] = np.nan
    return replace(soils, targets={"OC_g_kg": soils.targets["OC_g_kg"], "CEC_cmolc_kg": cec})


@pytest.fixture(scope="session")
def parts():
    """Parts of the library's rows: 36 train, 14 validation, 10 test."""
    return np.array(["train"] * 36 + ["validation"] * 14 + ["test"] * 10)
