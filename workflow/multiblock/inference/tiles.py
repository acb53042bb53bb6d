"""Images through a chain in overlapping parts, so that memory is bounded; and the self-ensemble.

:func:`infer` runs a chain block by block on one image, each block in tiles where its feature maps would take too much
memory. :func:`run_by_region` takes a user's picture through it region by region, so that memory does not grow with the
picture: of the picture only whole numbers are held, of a region floats. Tiles and regions are cut by the same rule.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from multiblock.data.imageset import strips, to_whole
from multiblock.data.resize import enlarge as enlarged_by_bicubic
from multiblock.data.sampler import to_tensor
from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain
from multiblock.networks.registry import NetworkSpec, describe
from multiblock.runtime import memory
from multiblock.runtime.device import full_precision, memory_format

log = logging.getLogger(__name__)

OVERLAP = 32
"""Most pixels by which a tile overlaps its neighbours on every side, counted on the network's smallest maps. What is
further away changes an output pixel by less than rounding to 8 bits does in networks that keep the size, however large
the receptive field: see results/reference/seams.md. U-Nets see far through their coarse maps."""

_SMALLEST_TILE, _SMALLEST_REGION = 16, 64
"""Sides in pixels of the smallest tile that is tried, with its overlap, and of the smallest region without it."""
_BYTES = 48
"""Bytes of floats for each output pixel of a region: input of a block in two layouts, its output, and a sum."""
_SHARE = 0.25
"""Share of the memory for feature maps that a picture in several regions leaves to these floats."""
_REACH = 3
"""Pixels beside a part that bicubic interpolation needs to enlarge it as it would the whole picture."""

Slices = tuple[slice, slice]
"""Rows and columns of a part of an image."""
Step = Callable[[float], None]
"""Takes, again and again, which share of the picture was done since the last time."""


# -- Cutting -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """An image cut into overlapping parts; all lengths are pixels.

    Args:
        height, width: size of the image.
        tall, wide: size of a part without its overlap; parts at the lower and right edge may be smaller.
        margin: overlap on every side.
        grid: a part with its overlap begins at a multiple of it, as do the network's coarsest maps.
    """

    height: int
    width: int
    tall: int
    wide: int
    margin: int = 0
    grid: int = 1

    @classmethod
    def even(cls, height: int, width: int, side: int, margin: int, grid: int) -> "Cut":
        """Parts of nearly equal size, whose sides without the overlap are about ``side`` at most."""
        tall, wide = (math.ceil(length / math.ceil(length / side) / grid) * grid for length in (height, width))
        return cls(height, width, tall, wide, margin, grid)

    @property
    def count(self) -> int:
        """How many parts there are."""
        return math.ceil(self.height / self.tall) * math.ceil(self.width / self.wide)

    @property
    def pixels(self) -> int:
        """Pixels of the largest part with its overlap."""
        return min(self.tall + 2 * self.margin, self.height) * min(self.wide + 2 * self.margin, self.width)

    def parts(self) -> Iterator[Slices]:
        """All parts without their overlap, row by row."""
        for top, left in product(range(0, self.height, self.tall), range(0, self.width, self.wide)):
            yield slice(top, min(top + self.tall, self.height)), slice(left, min(left + self.wide, self.width))


def _widened(part: Slices, size: tuple[int, int], margin: int, grid: int = 1) -> Slices:
    """A part with ``margin`` pixels on every side, as far as the image goes; it begins on the grid."""
    rows, columns = (
        slice(max(0, one.start - margin) // grid * grid, min(length, one.stop + margin))
        for one, length in zip(part, size, strict=True)
    )
    return rows, columns


def _within(part: Slices, whole: Slices) -> Slices:
    """A part, counted from where ``whole`` begins."""
    top, left = (one.start for one in whole)
    return slice(part[0].start - top, part[0].stop - top), slice(part[1].start - left, part[1].stop - left)


def _times(part: Slices, scale: int) -> Slices:
    """A part of an image, in the image ``scale`` times as large."""
    return slice(part[0].start * scale, part[0].stop * scale), slice(part[1].start * scale, part[1].stop * scale)


@dataclass(frozen=True)
class Tiling:
    """How a picture was made; of the blocks of a chain, by the one with the most tiles.

    Args:
        tiles: how many there were; 1 is the whole image.
        overlap: pixels of the block's input by which they overlap on every side.
        pools: kinds of layers that saw a tile where they should see the whole image.
    """

    tiles: int = 1
    overlap: int = 0
    pools: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.tiles == 1:
            return "whole image"
        pooled = f"; {listed(self.pools)} saw a tile in place of the image" if self.pools else ""
        return f"{self.tiles} tiles, overlap {self.overlap} pixels{pooled}"


def summary(tilings: Mapping[str, Tiling]) -> str | None:
    """One line on the pictures that were made in tiles, by name; None where all were made as whole images."""
    tiled = {name: tiling for name, tiling in tilings.items() if tiling.tiles > 1}
    if not tiled:
        return None
    names = [f"{name} ({tiling.tiles})" for name, tiling in tiled.items()]
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")
    overlap = " or ".join(str(pixels) for pixels in sorted({tiling.overlap for tiling in tiled.values()}))
    pools = list(dict.fromkeys(kind for tiling in tiled.values() for kind in tiling.pools))
    line = f"made in tiles for want of memory, overlap {overlap} pixels: {some}"
    if pools:
        line += (
            f"; warning: {', '.join(pools)} saw a tile in place of the image, which shifts pixel values: a larger "
            "inference.memory_gib avoids it"
        )
    return line


def warn_of_tiles(name: str, tiling: Tiling) -> None:
    """Log a warning if the picture of that name was made in tiles."""
    if line := summary({name: tiling}):
        log.warning("%s", line)


# -- An image block by block -------------------------------------------------------------------------------------------


def run(chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float, name: str = "an image") -> np.ndarray:
    """The picture that :func:`infer` makes; where it was made in tiles, a warning names it."""
    result, tiling = infer(chain, image, device, memory_gib)
    warn_of_tiles(name, tiling)
    return result


def infer(
    chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float, *, part: bool = False
) -> tuple[np.ndarray, Tiling]:
    """What ``chain`` makes of one image, in IEEE float32, and whether that was in tiles.

    Args:
        image: (H, W, 3), uint8, or floats with 1.0 as peak.
        part: whether it is a part of an image, so that it is no loss to cut it into smaller ones.
        memory_gib: memory for the feature maps of one block; images and weights come on top. Where the whole image
            needs more, the block runs in tiles that overlap by half its receptive field on every side, or by
            ``OVERLAP``, or by a quarter of a small tile. On a GPU half of its free memory counts, if that is more;
            where that does not do, tiles become smaller.

    Returns:
        (scale*H, scale*W, 3), float32, cut to [0, 1] where the last block is clamped.

    Raises:
        UserError: memory does not even hold a small tile.
    """
    done, dtype = Tiling(), next((weight.dtype for weight in chain.parameters()), torch.float32)
    with torch.inference_mode(), full_precision(device.type, dtype):
        x = to_tensor(image[None]).to(device)
        for block, clamp in chain.links():
            x = x.contiguous(memory_format=memory_format(describe(block).layout))
            x, tiling = _through(block, x, memory_gib, part)
            if tiling.tiles > 1 or tiling.pools:
                most = max(done, tiling, key=lambda one: one.tiles)
                done = Tiling(most.tiles, most.overlap, tuple(dict.fromkeys(done.pools + tiling.pools)))
            if clamp:
                x = x.clamp_(0, 1)
        return x[0].permute(1, 2, 0).float().cpu().numpy(), done


def _through(block: nn.Module, x: Tensor, memory_gib: float, part: bool = False) -> tuple[Tensor, Tiling]:
    """The output of a block for an image, made in smaller and smaller tiles until memory holds them."""
    spec, (height, width) = describe(block), x.shape[2:]
    whole = height * width
    room = memory.room(x.device, memory_gib) / memory.per_pixel(block)
    # An image that memory holds without a gap is made whole, however slow that is: tiles change what is pooled.
    exact = whole <= room < whole * memory.GAPS and not x.is_cuda and not part
    pixels = float(whole) if exact else min(float(whole), room / memory.GAPS)
    with memory.exact() if exact else nullcontext():
        while True:
            cut = tiles_of(spec, height, width, pixels)
            try:
                pools = spec.pools_over_image if cut.count > 1 else ()
                if (part or cut.count > 1) and (name := getattr(block, "field_unknown", "")):
                    pools += (name,) if _sees_further(block, x, spec, pixels) else ()
                return in_tiles(block, x, cut, spec.scale), Tiling(cut.count, cut.margin, pools)
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
            memory.give_back(x.device)
            pixels = min(pixels, cut.pixels) / 2
            if pixels < max(_SMALLEST_TILE, spec.grid) ** 2:
                raise UserError(
                    f"out of memory: not even a tile of {_SMALLEST_TILE} x {_SMALLEST_TILE} pixels of an image of "
                    f"{width} x {height} fits; a smaller image, or device: cpu, takes less"
                )
            log.warning("out of memory with tiles of %d pixels: tried again with half", cut.pixels)


def _sees_further(block: nn.Module, x: Tensor, spec: NetworkSpec, pixels: float) -> bool:
    """Whether what lies beyond the overlap of tiles changes the middle of an image by a step of 8 bits.

    So it is taken to be where the image, or a tile of so many ``pixels``, is too small to see it.
    """
    margin = math.ceil(OVERLAP / spec.grid) * spec.grid
    near, far = 3 * margin, 5 * margin
    if far > min(x.shape[2:]) or far**2 > pixels:
        return True
    top, left = ((side - far) // 2 // spec.grid * spec.grid for side in x.shape[2:])
    image = x[:, :, top : top + far, left : left + far]
    middle = [slice(edge * margin * spec.scale, (edge + 1) * margin * spec.scale) for edge in (2, 1)]
    wide = block(image)[:, :, middle[0], middle[0]]
    tight = block(image[:, :, margin : margin + near, margin : margin + near])[:, :, middle[1], middle[1]]
    return bool((wide.float() - tight.float()).abs().max() > 1 / 255)


def tiles_of(spec: NetworkSpec, height: int, width: int, pixels: float) -> Cut:
    """Tiles of at most about ``pixels`` with their overlap; one tile if that holds the image."""
    if height * width <= pixels:
        return Cut(height, width, height, width)
    step, side = spec.grid, max(int(math.sqrt(pixels)), _SMALLEST_TILE)
    margin = math.ceil(min(spec.receptive_field // 2, OVERLAP * step) / step) * step
    margin = min(margin, side // 4 // step * step)  # of a small tile at least half is new
    return Cut.even(height, width, max((side - 2 * margin) // step * step, step), margin, step)


def in_tiles(block: nn.Module, x: Tensor, cut: Cut, scale: int) -> Tensor:
    """The output of a block that enlarges by ``scale``, (1, 3, scale*H, scale*W), float32, made tile by tile."""
    if cut.count == 1:
        return block(x).float()
    result = x.new_empty((1, 3, cut.height * scale, cut.width * scale), dtype=torch.float32)
    for part in cut.parts():
        rows, columns = tile = _widened(part, (cut.height, cut.width), cut.margin, cut.grid)
        made = block(x[:, :, rows, columns]).float()
        result[:, :, *_times(part, scale)] = made[:, :, *_times(_within(part, tile), scale)]
    return result


# -- A picture region by region ----------------------------------------------------------------------------------------

_Side = TypeVar("_Side", int, slice)


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to turn a picture: transposed or not, then upside down or not, mirrored or not."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, C) turned; a view."""
        return self._flip(image.swapaxes(0, 1) if self.transposed else image)

    def back(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, C) turned back; a view."""
        image = self._flip(image)
        return image.swapaxes(0, 1) if self.transposed else image

    def place(self, part: Slices, size: tuple[int, int]) -> Slices:
        """Where a part of an image of that size is once the image is turned."""
        return self._flipped(self.swapped(part), self.swapped(size))

    def place_back(self, part: Slices, size: tuple[int, int]) -> Slices:
        """Where a part of the turned image is in the image, which has that size."""
        return self.swapped(self._flipped(part, self.swapped(size)))

    def swapped(self, pair: tuple[_Side, _Side]) -> tuple[_Side, _Side]:
        """Height and width, or rows and columns, in the order that they have once the image is turned."""
        return (pair[1], pair[0]) if self.transposed else pair

    def _flip(self, image: np.ndarray) -> np.ndarray:
        return image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

    def _flipped(self, part: Slices, size: tuple[int, int]) -> Slices:
        rows, columns = (
            slice(length - one.stop, length - one.start) if flip else one
            for one, length, flip in zip(part, size, (self.upside_down, self.mirrored), strict=True)
        )
        return rows, columns


ALL_TURNS = tuple(Turn(*way) for way in product((False, True), repeat=3))
"""The four rotations, each as it is and mirrored; the first leaves a picture as it is."""


def run_by_region(
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
        memory_gib: see :func:`infer`; the floats of a region come out of it.
        enlarge: how many times the picture is enlarged by MATLAB's bicubic first; floats are enlarged as 16 bits.
        ensemble: whether the result is the mean of what the network makes of the picture in its eight turns
            (Timofte, Rothe and Van Gool, "Seven ways to improve example-based single image super resolution", 2016).
        step: takes the share of the picture that was done since the last call.

    Returns:
        (scale*H, scale*W, 1 or 3) of the same type, cut to [0, 1] or its whole numbers.

    Raises:
        UserError: memory does not hold a small tile, or the network makes values that are not finite.
    """
    turns = ALL_TURNS if ensemble else ALL_TURNS[:1]
    height, width, channels = pixels.shape
    size, scale = (height * enlarge, width * enlarge), chain.scale
    cut, pools = _regions_of(chain, size, memory_gib)
    room = memory_gib if cut.count == 1 else memory_gib * (1 - _SHARE)
    made = np.empty((size[0] * scale, size[1] * scale, channels), pixels.dtype)
    tiling = Tiling(0, cut.margin, pools if cut.count > 1 else ())
    for core in cut.parts():
        around = _widened(core, size, cut.margin + cut.grid - 1)  # holds the region with its overlap in every turn
        values = _network_input(pixels, around, enlarge)
        total: np.ndarray | None = None
        for turn in turns:
            inner = turn.place(core, size)
            region = _widened(inner, turn.swapped(size), cut.margin, cut.grid)
            turned = turn.of(values[_within(turn.place_back(region, size), around)])
            out, tiled = infer(chain, turned, device, room, part=cut.count > 1)
            out = turn.back(out[_times(_within(inner, region), scale)])
            total = out if total is None else np.add(total, out, out=total)
            if turn == turns[0]:
                overlap = tiled.overlap if tiled.tiles > 1 else tiling.overlap
                all_pools = tuple(dict.fromkeys(tiling.pools + tiled.pools))
                tiling = Tiling(tiling.tiles + tiled.tiles, overlap, all_pools)
            step((core[0].stop - core[0].start) * (core[1].stop - core[1].start) / (size[0] * size[1] * len(turns)))
        assert total is not None
        made[_times(core, scale)] = _mean_as(pixels.dtype, total, len(turns), channels)
    return made, tiling if tiling.tiles > 1 else Tiling()


def _regions_of(chain: Chain, size: tuple[int, int], memory_gib: float) -> tuple[Cut, tuple[str, ...]]:
    """Regions as large as memory allows, one where that holds the picture; and the kinds of layers that pool."""
    specs = [describe(block) for block, _ in chain.links()]
    grid = math.lcm(*(spec.grid for spec in specs))
    pools = tuple(dict.fromkeys(kind for spec in specs for kind in spec.pools_over_image))
    pixels = memory_gib * _SHARE * 2**30 / _BYTES / chain.scale**2
    if size[0] * size[1] <= pixels:
        return Cut(*size, *size, 0, grid), pools
    # Blocks after the first see the picture at the size that it makes.
    sees = [min(spec.receptive_field // 2, OVERLAP * spec.grid) for spec in specs]
    margin = sees[0] + math.ceil(sum(sees[1:]) / specs[0].scale)
    margin = math.ceil(margin / grid) * grid
    side = max(int(math.sqrt(pixels)) - 2 * margin, 2 * margin, _SMALLEST_REGION)
    return Cut.even(*size, side, margin, grid), pools


def _network_input(pixels: np.ndarray, part: Slices, enlarge: int) -> np.ndarray:
    """A part of the enlarged picture as the network is given it: three channels, uint8 or floats."""
    if enlarge == 1:
        values = pixels[part]
    else:
        height, width = pixels.shape[:2]
        rows, columns = (
            slice(max(0, one.start // enlarge - _REACH), min(length, -(-one.stop // enlarge) + _REACH))
            for one, length in zip(part, (height, width), strict=True)
        )
        values = pixels[rows, columns]
        values = to_whole(values, np.dtype(np.uint16)) if values.dtype.kind == "f" else values
        values = enlarged_by_bicubic(values, enlarge)[_within(part, _times((rows, columns), enlarge))]
    values = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    return values / np.float32(65535) if values.dtype == np.uint16 else values


def _mean_as(dtype: np.dtype, total: np.ndarray, count: int, channels: int) -> np.ndarray:
    """The mean of ``count`` outputs that were added up, in the type of the picture."""
    if count > 1:
        total /= count
    if not all(np.isfinite(total[rows]).all() for rows in strips(len(total))):
        raise UserError("the network makes values of it that are not finite; nothing is made of it")
    if channels == 1:
        total = total.mean(axis=2, keepdims=True)
    return to_whole(total, dtype) if dtype.kind == "u" else total.clip(0, 1).astype(dtype)
