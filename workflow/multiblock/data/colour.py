"""Colours of image files as sRGB.

Training takes all images as sRGB. Where a file embeds an ICC profile of another colour space (a phone's Display P3, a
camera's Adobe RGB, a press's CMYK, gray of another gamma), its colours are converted by Little CMS: relative
colorimetric, with black point compensation, to 8 bits. A profile that is sRGB under any name leaves the pixels as they
are stored. A profile that cannot be used is warned of, and the pixels are taken as sRGB.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

Convert = Callable[[Image.Image], Image.Image]

SAME = 2
"""Values of 255 by which a profile may move a colour and still be sRGB: tables and curves are rounded."""

_MODES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}
"""For the colour space of a profile the kinds of pixels it can belong to, the first as Little CMS takes them; gray
files that embed the profile of an RGB camera are common."""
_ADOBE_RGB = "R03"
_EXIF_IFD, _INTEROP_IFD, _INTEROP_INDEX, _COLOUR_SPACE, _UNCALIBRATED = 0x8769, 0xA005, 1, 0xA001, 0xFFFF
_SRGB_PRIMARIES = (1, 2)
"""Of HEIC: sRGB's and not said, as ITU-T H.273 counts them."""
_PLAIN_GAMMA = (0.44, 0.47)
"""What PNG files that mean sRGB give as their gamma, 1 / 2.2."""


def plain_mode(image: Image.Image) -> str:
    """``L``, ``RGB`` or ``CMYK``: an image's kind of pixels without alpha, palettes and bits."""
    bands = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}
    return bands.get(image.mode, "L" if image.mode.startswith("I") else "RGB")


def to_srgb(image: Image.Image) -> tuple[Convert, list[tuple[int, str]]]:
    """How the pixels of an image with 8 bits a channel become sRGB, and what is to be said of it.

    The function takes the image, or a part of it, and gives RGB.
    """
    if image.mode == "LAB":
        return plain, [(logging.INFO, "L*a*b* converted to sRGB")]
    profile, mode = image.info.get("icc_profile"), plain_mode(image)
    if not profile:
        return plain, _unsaid(image, mode)
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


def _unsaid(image: Image.Image, mode: str) -> list[tuple[int, str]]:
    """What an image without a profile says of its colours that is not heeded."""
    if mode == "CMYK":
        return [(logging.INFO, "CMYK without a colour profile, converted to RGB by the simple formula")]
    if _says_adobe_rgb(image):
        return [(logging.WARNING, "EXIF says Adobe RGB, but no colour profile is embedded; taken as sRGB")]
    primaries = (image.info.get("nclx_profile") or {}).get("color_primaries")
    if primaries not in (None, *_SRGB_PRIMARIES):
        return [(logging.WARNING, "HEIC colours that are not sRGB, without a colour profile; taken as sRGB")]
    gamma = image.info.get("gamma")
    if gamma and "srgb" not in image.info and not _PLAIN_GAMMA[0] < gamma < _PLAIN_GAMMA[1]:
        return [(logging.WARNING, f"its gamma of {gamma:.3g} is not heeded; taken as sRGB")]
    return []


def _says_adobe_rgb(image: Image.Image) -> bool:
    exif = image.getexif()
    return (
        exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE) == _UNCALIBRATED
        and exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX) == _ADOBE_RGB
    )


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
