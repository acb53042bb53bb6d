"""Why a result is made again: the difference between what it was made of and what it is to be made of, in words."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from multiblock.workflow.results import Of, Result

_WITHOUT_NAME = ("task", "settings")
"""Keys that say nothing to a person."""


def reasons(before: Mapping[str, Any], now: Result) -> list[str]:
    """What has changed since a result was made that the same paths showed.

    Args:
        before: its mark, see :meth:`multiblock.workflow.store.Store.made`.
    """
    wanted = now.made_of
    found = list(differences(before.get("settings"), wanted["settings"]))
    for name in dict.fromkeys([*before.get("outside", {}), *wanted["outside"]]):
        if before.get("outside", {}).get(name) != wanted["outside"].get(name):
            kind, _, what = name.partition(" ")
            # Another network has other code too, which needs no words of its own.
            found += [f"{what} has changed" if kind == "file" else f"the code of {what} has changed"] * (not found)
    if before.get("version") != wanted["version"]:
        found.append(f"this version of the program makes it in another way ({now.kind} {wanted['version']})")
    reads = before.get("reads", {})
    others = {role: read for role, read in now.reads.items() if reads.get(role, {}).get("address") != read.of.address}
    return found + list(dict.fromkeys(f"it depends on {called(read.of.of)}" for read in others.values()))


def called(of: Of) -> str:
    """What a result is of, as a reason names it."""
    if of.data:
        return f"the arrays of {of.data}"
    return f"phase {of.phase}" if of.phase else f"run {of.run}" if of.run else "the runs"


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """What differs between two plain values, in words: ``stage 2 lr: 0.001, now 0.002``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            below = name if place in ("", *_WITHOUT_NAME) else f"{place} {name}"
            yield from differences(before.get(name), now.get(name), below)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, pair in enumerate(zip(before, now, strict=True), 1):
            yield from differences(*pair, f"{place.removesuffix('s')} {number}")
    elif before != now:
        yield (
            "the images have changed"
            if place in ("images", "pictures")
            else f"{place}: {_shown(before)}, now {_shown(now)}"
        )


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"{len(value)} of them" if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_words(reasons: Iterable[str], most: int = 2) -> str:
    """The first reasons, and how many more there are."""
    unique = list(dict.fromkeys(reasons))
    more = f"; and {len(unique) - most} more" if len(unique) > most else ""
    return "; ".join(unique[:most]) + more
