"""How far training is and how long it will take: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from contextlib import ExitStack

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from multiblock.plan import Task

log = logging.getLogger(__name__)

_TIMED = 6
"""Iterations after which the expected time is said; the first is not counted."""

_QUIET_SECONDS = 30
"""Time between two lines where there is no terminal."""


class Progress:
    """To be used with ``with``; :meth:`step` is called after each iteration.

    Args:
        task: what is trained.
        done: iterations that were done before.
    """

    def __init__(self, task: Task, done: int) -> None:
        self._task = task
        self._done = self._first = done
        self._note = ""
        self._begun = self._said = time.monotonic()
        self._stack = ExitStack()

    def __enter__(self) -> "Progress":
        loggers = [logging.getLogger("multiblock")]
        terminal = sys.stderr.isatty()
        if terminal:
            self._stack.enter_context(logging_redirect_tqdm(loggers))
        self._bar = self._stack.enter_context(
            tqdm(
                total=self._task.iterations,
                initial=self._done,
                desc=f"phase {self._task.phase}",
                unit="it",
                smoothing=0.05,
                disable=not terminal,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self) -> None:
        """One more iteration is done."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        here = self._done - self._first
        if here == 1:
            self._begun = now
        if here == _TIMED or (self._bar.disable and now - self._said > _QUIET_SECONDS and here > _TIMED):
            rate = (now - self._begun) / max(self._task.pixels(self._first + 1, self._done), 1)
            left = duration(rate * self._task.pixels(self._done, self._task.iterations))
            log.info(
                "%d of %d iterations, expected time left %s%s", self._done, self._task.iterations, left, self._note
            )
            self._said = now

    def note(self, psnr: float) -> None:
        """Show the PSNR of the validation images."""
        self._note = f", validation {psnr:.3f} dB"
        self._bar.set_postfix_str(f"validation {psnr:.3f} dB")


def duration(seconds: float) -> str:
    """Time as a person says it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
