"""Pixels as 8-bit values and as floats."""

from collections.abc import Iterator

import numpy as np

from multiblock.errors import UserError

_ROWS = 512
"""Images are measured so many rows at a time: what is computed with in between takes many times their memory."""


def strips(height: int) -> Iterator[slice]:
    """The rows of an image, so many at a time."""
    return (slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Floats cut to [0, 1] and rounded to 8 bits, half up; see :func:`to_whole`."""
    return to_whole(image, np.dtype(np.uint8))


def to_whole(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats cut to [0, 1] and rounded, half up, to whole numbers of which the greatest of ``dtype`` stands for 1.

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
