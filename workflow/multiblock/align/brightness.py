"""How LR's channels are to be scaled and lifted to HR's brightness and colours: a gain and an offset each."""

from dataclasses import dataclass

import numpy as np

MOST_GAIN = 1.5
"""A gain is held between this and one over it."""
MOST_OFFSET = 0.1
"""Of white."""
_SQUARE = 16
_ENDS = (0.03, 0.97)
"""Shares of white beyond which values may have been cut off."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """LR as HR = gain * LR + offset, a value a channel; offsets as shares of white.

    Args:
        held: whether one of them was held at its bound.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    held: bool = False


def match(lr: np.ndarray, hr: np.ndarray) -> Match:
    """Gains and offsets, by a robust regression over means of small squares, that blur hardly changes.

    Args:
        lr: (H, W, C), float32, 0 to 1.
        hr: (H, W, C), the same.
    """
    low, high = _means(lr), _means(hr)
    found = [_line(low[:, channel], high[:, channel]) for channel in range(lr.shape[2])]
    gains, offsets = zip(*found, strict=True)
    held_gains = tuple(float(np.clip(gain, 1 / MOST_GAIN, MOST_GAIN)) for gain in gains)
    held_offsets = tuple(float(np.clip(offset, -MOST_OFFSET, MOST_OFFSET)) for offset in offsets)
    return Match(gains=held_gains, offsets=held_offsets, held=(held_gains, held_offsets) != (gains, offsets))


def _means(image: np.ndarray) -> np.ndarray:
    height, width = (max(1, length // _SQUARE) for length in image.shape[:2])
    side = min(_SQUARE, *image.shape[:2])
    whole = image[: height * side, : width * side].reshape(height, side, width, side, -1)
    made: np.ndarray = whole.mean(axis=(1, 3), dtype=np.float64).reshape(height * width, -1)
    return made


def _line(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Gain and offset; what lies far off the line counts little."""
    from scipy.optimize import least_squares

    used = (np.minimum(low, high) > _ENDS[0]) & (np.maximum(low, high) < _ENDS[1])
    if used.sum() < 8:
        return 1.0, 0.0
    low, high = low[used], high[used]
    if low.std() < 0.02:  # no slope can be seen: the brightness alone
        return float(np.median(high) / np.median(low)), 0.0
    start = (float(high.std() / low.std()), 0.0)
    found = least_squares(lambda p: p[0] * low + p[1] - high, start, loss="soft_l1", f_scale=0.01)
    return float(found.x[0]), float(found.x[1])
