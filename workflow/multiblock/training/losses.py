"""Losses by name, each a mean over a batch; a stage adds them up with weights. Another one is another line.

One on features has its name in ``config.PERCEPTUAL`` too: the config is checked without PyTorch.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multiblock.plan import Stage
from multiblock.training.vgg16 import VGG16Features

_ON_PIXELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    # Total variation: mean absolute difference of neighbours, of the output alone.
    "tv": lambda output, _: output.diff(dim=2).abs().mean() + output.diff(dim=3).abs().mean(),
}

_ON_FEATURES: Mapping[str, Callable[[list[Tensor], list[Tensor]], Tensor]] = {
    # The last two of the four maps, as in the SR-ResUNet study.
    "content": lambda output, target: _sum(map(F.l1_loss, output[2:], target[2:])),
    "style": lambda output, target: _sum(map(F.l1_loss, map(_gram, output), map(_gram, target))),
}


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def _gram(features: Tensor) -> Tensor:
    """Correlations of channels: (N, C, H, W) to (N, C, C), a mean over all values."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


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
        terms = {name: term(output, target) for name, term in _ON_PIXELS.items() if name in self._weights}
        if self._features is not None:
            seen, wanted = self._features(output), self._features(target)
            terms |= {name: term(seen, wanted) for name, term in _ON_FEATURES.items() if name in self._weights}
        return _sum(weight * terms[name] for name, weight in self._weights.items())
