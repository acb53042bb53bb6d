"""Where pictures gained and lost the most: windows of an image, judged by their mean squared error."""

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
        """As a mapping, counted from (left, top)."""
        return {**asdict(self), "x": self.x - left, "y": self.y - top}


def squared_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The squared difference of two pictures (H, W, 3), uint8: a plane (H, W), the mean of its three channels."""
    apart = one.astype(np.int32) - other.astype(np.int32)
    return np.asarray(np.square(apart).mean(axis=2))


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
    height, width = (min(side, length) for length in target.shape[:2])
    errors = [window_means(squared_error(picture, target), height, width) for picture in (before, after)]
    fallen = errors[0] - errors[1]
    found = []
    for best in (fallen.argmax(), fallen.argmin()):
        y, x = map(int, np.unravel_index(best, fallen.shape))
        what = "largest gain" if best == fallen.argmax() else "largest loss" if fallen[y, x] < 0 else "smallest gain"
        change = _change(float(errors[0][y, x]), float(errors[1][y, x]))
        found.append(Place(x=x, y=y, width=width, height=height, what=what, change=change))
    return found[0], found[1]


def _change(before: float, after: float) -> float | None:
    """What a fall of the mean squared error is in dB of PSNR."""
    return None if min(before, after) <= 1e-9 else round(10 * float(np.log10(before / after)), 3)


def most_changed(before: np.ndarray, after: np.ndarray, side: int) -> Place:
    """The square window in which two pictures (H, W, 3), uint8, differ the most."""
    height, width = (min(side, length) for length in after.shape[:2])
    means = window_means(squared_error(before, after), height, width)
    y, x = map(int, np.unravel_index(means.argmax(), means.shape))
    return Place(x=x, y=y, width=width, height=height, what="largest change")
