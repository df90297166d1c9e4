"""model.keras, which may be damaged or hostile: built of known layers only, and no larger than it says."""

import io
import json
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from relple_tf.artefacts.reading import check_archive, opened, readable, short
from relple_tf.models import domain, front_end, target_scaling
from relple_tf.models import kernel_regression as kernel
from relple_tf.models.deployed import T2, Q
from relple_tf.runs.card_schema import MOST_WEIGHTS
from relple_tf.runs.folder import WAY_OUT

OWN_LAYERS = (
    front_end.ToAbsorbance,
    target_scaling.InverseTargetScaling,
    domain.DomainStatistics,
    kernel.KernelRegression,
)
"""Loading a model needs its registered layers imported."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {CONFIG, "metadata.json", WEIGHTS}
LARGEST_UNPACKED_BYTES = 1 << 30
LARGEST_SIZE = 1_000_000
"""Largest integer of a layer, a shape being the largest."""

LAYERS = frozenset(
    (
        *("Activation", "Add", "BatchNormalization", "Concatenate", "Conv1D", "Cropping1D", "Dense", "Dropout"),
        *("Flatten", "GlobalAveragePooling1D", "Identity", "InputLayer", "LSTM", "Multiply", "Permute", "Rescaling"),
        *("Reshape", "Softmax"),
    )
)
"""Of Keras; what the builders of `relple_tf.models` use. Others could read files or run code."""
ARGUMENTS = {"__keras_tensor__", "__slice__", "__numpy__"}
"""Of an operation."""
NO_SIZE = {"seed", "shared_object_id"}
"""Fields whose integer is no size."""


def load_model(path: Path, card: Mapping[str, Any]) -> keras.Model:
    """The graph of a run.

    Args:
        path: The file.
        card: Of the run, checked.

    Returns:
        Raw scan (batch, bands) -> {target, T2, Q: (batch, 1)}.

    Raises:
        InputError: the file is damaged, holds a layer that no run has, is too large, or is not the model of the card.
    """
    with opened(path, WAY_OUT) as file, readable(path, WAY_OUT):
        check_archive(file, LARGEST_UNPACKED_BYTES)
        with zipfile.ZipFile(file) as archive:
            if other := set(archive.namelist()) ^ MEMBERS:
                raise ValueError(f"expected {', '.join(sorted(MEMBERS))}, received or lacks {', '.join(sorted(other))}")
            config = archive.read(CONFIG).decode("utf-8")
            check_layers(json.loads(config))
            check_weights(archive.read(WEIGHTS))
        count = count_weights(config)
        if count != card["model"]["weights"]:
            raise ValueError(f"{count:,} weights, where card.json says {card['model']['weights']:,}")
        with warnings.catch_warnings():
            # Keras warns of weights that it could not load, and goes on with random ones.
            warnings.simplefilter("error", UserWarning)
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        bands, outputs = len(card["input"]["wavelengths_nm"]), (*card["targets"], T2, Q)
        found = {name: tuple(output.shape) for name, output in model.output.items()}
        if (tuple(model.input.shape), found) != ((None, bands), dict.fromkeys(outputs, (None, 1))):
            raise ValueError(f"reads {model.input.shape} and gives {found}, expected {bands} bands and {outputs}")
        model(np.full((1, bands), 0.5, "float32"), training=False)  # a graph that cannot run says so here
    return model


def check_layers(config: Any) -> None:
    """Look through a model's config before Keras builds it.

    Args:
        config: Of the model, or a part of it.

    Raises:
        ValueError: it names a class that no run has, or a size beyond LARGEST_SIZE.
    """
    if isinstance(config, list):
        for item in config:
            check_layers(item)
        return
    if not isinstance(config, dict):
        return
    if "class_name" in config and not is_known(config.get("module"), config["class_name"]):
        named = short(f"{config.get('module')}.{config['class_name']}")
        raise ValueError(f"holds {named}, which no model of relple_tf does")
    for key, value in config.items():
        sizes = value if isinstance(value, list) else [value]
        if key not in NO_SIZE and any(isinstance(size, int) and abs(size) > LARGEST_SIZE for size in sizes):
            raise ValueError(f"{short(key)} is {short(value)}, expected at most {LARGEST_SIZE:,}")
        check_layers(value)


def is_known(module: str | None, name: str) -> bool:
    """Whether a class may stand in a run's model."""
    if module is None:
        return name in ARGUMENTS
    if module == "keras.layers":
        return name in LAYERS
    return module in ("keras", "keras.initializers", "keras.src.models.functional") or module.startswith(
        "relple_tf.models."
    )


def check_weights(content: bytes) -> None:
    """Look through an HDF5 file before Keras reads its arrays.

    Raises:
        ValueError: they are larger than LARGEST_UNPACKED_BYTES, or stand elsewhere.
    """
    total = 0

    def count(_: str, found: Any) -> None:
        nonlocal total
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual or found.dtype.kind not in "fiu":
                raise ValueError("holds something else than arrays of numbers")
            total += math.prod(found.shape) * found.dtype.itemsize

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(count)
    if total > LARGEST_UNPACKED_BYTES:
        raise ValueError(f"unpacks to {total:,} bytes, expected at most {LARGEST_UNPACKED_BYTES:,}")


def count_weights(config: str) -> int:
    """How many weights a model has by its config; none of them is allocated.

    Raises:
        ValueError: more than MOST_WEIGHTS.
    """
    with keras.StatelessScope(initialize_variables=False):
        model = keras.models.model_from_json(config)
        count: int = sum(math.prod(weight.shape) for weight in model.weights)
    if count > MOST_WEIGHTS:
        # Keras would allocate at the next chance what this scope has put off.
        keras.backend.clear_session()
        raise ValueError(f"has {count:,} weights, expected at most {MOST_WEIGHTS:,}")
    return count
