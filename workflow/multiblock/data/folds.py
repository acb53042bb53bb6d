"""Folds: the training images dealt to a few groups, each of which is tested by networks that were trained on the rest.

Near copies stay together: a network that has seen the one would know the other.
"""

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from multiblock.data import leaks
from multiblock.data.imageset import ImageSet
from multiblock.errors import UserError
from multiblock.files import atomic_write, digest_of_bytes

log = logging.getLogger(__name__)


def write(images: ImageSet, count: int, family: str | None, file: Path) -> None:
    """Deal images to folds, and write the fold of each, and which others it has to be with.

    Args:
        count: how many folds.
        family: how images that belong together are called, ``{name}`` for what they have in common (``data.family``).
        file: CSV to write.

    Raises:
        UserError: there are fewer images, near copies counted once, than folds.
    """
    looks = [leaks.look(Path(name), pixels) for name, pixels in zip(images.names, images, strict=True)]
    groups = [[str(look.file) for look in group] for group in leaks.groups(looks, families(images.names, family))]
    if len(groups) < count:
        raise UserError(
            f"data.folds: found {count}, and {len(groups)} images of {images.array} that are no near copies of one "
            "another; allowed are as many folds at most"
        )
    folds = deal(groups, count)
    others = {name: [other for other in group if other != name] for group in groups for name in group}
    with atomic_write(file) as part, part.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(("image", "fold", "together_with"))
        table.writerows((name, folds[name], "/".join(others[name])) for name in images.names)
    sizes = Counter(folds.values())
    log.info("%d folds of %s images", count, ", ".join(str(sizes[fold]) for fold in range(1, count + 1)))
    for group in (group for group in groups if len(group) > 1):
        log.info("near copies, or of one family, in fold %d: %s", folds[group[0]], ", ".join(group))


def families(names: Iterable[str], family: str | None) -> list[str]:
    """What each name is of: what stands for ``{name}`` where it is called as ``family`` says, else itself."""
    pattern = re.compile(re.escape(family or "{name}").replace(r"\{name\}", "(.+?)").replace(r"\*", ".*"), re.DOTALL)
    return [match[1] if (match := pattern.fullmatch(name)) else name for name in names]


def deal(groups: Iterable[Sequence[str]], count: int) -> dict[str, int]:
    """The fold of each name, from 1 to ``count``: a group goes to the fold that is smallest, the largest groups first.

    Groups of one size come in an order that follows from their names alone, and is that of no series of photographs.
    """
    sizes, folds = dict.fromkeys(range(1, count + 1), 0), dict[str, int]()
    for group in sorted(groups, key=lambda group: (-len(group), digest_of_bytes(repr(sorted(group)).encode()))):
        fold = min(sizes, key=lambda fold: (sizes[fold], fold))
        sizes[fold] += len(group)
        folds |= dict.fromkeys(group, fold)
    return folds


def read(file: Path) -> Mapping[str, int]:
    """The fold of each image, as :func:`write` wrote it."""
    with file.open(newline="", encoding="utf-8") as opened:
        return {row["image"]: int(row["fold"]) for row in csv.DictReader(opened)}
