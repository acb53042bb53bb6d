"""Error maps: how far pictures are from their target, place by place, small enough to be looked at side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from multiblock.page.pictures import Shown, webp
from multiblock.page.places import error_in_cells

WIDTH = 320
"""Most pixels of a map's side."""

MOST = 20
"""Images that have maps."""

GAIN, LOSS = (64, 156, 255), (255, 138, 36)
"""Colours of places that came nearer to the target, and of those that went farther from it."""


def maps(images: Sequence[Shown]) -> list[dict[str, Any]]:
    """Three maps an image: the errors of the two pictures that are compared, and what changed between them.

    Errors are roots of the mean squared error of a cell, in levels of 255; white is what 0.5 % of the first map
    reaches. Of the change, black is none, and the full colour is what 1 % of its cells reach. Images without a target
    have no maps; of more than :data:`MOST` images those with the largest gains and losses have.
    """
    can = [image for image in images if image.target and len(image.labels) > 2]
    chosen = sorted(can, key=lambda image: -image.change)[:MOST]
    return [_maps(image) for image in can if image in chosen]


def _maps(image: Shown) -> dict[str, Any]:
    pixels = image.load()
    step = -(-max(image.size) // WIDTH)
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
            {"title": title, "src": webp(_bytes(shown), quality=85)}
            for title, shown in (
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
