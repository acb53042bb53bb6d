"""Windows of an image in which pictures gained and lost the most, judged by their mean squared error."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Place:
    """A window of an image.

    Args:
        x, y: its left and its top, in pixels.
        width, height: its size in pixels.
        what: why it is shown, in a word or two.
        change: PSNR after less PSNR before, in dB; None where there is no target, or one of them is infinite.
    """

    x: int
    y: int
    width: int
    height: int
    what: str
    change: float | None = None

    def plain(self, left: int = 0, top: int = 0) -> dict[str, Any]:
        """The place as a mapping, counted from (left, top)."""
        return {**asdict(self), "x": self.x - left, "y": self.y - top}


FINE = 8_000_000
"""Pixels up to which windows are looked for at every pixel; of larger images at every few, which takes less memory."""

_STRIP = 256


def squared_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The squared difference of two pictures (H, W, 3), uint8: a plane (H, W), the mean of its three channels."""
    apart = one.astype(np.int32) - other.astype(np.int32)
    return np.asarray(np.square(apart).mean(axis=2))


def cells(plane: np.ndarray, step: int) -> np.ndarray:
    """Means of a plane (H, W) over square cells of so many pixels a side; the last ones may be smaller."""
    if step == 1:
        return plane
    rows, columns = (range(0, length, step) for length in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=0), columns, axis=1)
    heights, widths = (np.diff([*starts, length]) for starts, length in zip((rows, columns), plane.shape, strict=True))
    return np.asarray(sums / np.outer(heights, widths))


def error_in_cells(one: np.ndarray, other: np.ndarray, step: int) -> np.ndarray:
    """The squared difference of two pictures, means over cells; in strips, as it takes much memory."""
    strip = max(_STRIP // step, 1) * step
    starts = range(0, len(one), strip)
    return np.concatenate([cells(squared_error(one[y : y + strip], other[y : y + strip]), step) for y in starts])


def window_means(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means of all windows of a plane (H, W): (H - height + 1, W - width + 1), by the window's top and left."""
    sums = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return np.asarray(total / (height * width))


def gain_and_loss(before: np.ndarray, after: np.ndarray, target: np.ndarray, side: int) -> tuple[Place, Place]:
    """The square window whose squared error fell the most from ``before`` to ``after``, and the one where it rose the
    most, or fell the least.

    Args:
        before, after, target: pictures (H, W, 3), uint8.
        side: of the windows in pixels; less where the picture is smaller.
    """
    step = _step(target)
    errors = [_windows(error_in_cells(picture, target, step), target, side, step) for picture in (before, after)]
    fallen = errors[0] - errors[1]
    gain, loss = (np.unravel_index(at, fallen.shape) for at in (fallen.argmax(), fallen.argmin()))
    # Not "smallest gain +7.51 dB" beside "largest gain +4.74 dB": error that falls little may be many dB of little.
    gained = "largest gain" if fallen[gain] > 0 else "error rose least"
    lost = "largest loss" if fallen[loss] < 0 else "error fell least"
    return (
        _place(gain, target, side, step, gained, _change(*(float(of[gain]) for of in errors))),
        _place(loss, target, side, step, lost, _change(*(float(of[loss]) for of in errors))),
    )


def most_changed(before: np.ndarray, after: np.ndarray, side: int) -> Place:
    """The square window in which two pictures (H, W, 3), uint8, differ the most."""
    step = _step(after)
    means = _windows(error_in_cells(before, after, step), after, side, step)
    return _place(np.unravel_index(means.argmax(), means.shape), after, side, step, "largest change")


def _step(picture: np.ndarray) -> int:
    """Pixels from one window that is looked at to the next."""
    return max(1, math.ceil(math.sqrt(picture.shape[0] * picture.shape[1] / FINE)))


def _windows(plane: np.ndarray, picture: np.ndarray, side: int, step: int) -> np.ndarray:
    """Means of all windows of a plane of cells."""
    height, width = (max(1, min(side, length) // step) for length in picture.shape[:2])
    return window_means(plane, height, width)


def _place(
    at: tuple[Any, ...], picture: np.ndarray, side: int, step: int, what: str, change: float | None = None
) -> Place:
    height, width = (min(side, length) for length in picture.shape[:2])
    y, x = (
        min(int(cell) * step, length - size)
        for cell, length, size in zip(at, picture.shape, (height, width), strict=False)
    )
    return Place(x=x, y=y, width=width, height=height, what=what, change=change)


def _change(before: float, after: float) -> float | None:
    """A fall of the mean squared error as dB of PSNR; None where one of the errors is nothing."""
    return None if min(before, after) <= 1e-9 else round(10 * math.log10(before / after), 3)
