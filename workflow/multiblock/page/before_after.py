"""A page of pictures and what a network made of them, for the viewer."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from multiblock.data import images
from multiblock.errors import printable
from multiblock.page import viewer

SIDE = 128
"""Of the place that is looked at first, in pixels: where the two differ the most."""


def page(title: str, pairs: Sequence[tuple[Path, Path]], out: Path) -> str:
    """Write a page that shows each picture beside its result, in sRGB and 8 bits; see :func:`viewer.page`.

    Args:
        pairs: each picture's file, and its result's.

    Returns:
        What it leaves out, as the page says it; empty where it shows all.

    Raises:
        UserError: a file cannot be read any more.
    """
    names = Counter(source.name for source, _ in pairs)  # two folders may have pictures of one name
    called = [printable(source.name if names[source.name] == 1 else str(source)) for source, _ in pairs]
    reads = [partial(_read, source, result) for source, result in pairs]
    return viewer.page(title, list(zip(called, reads, strict=True)), out, side=SIDE)


def _read(source: Path, result: Path) -> viewer.Pictures:
    # What was converted for the page is not said of the result.
    return [(what, images.read(file, lambda *_: None)) for what, file in (("before", source), ("after", result))]
