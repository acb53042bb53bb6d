"""How fast work goes and how long the rest of it takes, and whether a bar may be drawn meanwhile."""

import os
import statistics
import sys
import threading
from collections import deque

from tqdm import tqdm as bar

# With a lock of this process alone, which is the only one that draws. Another lock of tqdm's is a semaphore of the
# system, of which Python 3.14 complains where a job ends without tidying up.
bar.set_lock(threading.RLock())

REPORTS = "MULTIBLOCK_REPORTS"
"""Environment variable: the folder where a job of a workflow reports how far it is; the workflow shows it then."""

PARALLEL = "MULTIBLOCK_PARALLEL"
"""Environment variable: several jobs may write to this terminal at once."""

_RECENT = 50
"""Measurements that count: the pace follows the last ones."""


class Pace:
    """The time that a unit of work takes, as the last measurements say; one that was held up does not count for much.

    A unit is whatever the work is counted in: pixels, images, jobs.
    """

    def __init__(self) -> None:
        self._measured: deque[float] = deque(maxlen=_RECENT)

    def note(self, seconds: float, units: float = 1) -> None:
        """So many units took so many seconds."""
        self._measured.append(seconds / max(units, 1e-9))

    @property
    def seconds(self) -> float | None:
        """Seconds that a unit takes; None as long as nothing was measured."""
        return statistics.median(self._measured) if self._measured else None

    def left(self, units: float) -> float | None:
        """Seconds that so many units will take; None as long as nothing was measured."""
        return None if self.seconds is None else self.seconds * units


def duration(seconds: float) -> str:
    """Time as a person says it: ``3 min 38 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def can_draw() -> bool:
    """Whether a bar may be drawn on standard error: it is a terminal, and nobody else draws there."""
    return sys.stderr.isatty() and not os.environ.get(PARALLEL) and not os.environ.get(REPORTS)
