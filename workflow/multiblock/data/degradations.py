"""The ways in which LR is made from HR where there are no pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from multiblock.data import camera
from multiblock.data.dataset import DatasetConfig, ImagePair
from multiblock.data.resize import shrink

_KERNELS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Pillow's kernels for :func:`_shrink_by`; each is widened by the scale, so that it does not alias."""


def _shrink_by(pixels: np.ndarray, scale: int, kernel: Image.Resampling) -> np.ndarray:
    """Pixels (H, W, 3), uint8, ``scale`` times as small."""
    size = (pixels.shape[1] // scale, pixels.shape[0] // scale)
    return np.asarray(Image.fromarray(pixels).resize(size, kernel))


def _as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of that quality (1 to 95) keeps of pixels (H, W, 3), uint8."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A way to make LR.

    Args:
        what: what it does, for the reference: the end of a sentence that begins with its name.
        make: from HR pixels (H, W, 3), uint8, whose sides are multiples of the scale, the data set, and the image that
            they are of, to LR pixels (H/scale, W/scale, 3), uint8.
    """

    what: str
    make: Callable[[np.ndarray, DatasetConfig, ImagePair], np.ndarray]


def _of_its_own(item: ImagePair) -> np.random.Generator:
    """Random numbers that follow from the item's name."""
    random = item.random()
    random.random(2)  # the numbers of the item's window
    return random


def _random(full: np.ndarray, data: DatasetConfig, item: ImagePair) -> np.ndarray:
    """LR by a random kernel and a JPEG of random quality."""
    random = _of_its_own(item)
    kernel = _KERNELS[random.integers(len(_KERNELS))]
    small = _shrink_by(full, data.scale, kernel)
    return _as_jpeg(small, int(random.integers(75, 96)))


def _camera(full: np.ndarray, data: DatasetConfig, item: ImagePair) -> np.ndarray:
    """LR as a camera or phone may have made it."""
    assert data.camera
    return camera.degrade(full, data.scale, _of_its_own(item), data.camera)


DEGRADATIONS: dict[str, Degradation] = {
    "bicubic": Degradation(
        what="is MATLAB's imresize on 8-bit images", make=lambda full, data, _: shrink(full, data.scale)
    ),
    "random": Degradation(
        what="shrinks each image by a kernel drawn from bilinear, bicubic and Lanczos and then stores it as a JPEG of "
        "a quality from 75 to 95, as the CARN study does; once, not again in each iteration",
        make=_random,
    ),
    "camera": Degradation(
        what="blurs, shrinks, adds noise and stores as a JPEG, as it draws from the ranges of `camera`: once for each "
        "image or window that is kept, and anew for each patch that is trained on where a phase reads LR_0",
        make=_camera,
    ),
}
"""All ways by name."""
