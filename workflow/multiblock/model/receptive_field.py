"""How far a network sees, measured: by the gradient of an output pixel, for networks of a user's own.

Tiles overlap by half of what a network declares. One that sees further leaves lines between them.
"""

import copy
import math

import torch
from torch import Tensor, nn

from multiblock.networks.registry import NetworkSpec, sees_whole_image

BEYOND = 8
"""Pixels on each side of the declared field in which a network that sees further is noticed."""

_LARGEST = 2 * 10**10
"""Parameters x pixels up to which a field is measured: ten seconds of a CPU."""


def measured(network: nn.Module, spec: NetworkSpec) -> int | None:
    """The side in input pixels of what an output pixel of a network sees, as its gradient says.

    Layers that say that they see the whole image count as if what they take from elsewhere were fixed. Weights are
    drawn positive for this, so that no path is cut by an activation.

    Returns:
        At most ``spec.receptive_field`` + 2 x 8: a network that sees so far may see further, or pool over the image
        without saying so. None where it cannot be known: the network says that it sees the whole image itself, takes
        too long, or has no gradient.
    """
    grid, scale = spec.grid, spec.scale
    reach = spec.receptive_field // 2 + BEYOND
    centre = math.ceil(reach / grid) * grid
    side = math.ceil((centre + grid + reach) / grid) * grid
    if getattr(network, "sees_whole_image", False) or _parameters(network) * side**2 > _LARGEST:
        return None
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        probe = copy.deepcopy(network).double().eval()
        _open(probe)
        image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        output, far = probe(image), -1
        for at in range(centre, centre + grid):  # of a network that strides, each place on its grid sees another part
            pixels = slice(at * scale, (at + 1) * scale)
            of = output[..., pixels, pixels].sum()
            (gradient,) = torch.autograd.grad(of, image, retain_graph=True) if of.requires_grad else (None,)
            if gradient is not None:
                seen = gradient[0].abs().sum(0).nonzero()
                far = max(far, int((seen - at).abs().max()) if len(seen) else -1)
    return None if far < 0 else 1 + 2 * min(far, reach)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _open(network: nn.Module) -> None:
    """Draw weights with which every path through a network lets a gradient pass, and fix what pools over the image."""
    with torch.no_grad():
        for parameter in network.parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.copy_((0.5 + torch.rand_like(parameter)) / fan)
    for layer in network.modules():
        if sees_whole_image(layer):
            layer.register_forward_hook(_by_a_fixed_factor)


def _by_a_fixed_factor(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
    """What a layer made, as its input times a factor that is not looked into."""
    if not given or made.shape != given[0].shape:
        return made.detach()
    return given[0] * (made / (given[0] + 1e-9)).detach()
