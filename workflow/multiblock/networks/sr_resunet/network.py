"""SR-ResUNet, the nine U-Nets of the study: a ResNet encoder, a decoder of sub-pixel stages, skips between them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from multiblock.errors import UserError, listed
from multiblock.networks.attention import SelfAttention
from multiblock.networks.layers import ChannelAttention, conv, in_float32, receptive_field
from multiblock.networks.sr_resunet.resnet import ENCODERS, Encoder
from multiblock.plan import RANDOM

_DEEPEST = 16
"""LR pixels to the side of a pixel of the encoder's last map, in all nine networks."""


class MirrorBlock(nn.Module):
    """3x3, batch norm, ReLU, 3x3, batch norm, plus the input (through a 1x1 where the width changes), ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.shortcut = conv(channels, out, 1) if channels != out else nn.Identity()
        self.body = nn.Sequential(
            conv(channels, out),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            conv(out, out),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class DenseBlock(nn.Module):
    """3x3 convolutions, each fed with the sum of the block's input and of all outputs before it.

    What the block adds to its input is ``residual``, in which the kinds of block differ.

    Args:
        channels: feature channels C.
        after: for each convolution, the layers that follow it.
    """

    def __init__(self, channels: int, after: Iterable[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Sequential(conv(channels, channels), *layers) for layers in after)

    def residual(self, x: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """From the input, the last output, and the sum of the input and all outputs."""
        return last

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        last = total = x
        for unit in self.units:
            last = unit(total)
            total = total + last
        return x + self.residual(x, last, total)


class ScaledBlock(DenseBlock):
    """Five convolutions with instance norm and LeakyReLU 0.2, the last with the norm only and times 0.2."""

    def __init__(self, channels: int) -> None:
        active = [[nn.InstanceNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)] for _ in range(4)]
        super().__init__(channels, [*active, [nn.InstanceNorm2d(channels)]])

    def residual(self, x: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """0.2 times the last output."""
        return 0.2 * last


class ChannelBlock(DenseBlock):
    """Three convolutions with instance norm and LeakyReLU 0.2; channel attention is added to the last output."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, ([nn.InstanceNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)] for _ in range(3)))
        self.channel_attention = ChannelAttention(channels, channels // 16)

    def residual(self, x: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """The last output twice, once with channel attention."""
        return last + self.channel_attention(last)


class PlainBlock(DenseBlock):
    """Three Kaiming-uniform convolutions, each with ReLU and then instance norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, ([nn.ReLU(inplace=True), nn.InstanceNorm2d(channels)] for _ in range(3)))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")


class SpatialBlock(PlainBlock):
    """The plain block, and self-attention on the sum of its input and outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.self_attention = SelfAttention(channels, key=_key(channels), value=channels // 2, pool=nn.MaxPool2d(2))

    def residual(self, x: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """The sum with self-attention."""
        return self.self_attention(total)


class AttentiveBlock(PlainBlock):
    """The plain block, then self-attention, then channel attention, all with spectral norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        key = _key(channels)
        self.self_attention = SelfAttention(
            channels, key=key, value=key, pool=nn.AvgPool2d(4), normalised=("theta", "phi", "g", "out")
        )
        self.channel_attention = ChannelAttention(channels, channels // key)
        for layer in (self.channel_attention.squeeze, self.channel_attention.excite):
            spectral_norm(layer)

    def residual(self, x: Tensor, last: Tensor, total: Tensor) -> Tensor:
        """Channel attention on input plus last output, without and with self-attention."""
        both = x + last
        return self.channel_attention(both + self.self_attention(both))


def _key(channels: int) -> int:
    return 16 if channels > 64 else 8


def _mirror_blocks(channels: int, out: int, count: int) -> nn.Sequential:
    widths = [channels, channels] + [out] * (count - 1)
    return nn.Sequential(*(MirrorBlock(*pair) for pair in pairwise(widths)))


def _dense_blocks(
    inner: Callable[[int], nn.Module], last: Callable[[int], nn.Module], channels: int, out: int, count: int
) -> nn.Sequential:
    reduce = [conv(channels, out, 1)] if channels != out else []
    return nn.Sequential(inner(channels), *reduce, *(inner(out) for _ in range(count - 2)), last(out))


def _icnr(channels: int, out: int) -> nn.Sequential:
    """1x1 with weight norm, ReLU, shuffle; the four pixels of a shuffle start equal, so there is no checkerboard."""
    layer = conv(channels, 4 * out, 1)
    with torch.no_grad():
        layer.weight.copy_(nn.init.kaiming_normal_(layer.weight[::4].clone()).repeat_interleave(4, 0))
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(weight_norm(layer), nn.ReLU(inplace=True), nn.PixelShuffle(2))


def _subpixel(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv(channels, 4 * out, bias=False), nn.PixelShuffle(2), nn.LeakyReLU(0.2, inplace=True))


def _large_kernel(channels: int) -> nn.Sequential:
    return nn.Sequential(conv(channels, 3, 9))


def _times_four(channels: int) -> nn.Sequential:
    return nn.Sequential(_subpixel(channels, 64), _subpixel(64, 64), *_large_kernel(64))


@dataclass(frozen=True)
class _Decoder:
    """One decoder: its blocks from width to width, how many in each stage, and how a stage doubles the size.

    With ``upscaled_first`` the encoder gets the upscaled image. Stages halve the width, down to ``narrowest``; from
    the last one ``output`` makes the image.
    """

    blocks: Callable[[int, int, int], nn.Sequential]
    counts: tuple[int, ...]
    output: Callable[[int], nn.Sequential]
    upsample: Callable[[int, int], nn.Module] = _icnr
    upscaling: str = "bilinear"
    upscaled_first: bool = False
    narrowest: int = 1


_RESNETS = (3, 6, 4, 3, 3)
_THREES = (3, 3, 3, 3, 3)
_scaled, _channel = (partial(_dense_blocks, block, block) for block in (ScaledBlock, ChannelBlock))
_spatial, _both = (partial(_dense_blocks, PlainBlock, block) for block in (SpatialBlock, AttentiveBlock))
_self_attentive = partial(_Decoder, upsample=_subpixel, upscaling="bicubic", narrowest=64)

_DECODERS = {
    ("mirror", "none"): _Decoder(
        _mirror_blocks, _RESNETS, partial(_mirror_blocks, out=3, count=3), upscaled_first=True
    ),
    ("dense", "none"): _Decoder(_scaled, _THREES, partial(_scaled, out=3, count=3)),
    ("dense", "channel"): _Decoder(_channel, _RESNETS, _large_kernel, narrowest=64),
    ("dense", "spatial"): _self_attentive(_spatial, _THREES, _large_kernel),
    ("dense", "both"): _self_attentive(_both, _THREES, _large_kernel),
}


_NINE = [
    *((encoder, decoder, "none") for encoder in ENCODERS for decoder in ("mirror", "dense")),
    *(("resnet34", "dense", attention) for attention in ("channel", "spatial", "both")),
]


class Stage(nn.Module):
    """A stage of a decoder: double the size at half the width, put the skip in front, refine."""

    def __init__(self, upsample: nn.Module, blocks: nn.Sequential) -> None:
        super().__init__()
        self.upsample = upsample
        self.blocks = blocks

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, C, H, W) and the skip (N, C/2, 2H, 2W) to (N, C', 2H, 2W)."""
        return self.blocks(torch.cat((skip, self.upsample(x)), dim=1))


def _padded(x: Tensor, multiple: int) -> Tensor:
    # At least two pixels deep down: instance norm has nothing to norm in one.
    below, right = (max(2, math.ceil(side / multiple)) * multiple - side for side in x.shape[2:])
    return F.pad(x, (0, right, 0, below), mode="replicate")


def _reach(layers: nn.Module) -> int:
    """How far a pixel sees through convolutions that follow each other, in pixels of their maps."""
    return sum(layer.kernel_size[0] // 2 for layer in layers.modules() if isinstance(layer, nn.Conv2d))


class SRResUNet(nn.Module):
    """The SR-ResUNet family: ``scale`` times the size, for images of at least 8x8, odd sizes included.

    The architectures of the study, by number: with ``decoder="mirror"`` 1, 3 and 5, with ``"dense"`` 2 (the study's
    SR-ResUNet, the default), 4 and 6, for the three encoders in turn; with ResNet-34, dense and ``attention`` channel
    7, spatial 8, both 9 (Attentive SR-ResUNet). At x2 they have the study's code's sizes, its unused classifiers left
    out: 33,356,394, 45,754,619, 216,390,042, 414,838,091, 215,861,914, 414,309,963, 38,302,311, 42,528,792 and
    42,463,648 parameters. Of 4, 5 and 6 the study published no code: they are built like 2 and 3.

    x2: four stages lead from the encoder's last map to the size of the image, a fifth doubles it. Their skips are the
    encoder's maps, then the first convolution's (mirror) or the image (dense), then the upscaled image. The mirror
    networks encode the upscaled image. x4 is our reading, as no published code fits the study's results: encoder and
    four stages stay, and in place of the fifth come two 3x3 sub-pixel stages to 64 channels and a 9x9, which is
    how the study's x4 experiments end.

    The image is not normalised: most of the study's code does not, and what does normalises the target too.

    Args:
        encoder_weights: file of the encoder's weights as torchvision publishes them (resnet34-b627a593.pth,
            resnet50-0676ba61.pth, resnext50_32x4d-7cdf4587.pth), from which training starts; or ``random``.
        encoder: resnet34, resnet50 or resnext50_32x4d.
        decoder: mirror or dense.
        attention: none, channel, spatial or both.
        scale: 2 or 4.
        align_corners: the grid on which the image is upscaled. The study's code says true for 1 to 7, and for 1 to 3
            shrinks its images alike; LR images made the usual way lie on the grid of false.

    Raises:
        UserError: the options are none of the nine.
    """

    def __init__(
        self,
        *,
        encoder_weights: str,
        encoder: Literal["resnet34", "resnet50", "resnext50_32x4d"] = "resnet34",
        decoder: Literal["mirror", "dense"] = "dense",
        attention: Literal["none", "channel", "spatial", "both"] = "none",
        scale: Literal[2, 4] = 2,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if (encoder, decoder, attention) not in _NINE:
            raise UserError(
                f"encoder, decoder, attention: found {encoder}, {decoder}, {attention}; "
                f"allowed are {listed(' '.join(options) for options in _NINE)}"
            )
        design = _DECODERS[decoder, attention]
        convolutions = ENCODERS[encoder]
        self.pretrained = {} if encoder_weights == RANDOM else {"encoder": encoder_weights}
        self.grid = _DEEPEST
        self.layout = "contiguous" if decoder == "dense" else "channels_last"  # the dense ones have instance norm
        self.scale = scale
        self.upscaling = design.upscaling
        self.upscaled_first = design.upscaled_first
        self.align_corners = align_corners

        self.encoder = Encoder(convolutions, pooled=design.upscaled_first)
        steps = 5 if scale == 2 else 4
        widths = [max(self.encoder.channels >> step, design.narrowest) for step in range(steps + 1)]
        self.skips = nn.ModuleList(
            conv(channels, width // 2, 1)
            for channels, width in zip((64 if design.upscaled_first else 3, 3), widths[3:-1], strict=False)
        )
        self.stages = nn.ModuleList(
            Stage(design.upsample(width, width // 2), design.blocks(width, out, count))
            for (width, out), count in zip(pairwise(widths), design.counts, strict=False)
        )
        self.output = (design.output if scale == 2 else _times_four)(widths[-1])
        self.output_layer = [name for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d)][-1]
        self.receptive_field = receptive_field((self._reach(), 1))

    def _reach(self) -> float:
        """How many LR pixels an output pixel sees to one side, by way of the deepest map; an upper bound."""
        pixel = 0.5 if self.upscaled_first else 1.0
        # The interpolation and the max-pool of the mirror networks see two pixels and one further.
        total = 3 * pixel + (3 if self.upscaled_first else 0)
        total += sum(2**n * _reach(self.encoder.get_submodule(f"layer{n}")) for n in range(1, 5))
        pixel = _DEEPEST
        for stage in self.stages:
            total += pixel * _reach(stage.get_submodule("upsample"))
            pixel /= 2
            total += pixel * (1 + _reach(stage.get_submodule("blocks")))
        # A shuffle lets a pixel see the rest of its coarser pixel: half of that in a stage, twice below one at x4.
        return total + pixel * _reach(self.output) + (1 if self.scale == 4 else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        height, width = (self.scale * side for side in x.shape[2:])
        upscaled = F.interpolate(x, scale_factor=2, mode=self.upscaling, align_corners=self.align_corners)
        # Continued by their borders to what the encoder can halve.
        image, upscaled = _padded(x, _DEEPEST), _padded(upscaled, 2 * _DEEPEST)
        first, *maps, x = self.encoder(upscaled if self.upscaled_first else image)
        views = (first if self.upscaled_first else image, upscaled)
        skips = maps[::-1] + [skip(view) for skip, view in zip(self.skips, views, strict=False)]
        for stage, skip in zip(self.stages, skips, strict=True):
            x = stage(x, skip)
        *inner, last = self.output if self.scale == 4 else [self.output]  # the blocks that end x2 pass the image on
        for layer in inner:
            x = layer(x)
        return in_float32(last, x)[:, :, :height, :width]
