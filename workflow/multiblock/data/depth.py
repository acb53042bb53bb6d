"""Files of 16 bits a channel: their whole values, and how many of the bits mean something.

Cameras and microscopes write 10, 12 or 14 bits into files of 16 and leave the upper ones empty. Where the file says so
(PNG: the chunk sBIT; TIFF: BitsPerSample or MaxSampleValue) and its values agree, white is the greatest value of those
bits. Where it does not say so, white is 65535, and that the values would fit into fewer bits is warned of.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import png
from PIL import Image

from multiblock.data.remarks import Remark

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
    """How the values of an image that is not decoded yet lie in its file, as Pillow calls it."""
    if not (tile := getattr(image, "tile", None)):
        return ""
    first = tile[0].args
    return str(first if isinstance(first, str) else first[0] if first else "")


def told_bits(image: Image.Image, file: Path, content: bytes | None = None) -> int | None:
    """How many bits of its values mean something, as an image with 16 bits a channel says; None where it does not."""
    if image.format == "PNG":
        reader = png.Reader(filename=str(file)) if content is None else png.Reader(bytes=content)
        try:
            reader.preamble()
        except (png.Error, OSError, ValueError):
            return None
        finally:
            if reader.file:
                reader.file.close()
        told = max(reader.sbit, default=16) if isinstance(reader.sbit, tuple | list | bytes) else 16
    else:
        tags = getattr(image, "tag_v2", {})
        bits, most = max(tags.get(BITS, (16,))), max(tags.get(_MAX_SAMPLE, (65535,)))
        told = bits if bits < 16 else int(most).bit_length()
    return told if 8 <= told < 16 else None


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


def white(values: np.ndarray, told: int | None, file: Path, remark: Remark) -> int:
    """How many bits the white of an image has: those told where its values agree, else 16, with a word.

    Args:
        values: all its values, uint16, without alpha.
        told: see :func:`told_bits`.
    """
    top = int(values.max())
    if told and top < 2**told:
        remark(logging.INFO, f"{told} of 16 bits, as the file says: white is {2**told - 1}", file)
        return told
    if top and (fits := next((bits for bits in _COMMON if top < 2**bits), None)):
        remark(
            logging.WARNING,
            f"16 bits a channel, but the values would fit into {fits} (at most {2**fits - 1} of 65535), and the file "
            f"does not say so; read as it stands, which is dark: scale the values to 16 bits, or name the bits in the "
            "file",
            file,
        )
    return 16
