"""Small windows of HR and the same places of LR, and how far each lies off: least squares on the gradients.

For each patch LR is taken as HR, shifted, times a gain, plus an offset (Lucas and Kanade 1981), so that exposure does
not count; both are smoothed, so that noise, and by how much LR is blurred, count for little.
"""

from dataclasses import dataclass, replace

import numpy as np

from multiblock.align.resample import sample
from multiblock.align.transform import mapped
from multiblock.align.vision import opencv

MOST_A_SIDE = 14
"""Patches along the longer side."""
FLOOR = 0.05
"""Pixels by which a patch may lie off for reasons that are not noise."""
_AT_ONCE = 8
"""Patches that are measured together: more would not fit a processor's cache."""


@dataclass(frozen=True)
class Photographs:
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
        off: (n, 2), how far from there in HR lies what LR shows.
        sure: (n, 2, 2), the inverse of the covariance of ``off``.
        correlation: (n,), of the two, in each patch.
    """

    centres: np.ndarray
    off: np.ndarray
    sure: np.ndarray
    correlation: np.ndarray


def smoothed(hr: np.ndarray, lr: np.ndarray, zoom: float, blur: float) -> Photographs:
    """HR and LR at one sharpness.

    Args:
        zoom: HR pixels per LR pixel.
        blur: standard deviation in HR pixels of what blurs LR more than HR.
    """
    smoothing = max(1.2, zoom, 0.6 * blur)
    return blurred(hr, Photographs(hr, _gauss(lr, smoothing / zoom), smoothing, hr), blur)


def blurred(hr: np.ndarray, pair: Photographs, blur: float) -> Photographs:
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
    along, across = (_places(length, side, max(height, width)) for length in (height, width))
    centres = np.stack(np.meshgrid(across, along), axis=-1).reshape(-1, 2)
    half = side / 2
    corners = centres[:, None] + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    there = mapped(matrix, corners)
    inside = (there > 2).all(axis=(1, 2)) & (there < np.array(lr_shape[1::-1]) - 3).all(axis=(1, 2))
    return centres[inside]


def _places(length: int, side: int, longest: int) -> np.ndarray:
    count = max(1, min((length - side) * 2 // side + 1, round(MOST_A_SIDE * length / longest)))
    return np.round(np.linspace(side / 2 + 1, length - side / 2 - 2, count)) - 0.5


def shifts(
    pair: Photographs, matrix: np.ndarray, centres: np.ndarray, side: int, step: float, exact: bool = True
) -> Shifts:
    """How far each patch lies off ``matrix``, the map of HR's pixels to LR's.

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
