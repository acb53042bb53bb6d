"""Turn image files into image sets: every file is read once, several at a time."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import images, inspection, leaks, partial, resize
from multiblock.data.dataset import DatasetConfig, ImagePair, find, left_out
from multiblock.data.images import Remarks
from multiblock.data.imageset import ImageSet, splits_in
from multiblock.data.inspection import DatasetDigest, Photograph
from multiblock.data.pair_checks import PairCheck, of_all
from multiblock.data.partial import CONVERTING, ENLARGING, PartialSets, Piece
from multiblock.data.walk import Progress, in_order
from multiblock.errors import UserError
from multiblock.files import digest_of_bytes, lock

log = logging.getLogger(__name__)


def convert(
    data: DatasetConfig, hr: Path, lr: Path, threads: int = 1, code: str = "", parts: Path | None = None
) -> str:
    """Write the HR and LR sets of all splits of ``data`` into the folders ``hr`` and ``lr``.

    HR is cut (top left) to a multiple of the scale; validation and test images to ``max_side`` as well. LR is the
    partner's file, or made from HR where there is none. What was converted, and what is doubtful, is logged.

    The sets get their names once all of them are whole. What was done before this process was killed, or found an image
    that cannot be read, is taken over: images of the same content, under the same settings and code.

    Args:
        threads: images that are worked on at a time; what is made and logged does not depend on it.
        code: what the code of the conversion is known by.
        parts: the folder for sets that are not whole, on the same file system as ``hr`` and ``lr``; ``.converting``
            beside ``hr`` if none is given. It is removed in the end.

    Returns:
        The digest that :func:`multiblock.data.inspection.inspect` gives for the data set, of the bytes that were
        decoded. It is another one if a file was changed after the inspection, even for a moment.

    Raises:
        UserError: an image cannot be read, the two of a pair differ in size or do not belong together, or a test image
            is one of the training images.
    """
    for line in left_out(data):
        log.info("%s", line)
    found, folder = find(data), parts or hr.parent / CONVERTING
    with (
        lock(folder, "converting images"),
        Progress(sum(map(len, found.values())), f"data {data.name}: images converted") as progress,
        warnings.catch_warnings(),
    ):
        # Pillow's are caught image by image too, which alone does not do where several threads read.
        warnings.simplefilter("ignore")
        conversion = _Conversion(data, code, threads, progress)
        made = {split: conversion.split(split, items, folder / split) for split, items in found.items()}
        conversion.finish()
        for split, sets in made.items():
            sets.place({"HR": hr / f"{split}.npy", "LR": lr / f"{split}.npy"})
        partial.remove(folder)
    return str(conversion.digest)


@dataclass
class _Work:
    """What one thread has made of a photograph, or found made by an earlier start, which is the piece."""

    key: str
    digests: list[str] = field(default_factory=list)
    note: dict[str, Any] = field(default_factory=dict)
    pixels: dict[str, list[np.ndarray]] = field(default_factory=dict)
    piece: Piece | None = None

    def add_to(self, sets: PartialSets, names: Sequence[str]) -> None:
        """Write the images, whose names are given, as the next piece."""
        if self.piece:
            sets.keep(self.piece, names)
        else:
            sets.add(self.key, names, self.pixels, self.note)


class _Conversion:
    """The conversion of a data set, split by split; what is learnt of all images is gathered."""

    def __init__(self, data: DatasetConfig, code: str, threads: int, progress: Progress) -> None:
        self._data, self._code, self._threads, self._progress = data, code, threads, progress
        self._remarks, self._looks = Remarks(), leaks.Looks()
        self.digest = DatasetDigest(data)

    def split(self, split: str, items: Sequence[ImagePair], folder: Path) -> PartialSets:
        """Convert a split: its sets, which are whole but not in their place."""
        photographs = inspection.photographs(split, items)
        sizes = inspection.taken_sizes(self._data, photographs)
        small = [(height // self._data.scale, width // self._data.scale) for height, width in sizes]
        sets, checks, kept = PartialSets(folder, {"HR": sizes, "LR": small}), dict[ImagePair, PairCheck](), 0
        try:
            works = in_order(lambda photograph: self._work(sets, photograph), photographs, self._threads)
            for photograph, work in zip(photographs, works, strict=True):
                work.add_to(sets, [item.name for item in photograph.items])
                checks |= self._gather(photograph, work)
                kept += len(photograph.items) * bool(work.piece)
                self._progress.step(len(photograph.items), kept=bool(work.piece))
        finally:
            sets.close()
        _judge(checks)
        before = f", {kept} of them by an earlier start" if kept else ""
        log.info("%s: %d images of %s%s", split, len(items), self._data.name, before)
        return sets

    def _work(self, sets: PartialSets, photograph: Photograph) -> _Work:
        """Do everything that takes time, in one of several threads.

        Raises:
            UserError: a file cannot be read, or changed meanwhile.
        """
        # Read once, so that the digests are of what is decoded.
        found = {file: images.content_of(file) for file in photograph.files}
        digests = [digest for _, digest in found.values()]
        key = self._key(photograph, digests)
        if piece := sets.recall(key):
            return _Work(key, digests, piece=piece)
        read = inspection.read(self._data, photograph, {file: content for file, (content, _) in found.items()})
        if read.error:
            raise read.error
        for file, (content, digest) in found.items():  # very large files are not held in memory
            if content is None and images.content_of(file)[1] != digest:
                raise UserError(f"{file}: changed while it was read; start again once it is whole")
        pairs = zip(photograph.items, read.pairs, strict=True)
        low = [inspection.low(self._data, item, *pair) for item, pair in pairs]
        note = {
            "remarks": [(level, what, photograph.files.index(file)) for level, what, file in read.remarks],
            "look": read.look and leaks.as_plain(read.look),
            "checks": [check and asdict(check) for check in read.checks()],
        }
        return _Work(key, digests, note, {"HR": [full for full, _ in read.pairs], "LR": low})

    def _key(self, photograph: Photograph, digests: Sequence[str]) -> str:
        """What the images of a photograph, and what is learnt of them, follow from."""
        data, items = self._data, photograph.items
        settings = [self._code, data.scale, data.how, data.max_side, photograph.split]
        settings += [leaks.is_wanted(data, photograph.split, items[0]), [(item.name, item.side) for item in items]]
        return digest_of_bytes(repr((settings, digests)).encode())

    def _gather(self, photograph: Photograph, work: _Work) -> dict[ImagePair, PairCheck]:
        """Gather what was learnt of a photograph; the checks of its pairs."""
        hr, *partners = work.digests
        for item in photograph.items:
            self.digest.add(photograph.split, item, hr, *([partners.pop(0)] if item.lr else []))
        note = work.piece.note if work.piece else work.note
        for level, what, number in note["remarks"]:
            self._remarks(level, what, photograph.files[number])
        if note["look"]:
            self._looks.add(photograph.split, leaks.from_plain(photograph.hr, note["look"]))
        checks = zip(photograph.items, note["checks"], strict=True)
        return {item: PairCheck(**{**check, "reasons": tuple(check["reasons"])}) for item, check in checks if check}

    def finish(self) -> None:
        """Log what was learnt of all images.

        Raises:
            UserError: a test image has the pixels of a training image.
        """
        self._remarks.log()
        for line in leaks.compare(self._looks, self._data.name):
            log.warning("warning: %s", line)


_NAMED = 5
"""Doubtful pairs of a split that are named in the log."""


def _judge(checks: Mapping[ImagePair, PairCheck]) -> None:
    """Warn of the doubtful pairs of a split, and refuse wrong ones."""
    reasons = [
        (check.verdict, f"{item.lr} and {item.hr}: {reason}")
        for item, check in checks.items()
        for reason in check.reasons
    ]
    wrong = [line for verdict, line in reasons if verdict == "wrong"]
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}; multiblock check CONFIG measures all pairs")
    for _, line in reasons[:_NAMED]:
        log.warning("warning: %s", line)
    if len(reasons) > _NAMED:
        log.warning("warning: and %d more of this kind; multiblock check CONFIG shows all", len(reasons) - _NAMED)
    for line in of_all(list(checks.values())):
        log.warning("warning: %s: %s", next(iter(checks)).hr.parent, line)


def enlarge(lr: Path, enlarged: Path, scale: int, threads: int = 1, code: str = "", parts: Path | None = None) -> None:
    """Write the sets of the folder ``lr``, enlarged by bicubic interpolation, into the folder ``enlarged``.

    Like :func:`convert` it goes on from what was done before.

    Args:
        parts: the folder for sets that are not whole; ``.enlarging`` beside ``enlarged`` if none is given.
    """
    sources = {split: ImageSet(lr / f"{split}.npy") for split in splits_in(lr)}
    folder, made = parts or enlarged.parent / ENLARGING, dict[str, PartialSets]()
    with (
        lock(folder, "enlarging images"),
        Progress(sum(map(len, sources.values())), "LR images enlarged") as progress,
    ):
        for split, source in sources.items():
            made[split] = _enlarge(source, folder / split, scale, code, threads, progress)
        for split, sets in made.items():
            sets.place({"LR": enlarged / f"{split}.npy"})
        partial.remove(folder)


def _enlarge(source: ImageSet, folder: Path, scale: int, code: str, threads: int, progress: Progress) -> PartialSets:
    """Enlarge the images of a set: a set that is whole but not in its place."""
    sets = PartialSets(folder, {"LR": [(entry.height * scale, entry.width * scale) for entry in source.entries]})

    def work(number: int) -> _Work:
        key = f"{source.entries[number].digest} {source[number].shape} {scale} {code}"
        if piece := sets.recall(key):
            return _Work(key, piece=piece)
        return _Work(key, pixels={"LR": [resize.enlarge(source[number], scale)]})

    try:
        for name, one in zip(source.names, in_order(work, range(len(source)), threads), strict=True):
            one.add_to(sets, [name])
            progress.step(kept=bool(one.piece))
    finally:
        sets.close()
    return sets
