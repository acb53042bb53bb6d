"""Whether the two images of a pair show the same: measured, and said where they do not seem to."""

from collections.abc import Sequence

import numpy as np

WINDOW = 512
"""Side in LR pixels of the window, in the middle of the image, that is compared."""

LEAST_CORRELATION = 0.6
MOST_SHIFT = 1.0
"""In HR pixels."""
MOST_DETAIL = 1.1
"""Of LR, as a multiple of HR's."""


def pair_checks(lr: np.ndarray, hr: np.ndarray) -> list[str]:
    """What speaks against a pair, each with its measured figure; nothing for a good one.

    HR is brought to LR's size by means over scale x scale pixels. Then the correlation of the two, the shift that
    their phase correlation finds, and, where both have one size, whose neighbouring pixels differ more are measured.

    Args:
        lr: (H, W, 3), uint8.
        hr: (scale*H, scale*W, 3), uint8.
    """
    scale = hr.shape[0] // lr.shape[0]
    start = [max(0, (length - WINDOW) // 2) for length in lr.shape[:2]]
    low, high = (_gray(image, start, factor) for image, factor in ((lr, 1), (hr, scale)))
    high = high.reshape(low.shape[0], scale, low.shape[1], scale).mean(axis=(1, 3))
    if low.std() < 1 or high.std() < 1:  # flat images have no correlation
        return [] if abs(low.mean() - high.mean()) < 32 else [f"mean brightness {low.mean():.0f} and {high.mean():.0f}"]
    found = []
    correlation = float(np.corrcoef(low.ravel(), high.ravel())[0, 1])
    if correlation < LEAST_CORRELATION:
        found.append(f"correlation {correlation:.2f}; below {LEAST_CORRELATION} they may not show the same")
    down, right = (scale * value for value in _shift(low, high))
    if max(abs(down), abs(right)) > MOST_SHIFT:
        found.append(f"LR is shifted by {down:+.1f} pixels down and {right:+.1f} to the right")
    detail = _detail(low) / _detail(high)
    if scale == 1 and detail > MOST_DETAIL:
        found.append(f"LR has {detail:.2f} times the detail of HR; the folders may be swapped")
    return found


def _gray(image: np.ndarray, start: Sequence[int], factor: int) -> np.ndarray:
    """The window that begins at ``start`` in LR pixels, each ``factor`` wide, as the mean of its channels."""
    rows, columns = (slice(factor * first, factor * (first + WINDOW)) for first in start)
    return image[rows, columns].mean(axis=2)


def _shift(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """How far ``low`` lies below and to the right of ``high``, in pixels, to a tenth."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(*map(np.hanning, low.shape))  # the edges, which do not go on, would count
    pair = [(image - image.mean()) * window for image in (low, high)]
    down, right = phase_cross_correlation(*pair, upsample_factor=10, normalization=None)[0]
    return float(down) + 0.0, float(right) + 0.0


def _detail(image: np.ndarray) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()) + 1e-9
