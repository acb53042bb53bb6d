"""The map of HR's pixels to LR's to a small part of a pixel: patches are measured, a map is fitted to most of them.

A patch is a small window of HR; how far off the same place in LR is follows from least squares on the gradients. LR is
taken as HR, shifted, times a gain, plus an offset (Lucas and Kanade 1981), so that exposure does not count; both are
smoothed, so that noise, and by how much LR is blurred, count for little. Of similarity, affine map and homography the
simplest is kept that leaves hardly more than the best of them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from multiblock.align.features import opencv
from multiblock.align.residual import BLURS
from multiblock.align.transform import KINDS, Kind, Transform, mapped, resized, sample
from multiblock.errors import UserError

# -- Patches -----------------------------------------------------------------------------------------------------------

MOST_A_SIDE = 14
"""Patches along the longer side."""
FLOOR = 0.05
"""Pixels by which a patch may be off for reasons that are not noise."""
_AT_ONCE = 8
"""Patches that are measured together: more would not fit a processor's cache."""


@dataclass(frozen=True)
class Smoothed:
    """Gray HR and LR, (H, W), float32, 0 to 255, smoothed alike.

    Args:
        smoothing: standard deviation of the smoothing in HR pixels.
        changes: HR's gradients to the right and down, (H, W, 2).
    """

    hr: np.ndarray
    lr: np.ndarray
    smoothing: float
    changes: np.ndarray


@dataclass(frozen=True)
class Shifts:
    """What was measured of patches.

    Args:
        centres: (n, 2), x and y in HR.
        off: (n, 2), how far from there in HR is what LR shows.
        sure: (n, 2, 2), the inverse of the covariance of ``off``.
        correlation: (n,), of the two, in each patch.
    """

    centres: np.ndarray
    off: np.ndarray
    sure: np.ndarray
    correlation: np.ndarray


def smoothed(hr: np.ndarray, lr: np.ndarray, zoom: float, blur: float) -> Smoothed:
    """HR and LR at one sharpness.

    Args:
        zoom: HR pixels per LR pixel.
        blur: standard deviation in HR pixels of what blurs LR more than HR.
    """
    smoothing = max(1.2, zoom, 0.6 * blur)
    return blurred(hr, Smoothed(hr, _gauss(lr, smoothing / zoom), smoothing, hr), blur)


def blurred(hr: np.ndarray, pair: Smoothed, blur: float) -> Smoothed:
    """The pair with another blur of HR."""
    soft = _gauss(hr, float(np.hypot(pair.smoothing, blur)))
    down, right = np.gradient(soft)
    return replace(pair, hr=soft, changes=np.stack([right, down], axis=2))


def _gauss(image: np.ndarray, deviation: float) -> np.ndarray:
    made: np.ndarray = opencv().GaussianBlur(image, (0, 0), deviation, borderType=opencv().BORDER_REFLECT)
    return made


def side_for(shape: tuple[int, ...], grain: float) -> int:
    """Side of a patch in HR pixels: LR needs something in it, and a small photograph room for several.

    Args:
        grain: of LR's finest detail, in HR pixels.
    """
    return int(max(24, min(64 * max(1.0, grain) ** 0.5, min(shape[:2]) / 4))) // 2 * 2


def centres_for(shape: tuple[int, ...], lr_shape: tuple[int, ...], matrix: np.ndarray, side: int) -> np.ndarray:
    """Middles (n, 2) of patches all over what both photographs show; each is between four pixels."""
    height, width = shape[:2]
    along, across = (_middles(length, side, max(height, width)) for length in (height, width))
    centres = np.stack(np.meshgrid(across, along), axis=-1).reshape(-1, 2)
    half = side / 2
    corners = centres[:, None] + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    there = mapped(matrix, corners)
    inside = (there > 2).all(axis=(1, 2)) & (there < np.array(lr_shape[1::-1]) - 3).all(axis=(1, 2))
    return centres[inside]


def _middles(length: int, side: int, longest: int) -> np.ndarray:
    count = max(1, min((length - side) * 2 // side + 1, round(MOST_A_SIDE * length / longest)))
    return np.round(np.linspace(side / 2 + 1, length - side / 2 - 2, count)) - 0.5


def shifts(
    pair: Smoothed, matrix: np.ndarray, centres: np.ndarray, side: int, step: float, exact: bool = True
) -> Shifts:
    """How far each patch is off ``matrix``, the map of HR's pixels to LR's.

    Args:
        step: LR pixels per HR pixel.
        exact: LR between its pixels by the cubic kernel; else by lines, which is many times as quick and good to
            a hundredth of a pixel.
    """
    stride = max(1, int(pair.smoothing))  # finer there is nothing in smoothed images
    offsets = np.arange(stride / 2, side, stride) - side / 2
    if stride % 2 == 0:
        offsets += 0.5  # middles lie between pixels
    window = np.cos(offsets * np.pi / (side + 2)) ** 2
    weights = np.outer(window, window).ravel()
    weights = (weights / weights.sum()).astype(np.float32)
    # Neighbours are smoothed together: so many values count as one.
    alike = 4 * np.pi * (pair.smoothing / stride) ** 2 * float((weights**2).sum())
    parts = []
    for start in range(0, len(centres), _AT_ONCE):
        some = centres[start : start + _AT_ONCE]
        x = np.broadcast_to(some[:, None, :1] + offsets, (len(some), len(offsets), len(offsets)))
        y = np.broadcast_to(some[:, None, 1:] + offsets[:, None], x.shape)
        there = mapped(matrix, np.stack([x, y], axis=-1))
        seen = _exactly(pair.lr, there, step) if exact else _by_lines(pair.lr, there)
        columns, rows = x.round().astype(int), y.round().astype(int)
        here, slopes = pair.hr[rows, columns], pair.changes[rows, columns]
        parts.append(_solve(here.reshape(len(some), -1), slopes.reshape(len(some), -1, 2), seen, weights, alike))
    off, sure, correlation = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Shifts(centres, off.clip(-side / 4, side / 4), sure, correlation)


def _solve(
    here: np.ndarray, slopes: np.ndarray, seen: np.ndarray, weights: np.ndarray, alike: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shift, its certainty, and correlation of patches: LR = gain * (HR - slopes . shift) + offset."""
    model = np.concatenate([here[..., None], -slopes], axis=2)
    model -= np.einsum("npa,p->na", model, weights)[:, None]  # the offset goes with the means
    beside = seen.reshape(len(here), -1)
    beside = beside - (beside @ weights)[:, None]
    weighted = (model * weights[:, None]).transpose(0, 2, 1)
    products = (weighted @ model).astype(np.float64) + 1e-6 * np.eye(3)
    towards = (weighted @ beside[..., None]).astype(np.float64)
    found = np.linalg.solve(products, towards)[..., 0]
    energy = (beside**2 @ weights).astype(np.float64)
    noise = np.maximum(energy - (found * towards[..., 0]).sum(axis=1), 0) + 1e-3
    gain = np.where(np.abs(found[:, 0]) < 0.05, 0.05, found[:, 0])
    gains = products[:, 1:, 0]
    slope = products[:, 1:, 1:] - gains[:, :, None] * gains[:, None] / products[:, :1, :1]
    covariance = np.linalg.inv(slope * (gain**2 / (noise * alike))[:, None, None] + 1e-6 * np.eye(2))
    sure = np.linalg.inv(covariance + FLOOR**2 * np.eye(2))
    return found[:, 1:] / gain[:, None], sure, towards[:, 0, 0] / np.sqrt(products[:, 0, 0] * energy + 1e-6)


def _exactly(image: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    return sample(image[..., None], places[..., 0], places[..., 1], step)[..., 0]


def _by_lines(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    cv2, (x, y) = opencv(), places.reshape(-1, places.shape[-2], 2).astype(np.float32).transpose(2, 0, 1)
    made: np.ndarray = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return made.reshape(places.shape[:-1])


def shrunk(image: np.ndarray, longest: int) -> tuple[np.ndarray, int]:
    """Means over squares of pixels so that no side is longer than ``longest``, and the side of the squares."""
    step = max(1, -(-max(image.shape) // longest))
    height, width = (length // step * step for length in image.shape)
    if step == 1:
        return image, 1
    size = (width // step, height // step)
    return opencv().resize(image[:height, :width], size, interpolation=opencv().INTER_AREA), step


# -- The fit -----------------------------------------------------------------------------------------------------------

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
"""Patches overlap by half: so many count as one."""
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
    (small_hr, hr_step), (small_lr, lr_step) = shrunk(hr, COARSE), shrunk(lr, COARSE)
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
    pair = smoothed(hr, lr, zoom, blur)
    side = side_for(hr.shape, max(zoom, blur))
    for turn in range(rounds + 1):
        centres = centres_for(hr.shape, lr.shape, matrix, side)
        if len(centres) < LEAST_PATCHES:
            raise UserError(
                f"both show the same in {len(centres)} patches of {side} pixels; {LEAST_PATCHES} are needed"
            )
        measured = shifts(pair, matrix, centres, side, 1 / zoom, exact)
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
    """How many pixels (standard deviation, in the median over HR) a map that was fitted to patches may be off.

    It is large where what can be compared is in a small part of the photograph.
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
    side = side_for(hr.shape, zoom)
    some = centres[:: max(1, len(centres) // 60)]
    agree, pair = {}, smoothed(hr, lr, zoom, 0)
    for blur in (deviation * max(1.0, zoom) for deviation in BLURS):
        found = shifts(blurred(hr, pair, blur), matrix, some, side, 1 / zoom, exact=False)
        agree[blur] = float(np.median(found.correlation))
    return max(agree, key=lambda blur: agree[blur])
