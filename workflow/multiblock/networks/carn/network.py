"""CARN, cascading residual network (Ahn et al., ECCV 2018), with every change that the CARN study tried on it."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multiblock.errors import UserError
from multiblock.networks.layers import MeanShift, Upsampler, conv, in_float32, receptive_field


class PartialConv2d(nn.Conv2d):
    """Partial-convolution padding (Liu et al. 2018): at the edge the taps inside make up for those outside."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        height, width = self.kernel_size
        taps = x.new_ones(1, 1, height, width)
        inside = F.conv2d(x.new_ones(1, 1, *x.shape[2:]), taps, padding=self.padding, dilation=self.dilation)
        out = self._conv_forward(x, self.weight, None) * (taps.numel() / inside)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


class Gate(nn.Module):
    """Concurrent squeeze and excitation (Roy et al. 2018): a gate for each channel, one for each pixel, or both.

    Args:
        channels: feature channels C.
        hidden: nodes between the two layers of the channel gate.
        kind: ``channel``, ``spatial`` or ``both``, which adds the two.
    """

    sees_whole_image = True

    def __init__(self, channels: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.channel = self.spatial = None
        if kind != "spatial":
            self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        if kind != "channel":
            self.spatial = conv(channels, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        factor: Tensor | float = 0.0
        if self.channel is not None:
            factor = factor + torch.sigmoid(self.channel(x.mean(dim=(2, 3))))[:, :, None, None]
        if self.spatial is not None:
            factor = factor + torch.sigmoid(self.spatial(x))
        return x * factor


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with an activation between, plus the input, activation.

    Args:
        channels: feature channels.
        rates: dilations of the two convolutions.
        groups: groups of the two convolutions; above one a 1x1 convolution follows them (CARN-M).
        activation: used after both.
    """

    def __init__(self, channels: int, rates: tuple[int, int], groups: int, activation: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, dilation=rates[0], groups=groups)
        self.conv2 = conv(channels, channels, dilation=rates[1], groups=groups)
        self.mix = nn.Sequential(activation, conv(channels, channels, 1)) if groups > 1 else nn.Identity()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        y = self.mix(self.conv2(self.activation(self.conv1(x))))
        return self.activation(x + y)


class Cascade(nn.Module):
    """Layers one after another; each is fed with a fusion of the input and of all that was made before it.

    Args:
        layers: the layers, or one that is used ``steps`` times.
        steps: how many of them run, each followed by its fusion.
        channels: feature channels.
        kernel, groups: of the fusing convolutions.
        activation: used after a fusion.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        steps: int,
        channels: int,
        kernel: int,
        groups: int,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.fusions = nn.ModuleList(
            conv((step + 2) * channels, channels, kernel, groups=groups) for step in range(steps)
        )
        self.activation = activation

    def steps(self, x: Tensor) -> list[Tensor]:
        """The input (N, C, H, W) and the result of every step, of the same shape."""
        seen, results = x, [x]
        for step, fusion in enumerate(self.fusions):
            layer = self.layers[step % len(self.layers)]
            seen = torch.cat([seen, layer(results[-1])], dim=1)
            results.append(self.activation(fusion(seen)))
        return results

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return self.steps(x)[-1]


class CARN(nn.Module):
    """Cascades of residual units inside a cascade of blocks, pixel shuffle, to RGB.

    The study's standard model is the default: 964,163 parameters at x2, LeakyReLU. The authors' network has ReLU
    (``slope`` 0), no activation after the entry and a mean shift; their CARN-M has ``unit_groups`` 4 and one unit
    that all steps of a block share. What the study calls V2 has 3x3 fusions.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels.
        blocks: steps of the outer cascade.
        units: steps of the inner cascades.
        slope: of the LeakyReLU.
        entry_activation: activation after the first convolution.
        mean_shift: take the mean colour of DIV2K away at the beginning, and add it again at the end.
        unit_groups: groups of the convolutions in the units and the upsampler.
        shared_unit: all steps of a block use one unit.
        fusion_kernel, fusion_groups: of all fusing convolutions.
        gate: ``none``, ``channel``, ``spatial`` or ``both`` (scSE).
        gate_reduction: hidden nodes of the channel gate are ``channels / gate_reduction``, at least 4.
        gate_after: gates after the ``units``, after the ``blocks``, or ``both``.
        wiring: ``as_described``: a gate follows each unit or block. ``as_coded``: gates are entries of the cascade
            like any other, and as it has as many steps as before, its later units and gates never run.
        dilations: a rate for each block; one for all when it is a single number.
        dilated: ``both`` convolutions of a unit, the ``first`` alone, or ``staggered``: the second takes the rate of
            the next block (our reading of the study's "diff_res").
        partial_padding: partial-convolution padding everywhere.
        global_dilation: dilate a residual unit after each block, instead of the units in it (our reading of the
            study's "global_atros").
        concatenate: the upsampler sees the entry and the result of every block, joined by 3x3.
        upsampler_dilation: dilation in the upsampler (our reading of the study's "upscale").
        late_dilations: 3x3 convolutions after the pixel shuffle, a rate each (our reading of "up_features").
        late_skip: add their input to their output (our reading of "res").
        bilinear: add the input enlarged bilinearly.
    """

    output_layer = "exit"

    def __init__(
        self,
        *,
        scale: int = 2,
        channels: int = 64,
        blocks: int = 3,
        units: int = 3,
        slope: float = 0.1,
        entry_activation: bool = True,
        mean_shift: bool = False,
        unit_groups: int = 1,
        shared_unit: bool = False,
        fusion_kernel: int = 1,
        fusion_groups: int = 1,
        gate: Literal["none", "channel", "spatial", "both"] = "none",
        gate_reduction: int = 16,
        gate_after: Literal["units", "blocks", "both"] = "units",
        wiring: Literal["as_described", "as_coded"] = "as_described",
        dilations: tuple[int, ...] = (1,),
        dilated: Literal["both", "first", "staggered"] = "both",
        partial_padding: bool = False,
        global_dilation: bool = False,
        concatenate: bool = False,
        upsampler_dilation: int = 1,
        late_dilations: tuple[int, ...] = (),
        late_skip: bool = False,
        bilinear: bool = False,
    ) -> None:
        super().__init__()
        if len(dilations) not in (1, blocks):
            raise UserError(
                f"dilations: found {len(dilations)} rates; allowed are 1, or one for each of {blocks} blocks"
            )
        activation = nn.LeakyReLU(slope)
        rates = [dilations[block % len(dilations)] for block in range(blocks)]
        following = {"both": rates, "first": [1] * blocks, "staggered": rates[1:] + rates[:1]}[dilated]
        pairs = list(zip(rates, following, strict=True))
        inner = [(1, 1)] * blocks if global_dilation else pairs

        def gated(layer: nn.Module, place: str) -> list[nn.Module]:
            """A layer with its gate: as one, or as two entries of the cascade."""
            if gate == "none" or gate_after not in (place, "both"):
                return [layer]
            both = [layer, Gate(channels, max(4, channels // gate_reduction), gate)]
            return both if wiring == "as_coded" else [nn.Sequential(*both)]

        def cascade(layers: Sequence[nn.Module], steps: int) -> Cascade:
            return Cascade(layers, steps, channels, fusion_kernel, fusion_groups, activation)

        def block(number: int) -> list[nn.Module]:
            layers: list[nn.Module] = []
            for _ in range(1 if shared_unit else units):
                layers += gated(ResidualUnit(channels, inner[number], unit_groups, activation), "units")
            whole: nn.Module = cascade(layers, units)
            if global_dilation:
                whole = nn.Sequential(whole, ResidualUnit(channels, pairs[number], unit_groups, activation))
            return gated(whole, "blocks")

        self.scale, self.bilinear, self.late_skip = scale, bilinear, late_skip
        self.subtract_mean = MeanShift(-1) if mean_shift else nn.Identity()
        self.add_mean = MeanShift(+1) if mean_shift else nn.Identity()
        self.entry = nn.Sequential(conv(3, channels), activation if entry_activation else nn.Identity())
        self.body = cascade([layer for number in range(blocks) for layer in block(number)], blocks)
        self.join = conv((blocks + 1) * channels, channels) if concatenate else None
        self.upsampler = Upsampler(
            channels, scale, before=lambda: activation, groups=unit_groups, dilation=upsampler_dilation
        )
        self.late = nn.Sequential(
            *(nn.Sequential(conv(channels, channels, dilation=rate), activation) for rate in late_dilations)
        )
        self.exit = conv(channels, 3)
        if partial_padding:
            _pad_partially(self)

        fusions = (fusion_kernel // 2) * (units * blocks + blocks)
        inside = units * sum(map(sum, inner)) + global_dilation * sum(map(sum, pairs))
        reach = 1 + inside + fusions + concatenate
        self.receptive_field = receptive_field(
            (reach, 1), *self.upsampler.reaches, (sum(late_dilations), scale), (1, scale)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        steps = self.body.steps(self.entry(self.subtract_mean(x)))
        features = self.upsampler(steps[-1] if self.join is None else self.join(torch.cat(steps, dim=1)))
        late = self.late(features)
        image = self.add_mean(in_float32(self.exit, late + features if self.late_skip else late))
        if self.bilinear:
            image = image + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return image


def _pad_partially(network: nn.Module) -> None:
    """Make every convolution that pads one with partial-convolution padding; weights stay."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and math.prod(layer.kernel_size) > 1:
            layer.__class__ = PartialConv2d
