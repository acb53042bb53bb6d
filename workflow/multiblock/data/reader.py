"""Read the images of a data set, each file once, as they are trained and measured on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from multiblock.data import images, leaks
from multiblock.data.dataset import DatasetConfig, ImagePair, check_partner
from multiblock.data.degradations import DEGRADATIONS
from multiblock.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One HR file, and what a split takes of it: the whole image, with its partner, or windows."""

    split: str
    items: tuple[ImagePair, ...]

    @property
    def hr(self) -> Path:
        """The HR file."""
        return self.items[0].hr

    @property
    def files(self) -> list[Path]:
        """All files that are read: HR, then partners."""
        return [self.hr, *(item.lr for item in self.items if item.lr)]


@dataclass(kw_only=True)
class Read:
    """What was read of a photograph.

    Args:
        pairs: for each item HR (H, W, 3), uint8, and its partner, ``scale`` times as small; None where LR is to be
            made.
        remarks: level, words and file of each remark, in order.
        look: at the whole HR image; None where none is wanted.
        error: why an item, and all after it, could not be read.
    """

    pairs: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)
    remarks: list[tuple[int, str, Path]] = field(default_factory=list)
    look: leaks.Look | None = None
    error: UserError | None = None

    def remark(self, level: int, what: str, file: Path) -> None:
        """Keep a remark; see :data:`multiblock.data.remarks.Remark`."""
        self.remarks.append((level, what, file))


def photographs(split: str, items: Iterable[ImagePair]) -> Iterator[Photograph]:
    """The items of a split, those of one HR file that come one after another together."""
    for _, together in groupby(items, key=lambda item: item.hr):
        yield Photograph(split=split, items=tuple(together))


def size(data: DatasetConfig, split: str, item: ImagePair, height: int, width: int) -> tuple[int, int]:
    """Height and width of what is taken from an HR image of that size."""
    limit = None if split == "train" else data.max_side // data.scale * data.scale
    height, width = (min(side, limit or side) // data.scale * data.scale for side in item.window(height, width)[2:])
    return height, width


def sizes(
    data: DatasetConfig, photographs: Sequence[Photograph], whole: Callable[[Path], tuple[int, int]]
) -> list[tuple[int, int]]:
    """Height and width of what is taken for each item; ``whole`` gives those of a file."""
    found = []
    for photograph in photographs:
        full = whole(photograph.hr)
        found += [size(data, photograph.split, item, *full) for item in photograph.items]
    return found


def read(data: DatasetConfig, photograph: Photograph, contents: Mapping[Path, bytes | None] | None = None) -> Read:
    """Read a photograph, its partners too; what is wrong with it is in what comes back.

    Args:
        contents: the bytes of its files, where they have been read already.
    """
    found, contents = Read(), contents or {}
    try:
        whole = images.read(photograph.hr, found.remark, contents.get(photograph.hr))
        if leaks.is_wanted(data, photograph.split, photograph.items[0]):
            found.look = leaks.look(photograph.hr, whole)
        for item in photograph.items:
            found.pairs.append(_pair(data, photograph.split, item, whole, found, contents))
    except UserError as error:
        found.error = error
    return found


def _pair(
    data: DatasetConfig,
    split: str,
    item: ImagePair,
    whole: np.ndarray,
    found: Read,
    contents: Mapping[Path, bytes | None],
) -> tuple[np.ndarray, np.ndarray | None]:
    top, left, *window = item.window(*whole.shape[:2])
    height, width = size(data, split, item, *whole.shape[:2])
    full = whole[top : top + height, left : left + width]
    if item.lr is None:
        return full, None
    partner = images.read(item.lr, found.remark, contents.get(item.lr))
    # It may have changed since it was looked at.
    check_partner(item, partner.shape[:2], window, data.scale)
    return full, partner[: height // data.scale, : width // data.scale]


def low(data: DatasetConfig, item: ImagePair, full: np.ndarray, partner: np.ndarray | None) -> np.ndarray:
    """LR of an item: its partner, or made from HR where there is none."""
    return DEGRADATIONS[data.degradation].make(full, data.scale, item) if partner is None else partner
