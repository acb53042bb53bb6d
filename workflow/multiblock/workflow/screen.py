"""Lines on the terminal: those that stay, and below them one for each job, which move.

On a terminal, all that this process and its jobs write to standard error goes through a pipe, so that every line comes
to stand above those that move, a traceback too. Elsewhere nothing is caught; a line is written now and then.
"""

import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

Moving = Callable[[], Mapping[str, str]]
"""Gives the line of each job that is at work, by a name of the job; no line as long as there is nothing to say."""

_REDRAW = 0.25
"""Seconds between two looks at what moves."""

_FIRST, _LONGEST = 15.0, 600.0
"""Seconds to a job's first line where nothing can move, then twice as many each time, up to the longest."""

_COLOURS = {"multiblock: error:": "\x1b[1;31m", "warning:": "\x1b[33m", "BELOW NO NETWORK": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"


class Screen:
    """To be started once jobs are about to run, and stopped at the end.

    Args:
        moving: what is shown below all other lines.
        colours: whether errors and warnings are coloured on a terminal.
    """

    def __init__(self, moving: Moving, colours: bool = True) -> None:
        self._moving, self._colours = moving, colours and "NO_COLOR" not in os.environ
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self._frozen = False
        self._held: list[bytes] = []

    def start(self) -> None:
        """Show what moves from now on."""
        sys.stderr.flush()
        if is_terminal():
            self._terminal = os.dup(2)
            self._pipe, end = os.pipe()
            os.dup2(end, 2)
            os.close(end)
            self._thread = threading.Thread(target=self._draw, daemon=True)
        else:
            self._thread = threading.Thread(target=self._say_now_and_then, daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """Show nothing that moves any more, nor the tracebacks of jobs that were stopped while they began."""
        self._frozen = True

    def stop(self) -> None:
        """Take away what moves; all that was written is shown first."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        sys.stderr.flush()
        if hasattr(self, "_terminal"):
            os.dup2(self._terminal, 2)
        self._ends.set()
        thread.join(timeout=5)

    def _draw(self) -> None:
        """Pass on what comes through the pipe, line by line, and draw what moves below it."""
        drawing = _Drawing(self._terminal, self._colours)
        waiting = b""
        try:
            while True:
                ends = self._ends.is_set()
                data = self._read(0.05 if ends else _REDRAW)
                if data:
                    *lines, waiting = (waiting + data).split(b"\n")
                    drawing.lines(self._without_stops(lines) if self._frozen else lines)
                elif ends or data is None:
                    drawing.lines(self._held + ([waiting] if waiting else []))
                    drawing.below([])
                    return
                drawing.below([] if self._frozen or ends else list(self._moving().values()))
        except Exception:  # whatever it is, what others write must not be lost, nor wait
            self._pass_on(waiting)

    def _without_stops(self, lines: list[bytes]) -> list[bytes]:
        """The lines without tracebacks that end in a stop by a person; what may be one is held back until it ends."""
        kept: list[bytes] = []
        for line in lines:
            if line.startswith(b"Traceback (most recent call last)"):
                kept += self._held
                self._held = [line]
            elif self._held and line.startswith((b" ", b"\t")):
                self._held.append(line)
            else:
                kept += [] if self._held and line.startswith(b"KeyboardInterrupt") else [*self._held, line]
                self._held = []
        return kept

    def _pass_on(self, waiting: bytes) -> None:
        with suppress(OSError):
            os.write(self._terminal, waiting)
        while (data := self._read(_REDRAW)) or (data is not None and not self._ends.is_set()):
            with suppress(OSError):  # the terminal may be gone
                os.write(self._terminal, data)

    def _read(self, seconds: float) -> bytes | None:
        """What comes through the pipe within so many seconds, nothing or more; None where nobody can write any more."""
        if not select.select([self._pipe], [], [], seconds)[0]:
            return b""
        return os.read(self._pipe, 65536) or None

    def _say_now_and_then(self) -> None:
        due: dict[str, tuple[float, float]] = {}  # by job: when the next line is due, and seconds to the one after it
        while not self._ends.wait(1):
            with suppress(Exception):
                for job, line in self._moving().items():
                    at, pause = due.setdefault(job, (time.monotonic() + _FIRST, _FIRST))
                    if line and not self._frozen and time.monotonic() > at:
                        due[job] = time.monotonic() + 2 * pause, min(2 * pause, _LONGEST)
                        print(" ".join(line.split()), file=sys.stderr, flush=True)


class _Drawing:
    """Lines at the bottom of a terminal that are drawn anew."""

    def __init__(self, terminal: int, colours: bool) -> None:
        self._terminal, self._colours = terminal, colours
        self._shown: list[str] = []

    def lines(self, lines: list[bytes]) -> None:
        """Write lines that stay."""
        if lines:
            self._write(self._erased().encode() + b"".join(self._coloured(line) + b"\r\n" for line in lines))

    def below(self, lines: list[str]) -> None:
        """Show lines below all others, in place of those that were there, each cut to the terminal's width."""
        width = shutil.get_terminal_size().columns
        with suppress(OSError):
            width = os.get_terminal_size(self._terminal).columns or width
        lines = [line[: max(width - 1, 10)] for line in lines if line]
        if lines != self._shown:
            self._write((self._erased() + "\r\n".join(lines)).encode(errors="replace"))
            self._shown = lines

    def _erased(self) -> str:
        above, self._shown = len(self._shown) - 1, []
        return "\r\x1b[K" + "\x1b[1A\x1b[K" * max(above, 0) if above >= 0 else ""

    def _coloured(self, line: bytes) -> bytes:
        for word, colour in _COLOURS.items():
            if self._colours and word.encode() in line and b"\x1b[" not in line:
                return colour.encode() + line + _PLAIN.encode()
        return line

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._terminal, data) :]


def is_terminal() -> bool:
    """Whether lines on standard error can move."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
