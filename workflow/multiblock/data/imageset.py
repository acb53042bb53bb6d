"""Sets of images as memory-mapped arrays.

A set is one ``SPLIT.npy`` with the pixels of all images one after another, rows first, RGB, and one ``SPLIT.csv``
that names each image with its height, width and a digest of its pixels. Pixels are 0..255 as uint8, or [0, 1] as
float16.
"""

import csv
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from multiblock.errors import UserError
from multiblock.files import atomic_write, digest_of, digest_of_bytes

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
        only: the names of the images to take, as of one fold; all if it is None.

    Raises:
        UserError: one of the two is missing, or they do not belong together.
    """

    def __init__(self, array: Path, only: Collection[str] | None = None) -> None:
        self.array = array
        try:
            # As a plain array: views of a memmap object cost ten times as much to make.
            self.pixels = np.asarray(np.load(array, mmap_mode="r"))
            with index_of(array).open(newline="", encoding="utf-8") as file:
                rows = [
                    (row["name"], int(row["height"]), int(row["width"]), row["digest"]) for row in csv.DictReader(file)
                ]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{array}: cannot be read as an image set: {error}") from None
        entries, offset = [], 0
        for name, height, width, digest in rows:
            entries.append(Entry(name, height, width, digest, offset))
            offset += height * width * 3
        if offset != self.pixels.size:
            raise UserError(f"{array}: holds {self.pixels.size} values; its index {index_of(array)} names {offset}")
        wanted = None if only is None else set(only)
        self.entries: Sequence[Entry] = [one for one in entries if wanted is None or one.name in wanted]

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
        """A digest of all names, sizes and pixels of the set, and of which images are taken."""
        whole = digest_of(index_of(self.array))
        taken = sum(entry.height * entry.width * 3 for entry in self.entries)
        return whole if taken == self.pixels.size else digest_of_bytes(f"{whole} {self.names}".encode())


def splits_in(folder: Path) -> list[str]:
    """The splits that a folder holds sets of: with folds there is none to test on alone."""
    return [split for split in SPLITS if (folder / f"{split}.npy").exists()]


def index_of(array: Path) -> Path:
    """The index that belongs to a ``.npy`` file."""
    return array.with_suffix(".csv")


def _content(pixels: np.ndarray) -> memoryview:
    return np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data


@contextmanager
def write_set(array: Path, sizes: Sequence[tuple[int, int]], dtype: str = "uint8") -> Iterator["Writer"]:
    """Write a set image by image; memory does not grow with it.

    Array and index get their names once all images are added, not before.

    Args:
        array: the ``.npy`` file; its index is written beside it.
        sizes: height and width of each image, in order.
        dtype: ``uint8`` or ``float16``.
    """
    with atomic_write(index_of(array)) as index, atomic_write(array) as part:
        with part.open("wb") as pixels:
            writer = Writer(pixels, sizes, np.dtype(dtype))
            yield writer
        if len(writer.rows) != len(sizes):
            raise ValueError(f"{array}: {len(writer.rows)} of {len(sizes)} images were added")
        _write_rows(index, writer.rows)


def write_index(index: Path, rows: Sequence[tuple[str, int, int, str]]) -> None:
    """Write an index: name, height, width and digest of each image."""
    with atomic_write(index) as part:
        _write_rows(part, rows)


def _write_rows(file: Path, rows: Sequence[tuple[str, int, int, str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(rows)


class Writer:
    """Takes the images of a set that :func:`write_set` writes."""

    def __init__(self, file: BinaryIO, sizes: Sequence[tuple[int, int]], dtype: np.dtype) -> None:
        self._file, self._sizes, self._dtype = file, sizes, dtype
        self.rows: list[tuple[str, int, int, str]] = []
        total = sum(height * width * 3 for height, width in sizes)
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (total,)}
        np.lib.format.write_array_header_1_0(file, header)

    def add(self, name: str, pixels: np.ndarray) -> None:
        """Add the next image: pixels (H, W, 3) in the set's dtype and of the size announced."""
        height, width = self._sizes[len(self.rows)]
        if pixels.shape != (height, width, 3) or pixels.dtype != self._dtype:
            raise ValueError(f"{name}: {pixels.shape} {pixels.dtype} where {(height, width, 3)} was announced")
        content = _content(pixels)
        # Written, not mapped: a full disk is an error here, where it would end the process there.
        self._file.write(content)
        self.rows.append((name, height, width, digest_of_bytes(content)))


# -- Stored pixels and floats ----------------------------------------------------------------------------------------

_ROWS = 512
"""Images are measured so many rows at a time: what is computed with in between takes many times their memory."""


def strips(height: int) -> Iterator[slice]:
    """Slices of the rows of an image, so many at a time."""
    return (slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Floats cut to [0, 1] and rounded to 8 bits, half up; see :func:`to_whole`."""
    return to_whole(image, np.dtype(np.uint8))


def to_whole(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats cut to [0, 1] and rounded, half up, to whole numbers, with the greatest of ``dtype`` for 1.

    Raises:
        UserError: a value is NaN or infinite, which would be black or white.
    """
    result = np.empty(image.shape, dtype)
    white = np.iinfo(dtype).max
    for rows in strips(len(image)):
        if not np.isfinite(image[rows]).all():
            raise UserError("an image holds pixels that are not finite (NaN or infinite), which no file can show")
        result[rows] = np.floor(np.clip(image[rows].astype(np.float64), 0, 1) * white + 0.5)
    return result


def as_float(pixels: np.ndarray) -> np.ndarray:
    """Stored pixels, uint8 or float16, as float32 with 1.0 as peak."""
    return pixels / np.float32(255) if pixels.dtype == np.uint8 else pixels.astype(np.float32)
