"""Executors of trials: this process, worker processes, or a Ray cluster. No Keras.

An executor is given one function and what all trials share, once; then trials. Failures are returned as results, never
raised: an exception, a crash and a trial that hangs do not end the search.
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

Do = Callable[[Any, Config], Any]
"""(shared, config) -> result of the trial; a function of a module."""

ANSWER_S = 15
"""Seconds that a Ray cluster has to answer."""


class Executor(Protocol):
    """Runs trials; `relple_tf.processes.Processes` is one."""

    def free(self) -> int:
        """Trials that can start now."""

    def start(self, number: int, job: Config) -> None:
        """Begin a trial; only where one is free."""

    def wait(self) -> list[JobResult]:
        """The trials that ended, after a second at most; may be none."""

    def close(self) -> None:
        """End every trial under way."""


class InThisProcess:
    """One trial after the other in this process; a crash or a hang ends the search."""

    def __init__(self, do: Do, shared: Any) -> None:
        self.do, self.shared = do, shared
        self.waiting: list[tuple[int, Config]] = []

    def free(self) -> int:
        """One at a time."""
        return 1 - len(self.waiting)

    def start(self, number: int, job: Config) -> None:
        """Remember it; `wait` runs it."""
        self.waiting.append((number, job))

    def wait(self) -> list[JobResult]:
        """Run what was started."""
        waiting, self.waiting = self.waiting, []
        return [attempt(self.do, self.shared, number, job) for number, job in waiting]

    def close(self) -> None:
        """Nothing runs between two calls."""


class RayTasks:
    """Tasks on a Ray cluster, one core each; as many at a time as the cluster has cores, also when nodes come and go.

    Ray encrypts nothing and asks nobody who they are: whoever reaches its ports runs code on its machines.
    """

    def __init__(self, do: Do, shared: Any, *, ray: Any, limit_s: float) -> None:
        """Put what is shared into the object store, once.

        Args:
            do: What a trial does; its module is installed on every node.
            shared: Each node fetches it once.
            ray: From `connected`.
            limit_s: Seconds after which a trial is ended, from when the cluster was given it.
        """
        self.ray = ray
        self.limit_s = limit_s
        self.shared = self.ray.put(shared)
        # Retries are the driver's, which does the same for processes.
        variables = {"env_vars": dict.fromkeys(THREADS, "1") | QUIET}
        self.task = self.ray.remote(num_cpus=1, max_retries=0, runtime_env=variables)(attempt)
        self.do = do
        self.running: dict[Any, tuple[int, float]] = {}

    def free(self) -> int:
        """Cores without a trial."""
        return int(self.ray.cluster_resources().get("CPU", 0)) - len(self.running)

    def start(self, number: int, job: Config) -> None:
        """Hand it to the cluster."""
        self.running[self.task.remote(self.do, self.shared, number, job)] = (number, time.monotonic())

    def wait(self) -> list[JobResult]:
        """Also ends what takes too long."""
        if not self.running:
            time.sleep(1.0)
            return []
        done, _ = self.ray.wait(list(self.running), timeout=1.0)
        ended = [self._end_of(reference) for reference in done]
        for reference, (number, since_s) in list(self.running.items()):
            if time.monotonic() - since_s > self.limit_s:
                self.ray.cancel(reference, force=True)
                del self.running[reference]
                message = f"hung: not done after {self.limit_s:g} s"
                ended.append(JobResult(number=number, message=message, seconds=self.limit_s))
        return ended

    def _end_of(self, reference: Any) -> JobResult:
        number, since_s = self.running.pop(reference)
        try:
            end: JobResult = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            message = f"its Ray worker was lost ({type(error).__name__})"
            return JobResult(number=number, message=message, lost=True, seconds=time.monotonic() - since_s)
        return end

    def close(self) -> None:
        """Leave the cluster; a cluster that was started here ends."""
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.ray.shutdown()


def connected(address: str) -> Any:
    """Ray, connected to a cluster.

    Args:
        address: `auto` for the cluster of this machine, which is started here if there is none; else host:port.

    Raises:
        InputError: Ray is not installed, or no cluster answers there within ANSWER_S seconds.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise InputError("--ray needs the extra cluster: pip install '.[cluster]'") from None
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "auto":
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except ConnectionError:
            ray.init(**quiet)
        return ray
    check_answer(address)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    return ray


def check_answer(address: str) -> None:
    """Refuse an address where no Ray cluster answers; tried in a process of its own, for Ray itself may wait or abort.

    Raises:
        InputError: none does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    way_out = "give the address that ray start --head printed, or auto"
    if not (host and port.isdigit() and int(port) < 65536):
        raise InputError(f"--ray {address}: is no host:port; {way_out}")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S / 3).close()
    except OSError as error:
        raise InputError(f"--ray {address}: nothing answers ({error}); {way_out}") from None
    probe = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe, address], capture_output=True, timeout=ANSWER_S * 2 / 3, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"--ray {address}: no Ray cluster answers there; {way_out}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"--ray {address}: no Ray cluster to join ({said[-1] if said else 'no answer'}); {way_out}")
