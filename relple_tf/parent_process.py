"""End a child process when its parent ends, also if the parent is killed."""

import ctypes
import os
import signal
import threading
import time

PARENT = "RELPLE_TF_PARENT"
"""Environment variable with the process id of the process that started a child."""

PR_SET_PDEATHSIG = 1
"""Option of prctl(2): sets the signal that Linux sends to a process when its parent ends."""

POLL_S = 0.5
"""Seconds between two checks of the parent on systems without this signal."""


def environment() -> dict[str, str]:
    """Environment variables of this process, with its id for `end_with_parent` in a child."""
    return os.environ | {PARENT: str(os.getpid())}


def end_with_parent(parent: int | None = None) -> None:
    """End this process when its parent process ends; call this first in the child.

    Linux kills the child at once, also during a long call. On other systems a thread checks the parent every POLL_S
    seconds. Linux treats the thread that started the child as its parent, so that thread must outlive the child.

    Args:
        parent: Id of the parent process; by default from `environment`.
    """
    parent = int(os.environ[PARENT]) if parent is None else parent
    killed_by_kernel = _request_kill()
    if os.getppid() != parent:  # the parent ended before the request to the kernel
        os._exit(1)
    if not killed_by_kernel:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _request_kill() -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)
    except (OSError, AttributeError, TypeError):
        return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
