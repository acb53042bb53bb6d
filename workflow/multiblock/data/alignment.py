"""How one image lies against another: shift, zoom and turn to fractions of a pixel.

Phase correlation finds the shift to a pixel; from there the least squares of the images' gradients are followed
(Lucas and Kanade 1981), with brightness and contrast free, on images that are smoothed so that blur counts for little.
"""

import math
from dataclasses import dataclass

import numpy as np

WORK = 256
"""Images are brought to at most so many pixels a side: finer than that nothing is needed."""
SMALLEST = 96
"""Of images whose sides are shorter only the shift is found."""
_SMOOTH = 1.5
"""Standard deviation in working pixels of the smoothing."""
_STEPS = 6
_MOST = 0.2
"""Zoom less 1, and turn in radians, beyond which what was found is no sense."""


@dataclass(frozen=True)
class Alignment:
    """Of the first image against the second: pixels ``down`` and to the ``right``, about the middle ``zoom`` times as
    large and turned clockwise by ``turn`` degrees; NaN where nothing was found."""

    down: float = math.nan
    right: float = math.nan
    zoom: float = math.nan
    turn: float = math.nan


def align(image: np.ndarray, reference: np.ndarray) -> Alignment:
    """How ``image`` lies against ``reference``, both (H, W) and of one size."""
    step = -(-max(image.shape) // WORK)
    small, beside = (_means(pixels, step) for pixels in (image, reference))
    shift = _shift(small, beside)
    found = _follow(small, beside, shift) if min(image.shape) >= SMALLEST and min(small.shape) >= 32 else None
    if found is None:
        return Alignment(step * shift[0], step * shift[1])
    down, right, zoom, turn = found
    return Alignment(step * down, step * right, 1 + zoom, math.degrees(turn))


def _means(image: np.ndarray, step: int) -> np.ndarray:
    height, width = (length // step * step for length in image.shape)
    return image[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))


def _shift(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """How far ``image`` lies below and to the right of ``reference``, in pixels, to a tenth."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(*map(np.hanning, image.shape))  # the edges, which do not go on, would count
    pair = [(pixels - pixels.mean()) * window for pixels in (image, reference)]
    down, right = phase_cross_correlation(*pair, upsample_factor=10, normalization=None)[0]
    return float(down) + 0.0, float(right) + 0.0


def _follow(
    image: np.ndarray, reference: np.ndarray, shift: tuple[float, float]
) -> tuple[float, float, float, float] | None:
    """Shift down and right in pixels, zoom less 1 and turn in radians; None where the steps lead nowhere."""
    from scipy.ndimage import affine_transform, gaussian_filter

    image, reference = (gaussian_filter(pixels.astype(np.float64), _SMOOTH) for pixels in (image, reference))
    middle = (np.array(reference.shape) - 1) / 2
    rows, columns = (np.arange(length) - centre for length, centre in zip(reference.shape, middle, strict=True))
    y, x = rows[:, None], columns[None]
    falls, leans = np.gradient(reference)
    # What a small shift, zoom and turn of the reference change; then brightness and contrast.
    changes = np.stack(
        [-falls, -leans, -falls * y - leans * x, leans * y - falls * x, np.ones_like(reference), reference]
    )
    found = np.array([*shift, 0.0, 0.0])
    for _ in range(_STEPS):
        zoom, turn = 1 + found[2], found[3]
        matrix = zoom * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        offset = middle + found[:2] - matrix @ middle
        moved = affine_transform(image, matrix, offset, order=1, mode="constant", cval=np.nan)
        seen = np.isfinite(moved)
        if seen.mean() < 0.5:
            return None
        left = changes[:, seen]
        solved = np.linalg.lstsq(left @ left.T, left @ (moved - reference)[seen], rcond=None)[0]
        step = solved[:4]
        found += step
        if np.abs(step[:2]).max() < 0.005 and np.abs(step[2:]).max() * max(middle) < 0.005:
            break
    down, right, zoomed, turned = map(float, found)
    if not np.isfinite(found).all() or abs(zoomed) > _MOST or abs(turned) > _MOST:
        return None
    return down, right, zoomed, turned
