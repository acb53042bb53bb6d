"""Losses by name, each a mean over a batch; a stage adds them up with weights. Another one is another entry.

PyTorch is imported when one is computed, not before: the config is checked against this table at once. The sum of a
stage's terms is :class:`multiblock.training.objective.Loss`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multiblock.errors import UserError
from multiblock.inference.metrics import WINDOW, ssim

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
            maps of :class:`multiblock.training.objective.VGG16Features`.
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


PSNR_CEILING = 80.0
"""PSNR in dB at which the loss ``psnr`` levels off: an image that equals its target is at this."""


def _psnr(output: "Tensor", target: "Tensor") -> "Tensor":
    """Minus the PSNR of each image in dB, a mean over the batch, so that easy images count as much as hard ones do.

    Chen et al. 2022, "Simple Baselines for Image Restoration" (NAFNet).
    """
    squares = (output - target).square().mean(dim=(1, 2, 3))
    return 10 * (squares + 10 ** (-PSNR_CEILING / 10)).log10().mean()


CHARBONNIER = 1e-3
"""Difference of two values below which the Charbonnier loss is not straight."""


def _charbonnier(output: "Tensor", target: "Tensor") -> "Tensor":
    """The mean of sqrt(d^2 + eps^2) over differences d, with eps 1e-3: L1 without its corner at 0.

    Charbonnier et al. 1994, "Two deterministic half-quadratic regularization algorithms for computed imaging"; for
    super-resolution Lai et al. 2017, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution".
    """
    return ((output - target).square() + CHARBONNIER**2).sqrt().mean()


def _ssim(output: "Tensor", target: "Tensor") -> "Tensor":
    """1 - SSIM of each channel, with peak 1, a mean over the places where the window of 11 x 11 fits.

    Wang et al. 2004; as a loss Zhao et al. 2017, "Loss Functions for Image Restoration With Neural Networks".

    Raises:
        UserError: the images are smaller than the window.
    """
    height, width = output.shape[2:]
    if min(height, width) < WINDOW:
        raise UserError(
            f"ssim: found images of {width} x {height} pixels; allowed are at least {WINDOW} x {WINDOW}, its window"
        )
    return 1 - ssim(output.float(), target.float(), peak=1).mean()


def _gradient_difference(output: "Tensor", target: "Tensor") -> "Tensor":
    """The mean difference of the sizes of neighbours' differences, along the rows plus along the columns.

    Mathieu, Couprie, LeCun 2016, "Deep multi-scale video prediction beyond mean square error", with exponent 1.
    """
    return total(
        (output.diff(dim=dim).abs() - target.diff(dim=dim).abs()).abs().mean()  # as they have it: sizes, not signs
        for dim in (2, 3)
    )


def _frequency(output: "Tensor", target: "Tensor") -> "Tensor":
    """The mean absolute difference of the amplitudes of the Fourier transform of each channel.

    Fuoli, Van Gool, Timofte 2021, "Fourier Space Losses for Efficient Perceptual Image Super-Resolution", its loss of
    amplitudes; over the half of the frequencies that a real image has, with the unitary transform, so that a value
    means the same for every size of patch.
    """
    from torch.fft import rfft2

    sizes = (rfft2(images.float(), norm="ortho").abs() for images in (output, target))
    return _l1(*sizes)


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
    "charbonnier": LossTerm(
        what="is the mean of the root of the squared difference plus 0.001 squared, L1 without its corner",
        of=_charbonnier,
    ),
    "ssim": LossTerm(
        what="is 1 - SSIM (window of 11 x 11, sigma 1.5, so patches of HR need 11 pixels a side)", of=_ssim
    ),
    "psnr": LossTerm(
        what="is minus the PSNR of each patch in dB, which counts easy patches as much as hard ones", of=_psnr
    ),
    "content": LossTerm(
        what="is that of feature maps of VGG-16 (relu3_3, relu4_3; see `training.vgg16`), as in the SR-ResUNet study",
        of=_content,
        on_features=True,
    ),
    "style": LossTerm(
        what="is that of the Gram matrices of four of its layers (see `training.vgg16`)", of=_style, on_features=True
    ),
    "gradient_difference": LossTerm(
        what="is the mean difference of the sizes of neighbours' differences, blind to brightness, so it goes with "
        "another term",
        of=_gradient_difference,
        alone=False,
    ),
    "frequency": LossTerm(
        what="is the mean absolute difference of Fourier amplitudes, blind to where things are, so it goes with "
        "another term",
        of=_frequency,
        alone=False,
    ),
    "tv": LossTerm(
        what="is the output's total variation, the mean absolute difference of neighbours, and goes with another term",
        of=_tv,
        alone=False,
    ),
}
"""All terms by name."""
