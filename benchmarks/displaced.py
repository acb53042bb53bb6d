"""Photographs displaced by known maps, made by other means than the alignment that is tried on them.

LR is what a worse and shorter lens gives: HR blurred, moved, taken smaller, each pixel the mean of several samples of
a cubic spline (SciPy's), then exposed otherwise, with noise, and rounded to 8 bits.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter


def matrix(
    size: tuple[int, int],
    made: tuple[int, int],
    *,
    zoom: float = 1.0,
    turn: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    perspective: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """A map (3, 3) of pixels (x, y, 1) of an image of a size (height, width) to those of one of size ``made``.

    Args:
        zoom: how many times smaller things become.
        turn: clockwise, in degrees, about the middle.
        shift: to the right and down, in pixels before the zoom.
        perspective: the last row's first two numbers.
    """
    cos, sin = np.cos(np.radians(turn)) / zoom, np.sin(np.radians(turn)) / zoom
    about = np.array([[cos, -sin, 0], [sin, cos, 0], [*perspective, 1]])
    middle = np.array([[1, 0, -(size[1] - 1) / 2], [0, 1, -(size[0] - 1) / 2], [0, 0, 1]])
    back = np.array(
        [[1, 0, (made[1] - 1) / 2 + shift[0] / zoom], [0, 1, (made[0] - 1) / 2 + shift[1] / zoom], [0, 0, 1]]
    )
    whole = back @ about @ middle
    return whole / whole[2, 2]


def photograph(
    pixels: np.ndarray,
    where: np.ndarray,
    made: tuple[int, int],
    *,
    blur: float = 0.0,
    samples: int = 2,
    stops: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """What a camera takes of ``pixels`` (H, W, C), uint8, moved by the map ``where``: (made, C), uint8.

    Args:
        blur: standard deviation in pixels, before it is moved.
        samples: along a pixel's side.
        stops: of light, of a camera with gamma 2.2.
        noise: standard deviation, of 255.
    """
    rng, back = np.random.default_rng(seed), np.linalg.inv(where)
    y, x = np.mgrid[: made[0], : made[1]].astype(float)
    places = (np.arange(samples) - (samples - 1) / 2) / samples
    taken = np.zeros((*made, pixels.shape[2]))
    splines = [spline_filter(gaussian_filter(plane.astype(float), blur)) for plane in np.moveaxis(pixels, 2, 0)]
    for down in places:
        for right in places:
            there = np.stack([x + right, y + down, np.ones_like(x)], axis=-1) @ back.T
            coordinates = [there[..., 1] / there[..., 2], there[..., 0] / there[..., 2]]
            for channel, spline in enumerate(splines):
                taken[..., channel] += map_coordinates(spline, coordinates, prefilter=False, mode="mirror")
    exposed = taken / samples**2 * 2 ** (stops / 2.2) + rng.normal(0, noise, taken.shape)
    return np.rint(exposed.clip(0, 255)).astype(np.uint8)


def errors(found: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By how many pixels two maps differ at 15 x 15 points of the image (height, width) that they start from."""
    points = np.stack(np.meshgrid(*(np.linspace(0, length - 1, 15) for length in size[::-1])), axis=-1).reshape(-1, 2)
    both = np.linalg.inv(truth) @ found
    moved = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ both.T
    distances: np.ndarray = np.linalg.norm(moved[:, :2] / moved[:, 2:] - points, axis=1)
    return distances


def drawn(size: tuple[int, int], made: tuple[int, int], rng: np.random.Generator, zoom: float = 1.0) -> np.ndarray:
    """A map drawn at random: 1 to 20 pixels, up to 2 degrees, 3 % of scale, and perspective for every second."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1, 20)
    return matrix(
        size,
        made,
        zoom=zoom * rng.uniform(0.97, 1.03),
        turn=rng.uniform(-2, 2),
        shift=(length * np.cos(angle), length * np.sin(angle)),
        perspective=tuple(rng.uniform(-1, 1, 2) * 8e-3 / max(size) * rng.integers(0, 2)),
    )
