"""IMDN, information multi-distillation network (Hui et al., ACM MM 2019), and the lighter forms of study 004."""

import torch
from torch import Tensor, nn

from multiblock.networks.layers import ChannelAttention, conv, in_float32, receptive_field, separable


class DistillationModule(nn.Module):
    """Four 3x3 convolutions; after each of the first three a quarter of the channels is set aside.

    The four quarters are joined, pass the attention and a 1x1 convolution, and the input is added. With two passes
    the same attention acts before and after that convolution.
    """

    def __init__(self, channels: int, attention: nn.Module | None, passes: int, depthwise: bool) -> None:
        super().__init__()
        layer = separable if depthwise else conv
        kept = channels // 4
        self.parts = [kept, channels - kept]
        self.conv1 = layer(channels, channels)
        self.conv2 = layer(channels - kept, channels)
        self.conv3 = layer(channels - kept, channels)
        self.conv4 = layer(channels - kept, kept)
        self.attention = attention
        self.passes = passes
        self.join = layer(channels, channels, 1)
        self.activation = nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        distilled, rest = [], x
        for convolution in (self.conv1, self.conv2, self.conv3):
            part, rest = self.activation(convolution(rest)).split(self.parts, dim=1)
            distilled.append(part)
        joined = torch.cat([*distilled, self.conv4(rest)], dim=1)
        if self.attention is None:
            return x + self.join(joined)
        y = self.join(self.attention(joined))
        return x + (self.attention(y) if self.passes == 2 else y)


class IMDN(nn.Module):
    """Head, distillation modules, a join of their outputs, a skip from the head, pixel shuffle.

    The authors' size is the default: 703,059 parameters at x3. Without attention and aggregation it is IMDN_RTC;
    with depthwise convolutions the network of study 004, whose source is not public: its form follows from the
    parameters and GFLOPs that the study gives, save that where the attention acts the second time is our reading.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels, a multiple of 4.
        modules: how many distillation modules.
        attention: contrast-aware channel attention in every module.
        reduction: the attention's hidden channels are ``channels / reduction``, at least one.
        passes: how often the attention acts in a module, 1 or 2.
        aggregate: join the outputs of all modules, instead of going on from the last.
        depthwise: depthwise-separable convolutions inside the modules.
    """

    output_layer = "upsampler.0"

    def __init__(
        self,
        *,
        scale: int = 3,
        channels: int = 64,
        modules: int = 6,
        attention: bool = True,
        reduction: int = 16,
        passes: int = 1,
        aggregate: bool = True,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)

        def gate() -> nn.Module | None:
            return ChannelAttention(channels, hidden, contrast=True) if attention else None

        self.head = conv(3, channels)
        self.body = nn.ModuleList(DistillationModule(channels, gate(), passes, depthwise) for _ in range(modules))
        self.aggregate = aggregate
        if aggregate:
            self.join = nn.Sequential(
                conv(modules * channels, channels, 1), nn.LeakyReLU(0.05), conv(channels, channels)
            )
        else:
            self.join = nn.Sequential(conv(channels, channels, 1))
        self.upsampler = nn.Sequential(conv(channels, 3 * scale**2), nn.PixelShuffle(scale))
        self.receptive_field = receptive_field((1 + 4 * modules + aggregate + 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        features = y = self.head(x)
        outputs = []
        for module in self.body:
            y = module(y)
            outputs.append(y)
        joined = self.join(torch.cat(outputs, dim=1) if self.aggregate else y)
        return in_float32(self.upsampler, features + joined)
