"""Split pictures into those to train on, to look at while training, and to test on: whole ones, by a seed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from multiblock.data.leaks import Look

_SHARE = 10
"""One of so many pictures is tested on, and one is looked at."""
_MOST = {"test": 50, "validation": 10}
"""Beyond these more say little more, and looking takes long."""


def wanted(split: str, count: int) -> int:
    """How many of ``count`` pictures a split should have, ``test`` or ``validation``."""
    return min(_MOST[split], max(1, round(count / _SHARE)))


def divide(together: Sequence[Sequence[Look]], seed: int, splits: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each of ``splits``; all others are to train on.

    The order in which pictures are drawn follows from the seed and from each one's own name. What is one picture in
    several sizes or encodings stays together; such pictures are drawn last, as they would count several times.

    Args:
        together: looks at the pictures, those at one picture in one list: see :func:`multiblock.data.leaks.groups`.

    Raises:
        ValueError: there are too few different pictures for that many splits.
    """
    count = sum(map(len, together))
    if len(together) <= len(splits):
        raise ValueError(f"{len(together)} different pictures for {len(splits)} splits beside train")
    drawn = sorted(together, key=lambda group: (len(group) > 1, _draw(seed, min(look.file.name for look in group))))
    found: dict[str, list[Path]] = {split: [] for split in splits}
    for left, split in enumerate(reversed(splits), 1):
        needed = len(splits) - left + 1  # groups that the splits after this one, and train, still need
        while len(found[split]) < wanted(split, count) and len(drawn) > needed:
            found[split] += [look.file for look in drawn.pop(0)]
    return found


def _draw(seed: int, name: str) -> str:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).hexdigest()
