"""Read and write image files.

Every image becomes RGB with 8 bits a channel:

- gray and black-and-white images get three equal channels; palettes and CMYK are converted to RGB;
- an alpha channel is dropped, the colours stay as they are stored;
- 16 bits are reduced to their upper eight;
- an EXIF orientation is applied, as every viewer does;
- of a JPEG that holds a preview or a depth map too, as some cameras write it (MPO), the first image counts.

Floating-point images, more than 16 bits a channel, TIFF files of 12 bits or of 16 with white as 0, files of several
pages and images of more than about 179 megapixels (Pillow's bound against files that claim a size they do not have)
are refused.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from multiblock.errors import UserError
from multiblock.files import atomic_write

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
"""What a file may hold, whatever it is called."""
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_STRIP = 2**22
"""Pixels that are converted at a time: copies of a whole large image would take gigabytes."""


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise UserError(f"{file}: cannot be read as an image: it is no regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Opened by its name a file would be mapped: one that is cut short meanwhile ends the process, and gray
            # TIFF files that are to be turned come out wrong (Pillow 13.0).
            with file.open("rb") as content, Image.open(content, formats=_FORMATS) as image:
                if refused := _refused(image):
                    raise UserError(f"{file}: holds {refused}")
                yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{file}: cannot be read as an image: its content is of no known kind") from None
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: cannot be read as an image: {reason or type(error).__name__}") from None


def _refused(image: Image.Image) -> str:
    """What an image holds that is refused, and what is allowed; nothing for one that can be read."""
    frames, tags = getattr(image, "n_frames", 1), getattr(image, "tag_v2", {})
    if frames != 1 and image.format != "MPO":
        return f"{frames} images; allowed is one image a file"
    kind = {"F": "floating-point values", "I": "32 bits a channel, or signed values"}.get(image.mode)
    if image.mode == "I;16" and tags.get(_TIFF_BITS) == (12,):  # Pillow gives them as the lower ones of 16
        kind = "12 bits a channel"
    if image.mode == "I;16" and tags.get(_TIFF_PHOTOMETRIC) == 0:  # Pillow gives the negative
        return "16 bits a channel with white as 0; allowed is black as 0"
    return f"{kind}; allowed are 8 or 16 bits a channel" if kind else ""


def size(file: Path) -> tuple[int, int]:
    """Height and width in pixels as :func:`read` will give them; where the format allows it from the header alone.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with _opened(file) as image:
        width, height = image.size
        # Of TIFF files Pillow gives the size as turned; numbers other than 1 to 8 are nothing.
        turned = image.format != "TIFF" and image.getexif().get(_EXIF_ORIENTATION) in range(5, 9)
    return (width, height) if turned else (height, width)


def read(file: Path) -> np.ndarray:
    """Pixels (H, W, 3), uint8.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with _opened(file) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        rows = max(1, _STRIP // image.width)
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            pixels[top : top + rows] = _rgb(strip)
    return pixels


def _rgb(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3), or (H, W, 1) for gray of 16 bits, with values of 8 bits."""
    if image.mode.startswith("I"):
        return np.asarray(image)[..., None] >> 8
    return np.asarray((image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("RGB"))


def write(file: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3), uint8, in the format of the file's ending."""
    options: dict[str, Any] = {"compress_level": 1} if file.suffix == ".png" else {}
    with atomic_write(file) as part:
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
