"""Resizing by MATLAB's bicubic.

MATLAB's bicubic ``imresize`` is the degradation that published x2, x3 and x4 results are measured on. The cubic kernel
has a = -0.5 and, for shrinking, is widened by the scale (antialiasing); beyond its edge an image goes on as its mirror
image. On 8-bit images the published LR files are reproduced bit for bit by resizing the rows first and rounding to
8 bits after each of the two passes.
"""

from collections.abc import Iterator

import numpy as np


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with a = -0.5, which is zero beyond 2."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _pass(pixels: np.ndarray, length: int, white: int) -> np.ndarray:
    """Resize the first axis to ``length``, and round to whole numbers from 0 to ``white``."""
    old = len(pixels)
    factor = max(old, length) // min(old, length)
    shrinks = length < old
    # A whole factor has few different sets of weights: one for shrinking, as many as the factor for enlarging.
    widened, step, phases = (factor, factor, 1) if shrinks else (1, 1, factor)
    margin = 3 * widened
    padded = np.pad(pixels, ((margin, margin), *[(0, 0)] * (pixels.ndim - 1)), mode="symmetric")
    result = np.zeros((length, *pixels.shape[1:]))
    count = length // phases
    for phase in range(phases):
        centre = (factor - 1) / 2 if shrinks else (phase + 0.5) / factor - 0.5
        taps = int(np.ceil(centre - 2 * widened)) + np.arange(4 * widened)
        weights = _cubic((taps - centre) / widened)
        for tap, weight in zip(margin + taps, weights / weights.sum(), strict=True):
            result[phase::phases] += weight * padded[tap : tap + (count - 1) * step + 1 : step]
    # Half up, as MATLAB rounds.
    return np.floor(result + 0.5).clip(0, white)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by a whole factor, up or down, the same for both sides.

    Args:
        pixels: (H, W, channels), uint8 or uint16.
        height, width: the new size in pixels.

    Returns:
        (height, width, channels), of the same type.
    """
    channels, white = pixels.shape[2], np.iinfo(pixels.dtype).max
    between = np.empty((height, pixels.shape[1], channels), pixels.dtype)
    for columns in _strips(pixels.shape[1], pixels.shape[0] * channels):
        between[:, columns] = _pass(pixels[:, columns].astype(np.float64), height, white)
    result = np.empty((height, width, channels), pixels.dtype)
    for rows in _strips(height, pixels.shape[1] * channels):
        result[rows] = _pass(between[rows].swapaxes(0, 1).astype(np.float64), width, white).swapaxes(0, 1)
    return result


_STRIP = 2**17
"""Values of a strip: in float64 they stay in a core's cache, which is three times as fast as going to memory."""


def _strips(length: int, each: int) -> Iterator[slice]:
    """Slices of as many rows or columns, of ``each`` values, as a strip holds."""
    count = max(1, _STRIP // each)
    return (slice(start, start + count) for start in range(0, length, count))


def shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """LR of an HR image whose sides are multiples of ``scale``."""
    return resize(pixels, pixels.shape[0] // scale, pixels.shape[1] // scale)


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """An LR image at the size of HR: what "no network" means."""
    return resize(pixels, pixels.shape[0] * scale, pixels.shape[1] * scale)
