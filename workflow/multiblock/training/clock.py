"""Where the wall time of a training goes."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PARTS = ("start", "iterations", "validation", "checkpoints")
"""``start`` is all up to the first iteration: the process, packages, images, weights, and what is compiled."""


class Clock:
    """Counts each moment for one part, from ``begun`` on: a time of ``time.monotonic``, now if there is none.

    ``spent`` holds the seconds of each part.
    """

    def __init__(self, begun: float | None = None) -> None:
        self._at = time.monotonic() if begun is None else begun
        self.spent = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> float:
        """Count the time since the last call for a part; its seconds."""
        now = time.monotonic()
        seconds, self._at = now - self._at, now
        self.spent[part] += seconds
        return seconds


def total(segments: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds of each part, over all stretches that a training was interrupted between.

    What a kill lost is done again, and counts once.
    """
    spent = [segment["seconds"] for segment in segments]
    return {part: sum(seconds[part] for seconds in spent) for part in PARTS}


def process_start() -> float:
    """When this process began, as ``time.monotonic`` would have said; now, where the system does not tell."""
    now = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - max(age, 0.0)
