"""How large a network is and how much it computes, counted on PyTorch's ``meta`` device: nothing is calculated.

GFLOPs follow the convention of the lightweight x3 study: twice the multiply-adds of convolutions, linear layers and
matrix products, and one addition a value of pooling to one pixel, for one image of 256 x 256 pixels as input. Biases,
activations, normalisation and interpolation count nothing. A layer that runs twice counts twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from multiblock import networks

SIDE = 256


@dataclass(frozen=True)
class Complexity:
    """Size and work of a network.

    ``parameters_executed`` are those that the result depends on; some published codes keep others.
    """

    parameters: int
    parameters_executed: int
    gflops: float
    receptive_field: int


def of(network: str, options: Mapping[str, Any]) -> Complexity:
    """Count a network of the family or file ``network``, built with ``options``."""
    with torch.device("meta"):
        block = networks.build(network, options).train()
        pooled = 0

        def count(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            nonlocal pooled
            batch, channels, height, width = inputs[0].shape
            pooled += 2 * batch * channels * (height * width + 1)

        for layer in block.modules():
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                layer.register_forward_hook(count)
        for parameter in block.parameters():
            parameter.requires_grad_(True)  # frozen ones are executed too
        with FlopCounterMode(display=False) as counter:
            output = block(torch.empty(1, 3, SIDE, SIDE))
        flops = counter.get_total_flops()
        output.sum().backward()
    parameters = list(block.parameters())
    return Complexity(
        parameters=sum(parameter.numel() for parameter in parameters),
        parameters_executed=sum(parameter.numel() for parameter in parameters if parameter.grad is not None),
        gflops=(flops + pooled) / 1e9,
        receptive_field=int(block.receptive_field),  # type: ignore[arg-type]
    )
