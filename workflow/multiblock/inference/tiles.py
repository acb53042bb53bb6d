"""Whole images through a chain, block by block, in overlapping tiles where memory asks for it."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from multiblock.data.tensors import to_tensor
from multiblock.model.chain import Chain
from multiblock.networks.spec import describe
from multiblock.runtime import memory
from multiblock.runtime.device import memory_format


def run(chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float) -> np.ndarray:
    """What ``chain`` makes of one image.

    Args:
        image: (H, W, 3), uint8, or floats with 1.0 as peak.
        memory_gib: memory for the feature maps of one block; images and weights come on top. Where the whole image
            needs more, the block runs in tiles that overlap by half its receptive field on every side. Convolutions
            do not see the seams then; channel attention pools a tile in place of the image.

    Returns:
        (scale*H, scale*W, 3), float32, cut to [0, 1] where the last block is clamped.
    """
    with torch.inference_mode():
        x = to_tensor(image[None]).to(device)
        for block, clamp in chain.links():
            x = _in_tiles(block, x.contiguous(memory_format=memory_format(describe(block).layout)), memory_gib)
            if clamp:
                x = x.clamp_(0, 1)
        return x[0].permute(1, 2, 0).float().cpu().numpy()


def _in_tiles(block: nn.Module, x: Tensor, memory_gib: float) -> Tensor:
    height, width = x.shape[2:]
    room = memory_gib * 2**30 / memory.per_pixel(block)
    if height * width * memory.GAPS <= room:
        return block(x).float()
    with memory.exact():
        return _tile_by_tile(block, x, room / memory.GAPS if x.is_cuda else room)


def _tile_by_tile(block: nn.Module, x: Tensor, pixels: float) -> Tensor:
    """Tiles of about ``pixels``; one tile if that is enough."""
    height, width = x.shape[2:]
    if height * width <= pixels:
        return block(x).float()
    spec = describe(block)
    grid, scale = spec.grid, spec.scale
    margin = math.ceil(spec.receptive_field // 2 / grid) * grid
    # A tile of at least the margin's size, however small the memory is said to be.
    core = max(int(math.sqrt(pixels)) - 2 * margin, margin, 16, grid) // grid * grid
    tall, wide = (math.ceil(side / math.ceil(side / core) / grid) * grid for side in (height, width))
    result = x.new_empty((1, 3, height * scale, width * scale), dtype=torch.float32)
    for top in range(0, height, tall):
        for left in range(0, width, wide):
            bottom, right = min(top + tall, height), min(left + wide, width)
            above, before = min(margin, top), min(margin, left)
            tile = x[:, :, top - above : bottom + margin, left - before : right + margin]
            done = block(tile).float()
            result[:, :, top * scale : bottom * scale, left * scale : right * scale] = done[
                :,
                :,
                above * scale : (above + bottom - top) * scale,
                before * scale : (before + right - left) * scale,
            ]
    return result
