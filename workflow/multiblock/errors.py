"""The one kind of error that is the user's to mend, and how it names what was probably meant."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input: the message is one line naming the file or config key, what was found and what is allowed."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'patch'?`` for a misspelt word, or nothing where no allowed word is close."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listed(words: Iterable[object]) -> str:
    """Allowed values as they stand in an error message: ``a, b, c``."""
    return ", ".join(str(word) for word in words)
