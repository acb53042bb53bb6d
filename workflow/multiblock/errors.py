"""The one kind of error that is the user's to mend: how it is put in words, and names what was probably meant."""

import difflib
import errno
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO, cast


class UserError(Exception):
    """Wrong input: a line for each problem, which names the file or config key, what was found and what is allowed."""

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong, a line each."""
        return tuple(map(str, self.args))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Problems:
    """Notes what is wrong in several places, so that a user reads all of it at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the error that the context ends in, if it does, and go on after it."""
        try:
            yield
        except UserError as error:
            self.found += error.problems

    def end(self) -> None:
        """End with all that was noted, each once; do nothing where nothing was.

        Raises:
            UserError: something was noted.
        """
        if self.found:
            raise UserError(*dict.fromkeys(self.found))


def one_line(error: Exception) -> str:
    """What a user reads of an error: file and reason, on one line whatever the file is called."""
    return "; ".join(_lines(error))


def in_full(error: Exception) -> str:
    """The same, where several problems are a numbered line each."""
    first, *more = _lines(error)
    if not more:
        return first
    numbered = (f"\n  {number}. {line}" for number, line in enumerate([first, *more], 1))
    return f"found {len(more) + 1} problems:{''.join(numbered)}"


def _lines(error: Exception) -> list[str]:
    if isinstance(error, OSError) and error.strerror:
        names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return [printable(f"{names}: {error.strerror}" if names else error.strerror)]
    problems = error.problems if isinstance(error, UserError) else ()
    return [printable(problem) for problem in problems or (str(error),)]


def printable(text: str) -> str:
    """Text that may hold the name of any file as one line that can be printed, and written as UTF-8."""
    return text.translate(_CONTROLS)


# Control characters and what else ends a line, and surrogates, which stand for bytes of a name that are no text.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029)}
_CONTROLS |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)}


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'patch'?`` for a misspelt word, or nothing where no allowed word is close.

    Words that only look alike, or differ by capitals alone, are told apart.
    """
    words = [known for known in allowed if known != word]
    if (meant := _MEANT.get(word.casefold())) in words:
        return f"; did you mean '{meant}'?"
    for known in words:
        if unicodedata.normalize("NFC", known) == unicodedata.normalize("NFC", word):
            return f"; did you mean '{known}'? The letters are the same, composed otherwise"
        if known.casefold() == word.casefold():
            return f"; did you mean '{known}'? Capitals count"
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


_MEANT = {"gpu": "cuda"}
"""Words that mean an allowed one and look like another."""


def listed(words: Iterable[object]) -> str:
    """Allowed values as an error message has them: ``a, b, c``."""
    return ", ".join(str(word) for word in words)


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Rows as lines with columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


class LastingStream:
    """A text stream to which writing never fails: once it is gone, or its disk is full, what is written is dropped.

    Whoever watches may close a terminal or a pipe at any time, which is no reason to end work; ``error`` is kept.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: TextIO = stream or _nowhere()
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; characters that the stream's encoding lacks are written as their numbers."""
        try:
            self._try(self._stream.write, text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._try(self._stream.write, text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[..., object], *given: str) -> None:
        if self.error:
            return
        try:
            call(*given)
        except OSError as error:
            self.error = error
            with suppress(OSError, ValueError):  # so that what is buffered goes somewhere at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    @property
    def is_gone(self) -> bool:
        """Whether nobody is there any more who reads."""
        return self.error is not None and self.error.errno in (errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET)


def _nowhere() -> TextIO:
    """A stream in place of one that was closed before this process began; it gets the same number, for children too."""
    stream = open(os.devnull, "w")  # noqa: SIM115
    os.set_inheritable(stream.fileno(), True)
    return stream


def make_streams_last() -> tuple[LastingStream, LastingStream]:
    """From now on nothing that is printed ends the work of this process; standard output and standard error."""
    out, err = (one if isinstance(one, LastingStream) else LastingStream(one) for one in (sys.stdout, sys.stderr))
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    return out, err


@contextmanager
def lasting_streams() -> Iterator[LastingStream]:
    """Within this context nothing that is printed ends the work; gives standard output."""
    before = sys.stdout, sys.stderr
    out, err = make_streams_last()
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


_stop = {"reported": False, "hook": False}


def stop_in_one_line() -> None:
    """From now on an end of this process by Ctrl-C shows no traceback."""
    if _stop["hook"]:
        return
    _stop["hook"], before = True, sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            report_stop()
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def report_stop() -> None:
    """Say, once, that a person has asked for this end."""
    if not _stop["reported"]:
        _stop["reported"] = True
        print("multiblock: stopped; the same command goes on", file=sys.stderr, flush=True)
