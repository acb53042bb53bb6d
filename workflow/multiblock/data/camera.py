"""LR as the cameras of phones make it: blur, resizing, noise and JPEG, drawn at random, and once more.

The form is the two-order one of Real-ESRGAN (Wang et al., 2021, "Real-ESRGAN: Training Real-World Blind
Super-Resolution with Pure Synthetic Data"), with kinds of blur and noise of BSRGAN (Zhang et al., 2021, "Designing a
Practical Degradation Model for Deep Blind Image Super-Resolution"). All is done on sRGB values, and rounded to 8 bits
in between.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image

from multiblock.data.imageset import strips
from multiblock.data.resize import enlarge

BLURS = ("isotropic", "anisotropic", "defocus")
"""Shapes of blur: two of Gaussians, and the disc of a lens out of focus."""

NOISES = ("gaussian", "shot", "demosaicked")
"""Kinds of noise: one of the same level everywhere; one that grows with the root of the brightness, as photons arrive
(Foi et al., 2008); and this one on the mosaic of a sensor, from which a colour image is then interpolated."""

RESIZES = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
"""Ways to resize: by area, bilinear, bicubic, as Pillow does, without aliasing."""

AS_IT_IS = 100
"""The quality of a JPEG that is none."""

_GREY = 127.5
"""The brightness at which all kinds of noise have their level."""

_REACH = 3
"""Standard deviations of a blur after which it is cut off, but for a disc, which ends after two of them."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The ranges that an image's degradation is drawn from, uniformly.

    Args:
        blur: standard deviation along each axis in pixels.
        resize: side of the image between the two orders, as a multiple of LR's.
        noise: standard deviation at mid-grey, in levels of 8 bits, before a mosaic is interpolated.
        jpeg: quality, whole numbers from 1 to 99; 100 leaves pixels as they are.
        second: probability of the second order; its blur and noise are drawn from the lower half of their ranges.
    """

    blur: tuple[float, float] = (0.2, 3.0)
    resize: tuple[float, float] = (0.6, 2.0)
    noise: tuple[float, float] = (1.0, 30.0)
    jpeg: tuple[float, float] = (30.0, 95.0)
    second: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is done to an image in one order, as it was drawn.

    Args:
        deviations: of the blur along its two axes, in pixels; 0 does not blur.
        angle: by which the first axis is turned, in radians.
        side: of the result, as a multiple of LR's.
    """

    blur: str
    deviations: tuple[float, float]
    angle: float
    side: float
    resize: Image.Resampling
    noise: str
    level: float
    quality: int

    def __str__(self) -> str:
        size = f" {self.side:.1f}x" if self.side != 1 else ""
        blur = " ".join(f"{deviation:.1f}" for deviation in dict.fromkeys(self.deviations))
        resize = f"{self.resize.name.lower()}{size}"
        return f"{self.blur} {blur}, {resize}, {self.noise} {self.level:.0f}, JPEG {self.quality}"


def draw(camera: Camera, random: np.random.Generator) -> list[Order]:
    """What is done to an image: one order, or two."""
    if random.random() < camera.second:
        return [_order(camera, random, side=float(random.uniform(*camera.resize))), _order(camera, random, milder=True)]
    return [_order(camera, random)]


def _order(camera: Camera, random: np.random.Generator, side: float = 1, milder: bool = False) -> Order:
    def drawn(low: float, high: float) -> float:
        return float(random.uniform(low, (low + high) / 2 if milder else high))

    blur, first, second = BLURS[random.integers(len(BLURS))], drawn(*camera.blur), drawn(*camera.blur)
    return Order(
        blur=blur,
        deviations=(first, second if blur == "anisotropic" else first),
        angle=float(random.uniform(0, np.pi)),
        side=side,
        resize=RESIZES[random.integers(len(RESIZES))],
        noise=NOISES[random.integers(len(NOISES))],
        level=drawn(*camera.noise),
        quality=int(random.integers(int(camera.jpeg[0]), int(camera.jpeg[1]) + 1)),
    )


def degrade(full: np.ndarray, scale: int, random: np.random.Generator, camera: Camera) -> np.ndarray:
    """LR of an image.

    Args:
        full: HR pixels (H, W, 3), uint8, whose sides are multiples of the scale.
        random: all that is random comes from it.

    Returns:
        LR pixels (H/scale, W/scale, 3), uint8.
    """
    return carried_out(draw(camera, random), full, scale, random)


def carried_out(orders: list[Order], full: np.ndarray, scale: int, random: np.random.Generator) -> np.ndarray:
    """LR of an image by orders that were drawn; see :func:`degrade`."""
    height, width = (side // scale for side in full.shape[:2])
    for order in orders:
        full = blurred(full, kernel(order))
        size = (max(1, round(order.side * width)), max(1, round(order.side * height)))
        full = np.asarray(Image.fromarray(full).resize(size, order.resize))
        full = as_jpeg(noisy(full, order.noise, order.level, random), order.quality)
    return full


# -- Blur --------------------------------------------------------------------------------------------------------------


def kernel(order: Order) -> np.ndarray:
    """The kernel of an order's blur: (2r+1, 2r+1), float32, with the sum 1."""
    deviations = np.maximum(order.deviations, 0.05)  # of a pixel: so narrow that nothing is blurred
    reach = ceil(_REACH * deviations.max()) if max(order.deviations) else 0
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    if order.blur == "defocus":  # whose standard deviation along each axis is half its radius
        weights = (2 * deviations[0] + 0.5 - np.hypot(y, x)).clip(0, 1)
    else:
        along, across = (x * np.cos(turn) + y * np.sin(turn) for turn in (order.angle, order.angle + np.pi / 2))
        weights = np.exp(-((along / deviations[0]) ** 2 + (across / deviations[1]) ** 2) / 2)
    return (weights / weights.sum()).astype(np.float32)


def blurred(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3), uint8, by a kernel; beyond its edge the image goes on as its mirror image."""
    reach = len(kernel) // 2
    if not reach:
        return pixels
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    result = np.empty_like(pixels)
    for rows in strips(len(pixels)):
        result[rows] = _filtered(padded[rows.start : rows.stop + 2 * reach], kernel)
    return result


def _filtered(padded: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a kernel makes of pixels where it lies within them; by Fourier transforms, as it has hundreds of weights."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    (height, width), edge = padded.shape[:2], len(kernel) - 1
    size = [next_fast_len(side, real=True) for side in (height, width)]
    spectrum = rfft2(padded.transpose(2, 0, 1).astype(np.float32), size) * rfft2(kernel, size)
    inside = irfft2(spectrum, size)[:, edge:height, edge:width]
    return (inside + np.float32(0.5)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


# -- Noise and JPEG ----------------------------------------------------------------------------------------------------


def noisy(pixels: np.ndarray, kind: str, level: float, random: np.random.Generator) -> np.ndarray:
    """Pixels (H, W, 3), uint8, with noise of one of :data:`NOISES`."""
    if not level:
        return pixels
    noise = random.standard_normal(pixels.shape, np.float32) * np.float32(level)
    if kind != "gaussian":
        noise *= np.sqrt(pixels / np.float32(_GREY))
    noise += pixels
    if kind == "demosaicked":
        noise = interpolated(noise)
    return (noise + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def interpolated(pixels: np.ndarray) -> np.ndarray:
    """What a sensor behind a Bayer pattern (red top left) keeps of pixels (H, W, 3), by bilinear demosaicking."""
    known = np.zeros(pixels.shape, np.float32)
    known[::2, ::2, 0] = known[::2, 1::2, 1] = known[1::2, ::2, 1] = known[1::2, 1::2, 2] = 1
    around = _summed(pixels * known) / np.maximum(_summed(known), 1)
    return np.where(known, pixels, around)


def _summed(values: np.ndarray) -> np.ndarray:
    """Weighted sums over each value and the eight around it, 1 2 1 along each side."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    summed: np.ndarray = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    return summed


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of that quality, with half the colours along each side, keeps of pixels (H, W, 3), uint8."""
    from simplejpeg import decode_jpeg, encode_jpeg

    if quality == AS_IT_IS:
        return pixels
    kept: np.ndarray = decode_jpeg(encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420"))
    return kept


# -- Patches -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Anew:
    """How a training makes the patches that it reads of HR, anew for each of them.

    Args:
        scale: how many times LR is smaller than HR.
        enlarged: how many times LR is enlarged by bicubic before the network reads it.
    """

    camera: Camera
    scale: int
    enlarged: int = 1

    def patch(self, full: np.ndarray, top: int, left: int, side: int, random: np.random.Generator) -> np.ndarray:
        """A patch (side, side, 3), uint8, at a place of the network's input.

        It is made of what HR has there and around it, so that blur and JPEG at its border are of pixels that are there.

        Args:
            full: the whole HR image (H, W, 3), uint8.
        """
        (y, x), (rows, columns) = zip(
            *(self._around(begin, side, length) for begin, length in zip((top, left), full.shape[:2], strict=True)),
            strict=True,
        )
        low = degrade(full[rows, columns], self.scale, random, self.camera)
        low = enlarge(low, self.enlarged) if self.enlarged > 1 else low
        return low[y : y + side, x : x + side]

    def _around(self, begin: int, side: int, length: int) -> tuple[int, slice]:
        """Along one side of an image: where a patch begins in what is made of a stretch of HR, and the stretch."""
        margin = ceil(_REACH * self.camera.blur[1] / self.scale) + 2
        first = max(0, begin // self.enlarged - margin)
        last = min(length // self.scale, -(-(begin + side) // self.enlarged) + margin)
        return begin - first * self.enlarged, slice(first * self.scale, last * self.scale)
