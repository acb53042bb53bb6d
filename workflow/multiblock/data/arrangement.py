"""Which folders below one hold HR and LR images, and whether they are split already: by the names that are usual."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multiblock.data import images
from multiblock.data.dataset import visible
from multiblock.errors import UserError, listed

_HIGH, _LOW = ("hr", "high", "gt"), ("lr", "low", "lq")
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Folders:
    """HR folders and, for pairs, the folder of their LR images."""

    hr: tuple[Path, ...]
    lr: Path | None = None


@dataclass(frozen=True)
class Arrangement:
    """The folders of each split; ``train`` holds all images where nothing is split.

    Args:
        beside: folders with images that are not read.
    """

    splits: Mapping[str, Folders]
    beside: tuple[Path, ...] = ()


def arrange(hr: Sequence[Path], lr: Path | None) -> Arrangement:
    """Find the folders of images in those that a user names.

    One that holds images itself is taken as it is. Else folders called train, validation and test, and in them or in
    their place HR and LR, in capitals or not; else all folders in it that hold images.

    Raises:
        UserError: a folder cannot be listed or holds no images, or LR is missing for some.
    """
    if lr and any(os.path.realpath(lr) == os.path.realpath(one) for one in hr):
        raise UserError(f"--lr: found {lr}, which is the folder of HR too; without --lr, LR is made from HR")
    if len(hr) > 1 or _holds_images(hr[0]):
        beside = [folder for one in hr for folder in _folders(one) if folder != lr and _holds_images(folder)]
        return Arrangement({"train": Folders(tuple(hr), lr)}, tuple(beside))
    root = hr[0]
    splits = _splits(root, lr) or _splits_inside(root, lr)
    if "train" not in splits and len(splits) == 1:
        splits = {"train": next(iter(splits.values()))}
    if splits and "train" not in splits:
        raise UserError(f"{root}: found {listed(splits)} but no train; allowed are train, validation, test")
    if splits:
        _check_lr(splits)
        return Arrangement(splits)
    inside = [folder for folder in _folders(root) if _holds_images(folder) and folder != lr]
    if inside:
        return Arrangement({"train": Folders(tuple(inside), lr)})
    found = listed(sorted(file.name for file in visible(root))[:5]) or "nothing"
    raise UserError(
        f"{root}: holds no images, and no folder with images; found {found}; allowed are {listed(images.SUFFIXES)}"
        f"{'' if images.READS_HEIC else '; for HEIC install pillow-heif (the extra heic)'}"
    )


def _splits(root: Path, lr: Path | None) -> dict[str, Folders]:
    """train/HR and train/LR, or train alone, and so on; or HR and LR, which are not split."""
    found = {}
    if (pair := _pair(root)) and lr is None and _holds_images(pair.hr[0]):
        return {"train": pair}
    for split, names in _SPLITS.items():
        for folder in _called(root, names):
            if pair := _pair(folder):
                found[split] = pair
            elif _holds_images(folder):
                below = next(iter(_called(lr, (folder.name.lower(),))), None) if lr else None
                if lr and not below:
                    raise UserError(f"{lr}: has no folder called {folder.name}; {folder} needs one with its LR images")
                found[split] = Folders((folder,), below)
    return found


def _splits_inside(root: Path, lr: Path | None) -> dict[str, Folders]:
    """HR/train and LR/train, and so on."""
    pair = _pair(root)
    return _splits(pair.hr[0], pair.lr) if pair and lr is None else {}


def _pair(root: Path) -> Folders | None:
    """The folders HR and, where it is there, LR in a folder."""
    high, low = _called(root, _HIGH), _called(root, _LOW)
    return Folders((high[0],), low[0] if low else None) if high else None


def _called(root: Path, names: Sequence[str]) -> list[Path]:
    return [folder for folder in _folders(root) if folder.name.lower() in names]


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in visible(root) if entry.is_dir())


def _holds_images(folder: Path) -> bool:
    return any(file.suffix.lower() in images.SUFFIXES and file.is_file() for file in visible(folder))


def _check_lr(splits: Mapping[str, Folders]) -> None:
    """All splits have LR images, or none has."""
    without = [split for split, folders in splits.items() if folders.lr is None]
    if 0 < len(without) < len(splits):
        one = splits[without[0]].hr[0]
        raise UserError(f"{one}: has no LR images beside it, as {listed(set(splits) - set(without))} has")
