"""Pictures as their owners keep them: pixels as they are stored, with colour profile, EXIF, dots per inch and alpha.

They are written so that nothing is lost that the format of the file can hold, and what it cannot hold is named.

Training reads pixels through :mod:`multiblock.data.images`, where all become sRGB of 8 bits. Here nothing is converted
that need not be: pixels stay in the picture's own profile, which goes with them, and 16 bits stay 16.
"""

import math
import zlib
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import png
from PIL import Image, ImageOps, PngImagePlugin

from multiblock.data import colour, images
from multiblock.data.images import Remark, at_once
from multiblock.errors import UserError, listed
from multiblock.files import atomic_write

EXIF_FOLDER, GPS_FOLDER = _FOLDERS = 0x8769, 0x8825
_ORIENTATION = 0x0112
DESCRIBING = (270, 271, 272, 305, 306, 315, 33432)
"""Tags of a TIFF file that speak of the photograph: description, make, model, software, date, artist, copyright. The
others state how its pixels are stored."""
_BECOME_SRGB = {"CMYK": "CMYK", "LAB": "L*a*b*"}
"""Kinds of pixels that no network is for, by their names."""
_MOST_PROFILE = 2**20
"""Bytes of the largest profile in a PNG that programs open."""
_EXTRA_SAMPLES = 338
_XMP = ("xmp", "XML:com.adobe.xmp")
_IPTC = 33723


@dataclass(kw_only=True)
class Picture:
    """A picture with all that goes with it.

    Args:
        pixels: (H, W, channels), uint8 or uint16 with 65535 as white; 1 channel for gray, else RGB.
        alpha: (H, W, 1), of the same type; None where there is none.
        profile: its ICC profile; None where there is none, which is taken as sRGB.
        colours: chunks of a PNG file that state its colours otherwise, as cICP.
        exif: EXIF data without orientation, which is applied.
        dpi: dots per inch, horizontally and vertically.
        not_kept: what the file held besides.
        converted: what its pixels were before they became what they are here.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    colours: dict[bytes, bytes] = field(default_factory=dict)
    exif: Image.Exif | None = None
    dpi: tuple[float, float] | None = None
    not_kept: list[str] = field(default_factory=list)
    converted: list[str] = field(default_factory=list)


def read(file: Path, remark: Remark = at_once) -> Picture:
    """Read a picture with all that goes with it.

    Args:
        remark: takes what was converted, and what is doubtful.

    Raises:
        UserError: the file cannot be read, or is of a kind that is refused.
    """
    with images.opened(file) as image:
        deep, becomes_srgb = colour.is_deep(image), _BECOME_SRGB.get(image.mode)
        if len(image.info.get("icc_profile") or b"") > _MOST_PROFILE:
            becomes_srgb = "colours of a profile above 1 MiB"
        stated = colour.stated_bits(image) if deep else None
        lost, converted = _besides(image), list[str]()
        notes = images.jpeg_damage(image)
        if deep and becomes_srgb:  # the conversion gives 8
            converted.append("16 bits a channel (8 were read)")
            deep = False
        image.load()
        dpi, profile = _dpi(image, lost), image.info.get("icc_profile")
        ImageOps.exif_transpose(image, in_place=True)
        exif = _exif(image, lost)
        if not deep:
            pixels, alpha = _plain(image, bool(becomes_srgb))
        if becomes_srgb or not profile:  # then nothing can tell that the result has other colours
            notes += colour.to_srgb(image)[1]
        for level, what in notes:
            remark(level, what, file)
        colours = image.info.get(colour.PNG_COLOURS, {})
    if deep:
        pixels, alpha = _deep(file, stated, remark)
    if becomes_srgb:
        converted.append(f"{becomes_srgb} (it became sRGB)")
        profile = None
    return Picture(
        pixels=pixels,
        alpha=alpha,
        profile=profile,
        colours=colours,
        exif=exif,
        dpi=dpi,
        not_kept=lost,
        converted=converted,
    )


_CONVERTED = "image.convert('RGB') makes one of them"
_IN_MEMORY = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I;16", "I;16L", "I;16B", "I;16N")


def in_memory(image: Image.Image) -> Picture:
    """An image that Pillow has opened or made, as it is: an orientation that its EXIF data notes is not applied.

    Raises:
        UserError: it cannot be decoded, or its mode is refused.
    """
    if image.mode not in _IN_MEMORY:
        raise UserError(
            f"a Pillow image: found mode {image.mode}; allowed are {listed(_IN_MEMORY[:7])}, I;16; "
            + ("give np.asarray(image) as uint16, or as floats in [0, 1]" if image.mode in ("I", "F") else _CONVERTED)
        )
    try:
        image.load()
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise UserError(f"a Pillow image: cannot be decoded: {error or type(error).__name__}") from None
    if image.mode.startswith("I;16"):
        pixels, alpha = np.asarray(image).astype(np.uint16)[..., None], None
    else:
        pixels, alpha = _plain(image)
    return Picture(pixels=pixels, alpha=alpha, exif=_exif(image, []))


def _plain(image: Image.Image, becomes_srgb: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a decoded image with 8 bits a channel; as they are stored, or as sRGB."""
    alpha = None
    image = image.convert("LA") if image.mode == "La" else image  # Pillow converts gray that alpha is in to this alone
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))[..., None]
    if becomes_srgb:
        return np.asarray(colour.to_srgb(image)[0](image)), alpha
    pixels = np.asarray(colour.plain(image))
    return (pixels[..., :1] if colour.plain_mode(image) == "L" else pixels), alpha


def _deep(file: Path, stated: int | None, remark: Remark) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a file with 16 bits a channel; fewer bits, where it names them, are made to fill 16."""
    whole = images.values(file)
    pixels = images.colours(whole)
    bits, notes = colour.bits_of_white(pixels, stated)
    for level, what in notes:
        remark(level, what, file)
    alpha = whole[..., -1:] if whole.shape[2] in (2, 4) else None
    if bits < 16:
        pixels = _filled(pixels, bits)
        alpha = alpha if alpha is None or alpha.max() >= 2**bits else _filled(alpha, bits)
    return pixels, alpha


def _filled(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of so many bits as values of 16."""
    made: np.ndarray = np.rint(values * (65535 / (2**bits - 1))).astype(np.uint16)
    return made


def _besides(image: Image.Image) -> list[str]:
    """What an image that is not decoded yet holds that is not read."""
    found = []
    if any(key in image.info for key in _XMP):
        found.append("XMP")
    if colour.is_deep(image) and "transparency" in image.info:
        found.append("its transparent colour")
    if getattr(image, "n_frames", 1) > 1:
        found.append("its further pictures")
    if len(getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ())) > (image.mode[-1] in "Aa"):
        found.append("its further channels")
    if set(getattr(image, "text", {})) - set(_XMP):
        found.append("text")
    if image.info.get("photoshop") or _IPTC in getattr(image, "tag_v2", {}):
        found.append("IPTC")
    if image.info.get("comment"):
        found.append("comment")
    return found


_MOST_DPI = 65535
"""Dots per inch that every format can hold."""


def _dpi(image: Image.Image, lost: list[str]) -> tuple[float, float] | None:
    """Dots per inch; a note is added to ``lost`` where they are damaged. Pillow has 1 for TIFF files without them."""
    found = image.info.get("dpi", (1, 1))
    try:
        across, down = map(float, found)
    except (TypeError, ValueError):
        across = down = math.nan
    if 1 < across <= _MOST_DPI and 1 < down <= _MOST_DPI:
        return across, down
    if (across, down) not in ((0, 0), (1, 1)):
        lost.append("dots per inch (they are damaged)")
    return None


def _exif(image: Image.Image, lost: list[str]) -> Image.Exif | None:
    """The EXIF data of a turned image that is about the photograph; a note on damage is added to ``lost``."""
    found, kept = image.getexif(), Image.Exif()
    tags = DESCRIBING if image.format == "TIFF" else tuple(found)
    for tag in tags:
        if tag in found and tag not in (_ORIENTATION, *_FOLDERS):
            kept[tag] = found[tag]
    for folder in _FOLDERS:
        kept.get_ifd(folder).update(found.get_ifd(folder))
    lost += _without_stale_places(kept, found)
    if not _can_be_written(kept) and (damaged := _remove_damaged(kept)):
        lost.append(f"EXIF tag {listed(damaged)} (damaged)")
    return kept if len(kept) or any(kept.get_ifd(folder) for folder in _FOLDERS) else None


_MAKER_NOTE = 0x927C
_PLACES = (330, 513, 514, colour.INTEROP)
"""Tags whose values are places in the file that they were read from: of further folders, and of a thumbnail."""
_MOVABLE = (b"Apple iOS", b"Nikon\0\2", b"FUJIFILM", b"OLYMPUS\0", b"OM SYSTEM")
"""How maker notes begin that count places from their own beginning; others do from that of the file."""


def _without_stale_places(kept: Image.Exif, found: Image.Exif) -> list[str]:
    """Take out of EXIF data what points elsewhere once it is written again; what is lost with that."""
    lost, photograph = [], kept.get_ifd(EXIF_FOLDER)
    for tag in _PLACES:
        if tag in kept:
            del kept[tag]
        photograph.pop(tag, None)
    if interop := colour.interop(found):
        photograph[colour.INTEROP] = interop  # Pillow writes a folder of its own for it
    note = photograph.get(_MAKER_NOTE, b"")
    if note and not bytes(note).startswith(_MOVABLE):
        del photograph[_MAKER_NOTE]
        lost.append("maker note")
    return lost


def _can_be_written(exif: Image.Exif) -> bool:
    try:
        exif.tobytes()
    except Exception:  # a value that is not what its tag is for leads to errors of all kinds
        return False
    return True


def _remove_damaged(exif: Image.Exif) -> list[int]:
    """Remove the tags whose values no file can hold; their numbers."""
    damaged = []
    for folder in (None, *_FOLDERS):
        place = exif if folder is None else exif.get_ifd(folder)
        for tag in [tag for tag in place if tag not in _FOLDERS]:
            alone = Image.Exif()
            (alone if folder is None else alone.get_ifd(folder))[tag] = place[tag]
            if not _can_be_written(alone):
                del place[tag]
                damaged.append(tag)
    return damaged


# -- Writing -----------------------------------------------------------------------------------------------------------

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
    most: int = 2**31 - 1
    """Pixels on a side that it can hold."""
    options: dict[str, Any] = field(default_factory=dict)


_PNG_LEVEL = 4
"""Of zlib: 6, which is usual, took 10.2 s for a photograph of 24 megapixels where 4 took 3.7 s; files grow by 2 %."""

_TIFF = Format(name="TIFF", deep=True, alpha=True)  # not compressed: Pillow would not write EXIF's folders then
_JPEG = Format(name="JPEG", most=65500, options={"quality": 95, "subsampling": 0})
FORMATS = {
    ".png": Format(name="PNG", deep=True, alpha=True, options={"compress_level": _PNG_LEVEL}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format(
        name="WEBP", alpha=True, gray=False, dpi=False, most=16383, options={"lossless": True, "exact": True}
    ),
    ".bmp": Format(name="BMP", profile=False, exif=False),
}
"""All formats by the ending of the file's name."""


def check_side(file: Path, target: Path, height: int, width: int) -> None:
    """See, before it is made, that a result can be written.

    Args:
        file: the picture that it is made of.
        target: where it goes.
        height, width: its size in pixels.

    Raises:
        UserError: its format holds no picture of that size.
    """
    kind = FORMATS[target.suffix.lower()]
    if max(height, width) > kind.most:
        raise UserError(
            f"{file}: the result would have {width} x {height} pixels; {kind.name} holds {kind.most} on a side; "
            "allowed is a smaller picture, or the format lossless or png"
        )


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
    if picture.profile and kind.profile:
        picture, pixels, misfit = _with_its_profile(picture, pixels, kind)
        lost += misfit
    fits = not picture.exif or kind.name != "JPEG" or len(picture.exif.tobytes()) <= _MOST_EXIF
    if picture.exif and not fits:
        picture = replace(picture, exif=None)
        lost.append("EXIF (it is larger than JPEG holds)")
    lost += [
        word
        for word, value, holds in (
            ("colour profile", picture.profile, kind.profile),
            ("EXIF", picture.exif, kind.exif),
            ("dots per inch", picture.dpi, kind.dpi),
        )
        if value and not holds
    ]
    if picture.colours and kind.name != "PNG":
        lost.append("what it states of its colours")
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


_MOST_EXIF = 65533
"""Bytes that a JPEG holds."""


def _with_its_profile(picture: Picture, pixels: np.ndarray, kind: Format) -> tuple[Picture, np.ndarray, list[str]]:
    """The picture and its pixels so that the profile is right for them, or is left out; and what is lost."""
    assert picture.profile is not None
    space, gray = picture.profile[16:20], pixels.shape[2] < 3
    if gray and space == b"RGB ":
        if kind.name == "PNG":  # which allows it for RGB alone
            pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
    elif space not in (b"RGB ", b"GRAY") or gray != (space == b"GRAY"):
        return replace(picture, profile=None), pixels, ["colour profile (it is one of other pixels)"]
    return picture, pixels, []


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
    if kind.name == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for chunk in picture.colours.items():
            options["pnginfo"].add(*chunk)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if image.mode in ("L", "LA") and not kind.gray:
        image = image.convert("RGBA" if image.mode == "LA" else "RGB")
    image.save(part, kind.name, **options)


def _write_deep_png(picture: Picture, pixels: np.ndarray, part: Path) -> None:
    """Write with pypng, as Pillow writes no 16-bit colours; chunks that it does not know are put behind the header."""
    height, width, channels = pixels.shape
    content = BytesIO()
    gray, alpha = channels < 3, channels in (2, 4)
    writer = png.Writer(width, height, bitdepth=16, greyscale=gray, alpha=alpha, compression=_PNG_LEVEL)
    writer.write(content, pixels.reshape(height, -1))
    content.seek(0)
    header, *rest = png.Reader(file=content).chunks()
    extra = [chunk for chunk in picture.colours.items() if not (picture.profile and chunk[0] == b"sRGB")]
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
    """Write with tifffile, as Pillow writes no 16-bit colours; what EXIF holds beyond the plain tags is lost."""
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
