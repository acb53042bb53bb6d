"""How far a walk over many images is: a bar on a terminal, a line now and then elsewhere; nothing for a quick one."""

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)

_DELAY, _INTERVAL = 3, 15
"""Seconds before anything is shown, and between two lines where there is no terminal."""


class ImageCounter:
    """To be used with ``with``; :meth:`step` is called for each image.

    Args:
        total: how many images there are; None where that is not known.
        what: what is done with them, as in "images looked at".
    """

    def __init__(self, total: int | None, what: str) -> None:
        self._what, self._total, self._done = what, total, 0
        self._due = time.monotonic() + _DELAY
        self._bar = tqdm(total=total, desc=what, unit="image", delay=_DELAY, leave=False, disable=not _terminal())

    def __enter__(self) -> "ImageCounter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def step(self) -> None:
        """The next image is begun."""
        self._bar.update()
        self._done += 1
        log.debug("%s", self._what, extra={"progress": {"done": self._done, "of": self._total, "note": "images"}})
        if log.isEnabledFor(logging.DEBUG):  # somebody is told already
            return
        if self._bar.disable and time.monotonic() > self._due:
            share = f" of {self._total}" if self._total else ""
            print(f"{self._what}: {self._done}{share}", file=sys.stderr, flush=True)
            self._due = time.monotonic() + _INTERVAL


def _terminal() -> bool:
    return sys.stderr.isatty()
