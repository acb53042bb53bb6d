"""What a network says of itself: all that tiling, compiling and starting need to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from multiblock.errors import UserError


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network described by the attributes that its class has; those with a default here may be missing there.

    Args:
        scale: how many times the network enlarges; its option ``scale``, or 1.
        receptive_field: side in input pixels of what one output pixel sees, layers that pool over the image not
            counted.
        output_layer: name of the last convolution, which starts called ``..._zeroed`` zero.
        grid: tiles of an image begin at multiples of so many pixels.
        layout: memory layout of feature maps in which the network is faster.
        pretrained: parts that start from published weights, each with their file.
        pools_over_image: kinds of layers that see the whole image, such as channel attention (a layer says so by
            ``sees_whole_image``) and instance norm: in a tile they see the tile instead.
    """

    scale: int
    receptive_field: int
    output_layer: str
    grid: int = 1
    layout: Literal["channels_last", "contiguous"] = "channels_last"
    pretrained: Mapping[str, str] = field(default_factory=dict)
    pools_over_image: tuple[str, ...] = ()


def describe(network: nn.Module) -> NetworkSpec:
    """The description of a network that :func:`multiblock.networks.registry.build` has built.

    Raises:
        UserError: the class lacks an attribute, or has one of the wrong kind.
    """
    pooling = (
        type(layer).__name__
        for layer in network.modules()
        if getattr(layer, "sees_whole_image", False) or isinstance(layer, nn.modules.instancenorm._InstanceNorm)
    )
    return NetworkSpec(
        scale=_attribute(network, "scale", int),
        receptive_field=_attribute(network, "receptive_field", int),
        output_layer=_attribute(network, "output_layer", str),
        grid=getattr(network, "grid", 1),
        layout=getattr(network, "layout", "channels_last"),
        pretrained=getattr(network, "pretrained", {}),
        pools_over_image=tuple(dict.fromkeys(pooling)),
    )


def _attribute(network: nn.Module, name: str, kind: type) -> Any:
    value = getattr(network, name, None)
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {int: "a whole number", str: "text"}
        raise UserError(f"{type(network).__name__}.{name}: found {value!r}; a network needs {words[kind]} there")
    return value
