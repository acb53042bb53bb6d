"""Values of an image between its pixels, by the cubic kernel that MATLAB's bicubic has (Keys 1981, a = -0.5).

Where the new grid is coarser than the image's, the kernel is widened by the step, so that nothing aliases. OpenCV's
``remap`` rounds places to 1/32 pixel, and has no kernel that widens.
"""

import numpy as np

_STRIP = 2**16
"""Places that are done at a time."""


def sample(image: np.ndarray, x: np.ndarray, y: np.ndarray, step: float = 1.0) -> np.ndarray:
    """Values of ``image`` (H, W, C), float32, at places ``x`` and ``y`` of one shape: that shape, and C.

    Args:
        step: how many of the image's pixels one step of the new grid is; below 1 counts as 1.

    Places whose kernel reaches over the edge take the edge's pixels instead.
    """
    shape, step = x.shape, max(1.0, step)
    flat_x, flat_y = x.ravel(), y.ravel()
    made = np.empty((flat_x.size, image.shape[2]), np.float32)
    for start in range(0, flat_x.size, _STRIP):
        part = slice(start, start + _STRIP)
        made[part] = _sample(image, flat_x[part], flat_y[part], step)
    return made.reshape(*shape, image.shape[2])


def reach(step: float) -> float:
    """How far from a place its value is made of pixels, in pixels of the image."""
    return 2 * max(1.0, step)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    height, width, channels = image.shape
    planes = [np.ascontiguousarray(image[..., channel]).ravel() for channel in range(channels)]
    (columns, across), (rows, along) = _taps(x, step, width), _taps(y, step, height)
    total = np.zeros((channels, x.size), np.float32)
    for row, weight in zip(rows, along, strict=True):
        line = np.zeros_like(total)
        for column, share in zip(columns, across, strict=True):
            places = row * width + column
            for made, plane in zip(line, planes, strict=True):
                made += share * plane.take(places)
        total += weight * line
    return total.T


def _taps(places: np.ndarray, step: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels along one axis that make each place's value, (taps, n), and their weights, which sum to 1."""
    first = np.floor(places - 2 * step).astype(np.int64) + 1
    taps = first + np.arange(int(np.ceil(4 * step)))[:, None]
    weights = _cubic(np.abs(places - taps) / step)
    weights /= weights.sum(axis=0)
    return taps.clip(0, length - 1), weights.astype(np.float32)


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
