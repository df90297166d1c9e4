"""A bundle of tiny .tflite files, built without training: `python hand_made.py FOLDER`, run in a separate process."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

BANDS = 24
NM = [1000.0 + 10 * band for band in range(BANDS)]
LIMITS = {"T2": 9.0, "Q": 2.0}
MODELLED = {
    "OC_g_kg": {"root": True, "mean": 2.0, "sd": 0.5, "low": -2.0, "high": 2.0},
    "pH": {"root": False, "mean": 6.0, "sd": 1.0, "low": -2.0, "high": 2.0},
}
INTERVAL = {"coverage": 0.9, "half_width": 0.2, "growth": 0.5, "root": True, "non_negative": True, "n": 50}
NO_SQRT_BELOW = 0.1
"""If the first band is below this value, Q of these models is NaN."""


def card():
    intervals = {"OC_g_kg": {"target": "OC_g_kg", **INTERVAL}, "pH": None}
    units = {"OC_g_kg": "g/kg", "pH": ""}
    return {
        "format": 2,
        "simulated": False,
        "input": {"quantity": "reflectance", "wavelengths_nm": NM},
        "targets": {name: {"unit": units[name], "interval": intervals[name]} for name in MODELLED},
        "domain": {"limits": dict(LIMITS), "share_within": 0.99},
        "front_end": {"grid_nm": NM},
        "default_variant": "float32",
        "variants": {
            "float32": {"file": "float32.tflite", "reads": "scan"},
            "float16": {"file": "float16.tflite", "reads": "scan"},
        },
    }


def seal(folder):
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def soils(count=12):
    """Similar scans, (count, BANDS)."""
    rng = np.random.default_rng(3)
    return (0.4 + 0.1 * np.cumsum(rng.normal(size=(count, BANDS)), axis=1) / 5).clip(0.15, 0.8).astype("float32")


def main(folder):
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    features = tf_keras.Input((BANDS, 1), name="features")
    recurrent = tf_keras.layers.LSTM(3, return_sequences=True)
    # The last state, by operators that `export.graph` knows.
    state = tf_keras.layers.Flatten()(tf_keras.layers.Cropping1D((BANDS - 1, 0))(recurrent(features)))
    # With an open forget gate, the state persists unless it is reset.
    kernel, recurrent_kernel, bias = recurrent.get_weights()
    recurrent.set_weights([kernel, recurrent_kernel, bias + np.repeat([0.0, 2.0, 0.0, 0.0], 3)])
    network = tf_keras.Model(features, {name: tf_keras.layers.Dense(1, name=name)(state) for name in MODELLED})

    @tf.function(input_signature=[tf.TensorSpec((1, BANDS), tf.float32, name="spectrum")])
    def deployed(spectrum):
        t2 = tf.reduce_sum(tf.square(spectrum - 0.4), axis=1, keepdims=True)
        outputs = {"T2": t2, "Q": tf.sqrt(spectrum[:, :1] - NO_SQRT_BELOW)}
        values = network(tf.reshape((spectrum - 0.4) * 10, (1, BANDS, 1)))
        for name, modelled in MODELLED.items():
            value = (
                tf.clip_by_value(values[name], modelled["low"], modelled["high"]) * modelled["sd"] + modelled["mean"]
            )
            outputs[name] = value * value if modelled["root"] else value
        return outputs

    def converted(half_precision):
        module = tf.Module()
        module.variables_of_the_function, module.function = network.variables, deployed
        converter = tf.lite.TFLiteConverter.from_concrete_functions([deployed.get_concrete_function()], module)
        if half_precision:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()

    (folder / "float32.tflite").write_bytes(converted(half_precision=False))
    (folder / "float16.tflite").write_bytes(converted(half_precision=True))
    (folder / "card.json").write_text(json.dumps(card()))
    seal(folder)
    expected = [{name: np.asarray(value).item() for name, value in deployed(scan[None]).items()} for scan in soils()]
    print(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
