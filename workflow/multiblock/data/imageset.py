"""Sets of images as memory-mapped arrays.

A set is one ``SPLIT.npy`` with the pixels of all images one after another, rows first, RGB, and one ``SPLIT.csv``
that names each image with its height, width and a digest of its pixels. 8-bit pixels stand for 0..255, float16
ones for [0, 1].
"""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiblock.errors import UserError

SPLITS = ("train", "validation", "test")
COLUMNS = ("name", "height", "width", "digest")


@dataclass(frozen=True)
class Entry:
    """One image of a set: its name and size, and where its pixels begin."""

    name: str
    height: int
    width: int
    digest: str
    offset: int


class ImageSet:
    """The images of one split, opened for reading; pixels are read from disk only where they are looked at.

    ``pixels`` are those of all images one after another, a flat view of the file.

    Args:
        array: the ``.npy`` file; its index is the ``.csv`` beside it.

    Raises:
        UserError: one of the two is missing, or they do not belong together.
    """

    def __init__(self, array: Path) -> None:
        self.array = array
        try:
            # As a plain array: views of a memmap object cost ten times as much to make.
            self.pixels = np.asarray(np.load(array, mmap_mode="r"))
            with index_of(array).open(newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, ValueError) as error:
            raise UserError(f"{array}: cannot be read as an image set: {error}") from None
        entries, offset = [], 0
        for row in rows:
            height, width = int(row["height"]), int(row["width"])
            entries.append(Entry(row["name"], height, width, row["digest"], offset))
            offset += height * width * 3
        if offset != self.pixels.size:
            raise UserError(f"{array}: holds {self.pixels.size} values; its index {index_of(array)} names {offset}")
        self.entries: Sequence[Entry] = entries

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> np.ndarray:
        """Pixels (H, W, 3) of an image, as stored; a view, nothing is copied."""
        entry = self.entries[number]
        size = entry.height * entry.width * 3
        return self.pixels[entry.offset : entry.offset + size].reshape(entry.height, entry.width, 3)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    @property
    def names(self) -> list[str]:
        """The images' names, in order."""
        return [entry.name for entry in self.entries]

    @property
    def digest(self) -> str:
        """A digest of all names, sizes and pixels."""
        return hashlib.blake2b(index_of(self.array).read_bytes(), digest_size=16).hexdigest()


def index_of(array: Path) -> Path:
    """The index that belongs to a ``.npy`` file."""
    return array.with_suffix(".csv")


class Writer:
    """Write a set image by image; memory does not grow with it. To be used with ``with``.

    Args:
        array: the ``.npy`` file; its index is written beside it.
        sizes: height and width of each image, in order.
        dtype: ``uint8`` or ``float16``.
    """

    def __init__(self, array: Path, sizes: Sequence[tuple[int, int]], dtype: str = "uint8") -> None:
        array.parent.mkdir(parents=True, exist_ok=True)
        total = sum(height * width * 3 for height, width in sizes)
        self._array = array
        self._pixels = np.lib.format.open_memmap(array, mode="w+", dtype=dtype, shape=(total,))
        self._rows: list[tuple[str, int, int, str]] = []
        self._sizes = list(sizes)
        self._offset = 0

    def add(self, name: str, pixels: np.ndarray) -> None:
        """Add the next image: pixels (H, W, 3) in the set's dtype and of the size announced."""
        height, width = self._sizes[len(self._rows)]
        if pixels.shape != (height, width, 3) or pixels.dtype != self._pixels.dtype:
            raise ValueError(f"{name}: {pixels.shape} {pixels.dtype} where {(height, width, 3)} was announced")
        flat = np.ascontiguousarray(pixels).reshape(-1)
        self._pixels[self._offset : self._offset + flat.size] = flat
        self._offset += flat.size
        self._rows.append((name, height, width, hashlib.blake2b(flat.tobytes(), digest_size=16).hexdigest()))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pixels.flush()
        if kind is None:
            if len(self._rows) != len(self._sizes):
                raise ValueError(f"{self._array}: {len(self._rows)} of {len(self._sizes)} images were added")
            with index_of(self._array).open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(self._rows)
