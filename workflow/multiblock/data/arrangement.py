"""How a user's images are arranged, found by names and sizes.

Folders: which hold HR and LR images, and whether they are split already, by the names that are usual. Files: how LR is
called after HR, and how many times it is smaller.
"""

import os
from collections import Counter
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
        f"{'' if images.READS_HEIC else f'; {images.HEIC_NEEDS}'}"
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


# -- Pairs -------------------------------------------------------------------------------------------------------------

SCALES = (1, 2, 3, 4)
PLAIN = "{name}"
_ASKED = 50
"""Names by which a pattern is looked for."""
_FEW = 4
"""LR pixels by which a size may be off for it to be a slip of cropping."""

Size = tuple[int, int]
"""Height and width in pixels."""


def lr_name(hr: Sequence[str], lr: Sequence[str]) -> str:
    """How LR files are called, as ``{name}x2``: the pattern that finds the most partners.

    Args:
        hr, lr: names of files without ending.

    Raises:
        UserError: no pattern finds the partners of at least half of the HR files.
    """
    known = set(lr)
    if 2 * sum(name in known for name in hr) >= len(hr):
        return PLAIN
    patterns: Counter[str] = Counter()
    for name in hr[:_ASKED]:
        for other in lr:
            before, found, after = other.partition(name)
            if found and not {"{", "}"} & set(before + after):
                patterns[f"{before}{PLAIN}{after}"] += 1
    # A name such as 1 is in many others: the pattern that is meant is one that many of the names asked for gave.
    likely = [pattern for pattern, _ in patterns.most_common(_ASKED)]
    matches = {pattern: sum(pattern.format(name=name) in known for name in hr) for pattern in likely}
    best = max(matches, key=lambda pattern: matches[pattern], default=PLAIN)
    if 2 * matches.get(best, 0) < len(hr):
        raise UserError(
            f"names do not pair: HR files are called as {hr[0]}, LR files as {lr[0]}; allowed are the same names, or "
            "LR names that have the HR file's in them, as in {name}x2"
        )
    return best


def scale_that_fits(low: Size, full: Size) -> int | None:
    """How many times LR of that size is smaller than HR; None where it is by no allowed number."""
    return next((scale for scale in SCALES if tuple(side // scale for side in full) == tuple(low)), None)


def common_scale(sizes: Mapping[Path, tuple[Size, Size]], wanted: int | None) -> int:
    """The scale of pairs, from their sizes.

    Args:
        sizes: those of LR and HR by HR file.
        wanted: the scale that a user names.

    Raises:
        UserError: no scale fits more than half of the pairs, or none fits the one that is wanted.
    """
    scales = {file: scale_that_fits(*pair) for file, pair in sizes.items()}
    counts = Counter(scale for scale in scales.values() if scale)
    if wanted is not None:
        if not counts[wanted]:
            file = next(iter(sizes))
            raise UserError(f"--scale: found {wanted}, which fits no pair: {misfit(file, *sizes[file], wanted)}")
        return wanted
    if not counts:
        file = next(iter(sizes))
        raise UserError(misfit(file, *sizes[file], None))
    scale, count = counts.most_common(1)[0]
    if 2 * count > len(sizes):
        return scale
    if len(counts) > 1:
        found = ", ".join(f"{number} at {one}" for one, number in counts.most_common())
        raise UserError(f"pairs of several scales: {found}; give the one that is meant with --scale")
    file = next(file for file, one in scales.items() if one is None)
    raise UserError(
        f"{count} of {len(sizes)} pairs are at scale {scale}; the others not: {misfit(file, *sizes[file], scale)}"
    )


def misfit(file: Path, low: Size, full: Size, scale: int | None) -> str:
    """Why the sizes of a pair do not fit, and what can be done.

    Args:
        scale: that of the other pairs; None where there is none.
    """
    text = f"{file}: HR is {_size(full)} pixels, LR {_size(low)}"
    ratio = full[0] / low[0], full[1] / low[1]
    nearest = scale or min(SCALES, key=lambda one: abs(ratio[0] - one) + abs(ratio[1] - one))
    allowed = tuple(side // nearest for side in full)
    turned, other = low[::-1], scale_that_fits(low, full)
    if other:
        return f"{text}, which is scale {other}"
    if scale_that_fits(turned, full):
        return f"{text}: one of the two lies on its side; turn LR as HR is turned"
    if max(ratio) < 1:
        return f"{text}, which is larger; the folders of HR and LR may be swapped"
    if all(abs(one - other) <= _FEW for one, other in zip(low, allowed, strict=True)):
        return (
            f"{text}; scale {nearest} allows LR of {_size(allowed)}: one of the two was cut or rounded otherwise; "
            f"cut LR to {_size(allowed)} pixels, or HR to {_size(tuple(nearest * side for side in low))}"
        )
    return (
        f"{text}, {ratio[1]:.3g} times as wide and {ratio[0]:.3g} as high; allowed are 1, 2, 3, 4 times. "
        "`multiblock align` brings pairs of other sizes, or that are displaced, onto one grid"
    )


def _size(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"
