"""Laws of the public builders: trained by plain Keras, and isolated as the architecture states."""

import keras
import numpy as np
import pytest

from relple_tf import models
from relple_tf.errors import InputError

TARGETS = ("a", "b")
SMALL = {"conv_filters": (4,), "components": 4, "expert_units": 4}


def built(name, shape=(12,), **settings):
    given = {"correlation": np.eye(2)} if name == "rs_ple" else {}
    keras.utils.set_random_seed(0)
    return getattr(models, name)(shape, TARGETS, **SMALL, **given | settings)


@pytest.mark.parametrize("name", ["shared_bottom", "rs_ple"])
def test_plain_compile_and_fit_reduce_the_loss(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 12)).astype("float32")
    y = {"a": x[:, :1], "b": x[:, 1:2] - x[:, 2:3]}
    model = built(name)
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    loss = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert loss[-1] < 0.5 * loss[0]


def test_rs_ple_without_related_targets_is_ple():
    """Same number of weights; with related targets every gate has one more expert to weigh."""
    apart = built("rs_ple").count_params()
    assert apart == built("ple").count_params()
    assert built("rs_ple", correlation=np.ones((2, 2))).count_params() > apart


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ple", {"shape": ()}, "input_shape"),
        ("ple", {"expert_kind": "transformer"}, "expert_kind"),
        ("ple", {"width": 3}, "width: expected components or one of"),
        ("rs_ple", {"correlation": np.eye(3)}, "correlation: expected"),
    ],
)
def test_impossible_arguments_are_refused_by_name(name, changes, message):
    with pytest.raises(InputError, match=message):
        built(name, **changes)


def test_names_of_targets_are_identifiers():
    with pytest.raises(InputError, match="letters, digits and _"):
        models.ple((4,), ["soil carbon"])
