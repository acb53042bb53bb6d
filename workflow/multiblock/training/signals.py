"""Signals that stop a training in good order."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from multiblock.files import is_running


class Stopped(Exception):
    """Raised where a signal asks for a stop in the middle of what need not be finished."""


class StopRequest:
    """Notes SIGTERM and Ctrl-C, so that the iteration can be finished and a checkpoint written first."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if self._at_once:
            raise Stopped

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise :class:`Stopped` where a signal comes within this context."""
        self._at_once = True
        try:
            if self.signal:
                raise Stopped
            yield
        finally:
            self._at_once = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def end_with(process: int) -> None:
    """Ask this process to stop (SIGTERM) once another one has ended."""
    threading.Thread(target=_watch, args=(process,), daemon=True).start()


def _watch(process: int) -> None:
    """Wait until a process has ended; where the system cannot say, look every second."""
    try:
        select.select([os.pidfd_open(process)], [], [])  # readable once the process has ended
    except (OSError, AttributeError):
        while is_running(process):
            time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
