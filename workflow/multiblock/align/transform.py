"""How HR's pixels lie in LR: a projective map, and what it says of scale, turn, stretch and perspective."""

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
        """Where points (..., 2) of HR, x and y, lie in LR."""
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
        """By how many degrees LR is turned clockwise against HR, in the middle."""
        j = self._middle
        return math.degrees(math.atan2(j[1, 0] - j[0, 1], j[0, 0] + j[1, 1]))

    @property
    def stretch(self) -> float:
        """By how much more LR is stretched in one direction than in the other; 0 for a similarity."""
        large, small = np.linalg.svd(self._middle, compute_uv=False)
        return float(large / max(small, 1e-12) - 1)

    @property
    def perspective(self) -> float:
        """By how much the scale differs between HR's corners; 0 without perspective."""
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
