"""Stop training in good order when asked to."""

import signal
from types import FrameType


class StopRequest:
    """Notes SIGTERM and Ctrl-C, so that the iteration can be finished and a checkpoint written first."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
