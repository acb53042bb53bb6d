"""Whole images through a chain, block by block, in overlapping tiles where memory asks for it."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from multiblock.chain import Chain, layout
from multiblock.data.sampler import to_tensor

_LIVE_MAPS = 6
"""Feature maps alive at once in the widest part of a block, convolution workspace included."""


def run(chain: Chain, image: np.ndarray, device: torch.device, memory_gib: float) -> np.ndarray:
    """What ``chain`` makes of one image.

    Args:
        image: (H, W, 3), uint8, or floats with 1.0 as peak.
        memory_gib: memory for the feature maps of one block. Where the whole image needs more, each block runs in
            tiles that overlap by half its receptive field on every side. Convolutions do not see the seams then;
            channel attention pools a tile in place of the image.

    Returns:
        (scale*H, scale*W, 3), float32, cut to [0, 1] where the last block is clamped.
    """
    with torch.inference_mode():
        x = to_tensor(image[None]).to(device)
        for block, clamp in chain.links():
            x = _in_tiles(block, x.contiguous(memory_format=layout(block)), memory_gib)
            if clamp:
                x = x.clamp(0, 1)
        return x[0].permute(1, 2, 0).float().cpu().numpy()


def bytes_per_pixel(block: nn.Module) -> int:
    """Memory in bytes that the feature maps of ``block`` take for each input pixel."""
    side = 32
    widest = 0

    def note(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal widest
        widest = max([widest, *(value.numel() for value in (*inputs, output) if isinstance(value, Tensor))])

    hooks = [module.register_forward_hook(note) for module in block.modules()]
    try:
        with torch.inference_mode():
            parameter = next(block.parameters())
            block(torch.zeros(1, 3, side, side, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    return math.ceil(widest / side**2) * 4 * _LIVE_MAPS


def _in_tiles(block: nn.Module, x: Tensor, memory_gib: float) -> Tensor:
    height, width = x.shape[2:]
    pixels = memory_gib * 2**30 / bytes_per_pixel(block)
    if height * width <= pixels:
        return block(x).float()
    grid = int(getattr(block, "grid", 1))
    margin = math.ceil(int(block.receptive_field) // 2 / grid) * grid  # type: ignore[arg-type]
    # A tile of at least the margin's size, however small the memory is said to be.
    core = max(int(math.sqrt(pixels)) - 2 * margin, margin, 16) // grid * grid
    scale = int(block.scale)  # type: ignore[arg-type]
    result = x.new_empty((1, 3, height * scale, width * scale), dtype=torch.float32)
    for top in range(0, height, core):
        for left in range(0, width, core):
            bottom, right = min(top + core, height), min(left + core, width)
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
