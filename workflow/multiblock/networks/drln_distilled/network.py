"""The network that study 004 ends with: DRLN's joins and attention around depthwise distillation modules."""

import torch
from torch import Tensor, nn

from multiblock.networks.drln.network import LaplacianAttention
from multiblock.networks.layers import MeanShift, conv, in_float32, receptive_field, separable

_SLOPE = 0.01


def _layer(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(separable(inputs, outputs, kernel), nn.LeakyReLU(_SLOPE))


class DistillationModule(nn.Module):
    """Four depthwise-separable 3x3, a quarter of the channels set aside after each, join, 1x1, Laplacian attention.

    Unlike IMDN's, the last part is activated too, and the input is not added.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        kept = channels // 4
        self.parts = [kept, channels - kept]
        self.distil = nn.ModuleList(
            [_layer(channels, channels), _layer(channels - kept, channels), _layer(channels - kept, channels)]
        )
        self.last = _layer(channels - kept, kept)
        self.join = _layer(channels, channels, 1)
        self.attention = LaplacianAttention(channels, reduction, _SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        distilled = []
        for layer in self.distil:
            part, x = layer(x).split(self.parts, dim=1)
            distilled.append(part)
        return self.attention(self.join(torch.cat([*distilled, self.last(x)], dim=1)))


class DRLNDistilled(nn.Module):
    """Two modules in a row, then three groups of two with running joins; pixel shuffle straight to RGB.

    The study's size is the default: x3, 117,399 parameters that are used, 24 of them a frozen mean shift.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels, a multiple of 4.
        groups: how many groups of two modules.
        reduction: of the Laplacian attention.
    """

    output_layer = "to_rgb"

    def __init__(self, *, scale: int = 3, channels: int = 36, groups: int = 3, reduction: int = 16) -> None:
        super().__init__()
        self.subtract_mean, self.add_mean = MeanShift(-1), MeanShift(+1)
        self.head = conv(3, channels)
        self.body = nn.ModuleList(DistillationModule(channels, reduction) for _ in range(2 + 2 * groups))
        self.first = _layer(channels, channels)
        self.fusions = nn.ModuleList(_layer(parts * channels, channels) for _ in range(groups) for parts in (2, 3))
        self.upsampler = nn.Sequential(conv(channels, 3 * scale**2), nn.PixelShuffle(scale))
        self.to_rgb = conv(3, 3, 1)
        self.receptive_field = receptive_field((1 + 4 * (2 + 2 * groups) + 1 + 2 * groups + 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        features = self.head(self.subtract_mean(x))
        start = self.body[1](self.body[0](features))
        out = self.first(start)
        total = out + features
        for step in range(2, len(self.body), 2):
            joined = torch.cat([out, self.body[step](start)], dim=1)
            fused = self.fusions[step - 2](joined)
            out = self.fusions[step - 1](torch.cat([joined, self.body[step + 1](fused)], dim=1))
            total = start = total + out
        image = in_float32(self.upsampler, total + features)
        return self.add_mean(in_float32(self.to_rgb, image))
