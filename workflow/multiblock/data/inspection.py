"""Look at the images of a data set: at headers before anything runs, and at pixels as they are trained and measured on.

:func:`inspect` checks every file by its header, and sums up in a digest what the arrays depend on. :func:`read` decodes
a file once for all that a split takes of it. :func:`check` reads them all, whatever is wrong with some.
"""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import images, leaks
from multiblock.data.dataset import SMALLEST_MEASURED, DatasetConfig, ImagePair, check_partner, find, left_out
from multiblock.data.degradations import DEGRADATIONS
from multiblock.data.images import Remarks
from multiblock.data.pair_checks import PairCheck, pair_checks
from multiblock.data.walk import Progress, in_order
from multiblock.errors import UserError
from multiblock.files import Digests

# -- Headers -----------------------------------------------------------------------------------------------------------


class Inspection:
    """What is known of image files: only new and changed ones are read again, and each is looked at once.

    Args:
        digests: keep it.
    """

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._progress: Progress | None = None
        self._seen: dict[Path, tuple[str, int, int]] = {}
        self._found: dict[str, dict[str, list[ImagePair]]] = {}

    def find(self, data: DatasetConfig) -> dict[str, list[ImagePair]]:
        """The images of each split; see :func:`multiblock.data.dataset.find`."""
        known = repr(data)
        if known not in self._found:
            self._found[known] = find(data, self.size)
        return self._found[known]

    def look(self, file: Path) -> tuple[str, int, int]:
        """The digest of a file's bytes, and its height and width in pixels.

        Raises:
            UserError: the file cannot be read, or is no image.
        """
        if file not in self._seen:
            try:
                note = self._digests.known(file)
            except OSError as error:
                raise UserError(f"{file}: cannot be read: {error.strerror}") from None
            digest, (height, width) = note if note and len(note) > 1 else self._read(file)
            self._seen[file] = digest, height, width
        return self._seen[file]

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width of an image file in pixels; see :meth:`look`."""
        return self.look(file)[1:]

    def _read(self, file: Path) -> list[Any]:
        """Read all of a file, which takes a while for many: its digest and its size."""
        images.check_regular(file)
        self._progress = self._progress or Progress(None, "new and changed image files read")
        try:
            note = self._digests.note(file)
        except OSError as error:
            raise UserError(f"{file}: cannot be read as an image: {error.strerror}") from None
        if len(note) == 1:
            self._digests.append(file, images.size(file))
        self._progress.step()
        return self._digests.note(file)

    def close(self) -> None:
        """Take the progress bar away."""
        if self._progress:
            self._progress.close()
            self._progress = None


class DatasetDigest:
    """A digest of all that the arrays of a data set depend on: settings, names of images, and contents of files.

    Images are added split by split, in the order in which :func:`multiblock.data.dataset.find` gives them.
    """

    def __init__(self, data: DatasetConfig) -> None:
        settings = f"{data.scale} {data.how} {data.max_side} "
        self._digest = hashlib.blake2b(settings.encode(), digest_size=16)

    def add(self, split: str, item: ImagePair, *files: str) -> None:
        """Add an image, with the digests of its HR file and, if it has one, its LR file."""
        self._digest.update(f"{split} {item.name} {item.side} {''.join(files)}".encode())

    def __str__(self) -> str:
        return self._digest.hexdigest()


def inspect(data: DatasetConfig, inspection: Inspection, patch: int) -> str:
    """Check every file of a data set by its header, and return a digest of all that its arrays depend on.

    Args:
        patch: side in pixels, at HR size, of the largest patch that training will cut.

    Raises:
        UserError: see :func:`multiblock.data.dataset.find`; or a file is no image, the sizes of a pair do not match,
            an image is too small to be trained or measured on, or a test image is one of the training images.
    """
    digest, found = DatasetDigest(data), inspection.find(data)
    files: dict[str, dict[Path, str]] = {split: {} for split in found}
    for split, items in found.items():
        for item in items:
            hr, height, width = inspection.look(item.hr)
            files[split][item.hr] = hr
            if item.side and min(height, width) < item.side:
                raise UserError(
                    f"{item.hr}: found {width} x {height} pixels; windows of {item.side} x {item.side} need more"
                )
            height, width = item.window(height, width)[2:]
            uses = {f"cut patches of {patch} pixels": patch} if split == "train" else {}
            uses |= {"measure SSIM": SMALLEST_MEASURED} if split != "train" or data.folds else {}
            purpose, needed = max(uses.items(), key=lambda use: use[1])
            if min(height, width) // data.scale * data.scale < needed:
                raise UserError(
                    f"{item.hr}: found {width} x {height} pixels; to {purpose}, {needed} x {needed} are needed"
                )
            lr: list[str] = []
            if item.lr is not None:
                mark, *size = inspection.look(item.lr)
                check_partner(item, size, (height, width), data.scale)
                lr.append(mark)
            digest.add(split, item, hr, *lr)
    inspection.close()
    leaks.check_files(files, data.name)
    return str(digest)


def digests(data: DatasetConfig, inspection: Inspection) -> dict[str, list[str]]:
    """Digests of the HR images of each split, one an image or window."""
    found = inspection.find(data)
    return {split: [inspection.look(item.hr)[0] for item in items] for split, items in found.items()}


def trained(images: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of :func:`digests` that are trained with: of the train and validation splits."""
    return [*images["train"], *images["validation"]]


# -- Pixels ------------------------------------------------------------------------------------------------------------


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


def photographs(split: str, items: Iterable[ImagePair]) -> list[Photograph]:
    """The items of a split, those of one HR file that come one after another together."""
    return [Photograph(split=split, items=tuple(one)) for _, one in groupby(items, key=lambda item: item.hr)]


def taken_size(data: DatasetConfig, split: str, item: ImagePair, height: int, width: int) -> tuple[int, int]:
    """Height and width of what is taken from an HR image of that size."""
    limit = None if split == "train" else data.max_side // data.scale * data.scale
    height, width = (min(side, limit or side) // data.scale * data.scale for side in item.window(height, width)[2:])
    return height, width


def taken_sizes(data: DatasetConfig, photographs: Sequence[Photograph]) -> list[tuple[int, int]]:
    """Height and width of what is taken for each item, by the headers of the HR files."""
    found = []
    for photograph in photographs:
        full = images.size(photograph.hr)
        found += [taken_size(data, photograph.split, item, *full) for item in photograph.items]
    return found


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

    def remark(self, *remark: Any) -> None:
        """Keep a remark; see :data:`multiblock.data.images.Remark`."""
        self.remarks.append(remark)

    def checks(self) -> list[PairCheck | None]:
        """Measurements of each pair that was read; None where LR is to be made."""
        return [None if partner is None else pair_checks(partner, full) for full, partner in self.pairs]


def read(data: DatasetConfig, photograph: Photograph, contents: Mapping[Path, bytes | None] | None = None) -> Read:
    """Read a photograph, its partners too; what is wrong with it is in what comes back.

    Args:
        contents: the bytes of its files, where they have been read already.
    """
    found, contents, split = Read(), contents or {}, photograph.split
    try:
        whole = images.read(photograph.hr, found.remark, contents.get(photograph.hr))
        if leaks.is_wanted(data, split, photograph.items[0]):
            found.look = leaks.look(photograph.hr, whole)
        for item in photograph.items:
            top, left, *window = item.window(*whole.shape[:2])
            height, width = taken_size(data, split, item, *whole.shape[:2])
            partner = None
            if item.lr is not None:
                partner = images.read(item.lr, found.remark, contents.get(item.lr))
                check_partner(item, partner.shape[:2], window, data.scale)  # it may have changed since its header
                partner = partner[: height // data.scale, : width // data.scale]
            found.pairs.append((whole[top : top + height, left : left + width], partner))
    except UserError as error:
        found.error = error
    return found


def first_pairs(data: DatasetConfig, inspection: Inspection) -> list[str]:
    """What speaks against the first pair of each split, a line each: folders that are swapped show in any pair."""
    lines = []
    for split, items in inspection.find(data).items():
        for item in [item for item in items if item.lr][:1]:
            for check in filter(None, read(data, Photograph(split=split, items=(item,))).checks()):
                lines += [f"{item.lr} and {item.hr}: {reason}" for reason in check.reasons]
    return lines


def low(data: DatasetConfig, item: ImagePair, full: np.ndarray, partner: np.ndarray | None) -> np.ndarray:
    """LR of an item: its partner, or made from HR where there is none."""
    return DEGRADATIONS[data.degradation].make(full, data, item) if partner is None else partner


@dataclass(kw_only=True)
class Found:
    """What was found in a data set.

    Args:
        name: the data set's.
        images: how many there are.
        pairs: split, name and measurements of each pair.
        left_out: lines on files that are not read for their endings.
        remarks: what was converted while reading, with levels as :mod:`logging` counts.
        shared: warnings of images that two splits share.
        errors: what keeps the data set from being trained on.
    """

    name: str
    images: int = 0
    pairs: list[tuple[str, str, PairCheck]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    errors: list[UserError] = field(default_factory=list)


def check(data: DatasetConfig, threads: int = 1) -> Found:
    """Read all images of a data set, measure its pairs, and compare its splits.

    Args:
        threads: images that are read at a time.

    Raises:
        UserError: see :func:`multiblock.data.dataset.find`.
    """
    splits, remarks, looks = find(data), Remarks(), leaks.Looks()
    found = Found(name=data.name, images=sum(map(len, splits.values())), left_out=left_out(data))
    all_photographs = [each for split, items in splits.items() for each in photographs(split, items)]

    def look(photograph: Photograph) -> tuple[Read, list[PairCheck | None]]:
        result = read(data, photograph)
        checks, result.pairs = result.checks(), []  # nobody needs the pixels any more
        return result, checks

    with Progress(found.images, f"data {data.name}: images read") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a conversion
        looked = in_order(look, all_photographs, threads)
        for photograph, (result, checks) in zip(all_photographs, looked, strict=True):
            for remark in result.remarks:
                remarks(*remark)
            looks.add(photograph.split, result.look)
            found.errors += [result.error] if result.error else []
            pairs = zip(photograph.items, checks, strict=False)  # fewer where one could not be read
            found.pairs += [(photograph.split, item.name, check) for item, check in pairs if check]
            progress.step(len(photograph.items))
    found.remarks = remarks.lines()
    try:
        found.shared = leaks.compare(looks, data.name)
    except UserError as error:
        found.errors.append(error)
    return found
