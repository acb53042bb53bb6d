"""Image sets that are written over several starts: after a kill, writing goes on from where it was.

A folder holds the pixels so far, a file a set, and a journal with a line for each piece of work that is in them: what
it was made of, where its pixels are, their digests, and what else was learnt. Nothing is believed that its digest does
not confirm, so a damaged or half-written piece is made again. Pixels of another arrangement, as after an image was
added, are copied from its folder.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data.imageset import Writer, index_of, write_index
from multiblock.files import digest_of_bytes, part_of, settle

CONVERTING, ENLARGING = ".converting", ".enlarging"
"""Folders beside finished sets, for those that are not whole."""
_JOURNAL = "journal"

Pixels = Mapping[str, Sequence[np.ndarray]]
"""The images of a piece by set."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece that was written before.

    Args:
        key: what it was made of.
        pixels: its images.
        places: offset, height, width and digest of each, by set.
        note: what else was learnt of it.
        folder: that of its files.
    """

    key: str
    pixels: Pixels
    places: Mapping[str, list[list[Any]]]
    note: dict[str, Any]
    folder: Path


class PartialSets:
    """Sets that are written side by side, piece by piece, in order; each piece holds images of every set.

    Args:
        folder: the folder for sets until they are whole, each arrangement in a folder of its own.
        sizes: height and width of each image, by set; all have as many images.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        layout = digest_of_bytes(json.dumps(sizes).encode())
        self._folder = folder / layout
        _set_aside(self._folder, sizes)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sizes, self._count = sizes, len(next(iter(sizes.values())))
        others = [other for other in sorted(folder.iterdir()) if other.is_dir() and other != self._folder]
        self._known: dict[str, tuple[Path, int]] = {}
        for other in (*others, self._folder):
            self._known |= {key: (other, place) for key, place in _lines(other / _JOURNAL)}
        self._files, self._writers = {}, {}
        for name in sizes:
            part = self._folder / name
            part.touch()
            self._files[name] = part.open("r+b")
            self._writers[name] = Writer(self._files[name], sizes[name], np.dtype(np.uint8))
        self._journal = (self._folder / _JOURNAL).open("ab")
        if self._journal.tell():
            self._journal.write(b"\n")  # the last line may have been cut short

    def recall(self, key: str) -> Piece | None:
        """A piece that was made of just this before; None where there is none, or its pixels are damaged."""
        if key not in self._known:
            return None
        folder, place = self._known[key]
        try:
            with (folder / _JOURNAL).open("rb") as journal:
                journal.seek(place)
                line = _checked(journal.readline())
            places = line["places"]
            pixels = {name: [_read(folder / name, *place) for place in places[name]] for name in self._sizes}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Piece(key=key, pixels=pixels, places=places, note=line["note"], folder=folder)

    def keep(self, piece: Piece, names: Sequence[str]) -> None:
        """Take over the next piece as it was written before; ``names`` are those of its images."""
        offsets = {name: [place[0] for place in places] for name, places in piece.places.items()}
        if piece.folder != self._folder or offsets != self._offsets(len(names)):
            self.add(piece.key, names, piece.pixels, piece.note)
            return
        for set_, places in piece.places.items():
            writer, file = self._writers[set_], self._files[set_]
            writer.rows += [(name, *place[1:]) for name, place in zip(names, places, strict=True)]
            file.seek(sum(height * width * 3 for _, height, width, _ in places), os.SEEK_CUR)

    def add(self, key: str, names: Sequence[str], pixels: Pixels, note: Mapping[str, Any]) -> None:
        """Write the next piece: its images by set, and what is to be recalled with it later."""
        offsets, places = self._offsets(len(names)), {}
        for set_, images in pixels.items():
            writer, file = self._writers[set_], self._files[set_]
            with _naming(self._folder / set_):
                for name, image in zip(names, images, strict=True):
                    writer.add(name, image)
                file.flush()
            rows = writer.rows[len(writer.rows) - len(names) :]
            places[set_] = [[offset, *row[1:]] for offset, row in zip(offsets[set_], rows, strict=True)]
        text = json.dumps({"key": key, "places": places, "note": note}).encode()
        with _naming(self._folder / _JOURNAL):
            self._journal.write(digest_of_bytes(text).encode() + b" " + text + b"\n")
            self._journal.flush()

    def _offsets(self, count: int) -> dict[str, list[int]]:
        """Where the next images begin, by set."""
        found = {}
        for name, file in self._files.items():
            offset, found[name] = file.tell(), list[int]()
            first = len(self._writers[name].rows)
            for height, width in self._sizes[name][first : first + count]:
                found[name].append(offset)
                offset += height * width * 3
        return found

    def close(self) -> None:
        """Leave what is written for the next start."""
        for file in (*self._files.values(), self._journal):
            with suppress(OSError):  # what a full disk does not take was reported when it was written
                file.close()

    def place(self, arrays: Mapping[str, Path]) -> None:
        """Give the whole sets the names of their arrays, with an index beside each."""
        self.close()
        for name, array in arrays.items():
            rows = self._writers[name].rows
            if len(rows) != self._count:
                raise ValueError(f"{array}: {len(rows)} of {self._count} images were added")
            array.parent.mkdir(parents=True, exist_ok=True)
            twin = part_of(array)
            twin.unlink(missing_ok=True)
            try:  # a second name: a process that is killed before all sets have theirs has lost nothing
                os.link(self._folder / name, twin)
            except OSError:  # some file systems have no links
                (self._folder / name).replace(twin)
            settle(twin, array)
            write_index(index_of(array), rows)


def remove(folder: Path) -> None:
    """Remove what :class:`PartialSets` left in a folder."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors of the disk name the file, which those of writing and flushing do not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _set_aside(folder: Path, names: Iterable[str]) -> None:
    """Set aside what has a final name too: it is read from, not written to."""
    if any((folder / name).is_file() and (folder / name).stat().st_nlink > 1 for name in names):
        aside = folder.with_name(f"{folder.name}-whole")
        remove(aside)
        folder.rename(aside)


def _lines(journal: Path) -> list[tuple[str, int]]:
    """The key and the place of each line of a journal that is whole."""
    found, place = [], 0
    try:
        with journal.open("rb") as file:
            for line in file:
                with suppress(ValueError, KeyError, TypeError):
                    found.append((_checked(line)["key"], place))
                place += len(line)
    except OSError:
        return []
    return found


def _checked(line: bytes) -> dict[str, Any]:
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if digest.decode(errors="replace") != digest_of_bytes(text):
        raise ValueError("a damaged line")
    return dict(json.loads(text))


def _read(file: Path, offset: int, height: int, width: int, digest: str) -> np.ndarray:
    size = height * width * 3
    with file.open("rb", buffering=0) as opened:
        content = os.pread(opened.fileno(), size, offset)
    if len(content) != size or digest_of_bytes(content) != digest:
        raise ValueError(f"{file}: damaged at {offset}")
    return np.frombuffer(content, np.uint8).reshape(height, width, 3)
