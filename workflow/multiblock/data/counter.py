"""How far a walk over many images is: a bar on a terminal, a line now and then elsewhere; nothing for a quick one."""

import logging
import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

from multiblock.pace import can_draw

log = logging.getLogger(__name__)

_DELAY, _INTERVAL = 3, 15
"""Seconds before anything is shown, and between two lines where there is no terminal."""
_TIMED = 2
"""Seconds after which the time left is said."""


class ImageCounter:
    """To be used with ``with``; :meth:`step` is called after each image.

    Args:
        total: how many images there are; None where that is not known.
        what: what is done with them, as in "images looked at".
    """

    def __init__(self, total: int | None, what: str) -> None:
        self._what, self._total, self._done, self._kept = what, total, 0, 0
        self._begun = time.monotonic()
        self._due = self._begun + _DELAY
        self._bar = tqdm(total=total, desc=what, unit="image", delay=_DELAY, leave=False, disable=not can_draw())

    def __enter__(self) -> "ImageCounter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def step(self, count: int = 1, kept: bool = False) -> None:
        """So many more images are done; ``kept`` where they stood already, which says nothing of the others' time."""
        self._bar.update(count)
        self._done += count
        self._kept += count * kept
        if log.isEnabledFor(logging.DEBUG):  # somebody is told
            log.debug("%s", self._what, extra={"progress": self._progress()})
        elif self._bar.disable and time.monotonic() > self._due:
            share = f" of {self._total}" if self._total else ""
            left = self._seconds_left()
            until = f", {left:.0f} s left" if left is not None else ""
            print(f"{self._what}: {self._done}{share}{until}", file=sys.stderr, flush=True)
            self._due = time.monotonic() + _INTERVAL

    def _progress(self) -> dict[str, Any]:
        told: dict[str, Any] = {"done": self._done, "of": self._total, "note": "images"}
        if (left := self._seconds_left()) is not None:
            told |= {"seconds_left": left, "note": f"{self._rate():.3g} images/s"}
        return told

    def _rate(self) -> float:
        """Images a second, of those that did not stand already."""
        return (self._done - self._kept) / max(time.monotonic() - self._begun, 1e-9)

    def _seconds_left(self) -> float | None:
        """None as long as it is not known."""
        if not self._total or self._done == self._kept or time.monotonic() - self._begun < _TIMED:
            return None
        return (self._total - self._done) / self._rate()
