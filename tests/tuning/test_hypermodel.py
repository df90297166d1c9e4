"""Laws of the KerasTuner HyperModel of the builders."""

import keras_tuner
import numpy as np
import pytest

from relple_tf import models
from relple_tf.errors import InputError
from tuning.hypermodel import MultiTaskHyperModel

TARGETS = ("a", "b")
FIXED = {"conv_filters": (4,), "components": 4}


def hypermodel(architecture):
    correlation = {"correlation": np.eye(2)} if architecture == "rs_ple" else {}
    return MultiTaskHyperModel(architecture, (10,), TARGETS, **correlation, **FIXED)


@pytest.mark.parametrize("architecture", models.__all__)
def test_larger_experts_have_more_weights(architecture):
    counts = []
    for units in (8, 64):
        hp = keras_tuner.HyperParameters()
        hp.Fixed("expert_units", units)
        counts.append(hypermodel(architecture).build(hp).count_params())
    assert counts[0] < counts[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner calls deprecated names of threading
def test_a_tuner_of_keras_tuner_searches_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")
    y = {"a": x[:, :1], "b": x[:, 1:2]}
    tuner = keras_tuner.RandomSearch(
        hypermodel("rs_ple"), "val_loss", max_trials=2, seed=1, directory=tmp_path, project_name="search"
    )
    tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    best = tuner.get_best_hyperparameters()[0]
    assert {"levels", "task_experts", "shared_experts", "expert_units", "relevance_tau"} <= set(best.values)


def test_an_unknown_architecture_is_refused_by_name():
    with pytest.raises(InputError, match="received 'transformer'"):
        MultiTaskHyperModel("transformer", (10,), TARGETS)
