"""SSIM as measures and losses have it: one computation, which a gradient can go through.

PyTorch is imported when it is computed, not before.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 11
"""Side in pixels of the window."""

_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03


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
