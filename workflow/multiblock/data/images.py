"""Read and write image files.

Every image becomes sRGB with 8 bits a channel:

- colours are converted to sRGB where a colour profile says that they are others (:mod:`multiblock.data.colour`);
- gray and black-and-white images get three equal channels; palettes, CMYK and L*a*b* are converted to RGB;
- an alpha channel is dropped, the colours stay as they are stored;
- 16 bits are reduced to their upper eight, fewer bits in 16 to the upper eight of those;
- an EXIF orientation is applied, as every viewer does;
- of a JPEG that holds a preview or a depth map too, as some cameras write it (MPO), the first image counts, of a HEIC
  file the primary one.

What was converted is a remark, which the caller gathers or logs. HEIC needs the package pillow-heif (the extra
``heic``).

Floating-point images, more than 16 bits a channel, TIFF files of 16 bits with white as 0 or with each channel by itself
and not compressed, files of several pages and images of more than about 179 megapixels (Pillow's bound against files
that claim a size they do not have) are refused.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from multiblock.data import colour
from multiblock.errors import UserError, listed
from multiblock.files import atomic_write, digest_of, digest_of_bytes, in_place_of

log = logging.getLogger(f"{__name__}.remarks")  # lines of this name are for a person, see workflow/running.py

HEIC = (".heic", ".heif")
"""What phones write; read where pillow-heif is installed."""
READS_HEIC = find_spec("pillow_heif") is not None
HEIC_NEEDS = 'for HEIC: pip install "multiblock[heic]"'
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", *(HEIC if READS_HEIC else ()))
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
"""What a file may hold, whatever it is called."""
_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC, _TIFF_PLANAR, _APART = 262, 284, 2
_STRIP = 2**22
"""Pixels that are converted at a time: copies of a whole large image would take gigabytes."""


Remark = Callable[[int, str, Path], None]
"""Takes the level of a remark (as :mod:`logging` counts), what it says, and the file that it is about."""


def at_once(level: int, what: str, file: Path) -> None:
    """Log the remark about this file alone."""
    log.log(level, "%s%s: %s", _WORDS.get(level, ""), file, what)


class Remarks:
    """Remarks that are gathered: one line a kind, as ``photos/a.jpg and 199 more: what``."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, str], dict[Path, None]] = {}

    def __call__(self, level: int, what: str, file: Path) -> None:
        """Keep a remark; the same one of the same file counts once."""
        self._files.setdefault((level, what), {})[file] = None

    def lines(self) -> list[tuple[int, str]]:
        """All remarks with their levels, warnings first."""
        kinds = sorted(self._files.items(), key=lambda kind: -kind[0][0])
        return [(level, f"{_WORDS.get(level, '')}{_counted(list(files))}: {what}") for (level, what), files in kinds]

    def log(self) -> None:
        """Log all remarks, and forget them."""
        for level, line in self.lines():
            log.log(level, "%s", line)
        self._files.clear()


_WORDS = {logging.WARNING: "warning: "}


def _counted(files: list[Path]) -> str:
    return f"{files[0]} and {len(files) - 1} more" if len(files) > 1 else str(files[0])


_LARGE = 2**26
"""Bytes beyond which a file is not held in memory; such a file may be gigabytes of nothing."""


def content_of(file: Path) -> tuple[bytes | None, str]:
    """The bytes of an image file, None for a very large one, and their digest.

    Raises:
        UserError: it cannot be read, or is not a regular file.
    """
    check_regular(file)
    try:
        if file.stat().st_size > _LARGE:
            return None, digest_of(file)
        content = file.read_bytes()
        return content, digest_of_bytes(content)
    except OSError as error:
        raise UserError(f"{file}: cannot be read as an image: {error.strerror}") from None


@contextmanager
def opened(file: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """An image file, not decoded yet.

    Args:
        content: the bytes of the file, where they have been read already.

    Raises:
        UserError: it cannot be read, or is of a kind that is refused; also where decoding it in the block fails.
    """
    try:
        check_regular(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Opened by its name a file would be mapped: one that is cut short meanwhile ends the process, and gray
            # TIFF files that are to be turned come out wrong (Pillow 13.0).
            with (
                file.open("rb") if content is None else BytesIO(content) as stream,
                Image.open(stream, formats=_formats(file)) as image,
            ):
                if refused := _refused(image):
                    raise UserError(f"{file}: holds {refused}")
                if image.format == "PNG":
                    image.info[colour.PNG_COLOURS] = colour.png_colours(stream)
                yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{file}: cannot be read as an image: {_unidentified(file)}") from None
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: cannot be read as an image: {reason or type(error).__name__}") from None


def _unidentified(file: Path) -> str:
    """Why Pillow takes a file for no image: what it is, or what is wrong with it."""
    with file.open("rb") as stream:
        begins = stream.read(16)
        if begins[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return (
                "it is a TIFF file that is damaged or of a kind that is not read, as with floating-point colours; "
                "allowed are gray, RGB and CMYK with 8 or 16 bits a channel"
            )
        if other := in_place_of(file):
            return f"it is {other}"
        if begins.startswith(_PNG_SIGNATURE):
            stream.seek(0)
            try:
                PngImagePlugin.PngImageFile(stream)
            except Exception as error:  # decoders raise whatever a damaged file leads them to
                what = str(error).removeprefix("broken PNG file ").strip("()")
                return f"it is a PNG file that is damaged: {what if what != str(error) else 'its header is wrong'}"
    allowed = f"its content is of no kind that is read; allowed are {listed(_FORMATS)}"
    if READS_HEIC:
        return f"{allowed} and HEIC"
    return f"{allowed}; {HEIC_NEEDS}" if file.suffix.lower() in HEIC else allowed


def check_regular(file: Path) -> None:
    """Refuse what is there but is not a regular file: a pipe would be waited for, a device never ends."""
    if file.exists() and not file.is_file():
        raise UserError(f"{file}: cannot be read as an image: it is not a regular file")


def _formats(file: Path) -> tuple[str, ...]:
    if not READS_HEIC or file.suffix.lower() not in HEIC:
        return _FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def _refused(image: Image.Image) -> str:
    """What an image holds that is refused, and what is allowed; nothing for one that can be read."""
    frames, tags = getattr(image, "n_frames", 1), getattr(image, "tag_v2", {})
    if frames != 1 and image.format not in ("MPO", "HEIF"):
        return f"{frames} images; allowed is one image a file"
    kind = {"F": "floating-point values", "I": "32 bits a channel, or signed values"}.get(image.mode)
    if image.mode.startswith("I;16") and tags.get(_TIFF_PHOTOMETRIC) == 0:  # Pillow gives the negative
        return "16 bits a channel with white as 0; allowed is black as 0"
    raw = any(tile[0] == "raw" for tile in getattr(image, "tile", ()))
    if raw and tags.get(_TIFF_PLANAR) == _APART and max(tags.get(colour.BITS, (8,))) > 8:  # Pillow would read bytes
        return "16 bits, each channel by itself, not compressed; allowed are channels pixel by pixel, or compressed"
    return f"{kind}; allowed are 8 or 16 bits a channel" if kind else ""


def size(file: Path) -> tuple[int, int]:
    """Height and width in pixels as :func:`read` will give them; where the format allows it from the header alone.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with opened(file) as image:
        width, height = image.size
        # Of a PNG file Pillow looks for more behind the pixels, for which it decodes them.
        more = image.format != "PNG" or not _png_ends_with_pixels(file)
        exif = image.getexif() if more else Image.Image.getexif(image)
        # Of TIFF files Pillow gives the size as turned; numbers other than 1 to 8 are nothing.
        turned = image.format != "TIFF" and exif.get(_EXIF_ORIENTATION) in range(5, 9)
    return (width, height) if turned else (height, width)


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAYS_MORE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks that may hold EXIF, and so an orientation."""


def _png_ends_with_pixels(file: Path) -> bool:
    """Whether a PNG file is whole and has no chunk behind its pixels that may hold an orientation.

    Where it has, a reader has to go through the pixels to get there. Of a file that is damaged nothing is known.
    """
    with file.open("rb", buffering=0) as content:
        size, pixels = content.seek(0, 2), False
        content.seek(0)
        if content.read(8) != _PNG_SIGNATURE:
            return False
        while len(head := content.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"IEND":
                return content.tell() + 4 <= size
            if pixels and kind in _SAYS_MORE:
                return False
            pixels |= kind == b"IDAT"
            content.seek(length + 4, 1)
    return False


def is_turned(file: Path) -> bool:
    """Whether a camera noted that it was held otherwise."""
    with opened(file) as image:
        return image.getexif().get(_EXIF_ORIENTATION) in range(2, 9)


def read(file: Path, remark: Remark = at_once, content: bytes | None = None) -> np.ndarray:
    """Pixels (H, W, 3), uint8, sRGB.

    Args:
        content: the bytes of the file, where they have been read already.
        remark: takes what was converted on the way, and what is doubtful.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with opened(file, content) as image:
        deep = colour.is_deep(image)
        stated = colour.stated_bits(image) if deep else None
        damage = jpeg_damage(image)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        eight, notes = _eight_bits(image, stated, file, content) if deep else (image, [])
        for key in image.info.keys() - {"transparency"}:
            eight.info.setdefault(key, image.info[key])
        to_rgb, more = colour.to_srgb(eight)
        notes += damage + more
        if eight.has_transparency_data:
            notes.append((logging.INFO, "transparency dropped; the colours stay as they are stored"))
        for level, what in notes:
            remark(level, what, file)
        pixels = np.empty((eight.height, eight.width, 3), np.uint8)
        rows = max(1, _STRIP // eight.width)
        for top in range(0, eight.height, rows):
            strip = eight.crop((0, top, eight.width, min(top + rows, eight.height)))
            pixels[top : top + rows] = np.asarray(to_rgb(strip))
    return pixels


def jpeg_damage(image: Image.Image) -> list[colour.Note]:
    """A note where a JPEG that is not decoded yet has damaged data, which libjpeg warns of and Pillow does not."""
    if image.format not in ("JPEG", "MPO"):
        return []
    from simplejpeg import decode_jpeg

    stream: IO[bytes] = image.fp  # type: ignore[attr-defined]
    place = stream.tell()
    stream.seek(0)
    try:
        # All data is gone through; pixels are made of an eighth of each side.
        mode = "CMYK" if image.mode == "CMYK" else "GRAY"
        decode_jpeg(stream.read(), mode, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError:
        return [
            (logging.WARNING, "its JPEG data is damaged: parts of the picture may be wrong; read as far as it goes")
        ]
    finally:
        stream.seek(place)
    return []


def _eight_bits(
    image: Image.Image, stated: int | None, file: Path, content: bytes | None
) -> tuple[Image.Image, list[colour.Note]]:
    """A decoded image of 16 bits a channel, of which Pillow may have kept the upper bytes, with 8 bits; and notes."""
    gray, pixels, whole = image.mode.startswith("I"), np.asarray(image), None
    if gray:
        whole = pixels[..., None]
    elif image.mode != "CMYK" and (stated or colour.may_be_fewer(pixels[..., :3])):
        whole = values(file, content)
    bits, notes = (16, []) if whole is None else colour.bits_of_white(colours(whole), stated)
    if bits == 16:
        notes.append((logging.INFO, "16 bits a channel reduced to their upper eight"))
        if not gray:
            return image, notes
    assert whole is not None
    reduced = (whole >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(reduced[..., 0] if gray else reduced), notes


def colours(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 1 to 4) without their alpha channel: (H, W, 1) or (H, W, 3)."""
    return pixels[..., : 1 if pixels.shape[2] < 3 else 3]


def values(file: Path, content: bytes | None = None) -> np.ndarray:
    """All values of a file with 16 bits a channel: (H, W, channels), uint16; 1 or 3 channels, and alpha.

    Pillow keeps the upper byte of each value, so that the file is decoded twice.
    """
    upper, raw = np.empty(0), ""
    for lower in (False, True):
        with opened(file, content) as image:
            gray = image.mode.startswith("I")
            if not gray:
                raw = colour.raw_mode(image)
                colour.take_bytes(image, lower)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.asarray(image)
            if gray:
                return pixels.astype(np.uint16)[..., None]
            if not lower:
                upper = pixels
    return colour.joined(upper, pixels, raw)


def write(file: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3), uint8, in the format of the file's ending."""
    options: dict[str, Any] = {"compress_level": 1} if file.suffix == ".png" else {}
    with atomic_write(file) as part:
        Image.fromarray(pixels).save(part, **options)
