"""Jobs of tests/test_processes.py, in a separate module so that processes start without TensorFlow."""

import os

from relple_tf.errors import InputError


def record(folder, job):
    """Write a file with the process id and the number of threads, and return the job in capitals."""
    (folder / job).write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}", encoding="utf-8")
    return job.upper()


def refuse(folder, job):
    raise InputError(f"{job} is refused")


def fail(folder, job):
    raise KeyError(f"{job} failed")


def die(folder, job):
    os._exit(9)


def wait_for_ever(folder, job):
    (folder / job).write_text(str(os.getpid()), encoding="utf-8")
    import time

    time.sleep(3600)


def pool_of_two(folder):
    """Run two endless jobs; the test kills the process that calls this."""
    import signal

    # If a shell starts the tests in the background, they and their child processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from relple_tf.processes import run_all

    run_all(wait_for_ever, ["a", "b"], folder, workers=2)
