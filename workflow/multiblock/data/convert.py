"""Turn image files into image sets: every file is read once, several at a time."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import images, leaks, partial, reader, resize
from multiblock.data.dataset import DatasetConfig, ImagePair, find, left_out
from multiblock.data.imageset import SPLITS, ImageSet
from multiblock.data.inspection import DatasetDigest
from multiblock.data.pair_checks import PairCheck, of_all, pair_checks
from multiblock.data.partial import CONVERTING, ENLARGING, PartialSets, Piece
from multiblock.data.reader import Photograph
from multiblock.data.remarks import Remarks
from multiblock.data.walk import Progress, in_order
from multiblock.errors import UserError
from multiblock.files import lock

log = logging.getLogger(__name__)


def convert(
    data: DatasetConfig, hr: Path, lr: Path, threads: int = 1, code: str = "", parts: Path | None = None
) -> str:
    """Write the HR and LR sets of all splits of ``data`` into the folders ``hr`` and ``lr``.

    HR is cut (top left) to a multiple of the scale; validation and test images to ``max_side`` as well. LR is the
    partner's file, or made from HR where there is none. What was converted, and what is doubtful, is logged.

    The sets stand under their names once all of them are whole. What was done before this process was killed, or found
    an image that cannot be read, is taken over: images of the same content, under the same settings and code.

    Args:
        threads: images that are worked on at a time; what is made and said does not depend on it.
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
        Progress(sum(map(len, found.values())), f"data {data.name}: images converted") as counter,
        warnings.catch_warnings(),
    ):
        # Pillow's are caught image by image too, which alone does not do where several threads read.
        warnings.simplefilter("ignore")
        conversion = _Conversion(data, code, threads, counter)
        made = {split: conversion.split(split, items, folder / split) for split, items in found.items()}
        conversion.say()
        for split, sets in made.items():
            sets.place({"HR": hr / f"{split}.npy", "LR": lr / f"{split}.npy"})
        partial.remove(folder)
    return str(conversion.digest)


@dataclass
class _Made:
    """What one thread has made of a photograph: its images, or what was made of it before."""

    key: str
    digests: list[str] = field(default_factory=list)
    note: dict[str, Any] = field(default_factory=dict)
    pixels: dict[str, list[np.ndarray]] = field(default_factory=dict)
    piece: Piece | None = None
    error: UserError | None = None


class _Conversion:
    """The conversion of a data set, split by split; what is learnt of all images is gathered."""

    def __init__(self, data: DatasetConfig, code: str, threads: int, counter: Progress) -> None:
        self._data, self._code, self._threads, self._counter = data, code, threads, counter
        self._remarks, self._looks = Remarks(), leaks.Looks()
        self.digest = DatasetDigest(data)

    def split(self, split: str, items: Sequence[ImagePair], folder: Path) -> PartialSets:
        """Convert a split; its sets, whole but not in their place."""
        photographs = list(reader.photographs(split, items))
        sizes = reader.sizes(self._data, photographs, images.size)
        small = [(height // self._data.scale, width // self._data.scale) for height, width in sizes]
        sets, checks, kept = PartialSets(folder, {"HR": sizes, "LR": small}), dict[ImagePair, PairCheck](), 0
        try:
            works = in_order(lambda photograph: self._make(sets, photograph), photographs, self._threads)
            for photograph, made in zip(photographs, works, strict=True):
                if made.error:
                    raise made.error
                _write(sets, made, [item.name for item in photograph.items])
                self._add_to_digest(photograph, made.digests)
                checks |= self._note(photograph, made.piece.note if made.piece else made.note)
                kept += len(photograph.items) * bool(made.piece)
                self._counter.step(len(photograph.items), kept=bool(made.piece))
        finally:
            sets.close()
        _judge(checks)
        before = f", {kept} of them by an earlier start" if kept else ""
        log.info("%s: %d images of %s%s", split, len(items), self._data.name, before)
        return sets

    def _make(self, sets: PartialSets, photograph: Photograph) -> _Made:
        """Everything that takes time, in one of several threads."""
        try:  # once: what the digests are of is what is decoded
            found = {file: images.content_of(file) for file in photograph.files}
        except UserError as error:
            return _Made("", error=error)
        digests = [digest for _, digest in found.values()]
        key = self._key(photograph, digests)
        if piece := sets.recall(key):
            return _Made(key, digests, piece=piece)
        read = reader.read(self._data, photograph, {file: content for file, (content, _) in found.items()})
        if failed := read.error or _changed(found):
            return _Made(key, error=failed)
        checks = [partner is not None and asdict(pair_checks(partner, full)) for full, partner in read.pairs]
        pairs = zip(photograph.items, read.pairs, strict=True)
        low = [reader.low(self._data, item, *pair) for item, pair in pairs]
        note = {
            "remarks": [(level, what, photograph.files.index(file)) for level, what, file in read.remarks],
            "look": read.look and leaks.as_plain(read.look),
            "checks": checks,
        }
        return _Made(key, digests, note, {"HR": [full for full, _ in read.pairs], "LR": low})

    def _key(self, photograph: Photograph, digests: Sequence[str]) -> str:
        """What the images of a photograph, and what is learnt of them, follow from."""
        data, items = self._data, photograph.items
        settings = [self._code, data.scale, data.degradation, data.max_side, photograph.split]
        settings += [leaks.is_wanted(data, photograph.split, items[0]), [(item.name, item.side) for item in items]]
        return hashlib.blake2b(repr((settings, digests)).encode(), digest_size=16).hexdigest()

    def _add_to_digest(self, photograph: Photograph, digests: Sequence[str]) -> None:
        hr, *partners = digests
        for item in photograph.items:
            self.digest.add(photograph.split, item, hr)
            if item.lr:
                self.digest.add_partner(partners.pop(0))

    def _note(self, photograph: Photograph, note: Mapping[str, Any]) -> dict[ImagePair, PairCheck]:
        """Gather what was learnt of a photograph; the checks of its pairs."""
        for level, what, number in note["remarks"]:
            self._remarks(level, what, photograph.files[number])
        if note["look"]:
            self._looks.add(photograph.split, leaks.from_plain(photograph.hr, note["look"]))
        checks = zip(photograph.items, note["checks"], strict=True)
        return {item: PairCheck(**{**check, "reasons": tuple(check["reasons"])}) for item, check in checks if check}

    def say(self) -> None:
        """Say what was learnt of all images.

        Raises:
            UserError: a test image has the pixels of a training image.
        """
        self._remarks.say()
        for line in leaks.compare(self._looks, self._data.name):
            log.warning("warning: %s", line)


def _write(sets: PartialSets, made: _Made, names: Sequence[str]) -> None:
    if made.piece:
        sets.keep(made.piece, names)
    else:
        sets.add(made.key, names, made.pixels, made.note)


def _changed(found: Mapping[Path, tuple[bytes | None, str]]) -> UserError | None:
    """An error for a very large file that was read twice and changed in between."""
    for file, (content, digest) in found.items():
        if content is None and images.content_of(file)[1] != digest:
            return UserError(f"{file}: changed while it was read; start again once it is whole")
    return None


_NAMED = 5
"""Doubtful pairs of a split that are named in the log."""


def _judge(checks: Mapping[ImagePair, PairCheck]) -> None:
    """Warn of the doubtful pairs of a split, and refuse wrong ones."""
    said = [
        (check.verdict, f"{item.lr} and {item.hr}: {reason}")
        for item, check in checks.items()
        for reason in check.reasons
    ]
    wrong = [line for verdict, line in said if verdict == "wrong"]
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}; multiblock check CONFIG measures all pairs")
    for _, line in said[:_NAMED]:
        log.warning("warning: %s", line)
    if len(said) > _NAMED:
        log.warning("warning: and %d more of this kind; multiblock check CONFIG shows all", len(said) - _NAMED)
    for line in of_all(list(checks.values())):
        log.warning("warning: %s: %s", next(iter(checks)).hr.parent, line)


def enlarge(lr: Path, enlarged: Path, scale: int, threads: int = 1, code: str = "", parts: Path | None = None) -> None:
    """Write the sets of the folder ``lr``, enlarged by bicubic interpolation, into the folder ``enlarged``.

    Like :func:`convert` it goes on from what was done before.

    Args:
        parts: the folder for sets that are not whole; ``.enlarging`` beside ``enlarged`` if none is given.
    """
    sources = {split: ImageSet(lr / f"{split}.npy") for split in SPLITS}
    folder, made = parts or enlarged.parent / ENLARGING, dict[str, PartialSets]()
    with (
        lock(folder, "enlarging images"),
        Progress(sum(map(len, sources.values())), "LR images enlarged") as counter,
    ):
        for split, source in sources.items():
            sizes = [(entry.height * scale, entry.width * scale) for entry in source.entries]
            sets = made[split] = PartialSets(folder / split, {enlarged.name: sizes})
            try:
                works = in_order(_enlarging(source, sets, enlarged.name, scale, code), range(len(source)), threads)
                for name, work in zip(source.names, works, strict=True):
                    _write(sets, work, [name])
                    counter.step(kept=bool(work.piece))
            finally:
                sets.close()
        for split, sets in made.items():
            sets.place({enlarged.name: enlarged / f"{split}.npy"})
        partial.remove(folder)


def _enlarging(source: ImageSet, sets: PartialSets, name: str, scale: int, code: str) -> Callable[[int], _Made]:
    def work(number: int) -> _Made:
        key = f"{source.entries[number].digest} {source[number].shape} {scale} {code}"
        piece = sets.recall(key)
        return _Made(key, piece=piece) if piece else _Made(key, pixels={name: [resize.enlarge(source[number], scale)]})

    return work
