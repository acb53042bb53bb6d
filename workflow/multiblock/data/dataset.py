"""Find the images of a data set, pair them by name, and check all that can be checked without decoding them."""

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import images
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, listed, nearest

SMALLEST_MEASURED = 32
"""Least side in pixels of a validation or test image: the SSIM window and the widest border must fit."""

LONGEST_NAME = 240
"""Bytes of a name without ending: what is made of an image is named after it, with a little more, in at most 255."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """A data set as configured: the checked keys of ``data``, with folders under ``data_root``."""

    name: str
    scale: int
    degradation: str
    train: dict[str, Any]
    validation: dict[str, Any] | float
    test: dict[str, Any]
    max_side: int
    max_images: int | None


@dataclass(frozen=True, kw_only=True)
class ImagePair:
    """One image of a data set: its HR file and, for pairs, its LR file; or a square window of it, ``side`` wide."""

    name: str
    hr: Path
    lr: Path | None = None
    side: int | None = None

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of what is taken from an HR image of that size.

        The place of a window follows from the item's name alone.
        """
        if self.side is None:
            return 0, 0, height, width
        draw = self.random().random(2)
        top, left = (int(share * (size - self.side + 1)) for share, size in zip(draw, (height, width), strict=True))
        return top, left, self.side, self.side

    def random(self) -> np.random.Generator:
        """Random numbers that belong to this item."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


def find(data: DatasetConfig, size: Callable[[Path], tuple[int, int]] = images.size) -> dict[str, list[ImagePair]]:
    """The images of each split, in order of their names (numbers in names count as numbers).

    Args:
        size: gives an image file's height and width; asked only where ``min_side`` leaves images out.

    Raises:
        UserError: a folder is missing or empty, a pair has no partner, two files share a name, or more
            validation images are to be held out than there are.
    """
    found = {split: items_of(source, size) for split in SPLITS if isinstance(source := getattr(data, split), Mapping)}
    if not isinstance(data.validation, Mapping):
        found["train"], found["validation"] = _hold_out(found["train"], data.validation, f"data {data.name}")
    for split, items in found.items():
        found[split] = _evenly(items, data.max_images)
    return found


def _evenly(items: list[ImagePair], count: int | None) -> list[ImagePair]:
    """At most ``count`` of the items, evenly spaced."""
    if count is None or count >= len(items):
        return items
    return [items[number * len(items) // count] for number in range(count)]


def _hold_out(items: list[ImagePair], share: float, key: str) -> tuple[list[ImagePair], list[ImagePair]]:
    """Split off ``share`` (a share below 1, else a number) of the items, evenly spaced."""
    count = math.ceil(share * len(items)) if share < 1 else int(share)
    if count >= len(items):
        raise UserError(f"{key}: validation holds out {count} of {len(items)} training images; at least one must stay")
    held = _evenly(items, count)
    kept_back = set(held)
    return [item for item in items if item not in kept_back], held


def items_of(source: Mapping[str, Any], size: Callable[[Path], tuple[int, int]] = images.size) -> list[ImagePair]:
    """The images of one source, a mapping with the keys of ``data.test``; see :func:`find`."""
    least, each = source.get("min_side", 1), source.get("crops")
    items = [item for item in _whole(source) if least == 1 or min(size(item.hr)) >= least]
    items = _evenly(items, source.get("take"))
    if not items:
        raise UserError(f"{listed(_folders(source['hr']))}: holds no images of at least {least} pixels a side")
    if each is None:
        return items
    side = source["crop_side"]
    return [ImagePair(name=f"{item.name}_{n:03d}", hr=item.hr, side=side) for item in items for n in range(1, each + 1)]


def _whole(source: Mapping[str, Any]) -> list[ImagePair]:
    """The images of a source before any are left out or cut."""
    if "photographs" in source:
        photographs = _listing([Path(str(files("skimage").joinpath("data")))])
        return [ImagePair(name=name, hr=photographs[name]) for name in source["photographs"]]
    hr = _listing(_folders(source["hr"]))
    if "lr" not in source:
        return [ImagePair(name=name, hr=file) for name, file in hr.items()]
    folder = Path(source["lr"])
    lr = _listing([folder])
    pairs = []
    for name, file in hr.items():
        partner = source["lr_name"].format(name=name)
        if partner not in lr:
            raise UserError(
                f"{file}: has no partner; an image called {partner} is needed in {folder}{nearest(partner, lr)}"
            )
        pairs.append(ImagePair(name=name, hr=file, lr=lr.pop(partner)))
    for file in lr.values():
        raise UserError(f"{file}: has no partner in {listed(_folders(source['hr']))}; LR and HR are matched by name")
    return pairs


def _folders(value: str | Sequence[str]) -> list[Path]:
    return [Path(value)] if isinstance(value, str) else [Path(folder) for folder in value]


def left_out(data: DatasetConfig) -> list[Path]:
    """The files in the folders of ``data`` that do not count, as their endings are not those of images."""
    sources = (source for split in SPLITS if isinstance(source := getattr(data, split), Mapping))
    keys = ("hr", "lr")
    folders = dict.fromkeys(f for source in sources for key in keys if key in source for f in _folders(source[key]))
    return [
        file for folder in folders for file in sorted(_visible(folder)) if file.suffix.lower() not in images.SUFFIXES
    ]


def _visible(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed: {error.strerror}") from None


def _listing(folders: Sequence[Path]) -> dict[str, Path]:
    """The image files of folders by name without ending; hidden files and other endings do not count."""
    listing: dict[str, Path] = {}
    taken: dict[str, Path] = {}
    for folder in folders:
        entries = _visible(folder)
        chosen = [file for file in entries if file.suffix.lower() in images.SUFFIXES]
        if not chosen:
            raise UserError(
                f"{folder}: holds no images; found {len(entries)} files, allowed are {listed(images.SUFFIXES)}"
            )
        for file in sorted(chosen, key=lambda f: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", f.name)]):
            _check_name(file)
            same = taken.setdefault(file.stem.casefold(), file)
            if same != file:
                raise UserError(f"{file}: has the same name as {same}; names must differ by more than ending and case")
            listing[file.stem] = file
    return listing


def _check_name(file: Path) -> None:
    """What is made of an image is named after it, in CSV files too."""
    # Control characters, surrogates (bytes that are no UTF-8), line and paragraph separators.
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in file.name):
        raise UserError(f"{file}: has a name with control characters, or one that is no UTF-8; rename it")
    if (length := len(os.fsencode(file.stem))) > LONGEST_NAME:
        raise UserError(f"{file}: has a name of {length} bytes without its ending; allowed are {LONGEST_NAME}")


def check_partner(item: ImagePair, low: Sequence[int], full: Sequence[int], scale: int) -> None:
    """Check the size (height, width) of a pair's LR image against that of its HR image.

    Raises:
        UserError: LR is not HR / ``scale``.
    """
    height, width = (side // scale for side in full)
    if tuple(low) != (height, width):
        raise UserError(
            f"{item.lr}: found {low[1]} x {low[0]} pixels; with data.scale {scale} "
            f"its partner {item.hr} allows {width} x {height}"
        )
