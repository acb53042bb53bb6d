"""Layers that several networks have in common."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean red, green and blue of the DIV2K training images, as the authors of RCAN and DRLN took it."""


def conv(
    inputs: int, outputs: int, kernel: int = 3, *, dilation: int = 1, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution that keeps the size, with zeros beyond the edge."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias)


def separable(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """A depthwise-separable convolution: one per channel, then 1x1; both with bias, nothing between them."""
    return nn.Sequential(conv(inputs, inputs, kernel, groups=inputs), conv(inputs, outputs, 1))


def receptive_field(*reaches: tuple[float, float]) -> int:
    """Side in input pixels of what one output pixel sees.

    Args:
        reaches: how many pixels layers reach to each side, and how many times larger than the input their maps are.
    """
    return 1 + 2 * math.ceil(sum(pixels / enlarged for pixels, enlarged in reaches))


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``layer`` in float32 where other layers run in bfloat16, for what makes the image itself.

    bfloat16 has eight bits: near white its steps are 1/256. A network that adds its input image to what it computes
    rounds a small difference; one that does not would round the picture.

    Args:
        layer: whose weights are float32.
        x: (N, C, H, W) of any precision.
    """
    kind = "cuda" if x.is_cuda else "cpu"  # autocast knows no device meta
    if not torch.is_autocast_enabled(kind):
        return layer(x)
    with torch.autocast(kind, enabled=False):
        return layer(x.float())


class Upsampler(nn.Sequential):
    """Pixel shuffle in stages of 2, or one of 3: a 3x3 convolution to r*r times the channels, shuffle by r.

    Args:
        channels: feature channels, the same before and after.
        scale: 2, 3, 4 or 8 in all.
        before: makes an activation between convolution and shuffle.
        after: makes an activation after the shuffle.
        groups: groups of the convolutions.
        dilation: dilation of the convolutions.
    """

    def __init__(
        self,
        channels: int,
        scale: int,
        *,
        before: Callable[[], nn.Module] | None = None,
        after: Callable[[], nn.Module] | None = None,
        groups: int = 1,
        dilation: int = 1,
    ) -> None:
        factors = [3] if scale == 3 else [2] * int(math.log2(scale))
        layers: list[nn.Module] = []
        for factor in factors:
            layers.append(conv(channels, channels * factor**2, groups=groups, dilation=dilation))
            layers += [before()] if before else []
            layers.append(nn.PixelShuffle(factor))
            layers += [after()] if after else []
        super().__init__(*layers)
        enlarged = [math.prod(factors[:stage]) for stage in range(len(factors))]
        self.reaches: list[tuple[float, float]] = [(dilation, times) for times in enlarged]


class ChannelAttention(nn.Module):
    """Multiply each channel by a gate: pooled over the image, 1x1, ReLU, 1x1, sigmoid (RCAN; IMDN with contrast).

    Args:
        channels: feature channels C.
        hidden: channels between the two convolutions.
        contrast: pool to mean plus standard deviation, instead of the mean.
    """

    sees_whole_image = True

    def __init__(self, channels: int, hidden: int, *, contrast: bool = False) -> None:
        super().__init__()
        self.contrast = contrast
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = conv(channels, hidden, 1)
        self.excite = conv(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        pooled = self.pool(x)
        if self.contrast:
            # In float32: a variance in bfloat16 loses what it is the difference of.
            wide = x.float()
            centred = wide - wide.mean(dim=(2, 3), keepdim=True)
            # A flat map has no slope at zero; the tiny term keeps its gradient finite.
            pooled = pooled + (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-12).sqrt().to(x.dtype)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))


class MeanShift(nn.Conv2d):
    """Take the mean colour of DIV2K away, or give it back: a frozen 1x1 convolution, in float32 (EDSR, RCAN, DRLN).

    Args:
        sign: -1 takes it away from images in [0, 1] and goes over to the network's range; +1 is the way back.
        peak: white in the network's range, 1 or 255.
    """

    def __init__(self, sign: int, peak: float = 1.0) -> None:
        super().__init__(3, 3, 1)
        self.sign, self.peak = sign, peak
        self.weight.data = torch.eye(3)[:, :, None, None]
        self.bias.data = sign * peak * torch.tensor(DIV2K_MEAN)  # type: ignore[union-attr]
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape."""
        return in_float32(self._shift, x)

    def _shift(self, x: Tensor) -> Tensor:
        if self.sign < 0:
            return super().forward(x * self.peak)
        return super().forward(x) / self.peak
