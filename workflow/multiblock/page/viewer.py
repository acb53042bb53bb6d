"""The viewer of pictures: what of them fits into a page, and pages that hold nothing else."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multiblock.data.images import read
from multiblock.errors import UserError, printable
from multiblock.page import rendering
from multiblock.page.hot_spots import Place
from multiblock.page.pictures import Pictures, Pixels, Shown, eight_bits, look, of_one_size, webp

SIDE, CHANGED = 64, 128
"""Sides in pixels of the windows that are looked at first: where nothing is asked for, and before and after."""

SMALLEST = 160
"""Side in pixels below which no window is cut: rather are images left out."""

_LONGEST = 16_383
"""Pixels a side that WebP can have."""


def page(
    title: str,
    images: Sequence[tuple[str, Pictures | Callable[[], Pictures]]],
    out: Path,
    *,
    target: bool = False,
    rivals: int = 1,
    side: int = SIDE,
    limit: int = rendering.LIMIT,
) -> str:
    """Write a page that shows pictures before and after, and nothing else.

    Args:
        title: of the page.
        images: of each image its name and its pictures, or what gives them, so that of many large ones one at a time
            is in memory. Each comes with what it is: (H, W, 3), uint8, float in [0, 1] or uint16; gray ones (H, W) are
            shown as RGB. One that is smaller by a whole factor is enlarged by bicubic interpolation, which its label
            then says.
        out: the HTML file.
        target: whether the last picture of each image is what the others should be; then the page gives PSNR.
        rivals: how many of the last pictures are first shown against one another; with one, it is against the first.
        side: of the windows that are looked at first, in pixels.
        limit: bytes of the page. Where whole pictures would take more, windows are shown, and a sentence about it.

    Returns:
        The sentence of the page on what it leaves out; empty where it shows all.

    Raises:
        UserError: an image has fewer than two pictures, or they do not have one size.
    """
    shown = [_look(name, pictures, target, side, rivals) for name, pictures in images]
    found: dict[str, Any] = {}

    def fill(budget: int) -> dict[str, Any]:
        found.update(data(shown, budget), mode="side" if rivals > 1 else "slider")
        return found

    rendering.write(out, rendering.within("compare.html.j2", limit, fill, title=title), limit)
    return str(found["note"])


def _look(name: str, given: Pictures | Callable[[], Pictures], target: bool, side: int, rivals: int) -> Shown:
    def load() -> list[tuple[str, np.ndarray]]:
        pictures = given() if callable(given) else given
        if len(pictures) < 2:
            raise UserError(f"{name}: found {len(pictures)} picture; a comparison needs two or more")
        return of_one_size(name, pictures)

    labels = [label for label, _ in load()]
    before = max(len(labels) - target - rivals, 0) if rivals > 1 else 0
    return look(name, labels, lambda: tuple(pixels for _, pixels in load()), target, side, before)


def before_after(title: str, made: Mapping[Path, Mapping[str, Path]], out: Path) -> str:
    """Write a page that shows each picture beside its results, in sRGB and 8 bits; see :func:`page`.

    Args:
        made: of each picture's file those of its results, by what made them.

    Returns:
        The sentence of the page on what it leaves out; empty where it shows all.

    Raises:
        UserError: a file cannot be read any more.
    """
    names = Counter(source.name for source in made)  # two folders may have pictures of one name
    called = [printable(source.name if names[source.name] == 1 else str(source)) for source in made]
    reads = [partial(_read, source, results) for source, results in made.items()]
    rivals = max(map(len, made.values()))
    return page(title, list(zip(called, reads, strict=True)), out, rivals=rivals, side=CHANGED)


def _read(source: Path, results: Mapping[str, Path]) -> Pictures:
    # A conversion for the page is not reported: it is none of the result.
    before, *after = (read(file, lambda *_: None) for file in (source, *results.values()))
    shown = list(zip(results, after, strict=True))
    height, width = max(pixels.shape[:2] for pixels in after)
    if (height, width) == before.shape[:2]:
        return [("before", before), *shown]
    small = Image.fromarray(eight_bits(source.name, "before", before))
    sharp = np.asarray(small.resize((width, height), Image.Resampling.LANCZOS))
    return [("before", before), (f"before, Lanczos x{width // before.shape[1]}", sharp), *shown]


def data(images: Sequence[Shown], budget: int, most: int | None = None) -> dict[str, Any]:
    """The pictures that the viewer shows, in at most ``budget`` bytes, and a sentence on those that it leaves out.

    Args:
        most: show no more than so many windows, see :func:`cuts`.
    """
    cuts = written(images, budget, most) if budget else []
    return {"cuts": cuts, "note": _left_out(images, cuts, budget)}


def _left_out(images: Sequence[Shown], cuts: Sequence[dict[str, Any]], budget: int) -> str:
    whole = sum(cut["whole"] == [cut["width"], cut["height"]] for cut in cuts)
    shown = len({cut["name"] for cut in cuts})
    if whole == len(images):
        return ""
    room = (
        f"All pictures without loss take more than the {budget / rendering.MEGABYTE:.1f} MB that the page has for them"
    )
    if not cuts:
        return f"{room}: none is shown."
    targets = any(image.target for image in images)
    most, largest = ("gained and lost", "gains and losses") if targets else ("changed", "changes")
    parts = [f"{room}, so windows are shown, which hold the places where the images {most} the most."]
    if shown < len(images):
        parts.append(f"They are of {shown} of {len(images)} images, those with the largest {largest}.")
    return " ".join(parts)


# -- What fits into a page ---------------------------------------------------------------------------------------------


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
        """Its part of each picture."""
        rows = slice(self.window.y, self.window.y + self.window.height)
        columns = slice(self.window.x, self.window.x + self.window.width)
        return tuple(np.ascontiguousarray(picture[rows, columns]) for picture in self.image.load())

    def places(self) -> list[dict[str, Any]]:
        """The image's places, as far as they are in it, counted from its corner."""
        inside = (_within(place, self.window) for place in self.image.places)
        return [place.plain(self.window.x, self.window.y) for place in inside if place.width > 0 and place.height > 0]


def cuts(images: Sequence[Shown], budget: int, most: int | None = None) -> list[Cut]:
    """The parts of images that a page can show whose pictures may take ``budget`` bytes.

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
    parts = [cut for image in images for cut in _windows(image, share)]
    large = all(min(cut.window.width, cut.window.height) >= min(SMALLEST, *cut.image.size) for cut in parts)
    return parts if large or len(images) == 1 else []


def _extremes(images: Sequence[Shown], most: int) -> list[tuple[Shown, Place]]:
    """The largest gain of all images and the largest loss, or, without targets, the first places."""
    if not images:
        return []
    best = max(((image, image.places[0]) for image in images), key=lambda pair: pair[1].change or 0)
    worst = min(((image, image.places[-1]) for image in images), key=lambda pair: pair[1].change or 0)
    return [best, worst][: 1 if best == worst else most]


def _windows(image: Shown, share: float) -> list[Cut]:
    """One window that holds all places of the image, where such a share of its area is enough, else one a place."""
    area = math.prod(image.size) * share
    together = _around(image.places, image.size, area)
    if all(_within(place, together) == place for place in image.places):
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


def _within(place: Place, window: Place) -> Place:
    """The part of a place that is in a window."""
    left, top = max(place.x, window.x), max(place.y, window.y)
    right = min(place.x + place.width, window.x + window.width)
    bottom = min(place.y + place.height, window.y + window.height)
    return replace(place, x=left, y=top, width=right - left, height=bottom - top)


def written(images: Sequence[Shown], budget: int, most: int | None = None) -> list[dict[str, Any]]:
    """The cuts as a page's data, within ``budget`` bytes."""
    allowed = float(budget)
    while True:
        parts = [_plain(cut) for cut in cuts(images, int(allowed), most)]
        taken = sum(len(picture["src"]) for part in parts for picture in part["pictures"])
        if taken <= budget or not parts:
            return parts
        allowed *= 0.95 * budget / taken  # the middle of an image takes less than the rest


def _plain(cut: Cut) -> dict[str, Any]:
    image, window = cut.image, cut.window
    pictures = [
        # The sum lets the page notice a browser that does not give pixels back as they are.
        {"label": label, "src": webp(crop), "sum": int(crop.sum())}
        for label, crop in zip(image.labels, cut.crops(), strict=True)
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
