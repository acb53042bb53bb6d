"""Write pictures so that nothing is lost that the format can hold, and say what it cannot."""

import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import png
from PIL import Image

from multiblock.data.picture import DESCRIBING, EXIF_FOLDER, GPS_FOLDER, Picture
from multiblock.errors import UserError, listed
from multiblock.files import atomic_write

_WIDTH, _HEIGHT = 0xA002, 0xA003


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a kind of file can hold, and how it is written so that nothing is lost that need not be."""

    name: str
    deep: bool = False
    alpha: bool = False
    gray: bool = True
    profile: bool = True
    exif: bool = True
    dpi: bool = True
    options: dict[str, Any] = field(default_factory=dict)


_TIFF = Format(name="TIFF", deep=True, alpha=True)  # not compressed: Pillow would not write EXIF's folders then
_JPEG = Format(name="JPEG", options={"quality": 95, "subsampling": 0})
FORMATS = {
    ".png": Format(name="PNG", deep=True, alpha=True),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format(name="WEBP", alpha=True, gray=False, dpi=False, options={"lossless": True, "exact": True}),
    ".bmp": Format(name="BMP", profile=False, exif=False),
}
"""By the ending of the file's name."""


def write(picture: Picture, file: Path) -> list[str]:
    """Write a picture whole, in the format of the file's ending.

    Returns:
        What of it the format could not hold.

    Raises:
        UserError: it cannot be written in that format.
    """
    kind = FORMATS[file.suffix.lower()]
    pixels, lost = picture.pixels, []
    deep = pixels.dtype == np.uint16
    if deep and not kind.deep:
        lost.append("16 bits a channel (8 were written)")
        deep = False
    if picture.alpha is not None and kind.alpha:
        pixels = np.concatenate([pixels, picture.alpha], axis=2)
    elif picture.alpha is not None:
        lost.append("transparency")
    lost += [
        word
        for word, value, holds in (
            ("colour profile", picture.profile, kind.profile),
            ("EXIF", picture.exif, kind.exif),
            ("dots per inch", picture.dpi, kind.dpi),
        )
        if value and not holds
    ]
    if picture.exif:
        _resized(picture.exif, picture.pixels)
    with atomic_write(file) as part:
        try:
            if deep and kind.name == "PNG":
                _write_deep_png(picture, pixels, part)
            elif deep:
                lost += _write_deep_tiff(picture, pixels, part)
            else:
                _write_plain(picture, _eight(pixels), kind, part)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # encoders raise whatever odd metadata leads them to
            raise UserError(f"{file}: cannot be written as {kind.name}: {error}") from None
    return lost


def _eight(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def _resized(exif: Image.Exif, pixels: np.ndarray) -> None:
    """Let EXIF name the size of ``pixels``, where it names one."""
    folder = exif.get_ifd(EXIF_FOLDER)
    for tag, length in ((_WIDTH, pixels.shape[1]), (_HEIGHT, pixels.shape[0])):
        if tag in folder:
            folder[tag] = length


def _write_plain(picture: Picture, pixels: np.ndarray, kind: Format, part: Path) -> None:
    options = dict(kind.options)
    if picture.profile and kind.profile:
        options["icc_profile"] = picture.profile
    if picture.exif and kind.exif:
        options["exif"] = picture.exif.tobytes()  # of the object itself TIFF would write no folders
    if picture.dpi and kind.dpi:
        options["dpi"] = picture.dpi
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if image.mode in ("L", "LA") and not kind.gray:
        image = image.convert("RGBA" if image.mode == "LA" else "RGB")
    image.save(part, kind.name, **options)


def _write_deep_png(picture: Picture, pixels: np.ndarray, part: Path) -> None:
    """By pypng, as Pillow writes no 16-bit colours; the chunks that it does not know are put behind the header."""
    height, width, channels = pixels.shape
    content = BytesIO()
    writer = png.Writer(width, height, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4), compression=6)
    writer.write(content, pixels.reshape(height, -1))
    content.seek(0)
    header, *rest = png.Reader(file=content).chunks()
    extra = []
    if picture.profile:
        extra.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile)))
    if picture.dpi:
        per_metre = [round(float(value) / 0.0254) for value in picture.dpi]
        extra.append((b"pHYs", b"".join(value.to_bytes(4, "big") for value in per_metre) + b"\1"))
    if picture.exif:
        extra.append((b"eXIf", picture.exif.tobytes().removeprefix(b"Exif\0\0")))
    with part.open("wb") as file:
        png.write_chunks(file, [header, *extra, *rest])


def _write_deep_tiff(picture: Picture, pixels: np.ndarray, part: Path) -> list[str]:
    """By tifffile, as Pillow writes no 16-bit colours; what EXIF holds beyond the plain tags is lost."""
    import tifffile

    channels = pixels.shape[2]
    exif = picture.exif or Image.Exif()
    tags = [(tag, "s", 0, str(exif[tag]), True) for tag in DESCRIBING if tag in exif]
    options: dict[str, Any] = {}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if picture.dpi:
        options |= {"resolution": tuple(map(float, picture.dpi)), "resolutionunit": "INCH"}
    tifffile.imwrite(
        part,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        iccprofile=picture.profile,
        software=False,
        metadata=None,
        extratags=tags,
        **options,
    )
    more = [name for name, folder in (("settings", EXIF_FOLDER), ("place", GPS_FOLDER)) if exif.get_ifd(folder)]
    return [f"EXIF beyond make, model, date and names ({listed(more)})"] if more else []
