"""Bars on a terminal: tqdm, with a lock of this process alone, which is the only one that draws.

tqdm's own lock is a semaphore of the system, too. Python 3.14 complains of it where a job ends without tidying up.
"""

import threading

from tqdm import tqdm

tqdm.set_lock(threading.RLock())

__all__ = ["tqdm"]
