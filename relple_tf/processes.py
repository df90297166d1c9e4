"""Worker processes: each has a copy of the shared data and runs one job at a time, on one thread.

Only this module starts processes for training. It imports nothing slow, because a new process imports it before the
number of threads of NumPy and TensorFlow is set.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from relple_tf.errors import InputError
from relple_tf.parent_process import end_with_parent

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Environment variables for the number of threads; NumPy and TensorFlow read them when they are imported."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
"""Defaults of environment variables: TensorFlow logs errors only, and is the backend of Keras."""

END_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals that end a command."""

EXIT_S = 5.0
"""Seconds within which a process must end before it is killed."""

JobFunction = Callable[[Any, Any], Any]
"""(shared, job) -> result; a function at the top level of a module, which each process imports."""


class ProcessDiedError(RuntimeError):
    """A worker process died; the usual cause is lack of memory."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """Result of a job; failures are returned as results, never raised."""

    number: int
    value: Any = None
    """Return value of the function; None if the job failed."""
    message: str = ""
    """Reason of the failure, one line; empty if the job succeeded."""
    error: InputError | None = None
    """The exception, if the input is wrong."""
    details: str = ""
    """The traceback of any other exception."""
    lost: bool = False
    """The process died, perhaps for a reason outside the job."""
    seconds: float = 0.0
    """Wall time of the job in seconds."""


def import_tensorflow() -> None:
    """Import TensorFlow with one thread, and without the lines that it prints before a log level applies.

    With several threads, the order of sums and thus the last bits of a result depend on the number of cores. Several
    cores are used by several processes instead.
    """
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.update(QUIET | os.environ)
    with _without_stderr():
        import keras  # noqa: F401


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to the null device, because TensorFlow prints from C++."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def has_one_thread() -> bool:
    """Whether this process was started with one thread, as worker processes are."""
    return all(os.environ.get(name) == "1" for name in THREADS)


def run_all(
    function: JobFunction,
    jobs: Sequence[Any],
    shared: Any,
    *,
    workers: int,
    finished: Callable[[int, Any], None] = lambda number, value: None,
) -> list[Any]:
    """Call `function(shared, job)` for every job and return the results in the order of the jobs.

    With a single worker, a process that has one thread runs the jobs itself.

    Args:
        function: A function at the top level of a module.
        jobs: The jobs, in the order in which they start.
        shared: Data of all jobs; sent once to each process.
        workers: Largest number of processes; 0 is one per core.
        finished: Called in this process after each job, with its number and result.

    Raises:
        ProcessDiedError: a process died.
        InputError: `function` raised it; the other processes are ended.
        RuntimeError: `function` raised another exception; the message contains its traceback.
    """
    values: list[Any] = [None] * len(jobs)
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 0 or (count == 1 and has_one_thread()):
        for number, job in enumerate(jobs):
            values[number] = function(shared, job)
            finished(number, values[number])
        return values
    pool = WorkerPool(function, shared, workers=count)
    queue = list(enumerate(jobs))
    remaining = len(jobs)
    try:
        while remaining:
            while queue and pool.free():
                pool.start(*queue.pop(0))
            for result in pool.wait():
                values[result.number] = _value(result)
                finished(result.number, result.value)
                remaining -= 1
    finally:
        pool.close()
    return values


def _value(result: JobResult) -> Any:
    if result.error is not None:
        raise result.error
    if result.lost:
        raise ProcessDiedError(result.message)
    if result.message:
        raise RuntimeError(f"{result.message}\n{result.details}")
    return result.value


def attempt(function: JobFunction, shared: Any, number: int, job: Any) -> JobResult:
    """Run one job; a failure is returned as a result, never raised."""
    started_s = time.perf_counter()
    value, message, error, details = None, "", None, ""
    try:
        value = function(shared, job)
    except Exception as raised:
        message = " ".join(f"{type(raised).__name__}: {raised}".split())[:500]
        details = traceback.format_exc()
        error = raised if isinstance(raised, InputError) else None
    seconds = time.perf_counter() - started_s
    return JobResult(number=number, value=value, message=message, error=error, details=details, seconds=seconds)


@dataclass(eq=False)
class _Worker:
    """A process and the job that it runs."""

    process: Any
    connection: Connection
    number: int | None = None
    since_s: float = field(default_factory=time.monotonic)


class WorkerPool:
    """Processes on this computer; a process that dies or exceeds the time limit is replaced.

    Args:
        function: Function of every job.
        shared: Data of all jobs; sent once to each process.
        workers: Largest number of processes; the first process starts with the first job.
        limit_s: Time limit of a job in seconds; a job that exceeds it is ended.
    """

    def __init__(self, function: JobFunction, shared: Any, *, workers: int, limit_s: float = float("inf")) -> None:
        self.workers, self.limit_s = workers, limit_s
        # As bytes, because unpickling imports NumPy and TensorFlow, before which the number of threads must be set.
        self.content = pickle.dumps((function, shared))
        self.hides_main = function.__module__ != "__main__"
        self.running: list[_Worker] = []

    def free(self) -> int:
        """Number of jobs that can start now."""
        return self.workers - sum(worker.number is not None for worker in self.running)

    def start(self, number: int, job: Any) -> None:
        """Send the job to an idle process, or to a new process."""
        for worker in [worker for worker in self.running if worker.number is None]:
            if not worker.process.is_alive():
                self._end(worker)
        worker = next((worker for worker in self.running if worker.number is None), None) or self._new()
        worker.number, worker.since_s = number, time.monotonic()
        with contextlib.suppress(OSError):  # the process has just died; `wait` reports this
            worker.connection.send((number, job))

    def _new(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        parent_end, child_end = context.Pipe()
        process = context.Process(target=_serve, args=(child_end, self.content), daemon=True)
        worker = _Worker(process=process, connection=parent_end)
        with _signals_deferred(), _without_main() if self.hides_main else contextlib.nullcontext():
            process.start()
            self.running.append(worker)
        child_end.close()
        return worker

    def wait(self) -> list[JobResult]:
        """Wait one second at most, end jobs that exceed the time limit, and return the results of all ended jobs."""
        ended = []
        ready = wait([worker.connection for worker in self.running], timeout=1.0)
        for worker in list(self.running):
            if worker.connection in ready:
                ended += self._received(worker)
            elif worker.number is not None and time.monotonic() - worker.since_s > self.limit_s:
                message = f"hung: not done after {self.limit_s:g} s"
                ended.append(JobResult(number=worker.number, message=message, seconds=self.limit_s))
                self._end(worker)
        return ended

    def _received(self, worker: _Worker) -> list[JobResult]:
        try:
            result: JobResult = worker.connection.recv()
        except (EOFError, OSError):
            number = worker.number
            self._end(worker)
            if number is None:
                return []
            seconds = time.monotonic() - worker.since_s
            code = worker.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            return [JobResult(number=number, message=f"its process died ({how})", lost=True, seconds=seconds)]
        worker.number = None
        return [result]

    def _end(self, worker: _Worker) -> None:
        # A process that closed its connection is ending; without this wait, the exit code would be that of the kill.
        worker.process.join(0.5)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.running.remove(worker)

    def close(self) -> None:
        """End all processes: idle ones by closing their connection, busy ones by a kill."""
        for worker in self.running:
            worker.connection.close()
            if worker.number is not None:
                worker.process.kill()
        for worker in self.running:
            worker.process.join(EXIT_S)
            worker.process.kill()
            worker.process.join()
        self.running.clear()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module from a process that starts.

    A new process would run the user's script again, which need not have a guard `if __name__ == "__main__"`. Only a
    process whose job is a function of the main module needs that module.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer END_SIGNALS until a process has started.

    A signal during the start makes the new process print a traceback. The process inherits the signal mask, so Ctrl-C
    does not reach it before `_serve` ignores it. The mask applies to this thread only, so handlers are replaced too.
    """
    received: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # only the main thread may set handlers
        handlers = {number: handler for number in END_SIGNALS if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _serve(connection: Connection, content: bytes) -> None:
    """Run jobs until the parent closes the connection or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with_parent(parent.pid)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.update(QUIET | os.environ)
    with _without_stderr():
        function, shared = pickle.loads(content)
    while True:
        try:
            number, job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(function, shared, number, job))
