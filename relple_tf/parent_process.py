"""The end of a child process: it ends when its parent ends, also where the parent was killed."""

import ctypes
import os
import signal
import threading
import time

PARENT = "RELPLE_TF_PARENT"
"""Environment variable by which a child knows the process that started it."""

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that Linux sends a process when its parent ends."""

POLL_S = 0.5
"""Seconds between two looks at the parent where no signal is sent."""


def environment() -> dict[str, str]:
    """The variables of this process, and its number for `end_with_parent` in a child."""
    return os.environ | {PARENT: str(os.getpid())}


def end_with_parent(parent: int | None = None) -> None:
    """Have this process killed when the process that started it ends; call it first in the child.

    Linux kills at once, also in the middle of a long call. Elsewhere a thread looks at the parent every POLL_S seconds.
    Linux takes the thread that started the child for its parent, so a child is started by a thread that outlives it.

    Args:
        parent: Number of the parent process; by default the one that `environment` gave.
    """
    parent = int(os.environ[PARENT]) if parent is None else parent
    killed_by_kernel = _ask_kernel()
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)
    if not killed_by_kernel:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _ask_kernel() -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)
    except (OSError, AttributeError, TypeError):
        return False


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
