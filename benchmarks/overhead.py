"""Training time of masks, adaptive weights and metrics, relative to a bare `model.fit` with MSE on the same graph.

    python -m benchmarks.overhead [--repeats 5] [--epochs 4]

Both train the same graph on the same batches in one process, in turn. Prints seconds per epoch and the ratio of
medians.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import keras
import numpy as np

from relple_tf.config import replace
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.splitting.split import split
from relple_tf.training.loop import Batches, Monitor, compile_joint, joint_model
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.zoo import rs_ple_base


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()

    config = replace(rs_ple_base(), training__max_epochs=1000)
    library = load(config)
    parts, _ = split(library, config.split, 0)
    prepared = prepare(library, parts, config)
    joint, rows = joint_model(initial_network(prepared, config), prepared, config)
    batches = Batches(rows, prepared.train_values, config.training)
    compile_joint(joint, config.training, steps=1000 * len(batches))
    monitor = Monitor(joint.network, prepared, config.training, 1000, None, "", stop_early=True, show=True)

    outputs = [joint.body.outputs[i] for i in range(len(joint.targets))]
    bare = keras.Model(joint.body.inputs, keras.layers.Concatenate()(outputs))
    bare.compile(keras.optimizers.AdamW(1e-5, clipnorm=1.0), "mse", jit_compile=False)
    values = np.nan_to_num(prepared.train_values)
    plain = Batches(rows, values, config.training)

    def fit_joint() -> None:
        joint.fit(batches, epochs=options.epochs, callbacks=[monitor], shuffle=False, verbose=0)

    def fit_bare() -> None:
        bare.fit(plain, epochs=options.epochs, shuffle=False, verbose=0)

    fit_joint()
    fit_bare()
    joint_s, bare_s = [], []
    for _ in range(options.repeats):
        joint_s.append(seconds(fit_joint) / options.epochs)
        bare_s.append(seconds(fit_bare) / options.epochs)
    print(f"joint loss, masks, scores, progress: {median(joint_s):.3f} s per epoch")
    print(f"bare model.fit, plain MSE:           {median(bare_s):.3f} s per epoch")
    print(f"ratio of medians: {median(joint_s) / median(bare_s):.3f}")


if __name__ == "__main__":
    main()
