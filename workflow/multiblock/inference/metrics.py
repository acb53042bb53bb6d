"""How good an image is, under the conventions of the field.

- *RGB* (the multiblock study): all channels together, floats in [0, 1] as the network gives them, no rounding, no
  border cut.
- *RGB8* (the lightweight x3 study): the same on images rounded to 8 bits.
- *Y* (the benchmarks): cut to [0, 1], rounded to 8 bits, the luma of MATLAB's ``rgb2ycbcr``, a border cut at
  each side.
- The measures of perceived quality that are asked for (:mod:`multiblock.inference.measures`): cut to [0, 1], rounded to
  8 bits, the same border cut.

The same network reads 2 to 2.3 dB higher under Y. Arrays are (H, W, 3); a mean over images is a mean of their
PSNRs in dB. PSNR of an image that equals its reference is infinite: see :func:`means`. What is not finite in an image
has no PSNR: it is an error, never a figure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from multiblock.data.imageset import strips, to_bytes
from multiblock.errors import UserError
from multiblock.inference.measures import MEASURES

if TYPE_CHECKING:  # PyTorch is imported where SSIM is computed, not before
    from torch import Tensor

METRICS = ("psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8")
HOW = ("composed", "staged")
"""Composed: by the network on LR. Staged: by the phase on its cached images."""


def columns(metrics: Iterable[str]) -> tuple[str, ...]:
    """The columns of a phase's measurements for these metrics."""
    return tuple(f"{metric}_{how}" for metric in metrics for how in HOW)


VALUES = columns(METRICS)
"""The columns that all measurements have; those of measures that were asked for come after them."""

WINDOW = 11
"""Side in pixels of SSIM's window."""
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03
_SSIM_SIDE = 64
"""SSIM is computed for so many places a side at a time: what it makes in between fits a processor's cache, and is too
little for PyTorch to wait for several threads, which takes seconds where others keep the cores busy."""

_LUMA = np.array([65.481, 128.553, 24.966]) / 255


def _psnr(
    image: np.ndarray, reference: np.ndarray, peak: float, of: Callable[[np.ndarray], np.ndarray], what: str
) -> float:
    """PSNR in dB of what ``of`` makes of both images, in float64; ``what`` names the image in errors."""
    total, count = 0.0, 0
    for rows in strips(len(reference)):
        squares = (of(image[rows]) - of(reference[rows])) ** 2
        total, count = total + float(squares.sum()), count + squares.size
    if not math.isfinite(total):
        raise UserError(f"{what}: found pixels that are not finite (NaN or infinite); such an image has no PSNR")
    if not count:
        raise UserError(f"{what}: found no pixels to measure")
    return 10 * math.log10(peak**2 * count / total) if total > 0 else math.inf


def psnr_rgb(image: np.ndarray, reference: np.ndarray, peak: float = 1.0, what: str = "the image") -> float:
    """PSNR in dB over all three channels; infinite where both are equal.

    Args:
        image, reference: floats with 1.0 as peak, or uint8 with 255.
        what: names the image in errors.

    Raises:
        UserError: a pixel is not finite.
    """
    return _psnr(image, reference, peak, lambda pixels: pixels.astype(np.float64), what)


def luma(image: np.ndarray) -> np.ndarray:
    """Y (H, W), 16 to 235, of 8-bit RGB, as MATLAB's ``rgb2ycbcr`` defines it; not rounded."""
    return 16 + image.astype(np.float64) @ _LUMA


def _cut(image: np.ndarray, border: int) -> np.ndarray:
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def psnr_y(image: np.ndarray, reference: np.ndarray, border: int, what: str = "the image") -> float:
    """PSNR in dB of Y with peak 255; both images are uint8.

    Raises:
        UserError: the border leaves no pixel.
    """
    return _psnr(_cut(image, border), _cut(reference, border), 255, luma, what)


def ssim(image: "Tensor", reference: "Tensor", peak: float) -> "Tensor":
    """The SSIM of each place where the window fits (Wang et al. 2004, "Image Quality Assessment: From Error Visibility
    to Structural Similarity": Gaussian window 11 x 11 with sigma 1.5, whose weights are those of mean and variance).

    There is no convolution in it, which a GPU may round to TF32 and autocast to bfloat16: variances as differences of
    squares would be lost.

    Args:
        image, reference: planes (..., H, W), at least 11 x 11, in float32 or float64.
        peak: the greatest value that a pixel can have.

    Returns:
        (..., H - 10, W - 10), in the format of the planes.
    """
    import torch

    products = [image * image, reference * reference, image * reference]
    means = _blurred(_blurred(torch.stack([image, reference, *products]), -2), -1)
    x, y, xx, yy, xy = means.unbind()
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    alike = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
    return alike / ((x * x + y * y + c1) * ((xx - x * x) + (yy - y * y) + c2))


def _blurred(planes: "Tensor", dim: int) -> "Tensor":
    """Means along one dimension with Gaussian weights, where the window fits."""
    reach, size = WINDOW // 2, planes.shape[dim] - WINDOW + 1
    taps = [math.exp(-(((place - reach) / _SIGMA) ** 2) / 2) for place in range(WINDOW)]
    taps = [tap / sum(taps) for tap in taps]
    mean = planes.narrow(dim, reach, size) * taps[reach]
    for place, tap in enumerate(taps):
        if place != reach:
            mean.add_(planes.narrow(dim, place, size), alpha=tap)
    return mean


def ssim_y(image: np.ndarray, reference: np.ndarray, border: int) -> float:
    """SSIM of Y (see :func:`ssim`) in float64; both images are uint8.

    The window fits into what the border leaves, which :func:`measure` sees to.
    """
    import torch

    image, reference = _cut(image, border), _cut(reference, border)
    height, width = (side - WINDOW + 1 for side in reference.shape[:2])  # the mean is over where the window fits
    total = 0.0
    for top, left in product(range(0, height, _SSIM_SIDE), range(0, width, _SSIM_SIDE)):
        rows = slice(top, min(top + _SSIM_SIDE, height) + WINDOW - 1)
        beside = slice(left, min(left + _SSIM_SIDE, width) + WINDOW - 1)
        x, y = (torch.from_numpy(luma(pixels[rows, beside])) for pixels in (image, reference))
        total += float(ssim(x, y, peak=255).sum())
    return total / (height * width)


def measure(
    image: np.ndarray, reference: np.ndarray, border: int, what: str = "the image", measures: Iterable[str] = ()
) -> dict[str, float]:
    """All figures for floats ``image`` and ``reference`` with 1.0 as peak.

    Args:
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        what: names the image, and whose work it is, in errors.
        measures: names of measures of perceived quality to take beside.

    Raises:
        UserError: a pixel is not finite, or the border leaves less than the window of SSIM.
    """
    height, width = reference.shape[:2]
    if min(height, width) - 2 * border < WINDOW:
        raise UserError(
            f"{what}: found {width} x {height} pixels and a border of {border}; what the border leaves must be at "
            f"least {WINDOW} x {WINDOW}, the window of SSIM"
        )
    plain = psnr_rgb(image, reference, what=what)
    image8, reference8 = to_bytes(image), to_bytes(reference)
    inner = _cut(image8, border), _cut(reference8, border)
    return {
        "psnr_rgb": plain,
        "psnr_y": psnr_y(image8, reference8, border, what),
        "ssim_y": ssim_y(image8, reference8, border),
        "psnr_rgb8": psnr_rgb(image8, reference8, 255, what),
        **{name: MEASURES[name].of(*inner) for name in measures},
    }


def means(columns: Sequence[Mapping[str, float]]) -> tuple[list[float], list[str]]:
    """Means of several measurements of one set of images, all over the same images.

    An image that equals its reference (a black frame stays black) has an infinite PSNR, which would rule the mean.
    Images for which one of the columns is infinite are left out of all of them, so that the means can be compared.
    Where that leaves no image, each mean is over all its images, and infinite if one of them is.

    Args:
        columns: of each measurement, image name to PSNR or SSIM.

    Returns:
        The mean of each column, and the names of the images left out.

    Raises:
        ValueError: a value is NaN.
    """
    if any(math.isnan(value) for column in columns for value in column.values()):
        raise ValueError("NaN among the values of a mean")
    infinite = dict.fromkeys(name for column in columns for name, value in column.items() if math.isinf(value))
    if all(column.keys() <= infinite.keys() for column in columns):
        infinite = {}
    kept = [[value for name, value in column.items() if name not in infinite] for column in columns]
    return [fmean(values or column.values()) for values, column in zip(kept, columns, strict=True)], list(infinite)
