"""Walks over many images: on several threads in their order, and with progress that a person sees."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TextIO, TypeVar

from tqdm.contrib.logging import logging_redirect_tqdm

from multiblock.pace import bar, can_draw

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_WAITING = 3


def in_order(work: Callable[[Thing], Result], things: Iterable[Thing], threads: int) -> Iterator[Result]:
    """What ``work`` makes of each thing, in their order; at most three a thread are begun or wait to be taken.

    Threads, not processes: Pillow's decoders and NumPy's arithmetic leave Python to others, and pixels need not be
    sent from one process to another.

    Raises:
        Exception: what ``work`` raises for the first of the things for which it does; what has not begun is left.
    """
    if threads == 1:
        yield from map(work, things)
        return
    waiting = deque[Future[Result]]()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for thing in things:
                waiting.append(pool.submit(work, thing))
                if len(waiting) == _WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_DELAY, _INTERVAL = 3, 15
"""Seconds before anything is shown, and between two lines where there is no terminal."""
_TIMED = 2
"""Seconds after which the time left is shown."""
_MEGAPIXELS = "{desc} {percentage:3.0f}%|{bar}| {n:.1f} of {total:.1f} MP, {elapsed} so far, {remaining} left"


class Progress:
    """How far a walk is: a bar on a terminal. Elsewhere images are counted by a line now and then, or in records.

    A record carries ``progress`` and is logged where the level of the log is DEBUG, as in a job of the workflow. A walk
    that takes less than three seconds shows nothing. To be used with ``with``, or closed.

    Args:
        total: how many images there are; None where that is not known.
        what: what is done with them, as in "images looked at".
        megapixels: whether steps are megapixels and not images, as pictures of very different sizes take very
            different times. ``total`` is a function then, which is called only for a bar; elsewhere nothing is shown.
    """

    def __init__(self, total: int | Callable[[], float] | None, what: str, megapixels: bool = False) -> None:
        self._what, self._megapixels, self._done, self._kept = what, megapixels, 0.0, 0.0
        self._begun = time.monotonic()
        self._due = self._begun + _DELAY
        self._shown = can_draw()
        self._total = (total() if self._shown else None) if callable(total) else total
        # The mean of all so far tells the time left: pictures follow one another in no order of their sizes.
        form: dict[str, Any] = {"bar_format": _MEGAPIXELS, "smoothing": 0} if megapixels else {"delay": _DELAY}
        self._bar = bar(total=self._total, desc=what, unit="image", leave=False, disable=not self._shown, **form)
        self._stack = ExitStack()

    def __enter__(self) -> "Progress":
        if self._shown:
            self._stack.enter_context(logging_redirect_tqdm([logging.getLogger("multiblock")]))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
        self._stack.close()

    def step(self, count: float = 1, kept: bool = False) -> None:
        """Note that so much more is done; ``kept`` where it was done earlier, which tells nothing of the time left."""
        self._bar.update(count)
        self._done += count
        self._kept += count * kept
        if self._megapixels:
            return
        if log.isEnabledFor(logging.DEBUG):  # somebody reads it
            log.debug("%s", self._what, extra={"progress": self._progress()})
        elif not self._shown and time.monotonic() > self._due:
            share = f" of {self._total}" if self._total else ""
            left = self._seconds_left()
            until = f", {left:.0f} s left" if left is not None else ""
            print(f"{self._what}: {self._done:.0f}{share}{until}", file=sys.stderr, flush=True)
            self._due = time.monotonic() + _INTERVAL

    def _progress(self) -> dict[str, Any]:
        progress: dict[str, Any] = {"done": int(self._done), "of": self._total, "note": "images"}
        if (left := self._seconds_left()) is not None:
            progress |= {"seconds_left": left, "note": f"{self._rate():.3g} images/s"}
        return progress

    def _rate(self) -> float:
        """Images a second, of those that were not done earlier."""
        return (self._done - self._kept) / max(time.monotonic() - self._begun, 1e-9)

    def _seconds_left(self) -> float | None:
        """Seconds that the rest takes; None as long as that is not known."""
        if not self._total or self._done == self._kept or time.monotonic() - self._begun < _TIMED:
            return None
        return (self._total - self._done) / self._rate()

    def say(self, line: str) -> None:
        """Print a line on standard output, above the bar."""
        self._line(line, sys.stdout)

    def complain(self, line: str) -> None:
        """Print an error on standard error, above the bar."""
        self._line(f"multiblock: error: {line}", sys.stderr)

    def _line(self, line: str, stream: TextIO) -> None:
        if self._shown:
            bar.write(line, file=stream)
        else:
            print(line, file=stream, flush=True)
