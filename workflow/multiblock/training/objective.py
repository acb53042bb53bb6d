"""What a stage's training makes small: the weighted sum of its loss terms."""

from pathlib import Path

from torch import Tensor, nn

from multiblock.plan import Stage
from multiblock.training.losses import LOSSES, LossTerm, total
from multiblock.training.vgg16 import VGG16Features


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
        """Images (N, 3, H, W) to one value."""
        terms = {name: term.of(output, target) for name, term in self._terms(on_features=False)}
        if self._features is not None:
            seen, wanted = self._features(output), self._features(target)
            terms |= {name: term.of(seen, wanted) for name, term in self._terms(on_features=True)}
        return total(weight * terms[name] for name, weight in self._weights.items())

    def _terms(self, on_features: bool) -> list[tuple[str, LossTerm]]:
        return [
            (name, LOSSES[name]) for name in LOSSES if name in self._weights and LOSSES[name].on_features == on_features
        ]
