"""Read and write image files.

Every image becomes RGB with 8 bits a channel:

- gray and black-and-white images get three equal channels; palettes and CMYK are converted to RGB;
- an alpha channel is dropped, the colours stay as they are stored;
- 16 bits are reduced to their upper eight;
- an EXIF orientation is applied, as every viewer does.

Floating-point images, more than 16 bits a channel, files of several pages and images of more than about 179
megapixels (Pillow's bound against files that claim a size they do not have) are refused.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageOps

from multiblock.errors import UserError
from multiblock.files import whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_EXIF_ORIENTATION = 0x0112


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise UserError(f"{file}: cannot be read as an image: it is no regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                frames = getattr(image, "n_frames", 1)
                if frames != 1:
                    raise UserError(f"{file}: holds {frames} images; allowed is one image a file")
                if image.mode in ("F", "I"):
                    kind = {"F": "floating-point values", "I": "32 bits a channel"}[image.mode]
                    raise UserError(f"{file}: holds {kind}; allowed are 8 or 16 bits a channel")
                yield image
    except UserError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: cannot be read as an image: {reason or type(error).__name__}") from None


def size(file: Path) -> tuple[int, int]:
    """Height and width in pixels as :func:`read` will give them, from the file's header alone.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with _opened(file) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    return (width, height) if turned else (height, width)


def read(file: Path) -> np.ndarray:
    """Pixels (H, W, 3), uint8.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with _opened(file) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            gray = np.asarray(upright).astype(np.int64) >> 8
            return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(upright.convert("RGBA" if upright.mode in ("P", "PA") else upright.mode).convert("RGB"))


def write(file: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3), uint8, in the format of the file's ending."""
    options: dict[str, Any] = {"compress_level": 1} if file.suffix == ".png" else {}
    with whole(file) as part:
        iio.imwrite(part, pixels, plugin="pillow", **options)


KERNELS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Pillow's kernels for :func:`shrink`; each is widened by the scale, so that it does not alias."""


def shrink(pixels: np.ndarray, scale: int, kernel: Image.Resampling) -> np.ndarray:
    """Pixels (H, W, 3), uint8, ``scale`` times as small."""
    size = (pixels.shape[1] // scale, pixels.shape[0] // scale)
    return np.asarray(Image.fromarray(pixels).resize(size, kernel))


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What a JPEG of that quality (1 to 95) keeps of pixels (H, W, 3), uint8."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
