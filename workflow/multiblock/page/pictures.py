"""Pictures inside a page: without loss, as data URIs, and cut to windows where they would take more than is left."""

import base64
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from multiblock.page.places import Place, gain_and_loss, most_changed, squared_error

SMALLEST = 160
"""Side in pixels below which no window is cut: rather are images left out."""

_SAMPLE = 128

_LONGEST = 16_383
"""Pixels a side that WebP can have."""


Pixels = tuple[np.ndarray, ...]
"""The pictures of an image, all (H, W, 3), uint8."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A test image in all its forms.

    Args:
        name: of the image.
        labels: what each picture is, in a few words.
        load: gives the pictures; of many large images one at a time is in memory.
        target: whether the last picture is what the others should be.
        size: height and width in pixels.
        places: windows worth a look, the largest gain first; see :func:`places_of`.
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
        """How much there is to see in it: the largest gain or loss in dB."""
        return max((abs(place.change or 0) for place in self.places), default=0.0)

    @property
    def bytes(self) -> float:
        """What its pictures take in a page, about."""
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
    height, width = pixels[0].shape[:2]
    return Shown(
        name=name,
        labels=tuple(labels),
        load=load,
        target=target,
        size=(height, width),
        places=places_of(pixels[before:], target, side),
        before=before,
        rate=_bytes_a_pixel(pixels),
    )


def places_of(pixels: Pixels, target: bool, side: int) -> tuple[Place, ...]:
    """The windows that are looked at first: gain and loss of the last picture over the first, both against the target;
    without a target where the two differ the most.
    """
    if target and len(pixels) > 2:
        return gain_and_loss(pixels[0], pixels[-2], pixels[-1], side)
    return (most_changed(pixels[0], pixels[-1], side),)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A part of an image that a page shows: the whole of it, or a window."""

    image: Shown
    window: Place

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the image is cut off."""
        return (self.window.height, self.window.width) == self.image.size

    def crops(self) -> Pixels:
        """Its pictures."""
        rows = slice(self.window.y, self.window.y + self.window.height)
        columns = slice(self.window.x, self.window.x + self.window.width)
        return tuple(np.ascontiguousarray(picture[rows, columns]) for picture in self.image.load())

    def places(self) -> list[dict[str, Any]]:
        """Those of the image, as far as they are in it, counted from its corner."""
        inside = (_within(place, self.window) for place in self.image.places)
        return [place.plain(self.window.x, self.window.y) for place in inside if place.width > 0 and place.height > 0]


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


def cuts(images: Sequence[Shown], budget: int, most: int | None = None) -> list[Cut]:
    """What of the images a page can show whose pictures may take ``budget`` bytes.

    Whole images if they fit; else the same share of each, in one window that holds its places or in one a place.
    Where windows would be smaller than :data:`SMALLEST`, the images with the largest gains and losses alone.

    Args:
        most: show no more than so many windows: of the largest gain and of the largest loss of all images.
    """
    if most is not None:
        chosen = _extremes(images, most)
        return [
            Cut(image=image, window=_around((place,), image.size, budget / len(chosen) / image.rate))
            for image, place in chosen
        ]
    order = sorted(range(len(images)), key=lambda number: images[number].change)

    def kept(left_out: int) -> list[Shown]:
        chosen = set(order[left_out:])
        return [image for number, image in enumerate(images) if number in chosen]

    # The fewer images, the larger their windows: how many have to go is found by halving.
    left_out = bisect_left(range(len(images) - 1), True, key=lambda count: bool(_fitted(kept(count), budget)))
    return _fitted(kept(left_out), budget)


def _fitted(images: Sequence[Shown], budget: int) -> list[Cut]:
    """Whole images or windows of all of them; nothing where windows of several would be smaller than allowed."""
    if not images:
        return []
    longest = max(max(image.size) for image in images)
    share = min(1.0, budget / max(sum(image.bytes for image in images), 1), (_LONGEST / longest) ** 2)
    if share == 1:
        return [_whole(image) for image in images]
    parts = [cut for image in images for cut in _windows(image, share)]
    large = all(min(cut.window.width, cut.window.height) >= _least(cut.image) for cut in parts)
    return parts if large or len(images) == 1 else []


def _least(image: Shown) -> int:
    return min(SMALLEST, *image.size)


def _extremes(images: Sequence[Shown], most: int) -> list[tuple[Shown, Place]]:
    """The largest gain of all images and the largest loss, or, without targets, the first places."""
    if not images:
        return []
    pairs = [(image, image.places[0]) for image in images], [(image, image.places[-1]) for image in images]
    best = max(pairs[0], key=lambda pair: pair[1].change or 0)
    worst = min(pairs[1], key=lambda pair: pair[1].change or 0)
    chosen = [best] if best == worst else [best, worst]
    return chosen[:most]


def _whole(image: Shown) -> Cut:
    height, width = image.size
    return Cut(image=image, window=Place(x=0, y=0, width=width, height=height, what="whole image"))


def _windows(image: Shown, share: float) -> list[Cut]:
    """One window that holds all places of the image, where such a share of its area is enough, else one a place."""
    area = math.prod(image.size) * share
    together = _around(image.places, image.size, area)
    if all(_holds(together, place) for place in image.places):
        return [Cut(image=image, window=together)]
    return [Cut(image=image, window=_around((place,), image.size, area / len(image.places))) for place in image.places]


def _around(places: Sequence[Place], size: tuple[int, int], area: float) -> Place:
    """The window of so many pixels, in the form of the image, whose middle is as near to that of places as can be."""
    scale = min(1.0, math.sqrt(area / math.prod(size)))
    height, width = (max(1, int(length * scale)) for length in size)
    corners = []
    for length, whole, begin, end in (
        (height, size[0], min(p.y for p in places), max(p.y + p.height for p in places)),
        (width, size[1], min(p.x for p in places), max(p.x + p.width for p in places)),
    ):
        corners.append(min(max((begin + end - length) // 2, 0), whole - length))
    what = places[0].what if len(places) == 1 else "window"
    return Place(x=corners[1], y=corners[0], width=width, height=height, what=what)


def _holds(window: Place, place: Place) -> bool:
    across = window.x <= place.x and place.x + place.width <= window.x + window.width
    return across and window.y <= place.y and place.y + place.height <= window.y + window.height


def _within(place: Place, window: Place) -> Place:
    """As much of a place as lies in a window."""
    left, top = max(place.x, window.x), max(place.y, window.y)
    right = min(place.x + place.width, window.x + window.width)
    bottom = min(place.y + place.height, window.y + window.height)
    return replace(place, x=left, y=top, width=right - left, height=bottom - top)


def _bytes_a_pixel(pixels: Pixels) -> float:
    height, width = pixels[0].shape[:2]
    rows, columns = (slice(max(0, (n - _SAMPLE) // 2), max(0, (n - _SAMPLE) // 2) + _SAMPLE) for n in (height, width))
    samples = [np.ascontiguousarray(picture[rows, columns]) for picture in pixels]
    return sum(len(webp(sample)) for sample in samples) / (samples[0].shape[0] * samples[0].shape[1])


def written(images: Sequence[Shown], budget: int, most: int | None = None) -> list[dict[str, Any]]:
    """The cuts as a page's data, within ``budget`` bytes. What is left out is said by the page."""
    allowed = float(budget)
    while True:
        parts = [_plain(cut) for cut in cuts(images, int(allowed), most)]
        taken = sum(len(picture["src"]) for part in parts for picture in part["pictures"])
        if taken <= budget or not parts:
            return parts
        allowed *= 0.95 * budget / taken  # the middle of the images told too little


def _plain(cut: Cut) -> dict[str, Any]:
    image, window = cut.image, cut.window
    crops = cut.crops()
    pictures = [
        # The sum lets the page notice a browser that does not give pixels back as they are.
        {"label": label, "src": webp(crop), "sum": int(crop.sum()), "psnr": _psnr(crop, crops[-1], image.target)}
        for label, crop in zip(image.labels, crops, strict=True)
    ]
    return {
        "name": image.name,
        "title": image.name if cut.is_whole else f"{image.name}, {window.what}",
        **{"x": window.x, "y": window.y, "width": window.width, "height": window.height},
        "whole": [image.size[1], image.size[0]],
        "target": len(pictures) - 1 if image.target else None,
        "before": image.before,
        "after": image.after,
        "places": cut.places(),
        "pictures": pictures,
    }


def _psnr(crop: np.ndarray, target: np.ndarray, known: bool) -> float | None:
    """PSNR of 8-bit pixels in dB; None without a target and where nothing differs."""
    error = float(squared_error(crop, target).mean()) if known else 0.0
    return round(10 * math.log10(255**2 / error), 3) if error else None
