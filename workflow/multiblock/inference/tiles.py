"""Whole images through a chain, block by block, in overlapping tiles where memory asks for it."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from multiblock.data.tensors import to_tensor
from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain
from multiblock.networks.registry import NetworkSpec, describe
from multiblock.runtime import memory
from multiblock.runtime.device import full_precision, memory_format

log = logging.getLogger(__name__)

OVERLAP = 32
"""Most pixels by which a tile overlaps its neighbours on every side, counted on the network's smallest maps. What lies
further away changes an output pixel by less than rounding to 8 bits does in networks that keep the size, however large
the receptive field: see results/reference/seams.md. U-Nets see far through their coarse maps."""

_SMALLEST = 16
"""Side in pixels of the smallest tile that is tried."""


@dataclass(frozen=True)
class Tiling:
    """How a picture was made: of the blocks of a chain, the one with the most tiles.

    Args:
        tiles: how many; 1 is the whole image.
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


def run(chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float, name: str = "an image") -> np.ndarray:
    """The picture that :func:`infer` makes; of tiles the log tells, by the image's ``name``."""
    result, tiling = infer(chain, image, device, memory_gib)
    if line := said({name: tiling}):
        log.warning("%s", line)
    return result


def infer(chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float) -> tuple[np.ndarray, Tiling]:
    """What ``chain`` makes of one image, in float32 as IEEE has it, and whether that was in tiles.

    Args:
        image: (H, W, 3), uint8, or floats with 1.0 as peak.
        memory_gib: memory for the feature maps of one block; images and weights come on top. Where the whole image
            needs more, the block runs in tiles that overlap by half its receptive field on every side, or by
            ``OVERLAP``, or by a quarter of a small tile. On a GPU half of its free memory counts, if that is more;
            where that does not do, tiles become smaller.

    Returns:
        (scale*H, scale*W, 3), float32, cut to [0, 1] where the last block is clamped.

    Raises:
        UserError: memory does not even hold a small tile.
    """
    done = Tiling()
    with torch.inference_mode(), full_precision():
        x = to_tensor(image[None]).to(device)
        for block, clamp in chain.links():
            x, tiling = _through(block, x.contiguous(memory_format=memory_format(describe(block).layout)), memory_gib)
            if tiling.tiles > 1:
                most = max(done, tiling, key=lambda one: one.tiles)
                done = Tiling(most.tiles, most.overlap, tuple(dict.fromkeys(done.pools + tiling.pools)))
            if clamp:
                x = x.clamp_(0, 1)
        return x[0].permute(1, 2, 0).float().cpu().numpy(), done


def said(tilings: Mapping[str, Tiling]) -> str | None:
    """One line on the pictures that were made in tiles, by name; None where all are of whole images."""
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


def _through(block: nn.Module, x: Tensor, memory_gib: float) -> tuple[Tensor, Tiling]:
    """The block on an image, in smaller and smaller tiles until memory holds them."""
    spec, (height, width) = describe(block), x.shape[2:]
    whole = height * width
    room = memory.room(x.device, memory_gib) / memory.per_pixel(block)
    fits = whole * memory.GAPS <= room
    pixels = float(whole) if fits else room / memory.GAPS if x.is_cuda else room
    with nullcontext() if fits else memory.exact():
        while True:
            grid = Grid.of(spec, height, width, pixels)
            try:
                return grid.run(block, x), grid.tiling(spec)
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
            memory.give_back(x.device)
            pixels = min(pixels, grid.pixels) / 2
            if pixels < max(_SMALLEST, spec.grid) ** 2:
                raise UserError(
                    f"out of memory: not even a tile of {_SMALLEST} x {_SMALLEST} pixels of an image of {width} x "
                    f"{height} fits; a smaller image, or device: cpu, takes less"
                )
            log.warning("out of memory with tiles of %d pixels: tried again with half", grid.pixels)


@dataclass(frozen=True)
class Grid:
    """An image in tiles: their size in pixels without overlap, and the overlap."""

    height: int
    width: int
    tall: int
    wide: int
    margin: int
    scale: int

    @classmethod
    def of(cls, spec: NetworkSpec, height: int, width: int, pixels: float) -> "Grid":
        """Tiles of at most about ``pixels`` with their overlap; one tile if that holds the image."""
        if height * width <= pixels:
            return cls(height, width, height, width, 0, spec.scale)
        step, side = spec.grid, max(int(math.sqrt(pixels)), _SMALLEST)
        margin = math.ceil(min(spec.receptive_field // 2, OVERLAP * step) / step) * step
        margin = min(margin, side // 4 // step * step)  # of a small tile at least half is new
        core = max((side - 2 * margin) // step * step, step)
        tall, wide = (math.ceil(length / math.ceil(length / core) / step) * step for length in (height, width))
        return cls(height, width, tall, wide, margin, spec.scale)

    @property
    def pixels(self) -> int:
        """Pixels of the largest tile with its overlap."""
        return min(self.tall + 2 * self.margin, self.height) * min(self.wide + 2 * self.margin, self.width)

    def tiling(self, spec: NetworkSpec) -> Tiling:
        """What there is to say of it."""
        count = math.ceil(self.height / self.tall) * math.ceil(self.width / self.wide)
        return Tiling(count, self.margin, spec.pools_over_image) if count > 1 else Tiling()

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """The block tile by tile."""
        if (self.tall, self.wide) == (self.height, self.width):
            return block(x).float()
        scale = self.scale
        result = x.new_empty((1, 3, self.height * scale, self.width * scale), dtype=torch.float32)
        for (top, bottom, above), (left, right, before) in self._places():
            tile = x[:, :, top - above : bottom + self.margin, left - before : right + self.margin]
            done = block(tile).float()
            result[:, :, top * scale : bottom * scale, left * scale : right * scale] = done[
                :,
                :,
                above * scale : (above + bottom - top) * scale,
                before * scale : (before + right - left) * scale,
            ]
        return result

    def _places(self) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """Of each tile, for rows and columns: its begin, its end, and its overlap before the begin."""
        for top in range(0, self.height, self.tall):
            for left in range(0, self.width, self.wide):
                yield (
                    (top, min(top + self.tall, self.height), min(self.margin, top)),
                    (left, min(left + self.wide, self.width), min(self.margin, left)),
                )
