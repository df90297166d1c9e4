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
    "OC_g_kg": {"root": True, "mean": 2.0, "sd": 0.5, "low": -2.0, "high": 2.0, "non_negative": True},
    "pH": {"root": False, "mean": 6.0, "sd": 1.0, "low": -2.0, "high": 2.0, "non_negative": True},
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
        "targets": {
            name: {"unit": units[name], "modelled": MODELLED[name], "interval": intervals[name]} for name in MODELLED
        },
        "domain": {"limits": dict(LIMITS), "share_within": 0.99},
        "front_end": {"file": "front_end.tflite", "grid_nm": NM},
        "default_variant": "float32",
        "variants": {
            "float32": {"file": "float32.tflite", "reads": "scan"},
            "int8_core": {"file": "int8_core.tflite", "reads": "features_int8"},
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
    recurrent = tf_keras.layers.LSTM(3)
    state = recurrent(features)
    # With an open forget gate, the state persists unless it is reset.
    kernel, recurrent_kernel, bias = recurrent.get_weights()
    recurrent.set_weights([kernel, recurrent_kernel, bias + np.repeat([0.0, 2.0, 0.0, 0.0], 3)])
    network = tf_keras.Model(features, {name: tf_keras.layers.Dense(1, name=name)(state) for name in MODELLED})

    def spec(name, *shape):
        return tf.TensorSpec((1, *shape), tf.float32, name=name)

    def domain_statistics(spectrum):
        t2 = tf.reduce_sum(tf.square(spectrum - 0.4), axis=1, keepdims=True)
        return {"T2": t2, "Q": tf.sqrt(spectrum[:, :1] - NO_SQRT_BELOW)}

    @tf.function(input_signature=[spec("spectrum", BANDS)])
    def front_end(spectrum):
        return {"features": tf.reshape((spectrum - 0.4) * 10, (1, BANDS, 1)), **domain_statistics(spectrum)}

    @tf.function(input_signature=[spec("features", BANDS, 1)])
    def core(features):
        return network(features)

    @tf.function(input_signature=[spec("spectrum", BANDS)])
    def deployed(spectrum):
        outputs = front_end(spectrum)
        values = network(outputs.pop("features"))
        for name, modelled in MODELLED.items():
            value = (
                tf.clip_by_value(values[name], modelled["low"], modelled["high"]) * modelled["sd"] + modelled["mean"]
            )
            outputs[name] = value * value if modelled["root"] else value
        return outputs

    def converted(function, integer=False):
        module = tf.Module()
        module.variables_of_the_function, module.function = network.variables, function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
        if integer:
            rows = [np.asarray(front_end(scan[None])["features"]) for scan in soils()]
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ({"features": row} for row in rows)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()

    (folder / "float32.tflite").write_bytes(converted(deployed))
    (folder / "front_end.tflite").write_bytes(converted(front_end))
    (folder / "int8_core.tflite").write_bytes(converted(core, integer=True))
    (folder / "card.json").write_text(json.dumps(card()))
    seal(folder)
    expected = [{name: np.asarray(value).item() for name, value in deployed(scan[None]).items()} for scan in soils()]
    print(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
