"""The network that kept values are made with: a file of a user's own, so that no change of the package's networks
moves them. It has what trainings treat in different ways: parts with names, batch norm, and an enlargement."""

from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle


class KeptBlock(nn.Module):
    """Three convolutions, with batch norm after the second, plus the input image.

    The second has no bias, which batch norm would take away again: its gradient is zero but for rounding, which Adam
    makes as large as any.
    """

    output_layer = "last"
    receptive_field = 7

    def __init__(self, *, width: int = 4, scale: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.middle = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.last = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        self.slope = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to images that are ``scale`` times as large."""
        features = self.slope(self.first(x))
        features = features + self.slope(self.middle(features))
        return interpolate(x, scale_factor=self.scale) + pixel_shuffle(self.last(features), self.scale)
