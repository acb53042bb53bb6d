"""Floating-point operations of training, counted in a real forward and backward pass.

A multiply-add counts as two operations. What counts are the products that networks are made of: convolutions, linear
layers, matrix products, attention. The backward pass adds as many for the gradient of each factor that has one: of the
weights, unless they are frozen, and of the input, unless it is the image. What no gradient reaches has a forward pass
alone. Sums, activations, normalisation, interpolation, the loss and the optimiser count nothing. It is the convention
of PyTorch's own counter, ``torch.utils.flop_counter``, which would import PyTorch's compiler: over a second a job.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def forward_and_backward(network: nn.Module, side: int) -> int:
    """What a network takes for one image of ``side`` x ``side`` pixels, on the device where it lies.

    On ``meta`` nothing is calculated. The network is left as it was, save for gradients, which are cleared.
    """
    first = next(network.parameters(), None)
    image = torch.zeros(1, 3, side, side, device=None if first is None else first.device)
    trained = [module for module in network.modules() if module.training]
    network.eval()  # no statistics, no random numbers
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
        if multiply_adds := _MULTIPLY_ADDS.get(function):
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


_MULTIPLY_ADDS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys((functional.conv1d, functional.conv2d, functional.conv3d), _of_convolution),
    **dict.fromkeys(
        (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d), _of_transposed
    ),
    **dict.fromkeys((functional.linear, torch.matmul, torch.mm, torch.bmm), _of_product),
    **dict.fromkeys((Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm), _of_product),
    functional.scaled_dot_product_attention: _of_attention,
}
