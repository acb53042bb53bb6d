"""Which images of a folder a split takes: those that it names, or those that other splits do not take."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from multiblock.data.names import alike
from multiblock.errors import UserError


class _Image(Protocol):
    """An image with the name that the data set gives it, and its HR file."""

    @property
    def name(self) -> str: ...

    @property
    def hr(self) -> Path: ...


Item = TypeVar("Item", bound=_Image)


def is_named(file: Path, names: Collection[str]) -> bool:
    """Whether a file is among names, with its ending or without."""
    return bool(names) and (file.name in names or file.stem in names)


def named(items: Sequence[Item], only: Sequence[str], folders: str) -> list[Item]:
    """The items that ``only`` names, in their own order.

    Args:
        folders: where they lie, for errors.

    Raises:
        UserError: a name that is none of an image there.
    """
    known = {item.hr.name: item for item in items} | {item.name: item for item in items}
    for name in only:
        if name not in known:
            raise UserError(f"{folders}: holds no image called {name}, which `only` names{alike(name, known)}")
    chosen = {known[name].name for name in only}
    return [item for item in items if item.name in chosen]


def beside(items: Sequence[Item], others: Collection[Path]) -> list[Item]:
    """The items whose HR file is none of ``others``.

    Raises:
        UserError: none is left.
    """
    taken = {os.path.realpath(file) for file in others}
    left = [item for item in items if os.path.realpath(item.hr) not in taken]
    if items and not left:
        raise UserError(
            f"{items[0].hr.parent}: all {len(items)} images are those of splits that data.train.without names; "
            "at least one to train on is needed"
        )
    return left
