"""RCAN, residual channel attention network (Zhang et al., ECCV 2018), and SA-RCAN of study 002."""

from typing import Literal

from torch import Tensor, nn

from multiblock.networks.attention import SelfAttention
from multiblock.networks.layers import ChannelAttention, MeanShift, Upsampler, conv, in_float32, receptive_field


class ResidualGroup(nn.Sequential):
    """Residual channel-attention blocks and a 3x3 convolution, plus the input.

    With ``in_groups`` the self-attention stands before that convolution, with ``in_blocks`` after the channel
    attention of every block.
    """

    def __init__(self, channels: int, blocks: int, reduction: int, place: str, pool: bool) -> None:
        sizes = channels, reduction, pool
        layers: list[nn.Module] = [
            ResidualBlock(channels, reduction, *_self_attention(place == "in_blocks", *sizes)) for _ in range(blocks)
        ]
        super().__init__(*layers, *_self_attention(place == "in_groups", *sizes), conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + super().forward(x)


class ResidualBlock(nn.Module):
    """3x3, ReLU, 3x3, channel attention and what may follow it, plus the input."""

    def __init__(self, channels: int, reduction: int, *attention: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(channels, channels),
            nn.ReLU(),
            conv(channels, channels),
            ChannelAttention(channels, max(1, channels // reduction)),
            *attention,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.layers(x)


def _self_attention(wanted: bool, channels: int, reduction: int, pool: bool) -> list[nn.Module]:
    """One self-attention layer, or none."""
    width = max(1, channels // reduction)
    size = nn.MaxPool2d(2) if pool else None
    return [SelfAttention(channels, key=width, value=width, pool=size)] if wanted else []


class RCAN(nn.Module):
    """Head, residual groups with a skip around them, pixel shuffle, to RGB; works on values from 0 to 255.

    The authors' size is the default: 15,592,379 parameters at x4, 24 of them a frozen mean shift. SA-RCAN has six
    groups and self-attention; its study does not settle where, so all three places are offered.

    Args:
        scale: 2, 3, 4 or 8.
        channels: feature channels.
        groups: how many residual groups.
        blocks: how many residual blocks in each.
        reduction: hidden channels of both attentions are ``channels / reduction``, at least one.
        self_attention: ``none``; ``between_groups``, after every two groups (code "Model 1"); ``in_groups``, at the
            end of each (code "Model 2"); or ``in_blocks``, after every channel attention (text).
        pool: halve keys and values of the self-attention by max-pooling (text; both codes leave it out).
    """

    output_layer = "to_rgb"

    def __init__(
        self,
        *,
        scale: int = 4,
        channels: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
        self_attention: Literal["none", "between_groups", "in_groups", "in_blocks"] = "none",
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.subtract_mean, self.add_mean = MeanShift(-1, 255), MeanShift(+1, 255)
        self.head = conv(3, channels)
        layers: list[nn.Module] = []
        for number in range(1, groups + 1):
            layers.append(ResidualGroup(channels, blocks, reduction, self_attention, pool))
            between = self_attention == "between_groups" and number % 2 == 0
            layers += _self_attention(between, channels, reduction, pool)
        self.body = nn.Sequential(*layers, conv(channels, channels))
        self.upsampler = Upsampler(channels, scale)
        self.to_rgb = conv(channels, 3)
        self.receptive_field = receptive_field(
            (1 + groups * (2 * blocks + 1) + 1, 1), *self.upsampler.reaches, (1, scale)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        features = self.head(self.subtract_mean(x))
        return self.add_mean(in_float32(self.to_rgb, self.upsampler(features + self.body(features))))
