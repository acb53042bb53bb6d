"""PAN, pixel attention network (Zhao et al., AIM 2020), and the variant that study 003 lists."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multiblock.networks.layers import conv, receptive_field


class PixelAttentionConv(nn.Module):
    """A 3x3 convolution gated at every pixel by the sigmoid of a 1x1 convolution, then another 3x3."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.gate = conv(channels, channels, 1)
        self.conv1 = conv(channels, channels, bias=bias)
        self.conv2 = conv(channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return self.conv2(self.conv1(x) * torch.sigmoid(self.gate(x)))


class SelfCalibratedBlock(nn.Module):
    """SC-PA: a plain and a pixel-attention branch on half the channels each, joined by 1x1, plus the input.

    Args:
        channels: feature channels.
        split: feed the branches with one half of the channels each, instead of with 1x1 projections.
    """

    def __init__(self, channels: int, split: bool) -> None:
        super().__init__()
        half = channels // 2
        self.split = split
        if not split:
            self.project_plain = conv(channels, half, 1, bias=False)
            self.project_gated = conv(channels, half, 1, bias=False)
        self.plain = conv(half, half, bias=split)
        self.gated = PixelAttentionConv(half, bias=split)
        self.join = conv(channels, channels, 1, bias=split)
        self.activation = nn.ReLU() if split else nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if self.split:
            plain, gated = x.chunk(2, dim=1)
        else:
            plain, gated = self.activation(self.project_plain(x)), self.activation(self.project_gated(x))
        branches = [self.activation(self.plain(plain)), self.activation(self.gated(gated))]
        return x + self.join(torch.cat(branches, dim=1))


class UpsamplingStage(nn.Module):
    """U-PA: nearest neighbour, 3x3, pixel attention, 3x3.

    Args:
        inputs: feature channels before.
        channels: feature channels after.
        factor: how many times it enlarges.
        split: the order and activation of the study's listing: ReLU before the pixel attention, not after it.
    """

    def __init__(self, inputs: int, channels: int, factor: int, split: bool) -> None:
        super().__init__()
        self.factor, self.split = factor, split
        self.conv1, self.gate = conv(inputs, channels), conv(channels, channels, 1)
        self.conv2 = conv(channels, channels)
        self.activation = nn.ReLU() if split else nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, factor*H, factor*W)."""
        x = self.conv1(F.interpolate(x, scale_factor=self.factor, mode="nearest"))
        x = self.activation(x) if self.split else x
        x = x * torch.sigmoid(self.gate(x))
        x = x if self.split else self.activation(x)
        return self.activation(self.conv2(x))


class PAN(nn.Module):
    """Head, SC-PA blocks with a skip around them, U-PA stages, to RGB, plus the input enlarged bilinearly.

    The authors' size is the default: 272,419 parameters at x4, 261,403 at x2 and x3.

    Args:
        scale: 2, 3 or 4 (two stages of 2).
        channels: feature channels, even.
        up_channels: feature channels of the U-PA stages.
        blocks: how many SC-PA blocks.
        split: the variant of study 003, as far as its listing can be read: channels are split instead of projected,
            with biases and ReLU. That the blocks keep their skips there is our reading.
    """

    output_layer = "to_rgb"

    def __init__(
        self, *, scale: int = 4, channels: int = 40, up_channels: int = 24, blocks: int = 16, split: bool = False
    ) -> None:
        super().__init__()
        factors = [2, 2] if scale == 4 else [scale]
        self.scale = scale
        self.head = conv(3, channels)
        self.body = nn.Sequential(*(SelfCalibratedBlock(channels, split) for _ in range(blocks)))
        self.closing = conv(channels, channels)
        self.upsampler = nn.Sequential(
            *(
                UpsamplingStage(up_channels if stage else channels, up_channels, factor, split)
                for stage, factor in enumerate(factors)
            )
        )
        self.to_rgb = conv(up_channels, 3)
        enlarged = [factors[0] ** (stage + 1) for stage in range(len(factors))]
        self.receptive_field = receptive_field((2 + 2 * blocks, 1), *((2, times) for times in enlarged), (1, scale))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        features = self.head(x)
        features = features + self.closing(self.body(features))
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return enlarged + self.to_rgb(self.upsampler(features))
