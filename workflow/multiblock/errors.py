"""The one kind of error that is the user's to mend: how it is put in words, and names what was probably meant."""

import difflib
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType


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
    for known in words:
        if unicodedata.normalize("NFC", known) == unicodedata.normalize("NFC", word):
            return f"; did you mean '{known}'? The letters are the same, composed otherwise"
        if known.casefold() == word.casefold():
            return f"; did you mean '{known}'? Capitals count"
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listed(words: Iterable[object]) -> str:
    """Allowed values as an error message has them: ``a, b, c``."""
    return ", ".join(str(word) for word in words)


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Rows as lines with columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


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
