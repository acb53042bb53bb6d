"""A page of pictures and what a network made of them, for the viewer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multiblock.data import images
from multiblock.page import rendering, viewer
from multiblock.page.pictures import Pixels, Shown, look

SIDE = 128
"""Of the place that is looked at first, in pixels: where the two differ the most."""


def page(title: str, pairs: Sequence[tuple[Path, Path]], out: Path, limit: int = rendering.LIMIT) -> None:
    """Write a page that shows each picture beside its result, in sRGB and 8 bits.

    A picture is shown at the size of its result, by bicubic interpolation, so that the two lie over each other. Where
    all of them would take more than ``limit`` bytes, windows are shown, which the page says.

    Args:
        pairs: each picture's file, and its result's.

    Raises:
        UserError: a file cannot be read any more.
    """
    shown = [_look(*pair) for pair in pairs]
    text = rendering.within("compare.html.j2", limit, lambda budget: viewer.data(shown, budget), title=title)
    rendering.write(out, text, limit)


def _look(source: Path, result: Path) -> Shown:
    def load() -> Pixels:
        return tuple(pixels for _, pixels in both())

    def both() -> list[tuple[str, np.ndarray]]:
        # What was converted for the page is not said of the result.
        read = [(what, images.read(file, lambda *_: None)) for what, file in (("before", source), ("after", result))]
        return viewer.of_one_size(source.name, read)

    return look(source.name, [label for label, _ in both()], load, False, SIDE)
