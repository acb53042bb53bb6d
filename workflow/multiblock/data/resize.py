"""Resizing, and the ways in which LR is made from HR where there are no pairs.

MATLAB's bicubic ``imresize`` is the degradation that published x2, x3 and x4 results are measured on. The cubic kernel
has a = -0.5 and, for shrinking, is widened by the scale (antialiasing); beyond its edge an image goes on as its mirror
image. On 8-bit images the published LR files are reproduced bit for bit by resizing the rows first and rounding to
8 bits after each of the two passes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from multiblock.data.dataset import ImagePair


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


# -- Degradations ------------------------------------------------------------------------------------------------------

_KERNELS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Pillow's kernels for :func:`_shrink_by`; each is widened by the scale, so that it does not alias."""


def _shrink_by(pixels: np.ndarray, scale: int, kernel: Image.Resampling) -> np.ndarray:
    """Pixels (H, W, 3), uint8, ``scale`` times as small."""
    size = (pixels.shape[1] // scale, pixels.shape[0] // scale)
    return np.asarray(Image.fromarray(pixels).resize(size, kernel))


def _as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of that quality (1 to 95) keeps of pixels (H, W, 3), uint8."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A way to make LR.

    Args:
        what: what it does, for the reference: the end of a sentence that begins with its name.
        make: from HR pixels (H, W, 3), uint8, whose sides are multiples of the scale, the scale, and the image that
            they are of, to LR pixels (H/scale, W/scale, 3), uint8.
    """

    what: str
    make: Callable[[np.ndarray, int, ImagePair], np.ndarray]


def _random(full: np.ndarray, scale: int, item: ImagePair) -> np.ndarray:
    """LR by a random kernel and a JPEG of random quality, which follow from the item's name."""
    random = item.random()
    random.random(2)  # the numbers of the item's window
    kernel = _KERNELS[random.integers(len(_KERNELS))]
    small = _shrink_by(full, scale, kernel)
    return _as_jpeg(small, int(random.integers(75, 96)))


DEGRADATIONS: dict[str, Degradation] = {
    "bicubic": Degradation(
        what="is MATLAB's imresize on 8-bit images", make=lambda full, scale, _: shrink(full, scale)
    ),
    "random": Degradation(
        what="shrinks each image by a kernel drawn from bilinear, bicubic and Lanczos and then stores it as a JPEG of "
        "a quality from 75 to 95, as the CARN study does; once, not again in each iteration",
        make=_random,
    ),
}
"""All ways by name."""
