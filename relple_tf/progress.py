"""Progress bars."""

import threading

from tqdm import tqdm

__all__ = ["tqdm"]

# By default tqdm shares a semaphore between processes. A killed process would leave it behind, and a warning would be
# printed at the end of the command. Here only one process draws bars.
tqdm.set_lock(threading.RLock())
