"""Progress bars."""

import threading

from tqdm import tqdm

__all__ = ["tqdm"]

# By default tqdm shares a semaphore between processes. Of a process that is killed it would be left behind, with a
# warning at the end of the command. Only one process draws bars here.
tqdm.set_lock(threading.RLock())
