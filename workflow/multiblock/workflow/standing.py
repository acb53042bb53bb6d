"""Which results stand, which are to be made anew and why: judged by content, as the workflow does, with nothing run."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from multiblock.errors import listed
from multiblock.workflow.records import Records, made_of
from multiblock.workflow.results import Result


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """On one result.

    Args:
        why: the reasons why what is there is to be made anew; nothing where it stands or is not there.
        missing: whether something of it is not there.
        waits: whether what follows waits for it: there are reasons, or it is not there. Arrays that were made of what
            they are to be made of come out the same, so that nothing waits for them.
        blocked: what it reads is to be made first.
    """

    why: tuple[str, ...]
    missing: bool
    waits: bool
    blocked: bool


class Standing:
    """Judges results in the order in which they are made: what depends on one that does not stand does not stand."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: dict[str, str] = {}  # files that are to be made first, each with what it is

    def judge(self, result: Result, of: str, forced: bool = False) -> Verdict:
        """Whether a result stands.

        Args:
            of: what it belongs to, as later reasons call it.
            forced: whether a user wants it anew all the same.
        """
        first = dict.fromkeys(self._waiting[file] for file in result.inputs if file in self._waiting)
        here = len(result.missing) < len(result.outputs)
        here |= result.is_array and bool(made_of(result.folder, result.record))
        why: list[str] = []
        if here and result.missing and not result.is_array:
            why = [f"{listed(os.path.relpath(file, result.folder) for file in result.missing)} is missing"]
        elif here:
            why = self._records.reasons(result.folder, result.record, result.on, result.inputs)
        if here and first:
            why.append(f"it depends on {listed(first)}")
        if here and forced:
            why.append("asked for")
        waits = bool(why) or not here
        if waits:
            self._waiting |= dict.fromkeys(result.outputs, of)
        return Verdict(why=tuple(why), missing=bool(result.missing), waits=waits, blocked=bool(first))


def in_words(reasons: Iterable[str], most: int = 2) -> str:
    """The first reasons, and how many more there are."""
    unique = list(dict.fromkeys(reasons))
    more = f"; and {len(unique) - most} more" if len(unique) > most else ""
    return "; ".join(unique[:most]) + more
