"""A picture through a chain region by region, so that memory does not grow with the picture; and the self-ensemble.

Of the picture only whole numbers are held, of a region floats. Regions overlap like tiles, by what all blocks of the
chain together see; within a region each block runs as :mod:`multiblock.inference.tiles` has it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np
import torch

from multiblock.data.pixels import strips, to_whole
from multiblock.data.resize import enlarge as enlarged_by_bicubic
from multiblock.errors import UserError
from multiblock.inference import tiles
from multiblock.inference.tiles import Tiling
from multiblock.model.chain import Chain
from multiblock.networks.registry import describe

_BYTES = 48
"""Of floats for each output pixel of a region: what enters a block in two layouts, what leaves it, and a sum."""
_SHARE = 0.25
"""Of the memory for feature maps, what a picture in several regions leaves to these floats."""
_SMALLEST = 64
"""Least side in pixels of a region without its overlap."""
_REACH = 3
"""Pixels beside it that bicubic interpolation needs to enlarge a part of a picture as it would the whole."""

_Side = TypeVar("_Side", int, slice)
Slices = tuple[slice, slice]
Step = Callable[[float], None]
"""Is told, again and again, which share of the picture was done since the last time."""


@dataclass(frozen=True)
class Turn:
    """One of the eight ways in which a picture can lie: transposed or not, then upside down or not, mirrored or not."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, C) so turned; a view."""
        image = image.swapaxes(0, 1) if self.transposed else image
        return image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

    def back(self, image: np.ndarray) -> np.ndarray:
        """The image as it was before; a view."""
        image = image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return image.swapaxes(0, 1) if self.transposed else image

    def place(self, place: Slices, size: tuple[int, int]) -> Slices:
        """Where a part of an image of that size lies once it is turned."""
        (rows, columns), (height, width) = self._swapped(place), self._swapped(size)
        return _flipped(rows, height, self.upside_down), _flipped(columns, width, self.mirrored)

    def place_back(self, place: Slices, size: tuple[int, int]) -> Slices:
        """Where a part of the turned image lies in the image, which has that size."""
        height, width = self._swapped(size)
        rows, columns = place
        return self._swapped((_flipped(rows, height, self.upside_down), _flipped(columns, width, self.mirrored)))

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of an image of that size once it is turned."""
        return self._swapped(size)

    def _swapped(self, pair: tuple[_Side, _Side]) -> tuple[_Side, _Side]:
        return (pair[1], pair[0]) if self.transposed else pair


def _flipped(part: slice, length: int, flip: bool) -> slice:
    return slice(length - part.stop, length - part.start) if flip else part


AS_IT_IS = (Turn(),)
ALL_TURNS = tuple(Turn(*way) for way in product((False, True), repeat=3))
"""The four rotations, each as it is and mirrored."""


def run(
    chain: Chain,
    pixels: np.ndarray,
    device: torch.device,
    memory_gib: float,
    *,
    enlarge: int = 1,
    ensemble: bool = False,
    step: Step = lambda _: None,
) -> tuple[np.ndarray, Tiling]:
    """What ``chain`` makes of a picture, and in how many tiles.

    Args:
        pixels: (H, W, 1 or 3), uint8, uint16 with 65535 as white, or floats in [0, 1]. Gray is shown to the network as
            three equal channels, whose mean is the result.
        memory_gib: see :func:`multiblock.inference.tiles.infer`; the floats of a region come out of it.
        enlarge: how many times the picture is enlarged by MATLAB's bicubic first; floats as 16 bits are.
        ensemble: whether the result is the mean of what the network makes of the picture in its eight turns
            (Timofte, Rothe and Van Gool, "Seven ways to improve example-based single image super resolution", 2016).
        step: is told how far it is.

    Returns:
        (scale*H, scale*W, 1 or 3) of the same type, cut to [0, 1] or its whole numbers.

    Raises:
        UserError: memory does not hold a small tile, or the network makes values that are not finite.
    """
    turns = ALL_TURNS if ensemble else AS_IT_IS
    height, width, channels = pixels.shape
    size, scale = (height * enlarge, width * enlarge), chain.scale
    cut = _Cut.of(chain, size, memory_gib)
    room = memory_gib if cut.count == 1 else memory_gib * (1 - _SHARE)
    made = np.empty((size[0] * scale, size[1] * scale, channels), pixels.dtype)
    tiling = Tiling(0, cut.margin, cut.pools if cut.count > 1 else ())
    for core in cut.cores():
        around, seen = _seen(pixels, cut.around(core, size), enlarge)
        total: np.ndarray | None = None
        for turn in turns:
            part, inner = cut.window(core, size, turn)
            given = turn.of(seen[_within(turn.place_back(part, size), around)])
            out, tiled = tiles.infer(chain, given, device, room)
            out = turn.back(out[_times(_within(inner, part), scale)])
            total = out if total is None else np.add(total, out, out=total)
            if turn == turns[0]:
                tiling = _joined(tiling, tiled)
            step((core[0].stop - core[0].start) * (core[1].stop - core[1].start) / (size[0] * size[1] * len(turns)))
        assert total is not None
        made[_times(core, scale)] = _finished(total, len(turns), channels, pixels.dtype)
    return made, tiling if tiling.tiles > 1 else Tiling()


def _joined(tiling: Tiling, more: Tiling) -> Tiling:
    return Tiling(
        tiling.tiles + more.tiles,
        more.overlap if more.tiles > 1 else tiling.overlap,
        tuple(dict.fromkeys(tiling.pools + more.pools)),
    )


def _seen(pixels: np.ndarray, around: Slices, enlarge: int) -> tuple[Slices, np.ndarray]:
    """A part of the enlarged picture as the network is given it, three channels; where it lies, and its values."""
    if enlarge > 1:
        height, width = pixels.shape[:2]
        rows, columns = (
            slice(max(0, part.start // enlarge - _REACH), min(length, -(-part.stop // enlarge) + _REACH))
            for part, length in zip(around, (height, width), strict=True)
        )
        part = pixels[rows, columns]
        part = to_whole(part, np.dtype(np.uint16)) if part.dtype.kind == "f" else part
        start = slice(rows.start * enlarge, rows.stop * enlarge), slice(columns.start * enlarge, columns.stop * enlarge)
        part = enlarged_by_bicubic(part, enlarge)[_within(around, start)]
    else:
        part = pixels[around]
    part = np.repeat(part, 3, axis=2) if part.shape[2] == 1 else part
    return around, part / np.float32(65535) if part.dtype == np.uint16 else part


def _finished(total: np.ndarray, count: int, channels: int, dtype: np.dtype) -> np.ndarray:
    """The mean of ``count`` outputs that were added up, in the type of the picture."""
    if count > 1:
        total /= count
    if not all(np.isfinite(total[rows]).all() for rows in strips(len(total))):
        raise UserError("the network makes values of it that are not finite; nothing is made of it")
    if channels == 1:
        total = total.mean(axis=2, keepdims=True)
    return to_whole(total, dtype) if dtype.kind == "u" else total.clip(0, 1).astype(dtype)


def _within(part: Slices, whole: Slices) -> Slices:
    """A part counted from where ``whole`` begins."""
    (top, left) = (one.start for one in whole)
    return slice(part[0].start - top, part[0].stop - top), slice(part[1].start - left, part[1].stop - left)


def _times(part: Slices, scale: int) -> Slices:
    return slice(part[0].start * scale, part[0].stop * scale), slice(part[1].start * scale, part[1].stop * scale)


@dataclass(frozen=True)
class _Cut:
    """A picture, as the network is given it, cut into regions: their size without overlap, and the overlap."""

    height: int
    width: int
    tall: int
    wide: int
    margin: int
    grid: int
    pools: tuple[str, ...] = ()

    @classmethod
    def of(cls, chain: Chain, size: tuple[int, int], memory_gib: float) -> "_Cut":
        """Regions as large as memory allows; one where that holds the picture."""
        specs = [describe(block) for block, _ in chain.links()]
        grid = math.lcm(*(spec.grid for spec in specs))
        pools = tuple(dict.fromkeys(kind for spec in specs for kind in spec.pools_over_image))
        (height, width), pixels = size, memory_gib * _SHARE * 2**30 / _BYTES / chain.scale**2
        whole = cls(height, width, height, width, 0, grid, pools)
        if height * width <= pixels:
            return whole
        # Blocks after the first see the picture at the size that it makes.
        sees = [min(spec.receptive_field // 2, tiles.OVERLAP * spec.grid) for spec in specs]
        margin = sees[0] + math.ceil(sum(sees[1:]) / specs[0].scale)
        margin = math.ceil(margin / grid) * grid
        side = max(int(math.sqrt(pixels)) - 2 * margin, 2 * margin, _SMALLEST)
        tall, wide = (math.ceil(length / math.ceil(length / side) / grid) * grid for length in size)
        return replace(whole, tall=tall, wide=wide, margin=margin)

    @property
    def count(self) -> int:
        """How many regions."""
        return math.ceil(self.height / self.tall) * math.ceil(self.width / self.wide)

    def cores(self) -> Iterator[Slices]:
        """The regions without their overlap."""
        for top, left in product(range(0, self.height, self.tall), range(0, self.width, self.wide)):
            yield slice(top, min(top + self.tall, self.height)), slice(left, min(left + self.wide, self.width))

    def window(self, core: Slices, size: tuple[int, int], turn: Turn) -> tuple[Slices, Slices]:
        """In the turned picture a region with its overlap, which begins on the network's grid, and without it."""
        inner = turn.place(core, size)
        height, width = turn.size(size)
        return (self._widened(inner[0], height), self._widened(inner[1], width)), inner

    def _widened(self, core: slice, length: int) -> slice:
        start = max(0, core.start - self.margin) // self.grid * self.grid
        return slice(start, min(length, core.stop + self.margin))

    def around(self, core: Slices, size: tuple[int, int]) -> Slices:
        """The part of the picture that holds a region with its overlap in every turn."""
        more = self.margin + self.grid - 1
        rows, columns = (
            slice(max(0, part.start - more), min(length, part.stop + more))
            for part, length in zip(core, size, strict=True)
        )
        return rows, columns
