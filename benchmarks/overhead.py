"""What masking, adaptive weights and metrics cost over a bare `model.fit` with plain MSE of the same graph.

    python benchmarks/overhead.py [--repeats 5] [--epochs 4]

Both fit the same body on the same batches in one process, in turn; prints seconds per epoch and the ratio of medians.
"""

import argparse
import time
from statistics import median

import keras
import numpy as np

from relple_tf.config import replace
from relple_tf.spectra.sources import load
from relple_tf.spectra.split import split
from relple_tf.training.fit import Batches, Monitor, compile_joint, joint_model, seed_everything
from relple_tf.training.preparation import prepare
from relple_tf.zoo import rs_ple_small


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()

    config = replace(rs_ple_small(), training__max_epochs=1000)
    seed_everything(0)
    library = load(config)
    parts, _ = split(library, config.split, 0)
    prepared = prepare(library, parts, config)
    joint, rows = joint_model(prepared, config)
    batches = Batches(rows, prepared.train_values, config.training)
    compile_joint(joint, prepared.network, config.training, steps=1000 * len(batches))
    monitor = Monitor(prepared, config.training, 1000, None, "")

    outputs = [joint.body.outputs[i] for i in range(len(joint.targets))]
    bare = keras.Model(joint.body.inputs, keras.layers.Concatenate()(outputs))
    bare.compile(keras.optimizers.AdamW(1e-5, clipnorm=1.0), "mse", jit_compile=False)
    values = np.nan_to_num(prepared.train_values)
    plain = Batches(rows, values, config.training)

    def seconds(model: keras.Model, data: Batches, callbacks: list[keras.callbacks.Callback]) -> float:
        start = time.perf_counter()
        model.fit(data, epochs=options.epochs, callbacks=callbacks, shuffle=False, verbose=0)
        return (time.perf_counter() - start) / options.epochs

    seconds(joint, batches, [monitor]), seconds(bare, plain, [])
    joined, alone = [], []
    for _ in range(options.repeats):
        joined.append(seconds(joint, batches, [monitor]))
        alone.append(seconds(bare, plain, []))
    print(f"joint loss, masks, scores, progress: {median(joined):.3f} s per epoch")
    print(f"bare model.fit, plain MSE:           {median(alone):.3f} s per epoch")
    print(f"ratio of medians: {median(joined) / median(alone):.3f}")


if __name__ == "__main__":
    main()
