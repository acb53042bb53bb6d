"""The map of HR's pixels to LR's to a small part of a pixel: patches are measured, a map is fitted to most of them.

Of similarity, affine map and homography the simplest is kept that leaves hardly more than the best of them.
"""

import math
from dataclasses import dataclass

import numpy as np

from multiblock.align import patches
from multiblock.align.blur import BLURS
from multiblock.align.patches import Shifts
from multiblock.align.transform import KINDS, Kind, Transform, mapped, resized
from multiblock.errors import UserError

COARSE = 800
"""Photographs are first compared at most so many pixels a side."""
LEAST_PATCHES = 12
_ROUNDS = 4
_PARAMETERS = {"similarity": 4, "affine": 6, "homography": 8}
_CAUCHY = 2.4
"""Residuals beyond so many deviations count for less and less."""
_PAYS = 1.5
"""Further parameters have to lessen the mean square of what is left, a degree of freedom, by this factor."""
_OVERLAP = 2
"""Patches lie half over each other: so many count as one."""
_STILL = 0.002
"""Pixels: a step below it ends the rounds."""


@dataclass(frozen=True)
class Fit:
    """What was found of two photographs.

    Args:
        blur: of LR against HR, in HR pixels (standard deviation).
        unsure: in the median over HR, how many HR pixels (standard deviation) the map may be off.
    """

    transform: Transform
    blur: float
    unsure: float


def refine(hr: np.ndarray, lr: np.ndarray, guess: np.ndarray) -> Fit:
    """The map that the first guess leads to.

    Args:
        hr, lr: (H, W), float32, 0 to 255.
        guess: (3, 3), HR's pixels to LR's, good to a few pixels.

    Raises:
        UserError: too little of the two shows the same.
    """
    (small_hr, hr_step), (small_lr, lr_step) = patches.shrunk(hr, COARSE), patches.shrunk(lr, COARSE)
    matrix, blur = guess, 0.0
    if max(hr_step, lr_step) > 1:
        small = resized(matrix, 1 / hr_step, 1 / lr_step)
        small = _follow(small_hr, small_lr, small, "homography", 0.0, _ROUNDS, exact=False)[0]
        matrix = resized(small, hr_step, lr_step)
    matrix, measured, _ = _follow(hr, lr, matrix, "homography", blur, 3, exact=False)
    blur = _blur(hr, lr, matrix, measured.centres)
    matrix, measured, weights = _follow(hr, lr, matrix, "homography", blur, 2)
    kind, matrix = _simplest(matrix, measured, weights, hr.shape)
    if kind != "homography":
        matrix, measured, weights = _follow(hr, lr, matrix, kind, blur, 1)
    transform = Transform(matrix=matrix / matrix[2, 2], size=(hr.shape[0], hr.shape[1]), kind=kind)
    return Fit(transform, blur, unsure(kind, measured, weights, hr.shape))


def _zoom(matrix: np.ndarray, shape: tuple[int, ...]) -> float:
    return Transform(matrix=matrix, size=shape[:2]).zoom  # type: ignore[arg-type]


def _follow(
    hr: np.ndarray, lr: np.ndarray, matrix: np.ndarray, kind: Kind, blur: float, rounds: int, exact: bool = True
) -> tuple[np.ndarray, Shifts, np.ndarray]:
    """A better map of one kind; the patches as the last round but one left them; and how much each counts."""
    zoom = _zoom(matrix, hr.shape)
    if not 1 / 20 < zoom < 20:
        raise UserError(f"LR and HR differ in scale by {zoom:.2g}: no sense")
    pair = patches.smoothed(hr, lr, zoom, blur)
    side = patches.side_for(hr.shape, max(zoom, blur))
    for turn in range(rounds + 1):
        centres = patches.centres_for(hr.shape, lr.shape, matrix, side)
        if len(centres) < LEAST_PATCHES:
            raise UserError(
                f"both show the same in {len(centres)} patches of {side} pixels; {LEAST_PATCHES} are needed"
            )
        measured = patches.shifts(pair, matrix, centres, side, 1 / zoom, exact)
        correction, weights = correct(kind, measured, hr.shape)
        if turn == rounds:
            break
        matrix = matrix @ correction
        moved = mapped(correction, centres) - centres
        if np.abs(moved).max() < _STILL and turn >= 1:
            break
    return matrix, measured, weights


def correct(kind: Kind, measured: Shifts, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A map (3, 3) of HR to itself that takes most patches to where they were found, and the patches' weights."""
    middle, unit = np.array(shape[1::-1]) / 2, max(shape[:2]) / 2
    targets = measured.off / unit
    basis = _basis(kind, (measured.centres - middle) / unit)
    sure = measured.sure * unit**2
    # Begun as if no patch could be sure of itself, so that a few that are surely elsewhere do not lead.
    deviations = np.linalg.norm(measured.off - np.median(measured.off, axis=0), axis=1)
    weights = 1 / (1 + (deviations / (1.5 * np.median(deviations) + 0.1)) ** 2)
    for _ in range(15):
        weighted = np.einsum("nak,nab->nkb", basis, sure) * weights[:, None, None]
        products = np.einsum("nkb,nbl->kl", weighted, basis)
        found = np.linalg.lstsq(products, np.einsum("nkb,nb->k", weighted, targets), rcond=None)[0]
        distances = _distances(targets - basis @ found, sure)
        # Of two independent normal values the median of the sum of squares is 2 ln 2.
        scale = max(1.0, float(np.median(distances)) / (2 * math.log(2)))
        weights = np.where(distances > 36 * scale, 0.0, 1 / (1 + distances / (_CAUCHY**2 * scale)))
    to_unit = np.array([[1 / unit, 0, -middle[0] / unit], [0, 1 / unit, -middle[1] / unit], [0, 0, 1]])
    return np.linalg.inv(to_unit) @ _as_matrix(kind, found) @ to_unit, weights


def unsure(kind: Kind, measured: Shifts, weights: np.ndarray, shape: tuple[int, ...]) -> float:
    """By how many pixels (standard deviation, in the median over HR) a map that patches were fitted by may be off.

    It is large where what can be compared lies in a small part of the photograph.
    """
    middle, unit = np.array(shape[1::-1]) / 2, max(shape[:2]) / 2
    basis = _basis(kind, (measured.centres - middle) / unit)
    left = _distances(measured.off, measured.sure)
    scale = max(1.0, float((weights * left).sum() / (2 * weights.sum())))
    products = np.einsum("nak,nab,nbl,n->kl", basis, measured.sure * unit**2 / scale, basis, weights, optimize=True)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, 9) * length / 2 / unit for length in shape[1::-1])), axis=-1)
    everywhere = _basis(kind, grid.reshape(-1, 2))
    spread = np.einsum("nak,kl,nal->n", everywhere, np.linalg.pinv(products), everywhere)
    return float(np.sqrt(np.median(spread)) * unit)


def _distances(left: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Squares of residuals (n, 2), in deviations."""
    return np.einsum("na,nab,nb->n", left, sure, left)


def _basis(kind: Kind, places: np.ndarray) -> np.ndarray:
    """What each parameter moves each place by, (n, 2, parameters)."""
    x, y = places.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    right, down = [one, zero, x, -y], [zero, one, y, x]
    if kind != "similarity":
        right, down = [one, zero, x, y, zero, zero], [zero, one, zero, zero, x, y]
    if kind == "homography":
        right, down = [*right, x * x, x * y], [*down, x * y, y * y]
    return np.stack([np.stack(right, axis=1), np.stack(down, axis=1)], axis=1)


def _as_matrix(kind: Kind, found: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = found[:2]
    if kind == "similarity":
        matrix[:2, :2] += [[found[2], -found[3]], [found[3], found[2]]]
    else:
        matrix[:2, :2] += found[2:6].reshape(2, 2)
    if kind == "homography":
        matrix[2, :2] -= found[6:]
    return matrix


def _simplest(
    matrix: np.ndarray, measured: Shifts, weights: np.ndarray, shape: tuple[int, ...]
) -> tuple[Kind, np.ndarray]:
    """The kind of map whose further parameters do not pay, and the map of that kind nearest to ``matrix``."""
    targets = mapped(matrix, measured.centres + measured.off)
    count = 2 * float(weights.sum()) / _OVERLAP
    squares, maps = {}, {}
    for kind in (kind for kind in KINDS if count > 2 * _PARAMETERS[kind]):
        fitted = nearest_of_kind(kind, matrix, measured.centres)
        for _ in range(3):
            back = mapped(np.linalg.inv(fitted), targets)
            left = Shifts(measured.centres, back - measured.centres, measured.sure, measured.correlation)
            fitted = fitted @ correct(kind, left, shape)[0]
        off = mapped(np.linalg.inv(fitted), targets) - measured.centres
        squares[kind] = float((weights * _distances(off, measured.sure)).sum()) / (count - _PARAMETERS[kind])
        maps[kind] = fitted
    least = min(squares.values(), default=0)
    kind = next((kind for kind in squares if squares[kind] <= _PAYS * least), KINDS[0])
    return kind, maps.get(kind, nearest_of_kind(kind, matrix, measured.centres))


def nearest_of_kind(kind: Kind, matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The map of a kind that is nearest to ``matrix`` at ``points`` (n, 2), by least squares."""
    if kind == "homography":
        return matrix
    targets = mapped(matrix, points)
    x, y = points.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    right, down = [x, -y, one, zero], [y, x, zero, one]
    if kind == "affine":
        right, down = [x, y, one, zero, zero, zero], [zero, zero, zero, x, y, one]
    equations = np.concatenate([np.stack(right, axis=1), np.stack(down, axis=1)])
    found = np.linalg.lstsq(equations, targets.T.ravel(), rcond=None)[0]
    if kind == "affine":
        return np.array([found[:3], found[3:], (0, 0, 1)])
    a, b, right_by, down_by = found
    return np.array([(a, -b, right_by), (b, a, down_by), (0, 0, 1)])


def _blur(hr: np.ndarray, lr: np.ndarray, matrix: np.ndarray, centres: np.ndarray) -> float:
    """The blur of LR against HR, in HR pixels: the one with which their patches agree best."""
    zoom = _zoom(matrix, hr.shape)
    side = patches.side_for(hr.shape, zoom)
    some = centres[:: max(1, len(centres) // 60)]
    agree, pair = {}, patches.smoothed(hr, lr, zoom, 0)
    for blur in (deviation * max(1.0, zoom) for deviation in BLURS):
        found = patches.shifts(patches.blurred(hr, pair, blur), matrix, some, side, 1 / zoom, exact=False)
        agree[blur] = float(np.median(found.correlation))
    return max(agree, key=lambda blur: agree[blur])
