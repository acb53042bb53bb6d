"""ResNet-34, ResNet-50 and ResNeXt-50 as encoders, with torchvision's parameter names, so that its files load."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn


def _basic(channels: int, planes: int, stride: int) -> list[nn.Conv2d]:
    return [
        nn.Conv2d(channels, planes, 3, stride, 1, bias=False),
        nn.Conv2d(planes, planes, 3, padding=1, bias=False),
    ]


def _bottleneck(channels: int, planes: int, stride: int, width: int, groups: int) -> list[nn.Conv2d]:
    inner = planes * width // 64
    return [
        nn.Conv2d(channels, inner, 1, bias=False),
        nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False),
        nn.Conv2d(inner, 4 * planes, 1, bias=False),
    ]


ENCODERS: dict[str, Callable[[int, int, int], list[nn.Conv2d]]] = {
    "resnet34": _basic,
    "resnet50": partial(_bottleneck, width=64, groups=1),
    "resnext50_32x4d": partial(_bottleneck, width=128, groups=32),
}
"""The convolutions of one block."""


class EncoderBlock(nn.Module):
    """A ResNet's block: convolutions with batch norm and ReLU between them, plus the input, ReLU."""

    def __init__(self, channels: int, stride: int, convolutions: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        for number, convolution in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
        self.depth = len(convolutions)
        self.channels = convolutions[-1].out_channels
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(channels, self.channels, 1, stride, bias=False),
                nn.BatchNorm2d(self.channels),
            )
            if (stride, self.channels) != (1, channels)
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H/stride, W/stride)."""
        shortcut = self.downsample(x)
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x))
            x = torch.relu(x + shortcut if number == self.depth else x)
        return x


class Encoder(nn.Module):
    """A ResNet without its classifier; parameters are named as in torchvision, whose weights load.

    Args:
        convolutions: from input channels, planes and stride to the convolutions of a block.
        pooled: with the max-pool after the first convolution; without it all maps are twice as large.
    """

    def __init__(self, convolutions: Callable[[int, int, int], list[nn.Conv2d]], pooled: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1) if pooled else nn.Identity()
        self.channels = 64
        for number, depth in enumerate((3, 4, 6, 3), 1):
            blocks = []
            for stride in [1 if number == 1 else 2] + [1] * (depth - 1):
                layers = convolutions(self.channels, 32 << number, stride)
                blocks.append(EncoderBlock(self.channels, stride, layers))
                self.channels = blocks[-1].channels
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) to five maps: of the first convolution, before its norm, and of the four layers."""
        maps = [self.conv1(x)]
        x = self.pool(torch.relu(self.bn1(maps[0])))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            maps.append(x)
        return maps
