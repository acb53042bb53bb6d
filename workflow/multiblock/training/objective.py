"""What a stage's training makes small: the weighted sum of its loss terms, and the features that some look through.

The terms themselves are :data:`multiblock.training.losses.LOSSES`.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from multiblock.errors import UserError
from multiblock.files import check_expected
from multiblock.model.metadata import digest_of_result
from multiblock.model.state_dict import read
from multiblock.plan import Stage
from multiblock.training.losses import LOSSES, LossTerm, total


class Loss(nn.Module):
    """The weighted sum of a stage's terms.

    Raises:
        UserError: the file of VGG-16 cannot be read, or holds other weights.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._weights = stage.loss
        self._features = VGG16Features(Path(stage.vgg16)) if stage.vgg16 else None

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to one value."""
        terms = {name: term.of(output, target) for name, term in self._terms(on_features=False)}
        if self._features is not None:
            seen, wanted = self._features(output), self._features(target)
            terms |= {name: term.of(seen, wanted) for name, term in self._terms(on_features=True)}
        return total(weight * terms[name] for name, weight in self._weights.items())

    def _terms(self, on_features: bool) -> list[tuple[str, LossTerm]]:
        return [
            (name, LOSSES[name]) for name in LOSSES if name in self._weights and LOSSES[name].on_features == on_features
        ]


_GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16Features(nn.Module):
    """The first ten convolutions of VGG-16 (Simonyan and Zisserman 2015), frozen.

    The layers carry torchvision's names, so that its published file loads from disk. The features are those after the
    last ReLU of the first four groups: relu1_2, relu2_2, relu3_3, relu4_3 (Johnson et al., ECCV 2016).

    Args:
        file: weights as torchvision publishes them (``vgg16-397923af.pth``).

    Raises:
        UserError: the file cannot be read, or holds other weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, file: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._taps = []
        channels = 3
        for group in _GROUPS:
            for width in group:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self._taps.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers[:-1])
        wanted = self.state_dict()
        published = read(file)
        try:
            self.load_state_dict({name: published[name] for name in wanted})
        except (KeyError, RuntimeError) as error:
            raise UserError(f"{file}: does not hold VGG-16 with torchvision's names: {error}") from None
        check_expected(f"file {file}", digest_of_result(file))
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) in [0, 1] to four maps, of 64 to 512 channels and 1/1 to 1/8 of the sides."""
        x = (images - self.mean) / self.std
        maps = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self._taps:
                maps.append(x)
        return maps
