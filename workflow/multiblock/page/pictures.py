"""Test images in all their forms: read, made small enough for a page, with maps of their errors."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.data.resize import enlarge
from multiblock.errors import UserError
from multiblock.page.hot_spots import Place, error_in_cells, gain_and_loss, most_changed

INPUT, TARGET = "input", "target (HR)"

KEPT = 300_000_000
"""Bytes up to which pictures stay in memory; more are read again where they are needed again."""

_SAMPLE = 128
"""Side in pixels of the part by which the size of pictures in a page is estimated."""

MAP = 320
"""Most pixels of a map's side."""

MOST = 20
"""Images that have maps."""

GAIN, LOSS = (64, 156, 255), (255, 138, 36)
"""Colours of places that came nearer to the target, and of those that went farther from it."""

Pixels = tuple[np.ndarray, ...]
"""The pictures of an image, all (H, W, 3), uint8."""

Pictures = Sequence[tuple[str, np.ndarray]]
"""Pictures of one image, each with what it is."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A test image in all its forms.

    Args:
        name: of the image.
        labels: what each picture is, in a few words.
        load: gives the pictures; of many large images one at a time is in memory.
        target: whether the last picture is what the others should be.
        size: height and width in pixels.
        places: windows worth a look: those of the largest gain and loss of the last picture over the first, both
            against the target; without a target the one where the two differ the most.
        rate: bytes that all pictures take in a page, a pixel of the image's area; measured on its middle.
        before: the index of the picture that :attr:`after` is compared with.
    """

    name: str
    labels: tuple[str, ...]
    load: Callable[[], Pixels]
    target: bool
    size: tuple[int, int]
    places: tuple[Place, ...]
    rate: float
    before: int = 0

    @property
    def after(self) -> int:
        """The index of the picture that is compared with :attr:`before`."""
        return len(self.labels) - (2 if self.target and len(self.labels) > 2 else 1)

    @property
    def change(self) -> float:
        """The largest gain or loss in dB: the more, the more there is to see in the image."""
        return max((abs(place.change or 0) for place in self.places), default=0.0)

    @property
    def bytes(self) -> float:
        """The bytes that its pictures take in a page, about."""
        return self.rate * math.prod(self.size)


def look(
    name: str, labels: Sequence[str], load: Callable[[], Pixels], target: bool, side: int, before: int = 0
) -> Shown:
    """Look at the pictures of an image once.

    Args:
        side: of the places in pixels.
        before: the index of the picture that the last one before the target is compared with.
    """
    pixels = load()
    first, *_, last = pixels[before:]
    height, width = first.shape[:2]
    against_target = target and len(pixels) - before > 2
    return Shown(
        name=name,
        labels=tuple(labels),
        load=load,
        target=target,
        size=(height, width),
        places=gain_and_loss(first, pixels[-2], last, side) if against_target else (most_changed(first, last, side),),
        before=before,
        rate=_bytes_a_pixel(pixels),
    )


def webp(pixels: np.ndarray, quality: int | None = None) -> str:
    """A picture (H, W, 3), uint8, as a data URI: WebP without loss, or with loss at a quality from 0 to 100."""
    file = BytesIO()
    picture = Image.fromarray(pixels)
    if quality is None:
        # The smallest files take ten times as long and are 3 % smaller.
        picture.save(file, "WEBP", lossless=True, method=1, quality=0)
    else:
        picture.save(file, "WEBP", quality=quality, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _bytes_a_pixel(pixels: Pixels) -> float:
    height, width = pixels[0].shape[:2]
    rows, columns = (slice(max(0, (n - _SAMPLE) // 2), max(0, (n - _SAMPLE) // 2) + _SAMPLE) for n in (height, width))
    samples = [np.ascontiguousarray(picture[rows, columns]) for picture in pixels]
    return sum(len(webp(sample)) for sample in samples) / (samples[0].shape[0] * samples[0].shape[1])


# -- Pictures of one size ----------------------------------------------------------------------------------------------


def of_one_size(name: str, pictures: Pictures) -> list[tuple[str, np.ndarray]]:
    """Pictures as (H, W, 3), uint8, all of the largest one's size.

    Raises:
        UserError: one is not smaller by a whole factor, the same for both sides, or is not a picture.
    """
    plain = [(label, eight_bits(name, label, pixels)) for label, pixels in pictures]
    height, width = max((pixels.shape[:2] for _, pixels in plain), key=lambda size: size[0] * size[1])
    return [_enlarged(name, label, pixels, (height, width)) for label, pixels in plain]


def _enlarged(name: str, label: str, pixels: np.ndarray, size: tuple[int, int]) -> tuple[str, np.ndarray]:
    scale = size[0] // pixels.shape[0]
    if (pixels.shape[0] * scale, pixels.shape[1] * scale) != size:
        found = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise UserError(
            f"{name}: {label} has {found}, the largest picture {size[1]} x {size[0]}; allowed are pictures of one "
            "size, or smaller by a whole factor"
        )
    return (f"{label}, bicubic x{scale}", enlarge(pixels, scale)) if scale > 1 else (label, pixels)


def eight_bits(name: str, label: str, pixels: np.ndarray) -> np.ndarray:
    """A picture as (H, W, 3), uint8."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(f"{name}: {label} has the shape {pixels.shape}; allowed are (H, W, 3) and (H, W)")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) * 255 + 32767) // 65535, np.uint8)
    return np.asarray(np.rint(np.nan_to_num(pixels.astype(np.float64)).clip(0, 1) * 255), np.uint8)


def at_one_size(pictures: Sequence[np.ndarray]) -> Pixels:
    """Pictures of one image as :func:`of_one_size` gives them, without labels."""
    return tuple(pixels for _, pixels in of_one_size("", [("", pixels) for pixels in pictures]))


# -- Test images -------------------------------------------------------------------------------------------------------


def of_test(
    *, lr: Path, hr: Path, made: Mapping[str, Callable[[str], Path]], side: int, before: int = 0
) -> list[Shown]:
    """Every test image as input, as each network makes it, and as target.

    Args:
        lr, hr: test sets of LR_0 and of HR.
        made: what made them, in words, to what gives the file of an image by its name.
        side: of the windows that are looked at first, in pixels.
        before: the index of the picture that the last network's is compared with; 0 is the input.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    labels = [INPUT, *made, TARGET]

    @lru_cache(maxsize=None if references.pixels.size * len(labels) <= KEPT else 0)
    def load(number: int) -> Pixels:
        pictures = [read(find(references.names[number])) for find in made.values()]
        return at_one_size([np.asarray(inputs[number]), *pictures, np.asarray(references[number])])

    return [
        look(name, labels, partial(load, number), True, side, before) for number, name in enumerate(references.names)
    ]


# -- Error maps --------------------------------------------------------------------------------------------------------


def maps(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Three maps an image: the errors of the two pictures that are compared, and what changed between them.

    Errors are roots of the mean squared error of a cell, in levels of 255; white is what 0.5 % of the first map
    reaches. Of the change, black is none, and the full colour is what 1 % of its cells reach. Images without a target
    have no maps; of more than :data:`MOST` images those with the largest gains and losses have.
    """
    can = [image for image in shown if image.target and len(image.labels) > 2]
    chosen = sorted(can, key=lambda image: -image.change)[:MOST]
    return [_maps(image) for image in can if image in chosen]


def _maps(image: Shown) -> dict[str, Any]:
    pixels = image.load()
    step = -(-max(image.size) // MAP)
    before, after = (error_in_cells(pixels[at], pixels[-1], step) for at in (image.before, image.after))
    white = max(float(np.sqrt(np.quantile(before, 0.995))), 1.0)
    change = np.sqrt(before) - np.sqrt(after)
    full = max(float(np.quantile(np.abs(change), 0.99)), 0.5)
    gray = [np.sqrt(error) / white for error in (before, after)]
    return {
        "name": image.name,
        "white": round(white),
        "full": round(full, 1),
        "better": round(100 * float((change > 0).mean())),
        "maps": [
            {"title": title, "src": webp(_bytes(values), quality=85)}
            for title, values in (
                (f"error: {image.labels[image.before]}", np.repeat(gray[0][..., None], 3, axis=2)),
                (f"error: {image.labels[image.after]}", np.repeat(gray[1][..., None], 3, axis=2)),
                ("change: blue nearer, orange farther", _two_colours(change / full)),
            )
        ],
    }


def _two_colours(change: np.ndarray) -> np.ndarray:
    """A plane from -1 to 1 as colours (H, W, 3) in [0, 1]: black in the middle."""
    strength = np.abs(change).clip(0, 1)[..., None]
    colours = np.where(change[..., None] > 0, np.array(GAIN), np.array(LOSS))
    return np.asarray(strength * colours / 255)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.asarray((values.clip(0, 1) * 255).round(), np.uint8)
