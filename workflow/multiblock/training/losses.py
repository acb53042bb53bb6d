"""Losses by name, each a mean over a batch; a stage adds them up with weights. Another one is another entry.

PyTorch is imported when one is computed, not before: the config is checked against this table at once. The sum of a
stage's terms is :class:`multiblock.training.objective.Loss`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

VGG16_FILE = "vgg16-397923af.pth"
"""VGG-16 as torchvision publishes it, which the losses on features look through."""


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """A term of a loss.

    Args:
        what: what it is, for the reference: the end of a sentence that begins with its name.
        of: from the output and the target to one value. Both are images (N, 3, H, W); with ``on_features`` the four
            maps of :class:`multiblock.training.vgg16.VGG16Features`.
        on_features: whether it looks through VGG-16.
        alone: whether training can follow it with no other term.
    """

    what: str
    of: Callable[[Any, Any], "Tensor"]
    on_features: bool = False
    alone: bool = True


def _l1(output: "Tensor", target: "Tensor") -> "Tensor":
    from torch.nn.functional import l1_loss

    return l1_loss(output, target)


def _l2(output: "Tensor", target: "Tensor") -> "Tensor":
    from torch.nn.functional import mse_loss

    return mse_loss(output, target)


def _tv(output: "Tensor", _: "Tensor") -> "Tensor":
    return output.diff(dim=2).abs().mean() + output.diff(dim=3).abs().mean()


def _content(output: list["Tensor"], target: list["Tensor"]) -> "Tensor":
    return total(map(_l1, output[2:], target[2:]))


def _style(output: list["Tensor"], target: list["Tensor"]) -> "Tensor":
    return total(map(_l1, map(_gram, output), map(_gram, target)))


def _gram(features: "Tensor") -> "Tensor":
    """Correlations of channels: (N, C, H, W) to (N, C, C), a mean over all values."""
    flat = features.float().flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def total(terms: Iterable["Tensor"]) -> "Tensor":
    """The sum of values."""
    import torch

    return torch.stack(list(terms)).sum()


LOSSES: dict[str, LossTerm] = {
    "l1": LossTerm(what="is the mean absolute difference", of=_l1),
    "l2": LossTerm(what="is the mean squared difference", of=_l2),
    "content": LossTerm(
        what="is that of feature maps of VGG-16 (relu3_3, relu4_3; see `training.vgg16`), as in the SR-ResUNet study",
        of=_content,
        on_features=True,
    ),
    "style": LossTerm(
        what="is that of the Gram matrices of four of its layers (see `training.vgg16`)", of=_style, on_features=True
    ),
    "tv": LossTerm(
        what="is the output's total variation, the mean absolute difference of neighbours, and goes with another term",
        of=_tv,
        alone=False,
    ),
}
"""All terms by name."""
