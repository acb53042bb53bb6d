"""How large a network is and how much it computes, counted on PyTorch's ``meta`` device: nothing is calculated.

GFLOPs follow the convention of the lightweight x3 study, that of the package thop: twice the multiply-adds of
convolutions and linear layers, and twice the additions of pooling to one pixel, for one image of 256 x 256 pixels as
input. The products of self-attention count too. Biases, activations, normalisation and interpolation count nothing.
A layer that runs twice counts twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from multiblock.networks import registry
from multiblock.networks.attention import SelfAttention
from multiblock.networks.spec import describe
from multiblock.plan import Block

SIDE = 256


@dataclass(frozen=True)
class Complexity:
    """Size and work of a network.

    ``parameters_executed`` are those of layers that run; some published codes keep others.
    """

    parameters: int
    parameters_executed: int
    gflops: float
    receptive_field: int


def of_chain(blocks: Sequence[Block]) -> Complexity:
    """Count blocks one after another; each sees what the one before it made of 256 x 256 pixels."""
    side, counted = SIDE, []
    for block in blocks:
        counted.append(of(block.network, block.options, side))
        side *= block.scale
    return Complexity(
        parameters=sum(one.parameters for one in counted),
        parameters_executed=sum(one.parameters_executed for one in counted),
        gflops=sum(one.gflops for one in counted),
        receptive_field=1 + sum(one.receptive_field - 1 for one in counted),
    )


def of(network: str, options: Mapping[str, Any], side: int = SIDE) -> Complexity:
    """Count a network of the family or file ``network``, built with ``options``, on ``side`` x ``side`` pixels."""
    executed: set[nn.Parameter] = set()
    total = 0

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        executed.update(layer.parameters(recurse=False))
        if is_parametrized(layer):
            executed.update(layer.parametrizations.parameters())  # type: ignore[union-attr]
        count = next((count for kind, count in _MULTIPLY_ADDS.items() if isinstance(layer, kind)), None)
        if count:
            total += count(layer, inputs[0], output)

    with without_values(), torch.no_grad():
        block = registry.build(network, options).eval()
        for layer in block.modules():
            layer.register_forward_hook(note)
        block(torch.empty(1, 3, side, side))
    return Complexity(
        parameters=sum(parameter.numel() for parameter in block.parameters()),
        parameters_executed=sum(parameter.numel() for parameter in executed),
        gflops=2 * total / 1e9,
        receptive_field=describe(block).receptive_field,
    )


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks, and run them, on PyTorch's ``meta`` device."""
    # Spectral norm would look for the directions of weights that have no values.
    with torch.device("meta"), patch.object(_SpectralNorm, "_power_method", lambda *_: None):
        yield


_MULTIPLY_ADDS: Mapping[Any, Callable[[Any, Tensor, Tensor], int]] = {
    nn.modules.conv._ConvNd: lambda layer, x, out: out.numel() // layer.out_channels * layer.weight.numel(),
    nn.Linear: lambda layer, x, out: out.numel() * layer.in_features,
    nn.AdaptiveAvgPool2d: lambda layer, x, out: x.numel() + out.numel(),
    SelfAttention: lambda layer, x, out: layer.multiply_adds(*x.shape[2:]),
}
