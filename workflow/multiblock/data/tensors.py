"""Stored pixels as tensors."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Stored pixels (N, H, W, 3), uint8 or floats with 1.0 as peak, as a float32 tensor (N, 3, H, W)."""
    return floats(torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2))


def floats(pixels: Tensor) -> Tensor:
    """Stored pixels in any order as float32 in [0, 1], in the same order, on their device."""
    tensor = pixels.float()
    # By a tensor: a GPU multiplies by the rounded 1/255 where it is given a number, and differs in the last bit.
    return tensor.div_(tensor.new_full((), 255)) if pixels.dtype == torch.uint8 else tensor
