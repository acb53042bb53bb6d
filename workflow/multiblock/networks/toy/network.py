"""The toy model's block, from the multiblock study: plain 3x3 convolutions plus the input."""

from torch import Tensor, nn


class Toy(nn.Module):
    """Six 3x3 convolutions with ReLU between the inner ones, plus the input image; keeps the size.

    No activation after the first and the last convolution. The study's size is the default: 151,235 parameters,
    receptive field 13. It starts from weights N(0, 0.1^2): ``start: normal``.

    Args:
        channels: feature channels.
        depth: how many convolutions, the first and the last included.
    """

    output_layer = "to_rgb"

    def __init__(self, *, channels: int = 64, depth: int = 6) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
        self.to_rgb = nn.Conv2d(channels, 3, 3, padding=1)
        self.layers = nn.Sequential(*layers)
        self.receptive_field = 1 + 2 * depth

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to images of the same shape, not clamped."""
        return x + self.to_rgb(self.layers(x))
