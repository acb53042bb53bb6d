"""A sheet of patches as the degradation ``camera`` makes them, to hold beside pictures of the camera that is meant."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from multiblock.data import images
from multiblock.data.camera import Anew, Camera, Order, draw
from multiblock.data.dataset import DatasetConfig, find, listing
from multiblock.data.inspection import Photograph, read
from multiblock.errors import UserError
from multiblock.report.strips import busiest

PATCHES, SIDE = 20, 48
"""How many patches there are, and their side in pixels of LR."""

_COLUMNS, _SHOWN, _GAP, _HEAD, _CAPTION = 8, 192, 8, 32, 76
"""Panels in a row; in pixels their side, the space between them, and that of headings and titles."""

Panel = tuple[str, np.ndarray]
"""A title and pixels."""

Thing = TypeVar("Thing")


def sheet(data: DatasetConfig, file: Path, own: Path | None = None) -> None:
    """Draw patches of training images, each beside its HR, and patches of a user's own pictures.

    Each is of the place with the strongest edges. Which images are shown and what is drawn is the same each time.

    Args:
        file: PNG to write.
        own: folder of pictures of the camera that is meant, in its own size.

    Raises:
        UserError: an image cannot be read or is smaller than a patch, or a folder holds none.
    """
    assert data.camera
    parts = [_part(f"data {data.name}, x{data.scale}: HR, then LR as it is drawn", list(_drawn(data, data.camera)))]
    if own:
        parts.append(_part(f"pictures of {own}", list(_own(own))))
    images.write(file, np.concatenate(parts))


def _part(title: str, panels: Sequence[Panel]) -> np.ndarray:
    """Panels in rows, each below its title: (height, width, 3), uint8."""
    step, rows = (_SHOWN + _GAP, _SHOWN + _CAPTION), -(-len(panels) // _COLUMNS)
    canvas = Image.new("RGB", (_GAP + _COLUMNS * step[0], _HEAD + rows * step[1]), "white")
    draws = ImageDraw.Draw(canvas)
    draws.text((_GAP, _GAP), title, "black", ImageFont.load_default(16))
    for number, (says, pixels) in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        left, top = _GAP + column * step[0], _HEAD + row * step[1]
        draws.text((left, top + _CAPTION - _GAP), says, "black", ImageFont.load_default(11), anchor="ld")
        shown = Image.fromarray(pixels).resize((_SHOWN, _SHOWN), Image.Resampling.NEAREST)
        canvas.paste(shown, (left, top + _CAPTION))
    return np.asarray(canvas)


def _drawn(data: DatasetConfig, camera: Camera) -> Iterator[Panel]:
    """HR and LR of each patch; where there are fewer images than patches, one is shown in several draws."""
    items, anew, side = find(data)["train"], Anew(camera=camera, scale=data.scale), SIDE * data.scale
    for number, item in enumerate(_evenly(items, PATCHES)):
        found = read(data, Photograph(split="train", items=(item,)))
        if found.error:
            raise found.error
        full = found.pairs[0][0]
        top, left = (begin // data.scale for begin in _place(full, side, item.hr))
        low = anew.patch(full, top, left, SIDE, np.random.default_rng(number))
        orders = draw(camera, np.random.default_rng(number))  # those of the patch, which come first
        yield item.name, full[top * data.scale :, left * data.scale :][:side, :side]
        yield "\n".join(map(_in_two_lines, orders)), low


def _in_two_lines(order: Order) -> str:
    said = str(order).split(", ")
    return f"{', '.join(said[:2])},\n{', '.join(said[2:])}"


def _own(folder: Path) -> Iterator[Panel]:
    files = list(listing([folder]).values())
    for file in _evenly(files, min(PATCHES, len(files))):
        pixels = images.read(file)
        top, left = _place(pixels, SIDE, file)
        yield file.name, pixels[top : top + SIDE, left : left + SIDE]


def _evenly(things: Sequence[Thing], count: int) -> list[Thing]:
    return [things[number * len(things) // count] for number in range(count)]


def _place(pixels: np.ndarray, side: int, file: Path) -> tuple[int, int]:
    """Top and left of the square with the strongest edges."""
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        raise UserError(f"{file}: found {width} x {height} pixels; to show a patch, {side} x {side} are needed")
    return busiest(pixels, side)
