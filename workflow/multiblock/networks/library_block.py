"""A network of the library spandrel as a block: sizes that it cannot take are padded, and what it is is found out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from multiblock.errors import UserError, listed

_REACH = 32
"""Pixels by which tiles overlap, the most that any do: see :data:`multiblock.inference.tiles.OVERLAP`."""

_ALONE = ("DRUNet", "IPT")
"""Architectures whose images the library runs one by one: it adds a noise map to one, and cuts one into patches."""


def check_can_be_block(described: Any) -> None:
    """Refuse a network, by the library's description of it, that maps no picture of RGB to one, each time the same.

    Raises:
        UserError: other numbers of channels, a mask, or noise.
    """
    network = f"spandrel:{described.architecture.id}"
    if described.architecture.id == "AuraSR":
        raise UserError(f"{network}: draws noise in each call; a block makes the same of the same picture")
    if described.purpose == "Inpainting":
        raise UserError(f"{network}: also takes a mask; a block maps RGB to RGB")
    if others := {described.input_channels, described.output_channels} - {3}:
        raise UserError(f"{network}: takes or makes {listed(others)} channels; a block maps RGB to RGB")


class LibraryBlock(nn.Module):
    """A network of the library; maps (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), not clamped.

    Args:
        net: the network.
        describe: the library's description of one, from its weights: how it is called, how far it enlarges, and which
            sizes it takes.

    ``enlarges`` is how far, as far as that is known; an option may say otherwise.
    """

    receptive_field = 1 + 2 * _REACH
    net: nn.Module

    @property
    def field_unknown(self) -> str:
        """The name of a network of which nobody says how far it sees; tiles try whether their overlap does."""
        return type(self.net).__name__

    def __init__(self, net: nn.Module, describe: Callable[[Mapping[str, Any]], Any]) -> None:
        super().__init__()
        self.net = net
        for layer in net.modules():
            if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
                layer.sees_whole_image = True  # type: ignore[assignment]
        described = describe(dict(net.state_dict()))
        check_can_be_block(described)
        sizes = described.size_requirements
        self.grid, self._least, self._square = sizes.multiple_of, max(sizes.minimum, 1), sizes.square
        self.enlarges = described.scale
        self._alone = described.architecture.id in _ALONE
        # Some make a pair, or want another range of values.
        self._call: Callable[[nn.Module, Tensor], Tensor] = described._call_fn
        self.output_layer = self._last_convolution()

    def forward(self, x: Tensor) -> Tensor:
        """Images to enlarged images; those of other sizes than the network takes are padded, as the library does it."""
        height, width = x.shape[2:]
        # Rounded up by numbers above 0 alone, as ONNX divides towards 0.
        tall, wide = ((max(side, self._least) + self.grid - 1) // self.grid * self.grid for side in (height, width))
        if self._square:
            tall = wide = max(tall, wide)
        # A copy in any case: some networks change what they are given. A graph for all sizes cannot ask for the size.
        if torch.compiler.is_exporting() or (tall, wide) != (height, width):
            padded = _padded(x, tall - height, wide - width)
        else:
            padded = x.clone()
        if self._alone:
            made = torch.cat([self._call(self.net, image) for image in padded.split(1)])
        else:
            made = self._call(self.net, padded)
        scale = made.shape[-1] // padded.shape[-1]
        return made[..., : scale * height, : scale * width]

    @torch.no_grad()
    def _last_convolution(self) -> str:
        """The name of the convolution that runs last."""
        ran: list[str] = []
        hooks = [
            layer.register_forward_hook(lambda *_, name=name: ran.append(name))
            for name, layer in self.named_modules()
            if isinstance(layer, nn.Conv2d) and type(layer).__name__ != "MeanShift"  # a shift of colours
        ]
        training = self.training
        self.eval()(torch.zeros(1, 3, 16, 16))
        self.train(training)
        for hook in hooks:
            hook.remove()
        return ran[-1] if ran else "net"


def _padded(x: Tensor, below: int, right: int) -> Tensor:
    """Images with so many more pixels: their mirror image, and, where that is too small, its last ones again."""
    mirrored = [torch.sym_min(more, side - 1) for more, side in zip((below, right), x.shape[2:], strict=True)]
    x = functional.pad(x, (0, mirrored[1], 0, mirrored[0]), mode="reflect")
    return functional.pad(x, (0, right - mirrored[1], 0, below - mirrored[0]), mode="replicate")
