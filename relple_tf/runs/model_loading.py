"""Load model.keras, which may be damaged or hostile: only the layers that runs use, and limited sizes, are accepted."""

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
from relple_tf.models import agreement, domain, front_end, instrument, robust_views, target_scaling
from relple_tf.models import kernel_regression as kernel
from relple_tf.models.deployed import T2, Q
from relple_tf.runs.card_schema import MAX_WEIGHTS
from relple_tf.runs.folder import REMEDY

REGISTERED_LAYERS = (
    front_end.ToAbsorbance,
    target_scaling.InverseTargetScaling,
    domain.DomainStatistics,
    kernel.KernelRegression,
    robust_views.Detrend,
    agreement.Disagreement,
    instrument.BandTransfer,
)
"""Layers of relple_tf; Keras loads them only if their modules are imported."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
ARCHIVE_ENTRIES = {CONFIG, "metadata.json", WEIGHTS}
LARGEST_UNPACKED_BYTES = 1 << 30
LARGEST_SIZE = 1_000_000
"""Largest integer in the config of a layer; the largest integers are shapes."""

LAYERS = frozenset(
    (
        *("Activation", "Add", "BatchNormalization", "Concatenate", "Conv1D", "Cropping1D", "Dense", "Dropout"),
        *("Flatten", "GlobalAveragePooling1D", "Identity", "InputLayer", "LSTM", "Multiply", "Permute", "Rescaling"),
        *("Reshape", "Softmax"),
    )
)
"""Keras layers that `relple_tf.models` uses. Other layers could read files or run code."""
ARGUMENT_CLASSES = {"__keras_tensor__", "__slice__", "__numpy__"}
"""Class names of the arguments of an operation; they have no module."""
NOT_SIZES = {"seed", "shared_object_id"}
"""Fields whose integer is not a size."""


def load_model(path: Path, card: Mapping[str, Any]) -> keras.Model:
    """Load the deployed model of a run.

    Args:
        path: The file model.keras.
        card: Card of the run, checked.

    Returns:
        Model: raw scan (batch, bands) -> {target, T2, Q: (batch, 1)}.

    Raises:
        InputError: the file is damaged or too large, contains a layer that runs do not use, or differs from the card.
    """
    with opened(path, REMEDY) as file, readable(path, REMEDY):
        check_archive(file, LARGEST_UNPACKED_BYTES)
        with zipfile.ZipFile(file) as archive:
            if differences := set(archive.namelist()) ^ ARCHIVE_ENTRIES:
                raise ValueError(
                    f"expected {', '.join(sorted(ARCHIVE_ENTRIES))}; missing or added: {', '.join(sorted(differences))}"
                )
            config = archive.read(CONFIG).decode("utf-8")
            check_layers(json.loads(config))
            check_weights(archive.read(WEIGHTS))
        count = count_weights(config)
        if count != card["model"]["weights"]:
            raise ValueError(f"expected {card['model']['weights']:,} weights as in card.json, received {count:,}")
        with warnings.catch_warnings():
            # Keras only warns when it cannot load weights, and keeps random ones.
            warnings.simplefilter("error", UserWarning)
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        bands, outputs = len(card["input"]["wavelengths_nm"]), (*card["targets"], T2, Q)
        shapes = {name: tuple(output.shape) for name, output in model.output.items()}
        if (tuple(model.input.shape), shapes) != ((None, bands), dict.fromkeys(outputs, (None, 1))):
            names = sorted({*shapes, *outputs})
            wrong = {name: shapes.get(name) for name in names if shapes.get(name) != (None, 1) or name not in outputs}
            raise ValueError(
                f"expected {bands} bands, received shape {model.input.shape}; expected outputs {', '.join(outputs)} of "
                f"shape (None, 1), received {wrong or 'these'}"
            )
        model(np.full((1, bands), 0.5, "float32"), training=False)  # fails here if the graph cannot run
    return model


def check_layers(config: Any) -> None:
    """Check a model's config before Keras builds the model.

    Args:
        config: Config of the model, or a part of it.

    Raises:
        ValueError: it contains a class that runs do not use, or a size beyond LARGEST_SIZE.
    """
    if isinstance(config, list):
        for item in config:
            check_layers(item)
        return
    if not isinstance(config, dict):
        return
    if "class_name" in config and not is_allowed(config.get("module"), config["class_name"]):
        class_path = short(f"{config.get('module')}.{config['class_name']}")
        raise ValueError(f"contains {class_path}, which models of relple_tf do not use")
    for key, value in config.items():
        sizes = value if isinstance(value, list) else [value]
        if key not in NOT_SIZES and any(isinstance(size, int) and abs(size) > LARGEST_SIZE for size in sizes):
            raise ValueError(f"{short(key)}: expected at most {LARGEST_SIZE:,}, received {short(value)}")
        check_layers(value)


def is_allowed(module: str | None, name: str) -> bool:
    """Whether the model of a run may contain a class."""
    if module is None:
        return name in ARGUMENT_CLASSES
    if module == "keras.layers":
        return name in LAYERS
    return module in ("keras", "keras.initializers", "keras.src.models.functional") or module.startswith(
        "relple_tf.models."
    )


def check_weights(content: bytes) -> None:
    """Check an HDF5 file before Keras reads its arrays.

    Raises:
        ValueError: an array is in another file or is not numeric, or all together exceed LARGEST_UNPACKED_BYTES.
    """
    total = 0

    def count(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual or item.dtype.kind not in "fiu":
                raise ValueError("expected arrays of numbers only, received something else")
            total += math.prod(item.shape) * item.dtype.itemsize

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(count)
    if total > LARGEST_UNPACKED_BYTES:
        raise ValueError(f"expected at most {LARGEST_UNPACKED_BYTES:,} unpacked bytes, received {total:,}")


def count_weights(config: str) -> int:
    """Number of weights of a model, computed from its config without allocating them.

    Raises:
        ValueError: there are more than MAX_WEIGHTS.
    """
    with keras.StatelessScope(initialize_variables=False):
        model = keras.models.model_from_json(config)
        count: int = sum(math.prod(weight.shape) for weight in model.weights)
    if count > MAX_WEIGHTS:
        # Else Keras allocates the postponed weights when the next model is built.
        keras.backend.clear_session()
        raise ValueError(f"expected at most {MAX_WEIGHTS:,} weights, received {count:,}")
    return count
