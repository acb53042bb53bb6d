"""How good an image is, under the conventions of the field.

- *RGB* (the multiblock study): all channels together, floats in [0, 1] as the network gives them, no rounding, no
  border cut.
- *RGB8* (the lightweight x3 study): the same on images rounded to 8 bits.
- *Y* (the benchmarks): cut to [0, 1], rounded to 8 bits, the luma of MATLAB's ``rgb2ycbcr``, a border cut at
  each side.

The same network reads 2 to 2.3 dB higher under Y. Arrays are (H, W, 3); a mean over images is a mean of their
PSNRs in dB.
"""

from collections.abc import Callable

import numpy as np

from multiblock.data.pixels import strips, to_bytes

METRICS = ("psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8")
VALUES = tuple(f"{metric}_{how}" for metric in METRICS for how in ("composed", "staged"))
"""The columns of a phase's measurements: composed, by the network on LR; staged, by the phase on its cached images."""

_LUMA = np.array([65.481, 128.553, 24.966]) / 255


def _psnr(image: np.ndarray, reference: np.ndarray, peak: float, of: Callable[[np.ndarray], np.ndarray]) -> float:
    """PSNR in dB of what ``of`` makes of both images, in float64."""
    total, count = 0.0, 0
    for rows in strips(len(reference)):
        squares = (of(image[rows]) - of(reference[rows])) ** 2
        total, count = total + float(squares.sum()), count + squares.size
    return float(10 * np.log10(peak**2 * count / total)) if total > 0 else float("inf")


def psnr_rgb(image: np.ndarray, reference: np.ndarray, peak: float = 1.0) -> float:
    """PSNR in dB over all three channels; both images are floats with 1.0 as peak, or uint8 with 255."""
    return _psnr(image, reference, peak, lambda pixels: pixels.astype(np.float64))


def luma(image: np.ndarray) -> np.ndarray:
    """Y (H, W), 16 to 235, of 8-bit RGB, as MATLAB's ``rgb2ycbcr`` defines it; not rounded."""
    return 16 + image.astype(np.float64) @ _LUMA


def _cut(image: np.ndarray, border: int) -> np.ndarray:
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def psnr_y(image: np.ndarray, reference: np.ndarray, border: int) -> float:
    """PSNR in dB of Y with peak 255; both images are uint8."""
    return _psnr(_cut(image, border), _cut(reference, border), 255, luma)


def ssim_y(image: np.ndarray, reference: np.ndarray, border: int) -> float:
    """SSIM of Y (Wang et al. 2004: Gaussian window 11 x 11 with sigma 1.5); both images are uint8."""
    from skimage.metrics import structural_similarity

    image, reference = _cut(image, border), _cut(reference, border)
    reach, total = 5, 0.0
    inner = len(reference) - 2 * reach  # the mean is over the places where the window fits
    for rows in strips(inner):
        seen = slice(rows.start, rows.stop + 2 * reach)
        mean = structural_similarity(
            luma(image[seen]),
            luma(reference[seen]),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        total += float(mean) * (rows.stop - rows.start)
    return total / inner


def measure(image: np.ndarray, reference: np.ndarray, border: int) -> dict[str, float]:
    """All figures for floats ``image`` and ``reference`` with 1.0 as peak."""
    image8, reference8 = to_bytes(image), to_bytes(reference)
    return {
        "psnr_rgb": psnr_rgb(image, reference),
        "psnr_y": psnr_y(image8, reference8, border),
        "ssim_y": ssim_y(image8, reference8, border),
        "psnr_rgb8": psnr_rgb(image8, reference8, 255),
    }
