"""MATLAB's bicubic ``imresize``, the degradation that published x2, x3 and x4 results are measured on.

The cubic kernel has a = -0.5 and, for shrinking, is widened by the scale (antialiasing); beyond its edge an image
goes on as its mirror image. On 8-bit images the published LR files are reproduced bit for bit by resizing the
rows first and rounding to 8 bits after each of the two passes.
"""

import numpy as np
import torch
import torch.nn.functional as F


def _pass(planes: torch.Tensor, axis: int, length: int) -> torch.Tensor:
    """Resize (1, C, H, W), float64, along one axis to ``length`` pixels, and round to 8 bits."""
    old = planes.shape[axis]
    factor = max(old, length) // min(old, length)
    # As many mirrored pixels as the kernel reaches over the edge, and a whole number of pixels on either side.
    margin = 4 * factor if old > length else 4
    index = np.pad(np.arange(old), margin, mode="symmetric") if old > 1 else np.zeros(old + 2 * margin, int)
    padded = planes.index_select(axis, torch.from_numpy(index))
    target = length + 2 * (margin // factor if old > length else margin * factor)
    size = (target, planes.shape[3]) if axis == 2 else (planes.shape[2], target)
    resized = F.interpolate(padded, size=size, mode="bicubic", align_corners=False, antialias=True)
    cut = (target - length) // 2
    # Half up, as MATLAB rounds.
    return torch.floor(resized.narrow(axis, cut, length) + 0.5).clamp(0, 255)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by a whole factor, up or down, the same for both sides.

    Args:
        pixels: (H, W, 3), uint8.
        height, width: the new size in pixels.

    Returns:
        (height, width, 3), uint8.
    """
    planes = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    planes = _pass(_pass(planes, 2, height), 3, width)
    return planes[0].permute(1, 2, 0).contiguous().numpy().astype(np.uint8)


def shrink(pixels: np.ndarray, scale: int) -> np.ndarray:
    """LR of an HR image whose sides are multiples of ``scale``."""
    return resize(pixels, pixels.shape[0] // scale, pixels.shape[1] // scale)


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """An LR image at the size of HR: what "no network" means."""
    return resize(pixels, pixels.shape[0] * scale, pixels.shape[1] * scale)
