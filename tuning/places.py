"""Where trials run: in this process, in processes of their own, or as Ray tasks. No Keras.

A place is given one function and what all trials share, once; then trials. It never lets a trial's end be its own: an
exception, a crash and a hang are told, not raised.
"""

import contextlib
import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.training.workers import THREADS

Do = Callable[[Any, Config], Any]
"""(shared, config) -> what the trial found; a function of a module."""

LEAVE_S = 5.0
"""Seconds that a process has to end by itself."""
ANSWER_S = 15
"""Seconds that a Ray cluster has to answer."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one trial ended."""

    number: int
    found: Any = None
    """What the function returned, None if it failed."""
    message: str = ""
    """Why it failed."""
    lost: bool = False
    """Its process was killed, which may not be the trial's fault."""
    seconds: float = 0.0
    """Wall time in its process."""


class Place(Protocol):
    """Something that runs trials."""

    def free(self) -> int:
        """Trials that can start now."""

    def start(self, number: int, config: Config) -> None:
        """Begin a trial; only where one is free."""

    def wait(self) -> list[Ended]:
        """The trials that ended, after a second at most; may be none."""

    def close(self) -> None:
        """End every trial under way."""


def attempt(do: Do, shared: Any, number: int, config: Config) -> Ended:
    """Run one trial; a failure is an end like any other."""
    started_s = time.perf_counter()
    try:
        found, message = do(shared, config), ""
    except Exception as error:
        found, message = None, " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return Ended(number=number, found=found, message=message, seconds=time.perf_counter() - started_s)


class InThisProcess:
    """One trial after the other here; a crash or a hang is then the search's own."""

    def __init__(self, do: Do, shared: Any) -> None:
        self.do, self.shared = do, shared
        self.waiting: list[tuple[int, Config]] = []

    def free(self) -> int:
        """One at a time."""
        return 1 - len(self.waiting)

    def start(self, number: int, config: Config) -> None:
        """Remember it; `wait` runs it."""
        self.waiting.append((number, config))

    def wait(self) -> list[Ended]:
        """Run what was started."""
        waiting, self.waiting = self.waiting, []
        return [attempt(self.do, self.shared, number, config) for number, config in waiting]

    def close(self) -> None:
        """Nothing runs between two calls."""


@dataclass(eq=False)
class _Worker:
    """A process and what it is doing."""

    process: Any
    connection: Connection
    number: int | None = None
    since_s: float = field(default_factory=time.monotonic)


class Processes:
    """Processes on this machine; one that dies or hangs is replaced by a new one."""

    def __init__(
        self, do: Do, shared: Any, *, take_in: Callable[[], None], workers: int, limit_s: float, threads: int = 0
    ) -> None:
        """Nothing starts before the first trial.

        Args:
            do: What a trial does.
            shared: Sent to each process once.
            take_in: Imports TensorFlow; called first in every new process.
            workers: At most so many.
            limit_s: Seconds after which a trial is ended.
            threads: Of each process; 0 shares the cores out.
        """
        self.do, self.take_in, self.workers, self.limit_s = do, take_in, workers, limit_s
        self.threads = threads or max(1, (os.cpu_count() or 1) // workers)
        # As bytes, for the process that unpacks an array has taken NumPy in, with as many threads as it likes.
        self.shared = pickle.dumps(shared)
        self.running: list[_Worker] = []

    def free(self) -> int:
        """Processes without a trial."""
        return self.workers - sum(worker.number is not None for worker in self.running)

    def start(self, number: int, config: Config) -> None:
        """Give the trial to a process that waits, or to a new one."""
        for worker in [worker for worker in self.running if worker.number is None]:
            if not worker.process.is_alive():
                self._end(worker)
        worker = next((worker for worker in self.running if worker.number is None), None) or self._new()
        worker.number, worker.since_s = number, time.monotonic()
        with contextlib.suppress(OSError):  # it died this moment; `wait` finds that out
            worker.connection.send((number, config))

    def _new(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, self.do, self.shared, self.take_in, self.threads), daemon=True
        )
        process.start()
        theirs.close()
        worker = _Worker(process=process, connection=ours)
        self.running.append(worker)
        return worker

    def wait(self) -> list[Ended]:
        """Also ends what takes too long."""
        ended = []
        ready = wait([worker.connection for worker in self.running], timeout=1.0)
        for worker in list(self.running):
            if worker.connection in ready:
                ended += self._heard(worker)
            elif worker.number is not None and time.monotonic() - worker.since_s > self.limit_s:
                ended.append(
                    Ended(
                        number=worker.number, message=f"hung: not done after {self.limit_s:g} s", seconds=self.limit_s
                    )
                )
                self._end(worker)
        return ended

    def _heard(self, worker: _Worker) -> list[Ended]:
        try:
            end: Ended = worker.connection.recv()
        except (EOFError, OSError):
            number = worker.number
            self._end(worker)
            if number is None:
                return []
            seconds = time.monotonic() - worker.since_s
            code = worker.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            return [Ended(number=number, message=f"its process died ({how})", lost=True, seconds=seconds)]
        worker.number = None
        return [end]

    def _end(self, worker: _Worker) -> None:
        # A process that has closed its end is dying by itself, and its exit code says of what.
        worker.process.join(0.5)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.running.remove(worker)

    def close(self) -> None:
        """Let those that wait leave by themselves, and kill those at work."""
        for worker in self.running:
            worker.connection.close()
            if worker.number is not None:
                worker.process.kill()
        for worker in self.running:
            worker.process.join(LEAVE_S)
            worker.process.kill()
            worker.process.join()
        self.running.clear()


def serve(connection: Connection, do: Do, shared: bytes, take_in: Callable[[], None], threads: int) -> None:
    """What a process of `Processes` does: trials, until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    take_in()
    unpacked = pickle.loads(shared)
    while True:
        try:
            number, config = connection.recv()
        except EOFError:
            return
        connection.send(attempt(do, unpacked, number, config))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
        threads = {"env_vars": dict.fromkeys(THREADS, "1")}
        self.task = self.ray.remote(num_cpus=1, max_retries=0, runtime_env=threads)(attempt)
        self.do = do
        self.running: dict[Any, tuple[int, float]] = {}

    def free(self) -> int:
        """Cores without a trial."""
        return int(self.ray.cluster_resources().get("CPU", 0)) - len(self.running)

    def start(self, number: int, config: Config) -> None:
        """Hand it to the cluster."""
        self.running[self.task.remote(self.do, self.shared, number, config)] = (number, time.monotonic())

    def wait(self) -> list[Ended]:
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
                ended.append(Ended(number=number, message=message, seconds=self.limit_s))
        return ended

    def _end_of(self, reference: Any) -> Ended:
        number, since_s = self.running.pop(reference)
        try:
            end: Ended = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            message = f"its Ray worker was lost ({type(error).__name__})"
            return Ended(number=number, message=message, lost=True, seconds=time.monotonic() - since_s)
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
