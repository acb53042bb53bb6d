"""What the stored values of an image file mean: their colours as sRGB, and how many of their bits count.

*Colours.* Training takes all images as sRGB. Where a file embeds an ICC profile of another colour space (a phone's
Display P3, a camera's Adobe RGB, a press's CMYK, gray of another gamma), its colours are converted by Little CMS:
relative colorimetric, with black point compensation, to 8 bits. A profile that is sRGB under any name leaves the pixels
as they are stored. A profile that cannot be used is warned of, and the pixels are taken as sRGB; so is a file
without a profile that states other colours in another way (PNG: the chunks cICP, cHRM, gAMA; TIFF and EXIF: tags).

*Bits.* Cameras and microscopes write 10, 12 or 14 bits into files of 16 and leave the upper ones empty. Where the file
names them (PNG: the chunk sBIT; TIFF: BitsPerSample or MaxSampleValue) and its values agree, white is the greatest
value of those bits. Where it does not, white is 65535, and a warning says that the values would fit into fewer bits.
"""

import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import IO, Any

import numpy as np
import png
from PIL import Image, ImageCms

Convert = Callable[[Image.Image], Image.Image]
"""Takes an image, or a part of it, and gives RGB."""
Note = tuple[int, str]
"""What was converted, or is doubtful, with its level as :mod:`logging` counts."""

SAME = 2
"""Values of 255 by which a profile may move a colour and still be sRGB: tables and curves are rounded."""

_MODES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}
"""Kinds of pixels that a profile of each colour space can belong to, the first as Little CMS takes them; gray files
that embed the profile of an RGB camera are common."""
_ADOBE_RGB = "R03"
INTEROP = 0xA005
_EXIF_IFD, _INTEROP_INDEX, _COLOUR_SPACE, _UNCALIBRATED = 0x8769, 1, 0xA001, 0xFFFF
_SRGB_PRIMARIES, _SRGB_TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)
"""Primaries and transfer functions that are sRGB's or video's, or not stated, as ITU-T H.273 counts them."""
_SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""x and y of white, red, green and blue."""
_WHITE_POINT, _PRIMARIES = 318, 319
_PLAIN_GAMMA = (0.44, 0.47)
"""What PNG files that mean sRGB give as their gamma, 1 / 2.2."""


def plain_mode(image: Image.Image) -> str:
    """``L``, ``RGB`` or ``CMYK``: an image's kind of pixels without alpha, palettes and bits."""
    bands = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}
    return bands.get(image.mode, "L" if image.mode.startswith("I") else "RGB")


def to_srgb(image: Image.Image) -> tuple[Convert, list[Note]]:
    """What makes the pixels of an image with 8 bits a channel sRGB, and notes on the conversion."""
    if image.mode == "LAB":
        return plain, [(logging.INFO, "L*a*b* converted to sRGB")]
    profile, mode = image.info.get("icc_profile"), plain_mode(image)
    if not profile:
        return plain, _without_profile(image, mode)
    try:
        found, name = _transform(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return plain, [(logging.WARNING, f"the colour profile cannot be used ({reason}); taken as sRGB")]
    if found is None:
        return plain, []
    transform, given = found

    def convert(part: Image.Image) -> Image.Image:
        made = ImageCms.applyTransform(part if part.mode == given else plain(part).convert(given), transform)
        assert made is not None
        return made

    return convert, [(logging.INFO, f"colours converted from {name} to sRGB, relative colorimetric")]


def plain(part: Image.Image) -> Image.Image:
    """The stored values as RGB: gray as three equal channels, alpha dropped, CMYK by Pillow's simple formula."""
    between = {"P": "RGBA", "PA": "RGBA", "La": "LA"}.get(part.mode)
    return (part.convert(between) if between else part).convert("RGB")


def _without_profile(image: Image.Image, mode: str) -> list[Note]:
    """Notes on what an image without a profile states about its colours and is not heeded."""
    if mode == "CMYK":
        return [(logging.INFO, "CMYK without a colour profile, converted to RGB by the simple formula")]
    if _says_adobe_rgb(image):
        return [(logging.WARNING, "EXIF says Adobe RGB, but no colour profile is embedded; taken as sRGB")]
    primaries = (image.info.get("nclx_profile") or {}).get("color_primaries")
    if primaries not in (None, *_SRGB_PRIMARIES):
        return [(logging.WARNING, "HEIC colours that are not sRGB, without a colour profile; taken as sRGB")]
    chunks = image.info.get(PNG_COLOURS, {})
    if code := chunks.get(b"cICP"):
        if code[0] in _SRGB_PRIMARIES and code[1] in _SRGB_TRANSFERS:
            return []
        said = f"colours of its chunk cICP (primaries {code[0]}, transfer {code[1]}) are not sRGB; taken as sRGB"
        return [(logging.WARNING, said)]
    if _are_others(image):
        return [(logging.WARNING, "its primary colours are not those of sRGB, without a profile; taken as sRGB")]
    gamma = image.info.get("gamma")
    if gamma and "srgb" not in image.info and not _PLAIN_GAMMA[0] < gamma < _PLAIN_GAMMA[1]:
        return [(logging.WARNING, f"its gamma of {gamma:.3g} is not heeded; taken as sRGB")]
    return []


def interop(exif: Image.Exif) -> dict[int, Any]:
    """The folder of EXIF data that names the colour space of files without a profile; empty where there is none."""
    try:
        return dict(exif.get_ifd(INTEROP))
    except KeyError:  # of Pillow 12 and older
        return {}


def _says_adobe_rgb(image: Image.Image) -> bool:
    exif = image.getexif()
    return (
        exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE) == _UNCALIBRATED and interop(exif).get(_INTEROP_INDEX) == _ADOBE_RGB
    )


def _are_others(image: Image.Image) -> bool:
    """Whether a PNG file's chunk cHRM, or a tag of TIFF or EXIF, states other primary colours than those of sRGB."""
    exif = image.getexif()
    try:
        tagged = [*exif.get(_WHITE_POINT, _SRGB_CHROMATICITIES[:2]), *exif.get(_PRIMARIES, _SRGB_CHROMATICITIES[2:])]
        stated = list(map(float, image.info.get("chromaticity", tagged)))
    except (TypeError, ValueError, ZeroDivisionError):  # a damaged tag
        return False
    if "srgb" in image.info or len(stated) != len(_SRGB_CHROMATICITIES):
        return False
    return max(abs(one - other) for one, other in zip(stated, _SRGB_CHROMATICITIES, strict=True)) > _SAME_CHROMATICITY


_SAME_CHROMATICITY = 0.005

PNG_COLOURS = "colour chunks"
"""The key in an image's ``info`` for :func:`png_colours`."""


def png_colours(file: IO[bytes]) -> dict[bytes, bytes]:
    """The chunks of a PNG file that state what its colours are, but for a profile."""
    found, place = {}, file.tell()
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"cICP", b"cHRM", b"gAMA", b"sRGB") and length <= 32:
            found[kind] = file.read(length)
            length = 0
        file.seek(length + 4, 1)
    file.seek(place)
    return found


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[tuple[ImageCms.ImageCmsTransform, str] | None, str]:
    """The transform to sRGB with the mode it takes, None where it would change nothing; and the profile's name."""
    opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = opened.profile.xcolor_space
    if mode not in _MODES.get(space, ()):
        raise ValueError(f"it is one for {space.strip()}, the pixels are {mode}")
    given = _MODES[space][0]
    transform = ImageCms.buildTransform(
        opened,
        ImageCms.createProfile("sRGB"),
        given,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    name = " ".join((opened.profile.profile_description or "a colour profile without a name").split())
    changes = given == "CMYK" or _moves(transform, given)
    return ((transform, given) if changes else None), name


def _moves(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform of ``mode`` to RGB changes any of many colours by more than ``SAME``."""
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 18, 3)
    image = Image.fromarray(np.arange(256, dtype=np.uint8)[None] if mode == "L" else grid)
    made = ImageCms.applyTransform(image, transform)
    assert made is not None
    return bool(np.abs(np.asarray(made).astype(int) - np.asarray(image.convert("RGB"))).max() > SAME)


# -- Bits --------------------------------------------------------------------------------------------------------------

BITS, _MAX_SAMPLE = 258, 281
"""Tags of a TIFF file: the bits of each channel, and the greatest value."""
_COMMON = (8, 10, 12, 14)
_LOWER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""The byte order in which Pillow, which keeps the upper byte of each value, keeps the lower one instead."""

_MULTIPLIED = "RGBa;16"
"""How Pillow calls values that were multiplied by their alpha ("associated"), before the byte order."""


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet has 16 bits a channel, or 12 that Pillow gives as 16."""
    return image.mode.startswith("I;16") or ";16" in raw_mode(image)


def raw_mode(image: Image.Image) -> str:
    """Pillow's name for the order of bits and channels in the file of an image that is not decoded yet."""
    if not (tile := getattr(image, "tile", None)):
        return ""
    first = tile[0].args
    return str(first if isinstance(first, str) else first[0] if first else "")


def stated_bits(image: Image.Image) -> int | None:
    """How many bits of its values count, as an image of 16 bits that is not decoded yet states; None if it does not."""
    if image.format == "PNG":
        stream: IO[bytes] = image.fp  # type: ignore[attr-defined]
        place = stream.tell()
        stream.seek(0)
        reader = png.Reader(file=stream)
        try:
            reader.preamble()
        except (png.Error, OSError, ValueError):
            return None
        finally:
            stream.seek(place)
        stated = max(reader.sbit, default=16) if isinstance(reader.sbit, tuple | list | bytes) else 16
    else:
        tags = getattr(image, "tag_v2", {})
        bits, most = max(tags.get(BITS, (16,))), max(tags.get(_MAX_SAMPLE, (65535,)))
        stated = bits if bits < 16 else int(most).bit_length()
    return stated if 8 <= stated < 16 else None


def take_bytes(image: Image.Image, lower: bool) -> None:
    """Have an image of 16 bits a channel that is not decoded yet give one byte of each value, as its file has it."""
    raw = raw_mode(image)
    # Gray with alpha has no mode for lower bytes: its four bytes are those of RGBA. Bytes of colours that were
    # multiplied by their alpha cannot be divided by bytes of it.
    taken = ("RGBA" if raw == "LA;16B" else raw[:-1] + _LOWER[raw[-1]]) if lower else raw
    taken = taken.replace(_MULTIPLIED, "RGBA;16")
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=taken if isinstance(tile.args, str) else (taken, *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]


def joined(upper: np.ndarray, lower: np.ndarray, raw_mode: str) -> np.ndarray:
    """Values (H, W, C), uint16, of the upper and lower bytes as Pillow gives them for ``raw_mode``."""
    if raw_mode == "LA;16B":
        quarters = lower.astype(np.uint16)
        return quarters[..., ::2] << 8 | quarters[..., 1::2]
    whole = upper.astype(np.uint16) << 8 | lower
    if raw_mode.startswith(_MULTIPLIED):
        alpha = np.maximum(whole[..., 3:], 1).astype(np.float64)
        whole[..., :3] = np.rint(whole[..., :3] * (65535 / alpha)).clip(0, 65535)
    return whole


def may_be_fewer(upper: np.ndarray) -> bool:
    """Whether upper bytes are so small that the values would fit into the bits of :data:`_COMMON`."""
    return int(upper.max()) < 2 ** (max(_COMMON) - 8)


def bits_of_white(values: np.ndarray, stated: int | None) -> tuple[int, list[Note]]:
    """How many bits the white of an image has: those that it states where its values agree, else 16; and notes.

    Args:
        values: all its values, uint16, without alpha.
        stated: see :func:`stated_bits`.
    """
    top = int(values.max())
    if stated and top < 2**stated:
        return stated, [(logging.INFO, f"{stated} of 16 bits, as the file says: white is {2**stated - 1}")]
    if top and (fits := next((bits for bits in _COMMON if top < 2**bits), None)):
        what = (
            f"16 bits a channel, but the values would fit into {fits} (at most {2**fits - 1} of 65535), and the file "
            "does not say so; read as it is, which is dark: scale the values to 16 bits, or name the bits in the file"
        )
        return 16, [(logging.WARNING, what)]
    return 16, []
