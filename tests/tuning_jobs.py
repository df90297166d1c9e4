"""Trials without a network, for tests/tuning. A separate module, so that worker processes need no TensorFlow."""

import math
import os
import signal
import sys
import time

from relple_tf.config import Config

FIXED = """
[front_end]
views = ["snv_d1"]
whitened_components = 60
[training]
learning_rate = 0.003
weight_decay = 0.01
batch_size = 64
balancing = "equal"
[model]
task_experts = 1
shared_experts = 1
expert_kind = "cnn"
stem = "shared"
conv_kernel = 7
tower_units = 16
basis_units = 256
landmarks = 768
dropout = 0.1
"""
"""A space file. [model] comes last, so that a test can append the fields of [model] that it searches."""


def toy(shared, config):
    """R2 of two targets: `a` is highest at a learning rate of 10**-2.5 and many units, `b` depends on levels only."""
    return {
        "a": -((math.log10(config.training.learning_rate) + 2.5) ** 2) + config.model.expert_units / 100,
        "b": config.model.levels / 10,
    }


def once(folder, name):
    """Whether this is the first call with `name` in any process."""
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def failing(folder, config):
    """Fail by the number of units: 2 kills its process once, 3 always, 4 hangs, 5 raises, 6 is NaN, 7 has no memory."""
    units = config.model.expert_units
    (folder / f"{units}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if (units == 2 and once(folder, "killed")) or units == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if units == 4:
        time.sleep(3600)
    if units == 5:
        raise ValueError("five is refused")
    if units == 6:
        return {"a": 1.0, "b": math.nan}
    if units == 7:
        raise MemoryError
    return {"a": units / 100.0}


class CountedData:
    """Creates a file every time that it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __getstate__(self):
        return {"folder": self.folder}

    def __setstate__(self, state):
        self.__dict__.update(state)
        (self.folder / f"unpickled-{os.getpid()}-{time.monotonic_ns()}").touch()


def process_of(shared, config):
    """The process id as the score."""
    return {"a": float(os.getpid())}


def slow(folder, config):
    """Create a file at the start, then take two seconds, in which a test can kill the process."""
    (folder / f"began-{config.model.expert_units}").touch()
    time.sleep(2.0)
    return {"a": config.model.expert_units / 100.0}


def waiting(folder, config):
    """Create a file at the start, then wait until the test has killed a node."""
    (folder / f"began-{config.model.expert_units}").touch()
    while not (folder / "killed").exists():
        time.sleep(0.05)
    return {"a": config.model.expert_units / 100.0}


def slow_toy(shared, config):
    """`toy` with a delay, so that a search can be killed between trials."""
    time.sleep(0.3)
    return toy(shared, config)


def search(arguments, score):
    """Run `tuning.search` with the objective `score`."""
    from relple_tf.command_line import run
    from tuning import objective
    from tuning import search as command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    objective.score = score
    run(command.main, arguments)


def config_with_units(units):
    """The default config with this number of expert units, which `failing` and `slow` read."""
    from relple_tf.config import replace

    return replace(Config(), model__expert_units=units)


if __name__ == "__main__":
    search(sys.argv[2:], globals()[sys.argv[1]])
