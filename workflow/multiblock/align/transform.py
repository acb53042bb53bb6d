"""The map of HR's pixels to LR's, what both photographs show by it, and LR's values at its places.

The map is projective; scale, turn, stretch and perspective follow from it. Values between pixels are by the kernel
of MATLAB's bicubic (Keys 1981, a = -0.5). Where the new grid is coarser than the image's, the kernel is widened by the
step, so that nothing aliases. OpenCV's ``remap`` rounds places to 1/32 pixel, and has no kernel that widens.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["similarity", "affine", "homography"]
KINDS: tuple[Kind, ...] = ("similarity", "affine", "homography")
"""From the simplest, with 4, 6 and 8 parameters."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A map of HR's pixels (x to the right, y down, 0 in the middle of the first pixel) to LR's.

    Args:
        matrix: (3, 3), of homogeneous coordinates, float64.
        size: HR's height and width.
    """

    matrix: np.ndarray
    size: tuple[int, int]
    kind: Kind = "homography"

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The places in LR of points (..., 2) of HR, x and y."""
        return mapped(self.matrix, points)

    @property
    def corners(self) -> np.ndarray:
        """The middles of HR's four corner pixels, (4, 2), in order around it."""
        height, width = self.size
        return np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], float)

    def jacobian(self, point: np.ndarray) -> np.ndarray:
        """What LR's x and y change by with HR's, (2, 2), at a point of HR."""
        m, (x, y) = self.matrix, point
        u, v, w = m @ (x, y, 1)
        return np.array([m[0, :2] - u / w * m[2, :2], m[1, :2] - v / w * m[2, :2]]) / w

    @property
    def _middle(self) -> np.ndarray:
        return self.jacobian(self.corners.mean(axis=0))

    @property
    def mirrored(self) -> bool:
        """Whether LR shows things as in a mirror."""
        return bool(np.linalg.det(self._middle) <= 0)

    @property
    def zoom(self) -> float:
        """How many times HR shows things larger than LR, in pixels, in the middle."""
        return 1 / math.sqrt(abs(np.linalg.det(self._middle)))

    @property
    def turn(self) -> float:
        """How many degrees LR is turned clockwise against HR, in the middle."""
        j = self._middle
        return math.degrees(math.atan2(j[1, 0] - j[0, 1], j[0, 0] + j[1, 1]))

    @property
    def stretch(self) -> float:
        """How much more LR is stretched in one direction than in the other; 0 for a similarity."""
        large, small = np.linalg.svd(self._middle, compute_uv=False)
        return float(large / max(small, 1e-12) - 1)

    @property
    def perspective(self) -> float:
        """How much the scale differs between HR's corners; 0 without perspective."""
        areas = [np.linalg.det(self.jacobian(corner)) for corner in self.corners]
        return math.sqrt(max(areas) / min(areas)) - 1 if min(areas) > 0 else math.inf


def mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2), x and y, under a projective map (3, 3)."""
    whole = points @ matrix[:, :2].T + matrix[:, 2]
    return whole[..., :2] / whole[..., 2:]


def resized(matrix: np.ndarray, hr: float, lr: float) -> np.ndarray:
    """The map between images that are ``hr`` and ``lr`` times as large: pixels are areas, counted by their middles."""
    return _resizing(lr) @ matrix @ np.linalg.inv(_resizing(hr))


def _resizing(factor: float) -> np.ndarray:
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])


# -- What both show ----------------------------------------------------------------------------------------------------

_NEAR = 1e-4
"""Pixels that are nothing but rounding."""


def common(transform: Transform, lr_shape: tuple[int, ...], margin: float, scale: int) -> tuple[int, int, int, int]:
    """Top, left, height and width in HR of the largest rectangle all of which LR shows; sides are multiples of scale.

    Args:
        margin: LR pixels to keep from LR's edges.
        scale: of HR over the LR to be made.

    The sides are 0 where there is none.
    """
    height, width = transform.size
    lower, upper = margin, np.array([lr_shape[1], lr_shape[0]]) - 1 - margin
    if (upper <= lower).any():
        return 0, 0, 0, 0
    frame = np.array([(lower, lower), (upper[0], lower), upper, (lower, upper[1])])
    back = mapped(np.linalg.inv(transform.matrix), frame)  # LR's frame in HR: four straight edges
    left, top, right, bottom = _largest(back, width - 1, height - 1)
    left, top, right, bottom = *np.ceil([left - _NEAR, top - _NEAR]), *np.floor([right + _NEAR, bottom + _NEAR])
    while right > left and bottom > top:
        corners = mapped(transform.matrix, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
        if (corners >= margin - _NEAR).all() and (corners <= upper + _NEAR).all():
            break
        left, top, right, bottom = left + 1, top + 1, right - 1, bottom - 1
    if right <= left or bottom <= top:
        return 0, 0, 0, 0
    tall, wide = (max(0, int(last - first + 1)) // scale * scale for first, last in ((top, bottom), (left, right)))
    return int(top), int(left), tall, wide


def share(transform: Transform, lr_shape: tuple[int, ...]) -> float:
    """Share of HR's area that LR shows, by a grid of points."""
    height, width = transform.size
    parts = (np.arange(64) + 0.5) / 64
    points = np.stack(np.meshgrid(parts * width - 0.5, parts * height - 0.5), axis=-1)
    there = transform(points)
    inside = (there >= -0.5) & (there <= np.array([lr_shape[1], lr_shape[0]]) - 0.5)
    return float(inside.all(axis=-1).mean())


def _largest(polygon: np.ndarray, right: float, bottom: float) -> np.ndarray:
    """Left, top, right and bottom of the largest rectangle in a convex polygon (n, 2) and in HR.

    A rectangle is within an edge if that one of its corners is which is farthest out: a linear condition. The
    logarithm of its area is concave, so that there is one largest.
    """
    from scipy.optimize import minimize

    middle = polygon.mean(axis=0)
    edges, following = polygon, np.roll(polygon, -1, axis=0)
    outward = np.stack([following[:, 1] - edges[:, 1], edges[:, 0] - following[:, 0]], axis=1)
    outward *= np.sign(((edges - middle) * outward).sum(axis=1))[:, None]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    outward = np.concatenate([outward, [(-1, 0), (0, -1), (1, 0), (0, 1)]])
    most = np.concatenate([(edges * outward[: len(edges)]).sum(axis=1), [0, 0, right, bottom]])
    conditions = np.concatenate([np.minimum(outward, 0), np.maximum(outward, 0)], axis=1)
    unit = max(right, bottom)
    start = _inside(conditions, most / unit)
    if start is None:
        return np.zeros(4)
    found = minimize(
        lambda r: -np.log(max(r[2] - r[0], 1e-9)) - np.log(max(r[3] - r[1], 1e-9)),
        start,
        jac=lambda r: (
            np.array([1, 0, -1, 0]) / max(r[2] - r[0], 1e-9) + np.array([0, 1, 0, -1]) / max(r[3] - r[1], 1e-9)
        ),
        constraints={"type": "ineq", "fun": lambda r: most / unit - conditions @ r, "jac": lambda _: -conditions},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    return np.asarray(found.x) * unit


def _inside(conditions: np.ndarray, most: np.ndarray) -> np.ndarray | None:
    """The largest square that meets the conditions, as a start; None where nothing does."""
    from scipy.optimize import linprog

    # Left, top and side of the square: right = left + side, bottom = top + side.
    squares = conditions @ np.array([(1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1)])
    found = linprog((0, 0, -1), A_ub=squares, b_ub=most, bounds=[(None, None), (None, None), (0, None)])
    if found.status != 0 or found.x[2] <= 0:
        return None
    left, top, side = found.x
    return np.array([left, top, left + side, top + side])


# -- Resampling --------------------------------------------------------------------------------------------------------

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
