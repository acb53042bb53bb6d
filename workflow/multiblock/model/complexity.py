"""How large a network is, and how much it computes: in a forward pass as its study counts it, and in training.

GFLOPs of a network follow the convention of the lightweight x3 study, that of the package thop: twice the
multiply-adds of convolutions and linear layers, and twice the additions of pooling to one pixel, for one image of
256 x 256 pixels as input. The products of self-attention count too. Biases, activations, normalisation and
interpolation count nothing. A layer that runs twice counts twice.

Training counts by the convention of PyTorch's own counter, ``torch.utils.flop_counter``, which would import PyTorch's
compiler: over a second a job. A multiply-add counts as two operations. What counts are the products that networks are
made of: convolutions, linear layers, matrix products, attention. The backward pass adds as many for the gradient of
each factor that has one: of the weights, unless they are frozen, and of the input, unless it is the image. What no
gradient reaches has a forward pass alone. Sums, activations, normalisation, interpolation, the loss and the optimiser
count nothing.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

from multiblock.networks import registry
from multiblock.networks.attention import SelfAttention
from multiblock.plan import Block

SIDE = 256
"""Height and width in pixels of the image that networks are counted on."""


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
    """Count blocks one after another, each on what the one before it made of 256 x 256 pixels."""
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
    """Count a network of the family or file ``network``, built with ``options``, on ``side`` x ``side`` pixels.

    Nothing is calculated, unless the network needs values.

    Raises:
        Exception: whatever building and running it leads to.
    """
    with suppress(Exception), without_values():
        return _counted(network, options, side)
    return _counted(network, options, side)


def _counted(network: str, options: Mapping[str, Any], side: int) -> Complexity:
    executed: set[nn.Parameter] = set()
    total = 0

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        executed.update(layer.parameters(recurse=False))
        if is_parametrized(layer):
            executed.update(layer.parametrizations.parameters())  # type: ignore[union-attr]
        count = next((count for kind, count in _OF_LAYERS.items() if isinstance(layer, kind)), None)
        if count:
            total += count(layer, inputs[0], output)

    with torch.no_grad():
        block = registry.build(network, options).eval()
        for layer in block.modules():
            layer.register_forward_hook(note)
        block(torch.zeros(1, 3, side, side))
    return Complexity(
        parameters=sum(parameter.numel() for parameter in block.parameters()),
        parameters_executed=sum(parameter.numel() for parameter in executed),
        gflops=2 * total / 1e9,
        receptive_field=registry.describe(block).receptive_field,
    )


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks, and run them, on PyTorch's ``meta`` device."""
    # Spectral norm would look for the directions of weights that have no values.
    with torch.device("meta"), patch.object(_SpectralNorm, "_power_method", lambda *_: None):
        yield


_OF_LAYERS: Mapping[Any, Callable[[Any, Tensor, Tensor], int]] = {
    nn.modules.conv._ConvNd: lambda layer, x, out: out.numel() // layer.out_channels * layer.weight.numel(),
    nn.Linear: lambda layer, x, out: out.numel() * layer.in_features,
    nn.AdaptiveAvgPool2d: lambda layer, x, out: x.numel() + out.numel(),
    SelfAttention: lambda layer, x, out: layer.multiply_adds(*x.shape[2:]),
}


def forward_and_backward(network: nn.Module, side: int) -> int:
    """The operations that a network takes in training for one image of ``side`` x ``side`` pixels, on its device.

    On ``meta`` nothing is calculated. The network is left as it was, but for gradients, which are cleared.
    """
    try:
        return _passes(network, side)
    except RuntimeError:  # some compute in place where they are not trained, through which no gradient goes
        devices = {one.device for one in network.parameters() if one.is_cuda}
        with torch.random.fork_rng(devices):
            return _passes(copy.deepcopy(network), side, training=True)


def _passes(network: nn.Module, side: int, training: bool = False) -> int:
    first = next(network.parameters(), None)
    image = torch.zeros(1, 3, side, side, device=None if first is None else first.device)
    trained = [module for module in network.modules() if module.training]
    network.train(training)  # else no statistics, no random numbers
    try:
        with torch.enable_grad(), _Products() as counted:
            output = network(image)
            if output.requires_grad:
                output.backward(torch.ones_like(output))
        return counted.operations
    finally:
        for module in trained:
            module.training = True
        for parameter in network.parameters():
            parameter.grad = None


class _Products(TorchFunctionMode):
    """Adds up the operations of all products that are computed inside it, and of their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if multiply_adds := _OF_FUNCTIONS.get(function):
            self._note(2 * multiply_adds(output, *args, **(kwargs or {})), output, [*args, *(kwargs or {}).values()])
        return output

    def _note(self, operations: int, output: Tensor, factors: Sequence[Any]) -> None:
        self.operations += operations
        # What has one dimension is a bias, whose gradient is a sum.
        factors = [one for one in factors if isinstance(one, Tensor) and one.requires_grad and one.dim() > 1]
        gradients = min(len(factors), 2)  # attention has three factors, but each of its two products has two

        def reached(_: Tensor) -> None:
            self.operations += operations * gradients

        if gradients:
            output.register_hook(reached)


def _of_convolution(output: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return output.numel() // weight.shape[0] * weight.numel()


def _of_transposed(output: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return x.numel() // weight.shape[0] * weight.numel()


def _of_product(output: Tensor, x: Tensor, *_: Any, **__: Any) -> int:
    return output.numel() * x.shape[-1]


def _of_attention(output: Tensor, query: Tensor, key: Tensor, *_: Any, **__: Any) -> int:
    return query.numel() * key.shape[-2] + output.numel() * key.shape[-2]


_OF_FUNCTIONS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys((functional.conv1d, functional.conv2d, functional.conv3d), _of_convolution),
    **dict.fromkeys(
        (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d), _of_transposed
    ),
    **dict.fromkeys((functional.linear, torch.matmul, torch.mm, torch.bmm), _of_product),
    **dict.fromkeys((Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm), _of_product),
    functional.scaled_dot_product_attention: _of_attention,
}
