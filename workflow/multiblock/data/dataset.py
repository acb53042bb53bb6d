"""The images of a data set: which files they are, how they pair by name, and what is left out.

Nothing is decoded here. Names have an order and must differ by more than some disk or person sees.
"""

import hashlib
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import images
from multiblock.data.camera import Camera
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, listed, nearest

SMALLEST_MEASURED = 32
"""The least side in pixels of a validation or test image: the SSIM window and the widest border must fit."""


FOLDED = 10
"""A study with folds has more seeds than were named: this times a seed, plus the number of a fold."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """A data set as configured: the checked keys of ``data``, with folders under ``data_root``.

    ``camera`` is there with the degradation of that name alone.
    """

    name: str
    scale: int
    degradation: str
    train: dict[str, Any]
    validation: dict[str, Any] | float
    test: dict[str, Any] | None
    max_side: int
    max_images: int | None
    skip: tuple[str, ...] = ()
    folds: int | None = None
    family: str | None = None
    camera: Camera | None = None

    @property
    def how(self) -> str:
        """How LR is made of HR, with all that counts."""
        return f"{self.degradation} {self.camera}" if self.camera else self.degradation


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
        UserError: a folder is missing or empty, a pair has no partner, two files share a name, a file that a split
            names is not there, or more validation images are to be held out than there are.
    """
    sources = {split: source for split in SPLITS if isinstance(source := getattr(data, split), Mapping)}
    found: dict[str, list[ImagePair]] = {}
    for split in sorted(sources, key=lambda split: "without" in sources[split]):  # what is left is known last
        others = [item.hr for other in sources[split].get("without", ()) for item in found[other]]
        found[split] = items_of(sources[split], size, data.skip, others)
    found = {split: found[split] for split in sources}
    if not isinstance(data.validation, Mapping):
        found["train"], found["validation"] = _hold_out(found["train"], data.validation, f"data {data.name}")
    for split, items in found.items():
        found[split] = _evenly(items, data.max_images)
    return found


def _evenly(items: list[ImagePair], count: int | None) -> list[ImagePair]:
    """The items, or ``count`` of them, evenly spaced, where there are more."""
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


def items_of(
    source: Mapping[str, Any],
    size: Callable[[Path], tuple[int, int]] = images.size,
    skip: Collection[str] = (),
    others: Collection[Path] = (),
) -> list[ImagePair]:
    """The images of one source, a mapping with the keys of ``data.test``; see :func:`find`.

    Args:
        skip: names of files that are not looked at.
        others: HR files that are left out, as other splits have them.
    """
    least, each = source.get("min_side", 1), source.get("crops")
    items = _whole(source, skip)
    if "only" in source:
        items = _named(items, source["only"], listed(_folders(source["hr"])))
    if others:
        items = _not_among(items, others)
    items = [item for item in items if least == 1 or min(size(item.hr)) >= least]
    items = _evenly(items, source.get("take"))
    if not items:
        raise UserError(f"{listed(_folders(source['hr']))}: holds no images of at least {least} pixels a side")
    if each is None:
        return items
    side = source["crop_side"]
    return [ImagePair(name=f"{item.name}_{n:03d}", hr=item.hr, side=side) for item in items for n in range(1, each + 1)]


def is_named(file: Path, names: Collection[str]) -> bool:
    """Whether a file is among names, with its ending or without."""
    return bool(names) and (file.name in names or file.stem in names)


def _named(items: Sequence[ImagePair], only: Sequence[str], folders: str) -> list[ImagePair]:
    """The items that ``only`` names, in their own order.

    Args:
        folders: where they are, for errors.

    Raises:
        UserError: a name that is none of an image there.
    """
    known = {item.hr.name: item for item in items} | {item.name: item for item in items}
    for name in only:
        if name not in known:
            raise UserError(f"{folders}: holds no image called {name}, which `only` names{alike(name, known)}")
    chosen = {known[name].name for name in only}
    return [item for item in items if item.name in chosen]


def _not_among(items: Sequence[ImagePair], others: Collection[Path]) -> list[ImagePair]:
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


def _whole(source: Mapping[str, Any], skip: Collection[str]) -> list[ImagePair]:
    """The images of a source before any are left out or cut."""
    if "photographs" in source:
        photographs = listing([Path(str(files("skimage").joinpath("data")))])
        return [ImagePair(name=name, hr=photographs[name]) for name in source["photographs"]]
    hr = listing(_folders(source["hr"]), skip)
    if "lr" not in source:
        return [ImagePair(name=name, hr=file) for name, file in hr.items()]
    folder = Path(source["lr"])
    lr = listing([folder], skip)
    pairs = []
    for name, file in hr.items():
        partner = source["lr_name"].format(name=name)
        if partner not in lr:
            raise UserError(
                f"{file}: has no partner; an image called {partner} is needed in {folder}{alike(partner, lr)}"
            )
        pairs.append(ImagePair(name=name, hr=file, lr=lr.pop(partner)))
    for file in lr.values():
        raise UserError(f"{file}: has no partner in {listed(_folders(source['hr']))}; LR and HR are matched by name")
    return pairs


def _folders(value: str | Sequence[str]) -> list[Path]:
    return [Path(value)] if isinstance(value, str) else [Path(folder) for folder in value]


def left_out(data: DatasetConfig) -> list[str]:
    """A line for each ending of files in the folders of ``data`` that are not read for it, and one for ``skip``."""
    files = _files(folders_of(data), lambda file: not _is_image(file) or is_named(file, data.skip))
    lines = not_read(files)
    if skipped := [file for file in files if _is_image(file)]:
        lines.append(f"data {data.name}: {counted(skipped)} left out by skip (as {skipped[0].name})")
    return lines


def folders_of(data: DatasetConfig) -> list[Path]:
    """The folders that the images of ``data`` are in, each once."""
    sources = [source for split in SPLITS if isinstance(source := getattr(data, split), Mapping)]
    values = [source[key] for source in sources for key in ("hr", "lr") if key in source]
    return list(dict.fromkeys(folder for value in values for folder in _folders(value)))


def left_out_of(folders: Iterable[Path]) -> list[str]:
    """A line for each ending of files in folders that are not read for it."""
    return not_read(_files(folders, lambda file: not _is_image(file)))


def _files(folders: Iterable[Path], wanted: Callable[[Path], bool]) -> list[Path]:
    return [file for folder in folders for file in sorted(file for file in visible(folder) if wanted(file))]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in images.SUFFIXES


def not_read(files: Iterable[Path]) -> list[str]:
    """A line for each ending of those files that are not read for it, and one for folders among them."""
    others: dict[str, list[Path]] = {}
    folders = []
    for file in files:
        if file.is_dir():
            folders.append(file)
        elif not _is_image(file):
            others.setdefault(file.suffix.lower(), []).append(file)
    lines = [_left_out(ending, files) for ending, files in others.items()]
    return lines + ([f"{_places(folders)}: {_not_looked_into(folders)}"] if folders else [])


def _left_out(ending: str, files: Sequence[Path]) -> str:
    what = f"ending in {ending} " if ending else "without an ending "
    return f"{_places(files)}: {counted(files)} left out, {what}(as {files[0].name}); {allowed_endings([ending])}"


def _places(files: Sequence[Path]) -> str:
    folders = list(dict.fromkeys(file.parent for file in files))
    return listed(folders[:3]) + (f" and {len(folders) - 3} other folders" if len(folders) > 3 else "")


def _not_looked_into(folders: Sequence[Path]) -> str:
    what = "1 folder is" if len(folders) == 1 else f"{len(folders)} folders are"
    return f"{what} within, not looked into (as {folders[0].name})"


def counted(files: Sequence[Path]) -> str:
    """``1 file is``, ``2 files are``."""
    return "1 file is" if len(files) == 1 else f"{len(files)} files are"


def allowed_endings(endings: Iterable[str]) -> str:
    """The endings that are read, and how HEIC becomes one of them where it was found."""
    way = f"; {images.HEIC_NEEDS}" if set(endings) & set(images.HEIC) else ""
    return f"allowed are {listed(images.SUFFIXES)}{way}"


def visible(folder: Path) -> list[Path]:
    """The files and folders in a folder, but for hidden ones.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        return [file for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        others = folder.parent.iterdir() if folder.parent.is_dir() and not folder.exists() else ()
        hint = alike(folder.name, (other.name for other in others if other.is_dir()))
        raise UserError(f"{folder}: cannot be listed: {error.strerror}{hint}") from None


def listing(folders: Sequence[Path], skip: Collection[str] = ()) -> dict[str, Path]:
    """The image files of folders by name without ending; hidden files, other endings and ``skip`` do not count.

    Raises:
        UserError: a folder cannot be listed or holds no images, or two files share a name.
    """
    named: dict[str, Path] = {}
    taken: dict[str, Path] = {}
    for folder in folders:
        entries = visible(folder)
        chosen = [file for file in entries if _is_image(file)]
        if not chosen:
            within = sorted(file for file in entries if file.is_dir())
            endings = Counter(file.suffix.lower() for file in entries if file not in within)
            found = listed(f"{count} {ending}" for ending, count in endings.items() if ending) or "none with an ending"
            raise UserError(
                f"{folder}: holds no images; found {endings.total()} files{f' ({found})' if endings else ''}, "
                f"{allowed_endings(endings)}{f'; {_not_looked_into(within)}' if within else ''}"
            )
        for file in sorted((file for file in chosen if not is_named(file, skip)), key=order):
            check_name(file)
            same = taken.setdefault(key(file.stem), file)
            if same != file:
                raise UserError(
                    f"{file}: has the same name as {same}; names must differ by more than ending, capitals and how "
                    "accents are written"
                )
            named[file.stem] = file
    return named


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


# -- Names -------------------------------------------------------------------------------------------------------------

LONGEST_NAME = 240
"""Bytes of a name without ending: what is made of an image is named after it, with a little more, in at most 255."""


def order(file: Path) -> tuple[list[int | str], str]:
    """Numbers count as numbers; names of equal numbers, as 1 and 01, have an order too."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)], file.name


def check_name(file: Path) -> None:
    """What is made of an image is named after it, in CSV files too."""
    if file.name.isascii() and file.name.isprintable() and len(file.name) <= LONGEST_NAME:  # nearly all, quickly
        return
    # Control characters, surrogates (bytes that are no UTF-8), line and paragraph separators.
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in file.name):
        raise UserError(f"{file}: has a name with control characters, or one that is not UTF-8; rename it")
    if (length := len(os.fsencode(file.stem))) > LONGEST_NAME:
        raise UserError(f"{file}: has a name of {length} bytes without its ending; allowed are {LONGEST_NAME}")


def alike(name: str, names: Iterable[str]) -> str:
    """A hint at the one of ``names`` that was probably meant, with what sets it apart where that is hard to see."""
    names = list(names)
    for other in names:
        if _composed(name) == _composed(other):
            return f"; '{other}' there is written with its accents {_form(other)}, here {_form(name)}"
    for other in names:
        if key(name) == key(other):
            return f"; '{other}' there differs in capitals"
    return nearest(name, names)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _form(name: str) -> str:
    """How the accents of a name are written, which no terminal shows: as macOS does, or as most others do."""
    return "composed (NFC)" if name == _composed(name) else "as letters of their own (NFD)"


def key(name: str) -> str:
    """What names have in common that some disk takes for the same."""
    return name.lower() if name.isascii() else _composed(_composed(name).casefold())
