"""Jobs in processes of their own: each holds what all jobs share once, and ends with the process that started it.

Imports nothing slow, because a new process reads this before it may take TensorFlow in.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Read by NumPy and TensorFlow when they are imported."""

_shared: list[Any] = []
"""In a worker: what `run_all` was given as `shared`."""


def run_all(
    do: Callable[[Any, Any], None],
    jobs: Sequence[Any],
    shared: Any,
    *,
    workers: int,
    take_in: Callable[[], None],
    finished: Callable[[], None],
) -> None:
    """Call `do(shared, job)` for every job, each in a process of one thread.

    Sums of more threads end in other bits, so all jobs get one, however many processes there are and jobs are left. A
    process that has one thread itself, as every worker has, does the jobs of a single worker without a further process.

    Args:
        do: A function of a module; what it does must survive its process, such as a file that it writes.
        jobs: In the order in which they start.
        shared: What all jobs read; sent to each process once.
        workers: Processes at most; 0 is one per core.
        take_in: Imports TensorFlow; called in every new process.
        finished: Called here after each job.

    Raises:
        BrokenProcessPool: a process died, for lack of memory mostly.
        Exception: what `do` raised first; the other processes are ended.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 0 or (count == 1 and all(os.environ.get(name) == "1" for name in THREADS)):
        for job in jobs:
            do(shared, job)
            finished()
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        # As bytes, for the process that unpacks an array has taken NumPy in, with as many threads as it likes.
        initargs=(pickle.dumps(shared), take_in),
    )
    try:
        for future in as_completed([pool.submit(_work, do, job) for job in jobs]):
            future.result()
            finished()
    except BaseException:
        # Without this, Ctrl-C would wait for every network that is being trained.
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start(shared: bytes, take_in: Callable[[], None]) -> None:
    """Make a new process ready: one thread, no word of its own on Ctrl-C, no life after its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    take_in()
    _shared.append(pickle.loads(shared))


def _end_with_parent() -> None:
    """A pool whose parent was killed would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(do: Callable[[Any, Any], None], job: Any) -> None:
    do(_shared[0], job)
