"""Shared fixtures of the export tests: a tiny run, trained once per test process."""

from pathlib import Path

import pytest

from export.bundling.stored_run import load
from relple_tf.config import (
    AugmentationConfig,
    Config,
    DataConfig,
    FrontEndConfig,
    ModelConfig,
    SimulatedConfig,
    TrainingConfig,
)

TARGETS = ("OC_g_kg", "pH")

TINY_RUN = Config(
    preset="tiny",
    data=DataConfig(source="simulated", targets=TARGETS),
    simulated=SimulatedConfig(soils=120, step_nm=10.0),
    front_end=FrontEndConfig(
        step_nm=20.0,
        channels=("snv_d1", "d1"),
        views=("snv_d1", "d1"),
        derivative_window_nm=100.0,
        whitened_components=6,
    ),
    model=ModelConfig(
        conv_filters=(4, 4), conv_kernel=3, lstm_units=3, expert_units=5, tower_units=3, basis_units=8, landmarks=24
    ),
    training=TrainingConfig(cv_folds=0, max_epochs=8, batch_size=16, learning_rate=0.01, workers=1),
    augmentation=AugmentationConfig(noise=0, offset=0, slope=0, scatter=0, shift_nm=0),
)
"""A tiny RS-PLE with convolution, LSTM, attention, gates and two views; the scale of each target is selected."""

_folders: dict[str, Path] = {}


def tiny_run(tmp_path_factory):
    """Folder of a run of TINY_RUN, trained once per test process; tests must not write into it."""
    if "run" not in _folders:
        from relple_tf.runs.folder import RunFolder
        from relple_tf.spectra.sources.named import load
        from relple_tf.training_run import train_run

        folder = tmp_path_factory.mktemp("export") / "run"
        train_run(load(TINY_RUN), TINY_RUN, RunFolder(path=folder), notify=lambda _: None)
        _folders["run"] = folder
    return _folders["run"]


# The functions have other names than the fixtures, because a test's argument would hide an imported name.
@pytest.fixture(scope="module", name="run")
def fixture_run(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module", name="trained")
def fixture_trained(run):
    return load(run)
