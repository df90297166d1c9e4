"""Executors of trials: this process, worker processes, or a Ray cluster. Imports no Keras.

An executor receives the objective and the data that all trials share once, then the trials. Failures are returned as
results, never raised: an exception, a crash or a trial that hangs does not end the search.
"""

import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.processes import QUIET, THREADS, JobResult, attempt

Objective = Callable[[Any, Config], Any]
"""(shared, config) -> result of the trial; a function at module level, so that it can be pickled."""

ANSWER_S = 15
"""Seconds within which a Ray cluster must answer."""


class Executor(Protocol):
    """Runs trials; `relple_tf.processes.WorkerPool` implements it too."""

    def free(self) -> int:
        """Number of trials that can start now."""

    def start(self, number: int, job: Config) -> None:
        """Start a trial; requires `free() > 0`."""

    def wait(self) -> list[JobResult]:
        """Results of the trials that ended; waits one second at most and may return an empty list."""

    def close(self) -> None:
        """End all running trials."""


class InThisProcess:
    """Runs one trial after the other in this process; a crash or a hang ends the search."""

    def __init__(self, objective: Objective, shared: Any) -> None:
        self.objective, self.shared = objective, shared
        self.waiting: list[tuple[int, Config]] = []

    def free(self) -> int:
        """Number of trials that can start now, 0 or 1."""
        return 1 - len(self.waiting)

    def start(self, number: int, job: Config) -> None:
        """Queue the trial; `wait` runs it."""
        self.waiting.append((number, job))

    def wait(self) -> list[JobResult]:
        """Run the queued trials."""
        waiting, self.waiting = self.waiting, []
        return [attempt(self.objective, self.shared, number, job) for number, job in waiting]

    def close(self) -> None:
        """Do nothing: no trial runs between two calls."""


class RayTasks:
    """Runs trials as tasks of one core on a Ray cluster, as many at a time as the cluster has cores at that moment.

    Ray has neither encryption nor authentication: whoever reaches its ports can run code on its nodes.
    """

    def __init__(self, objective: Objective, shared: Any, *, ray: Any, limit_s: float) -> None:
        """Put the shared data into the object store, once.

        Args:
            objective: Function of a trial; its module is installed on every node.
            shared: Data of all trials; each node fetches them once.
            ray: The module, from `connect_to_ray`.
            limit_s: Seconds from submission after which a trial is cancelled.
        """
        self.ray = ray
        self.limit_s = limit_s
        self.shared = self.ray.put(shared)
        # No retries by Ray: `tuning.trials.Search` repeats a lost trial, for processes as for Ray.
        variables = {"env_vars": dict.fromkeys(THREADS, "1") | QUIET}
        self.task = self.ray.remote(num_cpus=1, max_retries=0, runtime_env=variables)(attempt)
        self.objective = objective
        self.running: dict[Any, tuple[int, float]] = {}

    def free(self) -> int:
        """Number of cores without a trial."""
        return int(self.ray.cluster_resources().get("CPU", 0)) - len(self.running)

    def start(self, number: int, job: Config) -> None:
        """Submit the trial to the cluster."""
        self.running[self.task.remote(self.objective, self.shared, number, job)] = (number, time.monotonic())

    def wait(self) -> list[JobResult]:
        """Results of the trials that ended; trials that exceed the limit are cancelled."""
        if not self.running:
            time.sleep(1.0)
            return []
        done, _ = self.ray.wait(list(self.running), timeout=1.0)
        ended = [self._result_of(reference) for reference in done]
        for reference, (number, since_s) in list(self.running.items()):
            if time.monotonic() - since_s > self.limit_s:
                self.ray.cancel(reference, force=True)
                del self.running[reference]
                message = f"hung: not done after {self.limit_s:g} s"
                ended.append(JobResult(number=number, message=message, seconds=self.limit_s))
        return ended

    def _result_of(self, reference: Any) -> JobResult:
        number, since_s = self.running.pop(reference)
        try:
            result: JobResult = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            message = f"its Ray worker was lost ({type(error).__name__})"
            return JobResult(number=number, message=message, lost=True, seconds=time.monotonic() - since_s)
        return result

    def close(self) -> None:
        """Cancel all trials and disconnect; a cluster that this process started is shut down."""
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.ray.shutdown()


def connect_to_ray(address: str) -> Any:
    """Connect to a Ray cluster and return the module `ray`.

    Args:
        address: host:port, or `auto` for the cluster on this computer, which is started if there is none.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address within ANSWER_S seconds.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise InputError("--ray: Ray is not installed; install the extra `cluster`: pip install '.[cluster]'") from None
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "auto":
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except ConnectionError:
            ray.init(**options)
        return ray
    check_cluster(address)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    return ray


def check_cluster(address: str) -> None:
    """Refuse an address where no Ray cluster answers.

    The connection is tested in a separate process, because `ray.init` may wait without limit or abort its process.

    Raises:
        InputError: the address is not host:port, or no Ray cluster answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    remedy = "give the address that `ray start --head` printed, or auto"
    if not (host and port.isdigit() and int(port) < 65536):
        raise InputError(f"--ray {address}: expected host:port; {remedy}")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S / 3).close()
    except OSError as error:
        raise InputError(f"--ray {address}: no connection ({error}); {remedy}") from None
    script = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
    try:
        process = subprocess.run(
            [sys.executable, "-c", script, address], capture_output=True, timeout=ANSWER_S * 2 / 3, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"--ray {address}: no Ray cluster answers at this address; {remedy}") from None
    if process.returncode:
        error_lines = process.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            f"--ray {address}: Ray could not connect ({error_lines[-1] if error_lines else 'no output'}); {remedy}"
        )
