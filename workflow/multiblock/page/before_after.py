"""A page of pictures and what a network made of them, for the viewer."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from multiblock.data import images
from multiblock.page import viewer

SIDE = 128
"""Of the place that is looked at first, in pixels: where the two differ the most."""


def page(title: str, pairs: Sequence[tuple[Path, Path]], out: Path) -> None:
    """Write a page that shows each picture beside its result, in sRGB and 8 bits; see :func:`viewer.page`.

    Args:
        pairs: each picture's file, and its result's.

    Raises:
        UserError: a file cannot be read any more.
    """
    viewer.page(title, [(source.name, partial(_read, source, result)) for source, result in pairs], out, side=SIDE)


def _read(source: Path, result: Path) -> viewer.Pictures:
    # What was converted for the page is not said of the result.
    return [(what, images.read(file, lambda *_: None)) for what, file in (("before", source), ("after", result))]
