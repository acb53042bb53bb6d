"""The ways in which LR is made from HR where there are no pairs. Another one is another entry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from multiblock.data import images, resize
from multiblock.data.dataset import ImagePair


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A way to make LR.

    Args:
        what: what it does, for the reference: the end of a sentence that begins with its name.
        make: from HR pixels (H, W, 3), uint8, whose sides are multiples of the scale, the scale, and the image that
            they are of, to LR pixels (H/scale, W/scale, 3), uint8.
    """

    what: str
    make: Callable[[np.ndarray, int, ImagePair], np.ndarray]


def _random(full: np.ndarray, scale: int, item: ImagePair) -> np.ndarray:
    """LR by a random kernel and a JPEG of random quality, which follow from the item's name."""
    random = item.random()
    random.random(2)  # the numbers of the item's window
    kernel = images.KERNELS[random.integers(len(images.KERNELS))]
    small = images.shrink(full, scale, kernel)
    return images.as_jpeg(small, int(random.integers(75, 96)))


DEGRADATIONS: dict[str, Degradation] = {
    "bicubic": Degradation(
        what="is MATLAB's imresize on 8-bit images", make=lambda full, scale, _: resize.shrink(full, scale)
    ),
    "random": Degradation(
        what="shrinks each image by a kernel drawn from bilinear, bicubic and Lanczos and then stores it as a JPEG of "
        "a quality from 75 to 95, as the CARN study does; once, not anew in each iteration",
        make=_random,
    ),
}
"""All ways by name."""
