"""SRResNet, the residual network of SRGAN (Ledig et al., CVPR 2017), as study 003 built it."""

import torch
from torch import Tensor, nn

from multiblock.networks.layers import Upsampler, conv, in_float32, receptive_field

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResidualBlock(nn.Module):
    """3x3, batch norm, PReLU, 3x3, batch norm, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.activation = nn.PReLU()
        self.conv2, self.norm2 = conv(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))


class SRResNet(nn.Module):
    """Head, residual blocks with a skip around them, pixel shuffles, tail; 9x9 at both ends.

    The study's size is the default: x4, 1,549,462 parameters. All convolutions have biases, and every PReLU one
    slope.

    Args:
        scale: 2, 3 or 4.
        channels: feature channels.
        blocks: how many residual blocks.
        tanh: the input is normalised by ImageNet's mean and deviation, and the output comes out of a tanh from -1 to
            1, as in some published weights.
    """

    output_layer = "tail"

    def __init__(self, *, scale: int = 4, channels: int = 64, blocks: int = 16, tanh: bool = False) -> None:
        super().__init__()
        self.tanh = tanh
        self.head, self.activation = conv(3, channels, 9), nn.PReLU()
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.closing, self.norm = conv(channels, channels), nn.BatchNorm2d(channels)
        self.upsampler = Upsampler(channels, scale, after=nn.PReLU)
        self.tail = conv(channels, 3, 9)
        self.receptive_field = receptive_field((4 + 2 * blocks + 1, 1), *self.upsampler.reaches, (4, scale))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), not clamped."""
        if self.tanh:
            x = (x - x.new_tensor(IMAGENET_MEAN)[:, None, None]) / x.new_tensor(IMAGENET_STD)[:, None, None]
        features = self.activation(self.head(x))
        image = in_float32(self.tail, self.upsampler(features + self.norm(self.closing(self.body(features)))))
        return (torch.tanh(image) + 1) / 2 if self.tanh else image
