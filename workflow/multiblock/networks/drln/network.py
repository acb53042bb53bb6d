"""DRLN, densely residual Laplacian network (Anwar and Barnes, TPAMI 2020), and two lighter forms of study 004."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from multiblock.networks.layers import MeanShift, Upsampler, conv, in_float32, receptive_field, separable


class LaplacianAttention(nn.Module):
    """Multiply each channel by a gate from three dilated convolutions on the pooled map.

    On a map of one pixel the dilations 3, 5 and 7 make no difference; they are the authors'.

    Args:
        channels: feature channels C.
        reduction: hidden channels are ``channels / reduction``, at least one.
        slope: of the activation between the convolutions.
    """

    sees_whole_image = True

    def __init__(self, channels: int, reduction: int, slope: float = 0.0) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.ModuleList(conv(channels, hidden, dilation=rate) for rate in (3, 5, 7))
        self.excite = conv(3 * hidden, channels)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        pooled = self.pool(x)
        squeezed = torch.cat([self.activation(branch(pooled)) for branch in self.squeeze], dim=1)
        return x * torch.sigmoid(self.excite(squeezed))


class ResidualUnit(nn.Module):
    """3x3, ReLU, 3x3, plus the input, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels), conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return torch.relu(x + self.conv2(torch.relu(self.conv1(x))))


class ResidualLaplacianModule(nn.Module):
    """DRLM: residual units, each followed by a join with its input, then 1x1, ReLU, Laplacian attention.

    Args:
        channels: feature channels C; the units see C, 2C, 4C, ...
        units: how many units.
        reduction: of the attention.
    """

    def __init__(self, channels: int, units: int, reduction: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(channels * 2**step) for step in range(units))
        self.fuse = conv(channels * 2**units, channels, 1)
        self.attention = LaplacianAttention(channels, reduction)
        self.reach = 2 * units

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        for unit in self.units:
            x = torch.cat([x, unit(x)], dim=1)
        return self.attention(torch.relu(self.fuse(x)))


class LightModule(nn.Module):
    """A depthwise DRLM with exactly as many parameters and multiplications as the study's second lite network has.

    How that network is built is not known; this is a stand-in: a depthwise 3x3 joined with its input, 1x1, joined
    again, depthwise-separable 1x1, attention.
    """

    def __init__(self, channels: int, units: int, reduction: int) -> None:
        super().__init__()
        self.depthwise = conv(channels, channels, groups=channels)
        self.expand = conv(2 * channels, channels, 1)
        self.fuse = separable(3 * channels, channels, 1)
        self.attention = LaplacianAttention(channels, reduction)
        self.reach = 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        x = torch.cat([x, self.depthwise(x)], dim=1)
        x = torch.cat([x, torch.relu(self.expand(x))], dim=1)
        return self.attention(torch.relu(self.fuse(x)))


class DRLN(nn.Module):
    """Head, groups of DRLM with running joins inside and a skip around each, pixel shuffle, to RGB.

    The authors' size is the default: 34,614,795 parameters at x3, 24 of them a frozen mean shift.

    Args:
        scale: 2, 3, 4 or 8.
        channels: feature channels.
        groups: how many DRLM each group has.
        units: residual units in a DRLM.
        reduction: of the Laplacian attention.
        peak: white in the network's range, 1 or 255.
        depthwise: the stand-in for the study's second lite network: light modules and depthwise-separable fusions.
        as_coded: feed the second DRLM of the second group with the sum of the groups before, as the published code
            does; one fusion is then never used.
    """

    output_layer = "to_rgb"

    def __init__(
        self,
        *,
        scale: int = 3,
        channels: int = 64,
        groups: tuple[int, ...] = (3, 3, 3, 3, 4, 4),
        units: int = 3,
        reduction: int = 16,
        peak: int = 1,
        depthwise: bool = False,
        as_coded: bool = False,
    ) -> None:
        super().__init__()
        module, fusion = (LightModule, separable) if depthwise else (ResidualLaplacianModule, conv)
        self.groups, self.as_coded = tuple(groups), as_coded
        self.subtract_mean, self.add_mean = MeanShift(-1, peak), MeanShift(+1, peak)
        self.head = conv(3, channels)
        modules = [module(channels, units, reduction) for _ in range(sum(groups))]
        self.body = nn.ModuleList(modules)
        self.fusions = nn.ModuleList(
            fusion((step + 2) * channels, channels) for count in groups for step in range(count)
        )
        self.upsampler = Upsampler(channels, scale, before=nn.ReLU)
        self.to_rgb = conv(channels, 3)
        reach = 1 + sum(layer.reach + 1 for layer in modules)
        self.receptive_field = receptive_field((reach, 1), *self.upsampler.reaches, (1, scale))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        features = self.head(self.subtract_mean(x))
        total = seen = features
        for group, step, module, fusion in self._steps():
            if step == 0:
                fused = total
            fed = total if self.as_coded and (group, step) == (1, 1) else fused
            seen = torch.cat([seen, module(fed)], dim=1)
            fused = torch.relu(fusion(seen))
            if step == self.groups[group] - 1:
                total, seen = fused + total, fused
        return self.add_mean(in_float32(self.to_rgb, self.upsampler(total + features)))

    def _steps(self) -> Iterator[tuple[int, int, nn.Module, nn.Module]]:
        """Group, place in the group, module and fusion, in order."""
        places = [(group, step) for group, count in enumerate(self.groups) for step in range(count)]
        for (group, step), module, fusion in zip(places, self.body, self.fusions, strict=True):
            yield group, step, module, fusion
