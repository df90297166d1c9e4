"""Worker processes: each holds what all jobs share and runs one job at a time, on one thread.

The one module that starts processes for training. It imports nothing slow: a new process reads it before it knows how
many threads NumPy and TensorFlow may have.
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
"""Read by NumPy and TensorFlow when they are imported."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
"""Environment variables with which TensorFlow logs errors only and Keras uses it, unless they are set otherwise."""

ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals that end a command."""

LEAVE_S = 5.0
"""Seconds that a process has to end by itself."""

Do = Callable[[Any, Any], Any]
"""(shared, job) -> result; a function of a module. Processes import that module, and with it what it needs."""


class ProcessDiedError(RuntimeError):
    """A worker process died, mostly for lack of memory."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How one job ended. A failure is a result like any other."""

    number: int
    value: Any = None
    """What the function returned; None if it failed."""
    message: str = ""
    """Why it failed, one line."""
    error: InputError | None = None
    """The exception, where the input is wrong."""
    details: str = ""
    """The traceback of any other exception."""
    lost: bool = False
    """The process was killed, which may not be the job's fault."""
    seconds: float = 0.0
    """Wall time in the process."""


def import_tensorflow() -> None:
    """Import TensorFlow with one thread, and without the lines that it writes before any log level applies.

    One thread, because sums of more threads end in other bits: a result must not depend on the number of cores. The
    cores are used by processes instead.
    """
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.update(QUIET | os.environ)
    with _without_stderr():
        import keras  # noqa: F401


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: TensorFlow writes from C++."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def has_one_thread() -> bool:
    """Whether this process was started with one thread, as every worker is."""
    return all(os.environ.get(name) == "1" for name in THREADS)


def run_all(
    do: Do,
    jobs: Sequence[Any],
    shared: Any,
    *,
    workers: int,
    finished: Callable[[int, Any], None] = lambda number, value: None,
) -> list[Any]:
    """Call `do(shared, job)` for every job and return the results in the order of the jobs.

    A process that has one thread itself runs the jobs of a single worker without a further process.

    Args:
        do: A function of a module.
        jobs: In the order in which they start.
        shared: What all jobs read; sent to each process once.
        workers: Processes at most; 0 is one per core.
        finished: Called here after each job with its number and result.

    Raises:
        ProcessDiedError: a process died.
        InputError: raised by `do`; the other processes are ended.
        RuntimeError: `do` raised another exception; the message holds its traceback.
    """
    values: list[Any] = [None] * len(jobs)
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 0 or (count == 1 and has_one_thread()):
        for number, job in enumerate(jobs):
            values[number] = do(shared, job)
            finished(number, values[number])
        return values
    pool = Processes(do, shared, workers=count)
    waiting = list(enumerate(jobs))
    left = len(jobs)
    try:
        while left:
            while waiting and pool.free():
                pool.start(*waiting.pop(0))
            for result in pool.wait():
                values[result.number] = _value(result)
                finished(result.number, result.value)
                left -= 1
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


def attempt(do: Do, shared: Any, number: int, job: Any) -> JobResult:
    """Run one job and return how it ended; never raises an Exception."""
    started_s = time.perf_counter()
    value, message, error, details = None, "", None, ""
    try:
        value = do(shared, job)
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


class Processes:
    """Processes on this machine; one that dies or hangs is replaced by a new one.

    Args:
        do: What a job does.
        shared: Sent to each process once.
        workers: Processes at most; none starts before the first job.
        limit_s: Seconds after which a job is ended.
    """

    def __init__(self, do: Do, shared: Any, *, workers: int, limit_s: float = float("inf")) -> None:
        self.workers, self.limit_s = workers, limit_s
        # As bytes: unpacking them imports NumPy and TensorFlow, which must come after the number of threads is set.
        self.content = pickle.dumps((do, shared))
        self.running: list[_Worker] = []

    def free(self) -> int:
        """Number of jobs that can start now."""
        return self.workers - sum(worker.number is not None for worker in self.running)

    def start(self, number: int, job: Any) -> None:
        """Give the job to a process that waits, or to a new one."""
        for worker in [worker for worker in self.running if worker.number is None]:
            if not worker.process.is_alive():
                self._end(worker)
        worker = next((worker for worker in self.running if worker.number is None), None) or self._new()
        worker.number, worker.since_s = number, time.monotonic()
        with contextlib.suppress(OSError):  # it died this moment; `wait` finds that out
            worker.connection.send((number, job))

    def _new(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.content), daemon=True)
        worker = _Worker(process=process, connection=ours)
        with _signals_held(), _without_main():
            process.start()
            self.running.append(worker)
        theirs.close()
        return worker

    def wait(self) -> list[JobResult]:
        """The jobs that ended, after a second at most; may be none. Ends jobs that exceed the limit."""
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
        # A process that has closed its end is dying by itself, and its exit code says of what.
        worker.process.join(0.5)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.running.remove(worker)

    def close(self) -> None:
        """Let processes that wait leave by themselves, and kill those at work."""
        for worker in self.running:
            worker.connection.close()
            if worker.number is not None:
                worker.process.kill()
        for worker in self.running:
            worker.process.join(LEAVE_S)
            worker.process.kill()
            worker.process.join()
        self.running.clear()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module from a process that starts.

    It would run the user's script again, which need not have a guard `if __name__ == "__main__"`. Jobs are functions of
    modules, so no process needs it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let the signals ENDING take effect after a process is started, not in between.

    A process of which only a half is started writes a traceback. It inherits the mask, so Ctrl-C does not reach it
    before `_serve` ignores it. The mask holds for this thread alone, so the handlers are replaced too.
    """
    received: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
        handlers = {number: handler for number in ENDING if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _serve(connection: Connection, content: bytes) -> None:
    """Run jobs until the parent closes the connection or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with_parent(parent.pid)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.update(QUIET | os.environ)
    with _without_stderr():
        do, shared = pickle.loads(content)
    while True:
        try:
            number, job = connection.recv()
        except EOFError:
            return
        connection.send(attempt(do, shared, number, job))
