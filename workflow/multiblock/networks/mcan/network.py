"""MCAN, the block of the multiblock study: residual channel-attention blocks between two plain convolutions."""

import torch
from torch import Tensor, nn


class ChannelGate(nn.Module):
    """Channel attention: mean over the image, two 1-tap convolutions, sigmoid, multiply.

    Args:
        channels: feature channels C.
        hidden: channels between the two convolutions.
    """

    sees_whole_image = True

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv1d(channels, hidden, 1)
        self.excite = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        mean = x.mean(dim=(2, 3)).unsqueeze(2)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))
        return x * gate.unsqueeze(3)


class ResidualBlock(nn.Module):
    """3x3, ReLU, 3x3, channel gate, plus the input; no activation after the sum."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = ChannelGate(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.gate(self.conv2(torch.relu(self.conv1(x))))


class MCAN(nn.Module):
    """One block N_k of the multiblock channel attention network; keeps the size.

    Head, ``residual_blocks`` residual channel-attention blocks, closing convolution, to RGB, plus the input image.
    The study's size is the default: 1,256,195 parameters, 35 convolutions deep, receptive field 71. Unlike RCAN
    there is no skip around the residual blocks.

    Args:
        channels: feature channels.
        residual_blocks: how many residual blocks.
        reduction: the gate's hidden channels are ``channels / reduction``, at least one.
    """

    output_layer = "to_rgb"

    def __init__(self, *, channels: int = 64, residual_blocks: int = 16, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels, hidden) for _ in range(residual_blocks)))
        self.closing = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_rgb = nn.Conv2d(channels, 3, 3, padding=1)
        self.receptive_field = 1 + 2 * (3 + 2 * residual_blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to images of the same shape, not clamped."""
        features = self.head(x)
        for block in self.body:  # a call of them all would hold the first map to the end
            features = block(features)
        return x + self.to_rgb(self.closing(features))
